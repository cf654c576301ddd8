"""The figures of one run, drawn from its record and its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dfbench.evaluation.detection import THRESHOLD
from dfbench.evaluation.scores import Group
from dfbench.publish.plotting import (
    COLUMN,
    FAINT,
    INK,
    MARKERS,
    PAGE,
    PALETTE,
    Panel,
    colours,
    draw_matrices,
    new_figure,
    titled,
)
from dfbench.publish.report.axes import FEW, End, class_legend, end_labels, headed, in_stream, metric_axis, stream_axis
from dfbench.publish.report.runs import Run
from dfbench.records.comparison import most_forgotten
from dfbench.records.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = np.linspace(0, 1, 21)
CLASS_STYLES = (
    {"color": PALETTE[0], "linestyle": "-", "alpha": 0.28},
    {"color": PALETTE[1], "linestyle": "--", "alpha": 0.28},
)
"""Of real and of fake: outlines differ by their dashes, too."""


def subject(run: Run) -> str:
    """What a figure is of, for its second line."""
    spec = run.record.spec
    return f"{spec.detector} · {spec.strategy} · {spec.benchmark} {spec.split} · seed {spec.seed}"


def matrix(run: Run) -> Figure:
    """R of the headline metric, with the unseen sets after a gap."""
    title = f"{run.metric[:1].upper()}{run.metric[1:]} on each test set"
    panel = Panel(title, subject(run), run.matrix, unseen=run.unseen)
    return draw_matrices([panel], run.labels, run.record.headline, run.unseen_labels)


def forgetting(run: Run) -> Figure | None:
    """The headline metric of each experience over the stream; None where there is one row only.

    Dotted before the experience was trained on, drawn through after it; a ring marks where it was trained on.
    """
    R, names = run.matrix, in_stream(run.labels)
    rows = np.flatnonzero(np.isfinite(R).any(1))
    if len(rows) < 2:
        return None
    size = len(names)
    figure = new_figure(COLUMN + 0.4, max(2.5 + 0.06 * max(0, size - 6), 0.14 * size + 1.1))
    axis = figure.subplots()
    for j, (name, colour) in enumerate(zip(names, colours(size), strict=True)):
        marker = MARKERS[j % len(MARKERS)]
        if j:
            axis.plot(range(j + 1), R[: j + 1, j], color=colour, linestyle=":", linewidth=0.9, gid=f"before-{j}")
        axis.plot(range(j, size), R[j:, j], color=colour, marker=marker, label=name, gid=f"curve-{j}")
        axis.plot([j], [R[j, j]], marker="o", markersize=8, markerfacecolor="none", markeredgecolor=colour,
                  markeredgewidth=0.8, linestyle="none", clip_on=False)  # fmt: skip
    stream_axis(axis, names)
    metric_axis(axis, R, run.record.headline)
    axis.set_ylabel(run.metric)
    end_labels(axis, [End(*end, size - 1) for end in zip(names, R[-1], colours(size), strict=True)])
    titled(axis, f"What becomes of each experience: {run.metric}", subject(run))
    return figure


def roc(run: Run) -> Figure | None:
    """ROC curves of the final model, one per experience; None for other than two classes."""
    groups = _final(run)
    if not groups:
        return None
    from sklearn.metrics import roc_curve

    figure = new_figure(COLUMN, COLUMN + 0.35 + 0.15 * len(run.names))
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.7, linestyle=(0, (2, 2)))
    axis.text(0.6, 0.57, "chance", color=FAINT, fontsize=7, rotation=45, rotation_mode="anchor", va="top")
    for j, (name, colour) in enumerate(zip(run.labels, colours(len(run.names)), strict=True)):
        group = groups.get(j)
        value = run.final[j].get("frame_auc")
        if group is None or value is None:
            continue
        false, true, _ = roc_curve(group.labels, group.scores)
        axis.plot(false, true, color=colour, gid=f"roc-{j}")
        fake = group.labels == 1
        called = group.scores > THRESHOLD
        axis.plot([called[~fake].mean()], [called[fake].mean()], marker=MARKERS[j % len(MARKERS)], color=colour,
                  label=f"{name}: AUC {value:.3f}, n = {len(group)}")  # fmt: skip
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.set_xlabel("reals called fake (false-positive rate)")
    axis.set_ylabel("fakes called fake (true-positive rate)")
    axis.grid(True)
    figure.legend(loc="outside lower center", ncols=1, handletextpad=0.3)
    titled(axis, f"ROC of the final model; marks: threshold {THRESHOLD}", subject(run))
    return figure


def histograms(run: Run) -> Figure | None:
    """Scores of the final model by class, a panel per experience; None for other than two classes."""
    groups = _final(run)
    if not groups:
        return None
    columns = min(3, len(run.names))
    rows = -(-len(run.names) // columns)
    figure = new_figure(PAGE * columns / 3 if columns > 1 else COLUMN, 1.45 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(run.names) :]:
        axis.remove()
    for j, name in enumerate(run.labels):
        axis, facts = axes.flat[j], run.final[j]
        if (group := groups.get(j)) is not None:
            _histogram(axis, group, run.classes, facts.get("eer_threshold"), f"hist-{j}")
        shown = [(what, facts.get(key)) for what, key in (("AUC", "frame_auc"), ("EER", "eer"))]
        titled(axis, name, ", ".join(f"{what} {number(value)}" for what, value in shown if value is not None))
        axis.tick_params(labelbottom=j + columns >= len(run.names))
        if j + columns >= len(run.names):
            axis.set_xlabel("P(fake)")
        if j % columns == 0:
            axis.set_ylabel("share of class")
    axes.flat[0].set_ylim(bottom=0)  # shared: after every panel has its say
    headed(figure, "Scores of the final model", subject(run))
    class_legend(figure, axes.flat[0])
    return figure


def forgotten(run: Run) -> Figure | None:
    """Scores on the experience that was forgotten most: where it was best, and at the end; None where none was."""
    lost = most_forgotten(run.record)
    if not run.two_class or lost is None or lost.final >= lost.best:
        return None
    column = run.names.index(lost.experience)
    # As most_forgotten counts: the best among the models that had seen it.
    best = max(range(column, len(run.names) - 1), key=lambda i: (np.nan_to_num(run.matrix[i, column], nan=-1.0), i))
    stages = [(best, lost.best), (len(run.names) - 1, lost.final)]
    figure = new_figure(COLUMN, 3.1)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for position, (axis, (row, value)) in enumerate(zip(axes, stages, strict=True)):
        group = run.scores.get(row, column)
        if group is None:
            return None
        _histogram(axis, group, run.classes, None, f"forgotten-{position}")
        titled(axis, f"after {run.labels[row]}: {run.metric} {value:.3f}", "")
        axis.set_ylabel("share of class")
    axes[1].set_xlabel("P(fake)")
    axes[0].set_ylim(bottom=0)
    headed(figure, f"Scores on {run.labels[column]}, forgotten most", subject(run))
    class_legend(figure, axes[0])
    return figure


def stability_gap(run: Run) -> Figure | None:
    """The headline metric inside the trainings; None where the record has no such measures (``mid_training``).

    De Lange et al. 2023 (arXiv 2205.13452): what was learned drops at once when the next training begins.
    """
    points = [p for p in run.record.mid_training or () if p.metric == run.record.headline]
    if not points:
        return None
    names, size = in_stream(run.labels), len(run.names)
    starts = np.concatenate([[0], np.cumsum(run.record.steps)])
    figure = new_figure(PAGE, max(2.5, 0.14 * size + 1.1))
    axis = figure.subplots()
    steps = np.array([p.step for p in points])
    values = np.array([p.values for p in points], dtype=float)
    order = np.argsort(steps, kind="stable")
    for j, (name, colour) in enumerate(zip(names, colours(size), strict=True)):
        from_its_start = order[steps[order] >= starts[min(j, len(starts) - 1)]]
        axis.plot(
            steps[from_its_start],
            values[from_its_start, j],
            color=colour,
            linewidth=1,
            label=name,
            gid=f"mid-training-{j}",
        )
    for index, start in enumerate(starts[:-1]):
        axis.axvline(start, color=FAINT, linewidth=0.6, linestyle=(0, (2, 2)))
        name = names[index] if size <= FEW else str(index + 1)
        axis.annotate(f"{name} →" if len(starts) > 2 else "", (start, 1), xycoords=("data", "axes fraction"),
                      xytext=(3, -7), textcoords="offset points", fontsize=7, color=FAINT)  # fmt: skip
    metric_axis(axis, values, run.record.headline)
    end = max(float(starts[-1]), float(steps.max()))
    axis.set_xlim(0, end)
    axis.set_xlabel("optimizer steps")
    axis.set_ylabel(run.metric)
    last = zip(names, values[order[-1]], colours(size), strict=True)
    end_labels(axis, [End(*each, float(steps.max())) for each in last])
    titled(axis, f"Stability gap: {run.metric} while training", subject(run))
    return figure


FIGURES = {
    "matrix": matrix,
    "forgetting": forgetting,
    "roc": roc,
    "forgotten": forgotten,
    "histograms": histograms,
    "stability_gap": stability_gap,
}
"""By the name of their files. A function gives None where a run has nothing to show."""


def _final(run: Run) -> dict[int, Group]:
    """The final model's scores by experience, where they are P(fake)."""
    last = len(run.names) - 1
    found = {j: run.scores.get(last, j) for j in range(len(run.names))} if run.two_class else {}
    return {j: group for j, group in found.items() if group is not None}


def _histogram(axis: Axes, group: Group, classes: Sequence[str], eer_threshold: float | None, gid: str) -> None:
    for k, look in enumerate(CLASS_STYLES):
        values = group.scores[group.labels == k]
        if not len(values):
            continue
        share = np.histogram(values, BINS)[0] / len(values)
        axis.stairs(share, BINS, fill=True, color=look["color"], alpha=look["alpha"], linewidth=0)
        axis.stairs(share, BINS, color=look["color"], linestyle=look["linestyle"], linewidth=1.1, label=classes[k],
                    gid=f"{gid}-{k}")  # fmt: skip
    axis.axvline(THRESHOLD, color=INK, linewidth=0.6, label=f"threshold {THRESHOLD}")
    if eer_threshold is not None:
        axis.axvline(eer_threshold, color=INK, linewidth=0.8, linestyle=":", label="threshold at EER")
    axis.set_xlim(0, 1)
