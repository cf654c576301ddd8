"""What a run's report shows of thresholds that were fixed on validation reals and carried on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dfbench.publish.plotting import COLUMN, FAINT, MARKERS, colours, new_figure, titled
from dfbench.publish.report.axes import FEW, End, end_labels, in_stream, stream_axis
from dfbench.publish.report.figures import subject
from dfbench.publish.report.runs import Run
from dfbench.publish.report.tables import Table
from dfbench.records.text import NONE, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def thresholds(run: Run) -> Figure | None:
    """False- and true-positive rates of each threshold over the networks after it; None where there is none to carry.

    Of a long stream every so many thresholds are drawn.
    """
    found = run.record.operating
    if found is None or found.drift is None:
        return None
    figure = new_figure(2 * COLUMN, 2.7)
    rates = [
        np.array([[np.nan if v is None else v for v in row] for row in rows])
        for rows in (found.false_positive_rate, found.true_positive_rate)
    ]
    size = len(run.names)
    drawn = range(0, size, -(-size // FEW))
    for axis, values, what in zip(figure.subplots(1, 2), rates, ("False", "True"), strict=True):
        palette = colours(len(drawn))
        for i, colour in zip(drawn, palette, strict=True):
            axis.plot(range(size), values[i], color=colour, marker=MARKERS[i % len(MARKERS)], gid=f"{what.lower()}-{i}")
        stream_axis(axis, run.labels)
        axis.grid(True, axis="y")
        top = 1.0 if what == "True" else max(0.05, float(np.nanmax(values)) * 1.1)
        axis.set_ylim(0, top)
        axis.set_ylabel(f"{what.lower()}-positive rate")
        if what == "False":
            axis.axhline(found.fpr, color=FAINT, linewidth=0.7, linestyle=(0, (2, 2)), label="_aim")
        names = in_stream(run.labels)
        end_labels(
            axis, [End(names[i], values[i, -1], colour, size - 1) for i, colour in zip(drawn, palette, strict=True)]
        )
        titled(axis, f"{what}-positive rate of each threshold", subject(run))
    return figure


def describe(run: Run) -> tuple[str, str, Table]:
    """Caption, description and table of :func:`thresholds`."""
    found = run.record.operating
    assert found is not None
    aim = f"{100 * found.fpr:g} %"
    caption = (
        f"Thresholds fixed after each experience, where {aim} of the validation reals so far are called fake, and kept "
        "while the detector is trained on; means over the test sets of the experiences so far. Dashed: the aim."
    )
    low, high = found.uncertainty.drift or (None, None)
    alt = (
        f"A curve per threshold. Mean distance of the later false-positive rates from {aim}: {number(found.drift)} "
        f"({number(low)} to {number(high)})."
    )
    rows = [
        (
            f"fixed after {name}, on {reals} reals",
            *map(number, (fpr[i], tpr[i], fpr[-1], tpr[-1])),
        )
        for i, (name, reals, fpr, tpr) in enumerate(
            zip(
                run.labels,
                found.reals,
                found.false_positive_rate,
                found.true_positive_rate,
                strict=True,
            )
        )
    ]
    others = {f"fixed again on {n} new reals": rates for n, rates in found.recalibrated.items()} | {".5": found.at_half}
    for name, rates in others.items():
        last = rates.false_positive_rate[-1], rates.true_positive_rate[-1]
        rows.append((name, NONE, NONE, *map(number, last)))
    columns = ("threshold", "FPR then", "TPR then", "FPR at the end", "TPR at the end")
    return caption, alt, Table("Rates of carried thresholds", columns, tuple(rows))
