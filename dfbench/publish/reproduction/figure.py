"""A published table and ours as curves on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfbench.publish.plotting import MARKERS, PAGE, colours, new_figure, rendered, style, titled
from dfbench.publish.report.axes import class_legend
from dfbench.publish.reproduction.result import Filled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(filled: Filled, published_in: str) -> bytes:
    """The figure of one table: ours with a band of ± one standard deviation, the published curves beside it."""
    with style():
        return rendered(_draw(filled, published_in), "svg")


def _draw(filled: Filled, published_in: str) -> Figure:
    figure = new_figure(PAGE, 2.9)
    ours, theirs = figure.subplots(1, 2, sharex=True, sharey=True)
    columns = filled.table.columns
    x = np.arange(len(columns))
    for number, (line, colour) in enumerate(zip(filled.lines, colours(len(filled.lines)), strict=True)):
        marker = MARKERS[number % len(MARKERS)]
        published = np.array([np.nan if value is None else value for value in line.row.reported], dtype=float)
        theirs.plot(
            x, published, color=colour, marker=marker, linestyle="--", label=line.row.name, gid=f"theirs-{number}"
        )
        if not line.values:
            continue
        mean = np.array([line.mean(k) for k in x.tolist()], dtype=float)
        ours.plot(x, mean, color=colour, marker=marker, label=line.row.name, gid=f"ours-{number}")
        if len(line.values) > 1:
            spread = np.array([line.spread(k) for k in x.tolist()], dtype=float)
            ours.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    for axis in (ours, theirs):
        axis.set_xticks(x, columns)
        axis.set_xlabel("after experience")
        axis.grid(True, axis="y")
    ours.set_ylabel("test accuracy, %")
    counts = sorted({len(line.values) for line in filled.lines})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    titled(ours, f"Table {filled.table.key}, run here", f"mean of {seeds} seeds ± standard deviation")
    titled(theirs, f"Table {filled.table.key}, {published_in}", "as published")
    class_legend(figure, theirs)
    return figure
