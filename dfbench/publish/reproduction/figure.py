"""A published table and ours as curves on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfbench.publish.plotting import MARKERS, PAGE, colours, new_figure, rendered, style, titled
from dfbench.publish.report.axes import class_legend
from dfbench.publish.reproduction.result import TableResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(result: TableResult, published_in: str) -> bytes:
    """The figure of one table: ours with a band of ± one standard deviation, the published curves next to it."""
    with style():
        return rendered(_draw(result, published_in), "svg")


def _draw(result: TableResult, published_in: str) -> Figure:
    figure = new_figure(PAGE, 2.9)
    ours, theirs = figure.subplots(1, 2, sharex=True, sharey=True)
    key, columns = result.table.key, result.table.columns
    x = np.arange(len(columns))
    for number, (each, colour) in enumerate(zip(result.rows, colours(len(result.rows)), strict=True)):
        look = {"color": colour, "marker": MARKERS[number % len(MARKERS)], "label": each.row.name}
        theirs.plot(x, np.array(each.row.reported, dtype=float), linestyle="--", gid=f"theirs-{number}", **look)
        if not each.values:
            continue
        mean, spread = np.array(each.measured, dtype=float).T
        ours.plot(x, mean, gid=f"ours-{number}", **look)
        if len(each.values) > 1:
            ours.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    for axis in (ours, theirs):
        axis.set_xticks(x, columns)
        axis.set_xlabel("after experience")
        axis.grid(True, axis="y")
    ours.set_ylabel("test accuracy, %")
    counts = sorted({len(each.values) for each in result.rows})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    titled(ours, f"Table {key}, run here", f"mean of {seeds} seeds ± standard deviation")
    titled(theirs, f"Table {key}, {published_in}", "as published")
    class_legend(figure, theirs)
    return figure
