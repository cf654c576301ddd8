"""Axes, labels and headings that the figures of a report share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dfbench.publish.plotting import FAINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANCE = "chance"
FEW = 12
"""Experiences that an axis has room to name; of more it shows numbers."""


@dataclass(frozen=True)
class End:
    """Where a curve ends, to be labelled there."""

    name: str
    value: float
    """nan: it has no end."""
    colour: Any
    x: float


def stream_axis(axis: Axes, names: Sequence[str]) -> None:
    """Experiences along x, in the order they were trained on."""
    if len(names) <= FEW:
        axis.set_xticks(range(len(names)), names, rotation=25, ha="right", rotation_mode="anchor")
    else:
        marked = range(0, len(names), -(-len(names) // FEW))
        axis.set_xticks(marked, [str(j + 1) for j in marked])
    axis.set_xlabel("after training on")
    axis.margins(x=0.03)


def in_stream(names: Sequence[str]) -> list[str]:
    """The names next to an axis of :func:`stream_axis`: with their numbers, where it has room for numbers only."""
    return list(names) if len(names) <= FEW else [f"{n} {name}" for n, name in enumerate(names, 1)]


def metric_axis(axis: Axes, values: np.ndarray, metric: str) -> None:
    """A grid along y, from chance to 1 for an AUC, further down for what is worse, and from 0 to 1 for other metrics.

    Figures of different runs then share a scale, and a small difference does not look like a large one.
    """
    low = float(np.nanmin(values))
    floor = 0.5 if metric.endswith("auc") else 0.0
    axis.set_ylim(min(floor, max(0.0, np.floor((low - 0.02) * 10) / 10)), 1.0)
    axis.grid(True, axis="y")
    if metric.endswith("auc"):
        axis.axhline(0.5, color=FAINT, linewidth=0.7, linestyle=(0, (2, 2)), label=f"_{CHANCE}")


def end_labels(axis: Axes, ends: Sequence[End]) -> None:
    """Names and values next to the ends of curves, moved apart where they would cover each other."""
    low, high = axis.get_ylim()
    known = [end for end in ends if np.isfinite(end.value)]
    if any(line.get_label() == f"_{CHANCE}" for line in axis.lines):
        known.append(End(CHANCE, 0.5, FAINT, axis.get_xlim()[1]))
    known.sort(key=lambda end: end.value)
    whole = axis.get_figure(root=True)
    assert whole is not None
    height = whole.get_size_inches()[1] - 0.9  # of the axes, near enough
    places = spread_out([(end.value - low) / (high - low) for end in known], gap=0.135 / height)
    for end, place in zip(known, places, strict=True):
        axis.annotate(
            end.name if end.name == CHANCE else f"{end.name} {end.value:.2f}", (end.x, end.value), xytext=(1.05, place),
            textcoords="axes fraction", fontsize=7, va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": end.colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3,
                "relpos": (0, 0.5),  # from the text's left end, so that no line runs through a text
            },
        )  # fmt: skip


def spread_out(positions: Sequence[float], gap: float) -> list[float]:
    """Sorted positions in [0, 1], moved as little as need be so that neighbours are ``gap`` apart."""
    placed = list(positions)
    for _ in range(200):
        moved = False
        for i in range(len(placed) - 1):
            lack = gap - (placed[i + 1] - placed[i])
            if lack > 1e-6:
                placed[i] -= lack / 2
                placed[i + 1] += lack / 2
                moved = True
        if not moved:
            break
    shift = max(0.0, -min(placed, default=0.0)) - max(0.0, max(placed, default=0.0) - 1.0)
    return [place + shift for place in placed]


def headed(figure: Figure, title: str, note: str) -> None:
    """A title and a fainter line above all panels."""
    height = figure.get_size_inches()[1]
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.36 / height))  # type: ignore[union-attr, call-arg]
    figure.text(0.01, 1 - 0.04 / height, title, fontsize=8, fontweight="bold", va="top")
    figure.text(0.01, 1 - 0.2 / height, note, fontsize=7, color=FAINT, va="top")


def class_legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """One legend below all panels, of what ``axis`` shows."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=1.8, columnspacing=1.2)
