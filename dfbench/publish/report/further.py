"""What a run's report shows of its further tests: degraded copies, by kind and level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfbench.publish.plotting import COLUMN, MARKERS, colours, new_figure, titled
from dfbench.publish.report.axes import End, end_labels, metric_axis
from dfbench.publish.report.figures import subject
from dfbench.publish.report.runs import Run
from dfbench.publish.report.tables import Table
from dfbench.records.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNDEGRADED = "undegraded"


def robustness(run: Run) -> Figure | None:
    """The headline metric against the level of each kind of degradation; None where no degraded copy was scored."""
    found = _by_kind(run)
    if not found:
        return None
    figure = new_figure(COLUMN + 0.4, 2.7)
    axis = figure.subplots()
    levels = [UNDEGRADED, *_levels(run)]
    values = np.array([[np.nan if v is None else v for v in row] for row in found.values()])
    for j, (kind, row, colour) in enumerate(zip(found, values, colours(len(found)), strict=True)):
        axis.plot(range(len(levels)), row, color=colour, marker=MARKERS[j % len(MARKERS)], label=kind, gid=f"kind-{j}")
    axis.set_xticks(range(len(levels)), levels)
    axis.set_xlabel("level of the degradation")
    axis.margins(x=0.03)
    metric_axis(axis, values, run.record.headline)
    axis.set_ylabel(f"{run.metric}, mean over the experiences")
    ends = zip(found, values[:, -1], colours(len(found)), strict=True)
    end_labels(axis, [End(*end, len(levels) - 1) for end in ends])
    titled(axis, f"Degraded test pictures: {run.metric} of the final model", subject(run))
    return figure


def describe(run: Run) -> tuple[str, str, Table]:
    """Caption, description and table of :func:`robustness`."""
    found, levels = _by_kind(run), _levels(run)
    caption = (
        f"{run.metric} of the final model on degraded copies of the test sets, mean over the experiences; level 1 is "
        f"the weakest. {UNDEGRADED.capitalize()}: the same samples as they are."
    )
    ends = "; ".join(f"{kind} {number(row[-1])}" for kind, row in found.items())
    rows = tuple((kind, *map(number, row)) for kind, row in found.items())
    table = Table(f"{run.metric} by kind and level of degradation", ("kind", UNDEGRADED, *levels), rows)
    return caption, f"A curve per kind of degradation. At level {levels[-1]}: {ends}.", table


def _by_kind(run: Run) -> dict[str, list[float | None]]:
    """Kind → the headline metric undegraded, and at each level."""
    found = run.record.robustness
    if found is None:
        return {}
    headline = run.record.headline
    return {kind: [found.clean[headline], *row.values()] for kind, row in found.by_kind[headline].items()}


def _levels(run: Run) -> list[str]:
    data = run.record.data.perturbed
    return [] if data is None else [str(level) for level in data.levels]
