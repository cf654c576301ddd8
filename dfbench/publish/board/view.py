"""What the page says of a table as a whole, and how its columns are ordered, sorted and drawn."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from dfbench.publish import about
from dfbench.publish.board.table import BoardTable
from dfbench.records import text
from dfbench.records.verdict import NAMES


@dataclass(frozen=True)
class Column:
    """A column of the page's table."""

    key: str
    label: str
    order: str = "descending"
    """The direction of a first click."""
    title: str = ""
    shown: bool = True
    """Unless the reader chooses otherwise."""
    number: bool = True
    """Set to the right."""


SCALARS = (
    Column("af", "AF", "ascending", "Forgetting as the field's tables have it: −BWT", shown=False),
    Column("bwt", "BWT", title="Backward transfer; below 0 is forgetting", shown=False),
    Column("learning_accuracy", "Learning", title="Each experience right after training on it", shown=False),
    Column("next", "Next", title="Each experience right before training on it", shown=False),
    Column("average_incremental", "Past", title="All experiences so far, after each training", shown=False),
    Column("whole", "Whole", title="All experiences, after each training", shown=False),
    Column("average_tpr_at_1_fpr", "TPR@1 %", title="Fakes found where 1 % of the reals are called fake", shown=False),
    Column("fpr_drift", "Drift", "ascending", "|False-positive rate − 1 %| of thresholds carried on", shown=False),
    Column("carried_tpr", "Carried TPR", title="Fakes found by thresholds carried on", shown=False),
)
"""Metrics with a mean and a spread over seeds that have a column of their own."""


def scalars(table: BoardTable) -> list[Column]:
    """Those that a row of the table has."""
    return [each for each in SCALARS if any(row.metric(each.key)[0] is not None for row in table.rows)]


def columns(table: BoardTable) -> list[Column]:
    """Those of a table; what no row was tested on has none, and one of mostly untested rows is not shown at first."""
    metric = text.METRICS[table.headline]
    tested = sum(row.generalisation is not None for row in table.rows)
    unseen = Column(
        "generalisation",
        "Unseen",
        title=f"Generalisation: {metric} on sets that were never trained on, at the end",
        shown=2 * tested >= len(table.rows),
    )
    degraded = Column("robustness", "Robustness", title=f"{metric} on degraded copies of the test sets", shown=False)
    return [
        Column("rank", "#", "ascending", "By the average, continual rows alone; ★ and ≈: see above", number=False),
        Column("strategy", "Strategy", "ascending", number=False),
        Column("detector", "Detector", "ascending", number=False),
        Column("average", f"Average {metric}", title="After the last training; mean over seeds ± spread"),
        Column("interval", "95 % interval", title="Over people or videos, and seeds; ◂: further left", number=False),
        Column("forgetting", "Forgetting", "ascending", "Lower is better; mean over seeds ± spread"),
        *([unseen] if table.unseen else []),
        Column("memory", "Memory", "ascending", "Samples held at the end; bytes of them and of all other state"),
        Column("compute", "Compute", "ascending", "Relative to plain training of the same detector (1 ×)"),
        Column("seeds", "Seeds", title="Runs that differ in the seed alone, and how far they were checked"),
        Column("checks", "Checks", title=f"How many of these passed: {', '.join(NAMES)}; ✗: one failed"),
        Column("limits", "Interval ends", title="The 95 % interval in figures", shown=False),
        *scalars(table),
        *([degraded] if table.degraded else []),
        Column("passes", "Passes", "ascending", "One pass = one picture forward and backward", shown=False),
        Column("steps", "Steps", "ascending", "Optimizer steps in all", shown=False),
        Column("seconds", "Time", "ascending", "Training and scoring; not comparable between machines", shown=False),
    ]  # fmt: skip


def finding(table: BoardTable) -> str:
    """What the marks come to, in one sentence; empty where nothing is compared."""
    marks = [row.mark for row in table.rows]
    best, tied, others = marks.count("best"), marks.count("tied"), marks.count("tied") + marks.count("worse")
    if not best or not others:
        return ""
    theirs = "the best" if best == 1 else "their ★"
    if not tied:
        return (
            f"All {others} other continual rows are significantly worse than {theirs}."
            if others > 1
            else (f"The other continual row is significantly worse than {theirs}.")
        )
    return f"{tied} of the other {others} continual rows cannot be distinguished from {theirs} with these seeds."


@dataclass(frozen=True)
class Axis:
    """The common scale of a table's interval plots."""

    low: float
    high: float


def axis(table: BoardTable) -> Axis:
    """Fits the intervals of the continual rows, and the means of bounds; of bounds alone, their intervals.

    Rows that lie further below the median than twice its distance from the best are left out, so that a few that
    learned next to nothing do not hide the differences between the others. The ends are rounded outwards to .05.
    """
    known = [row.average for row in table.rows if row.average and not row.bound]
    bounds = [row.average for row in table.rows if row.average and row.bound]
    ends = [each.mean for each in bounds]
    if known:
        best, median = max(e.mean for e in known), statistics.median(e.mean for e in known)
        known = [each for each in known if each.mean >= median - 2 * (best - median)]
    for each in known or bounds:
        ends += [value for value in (each.low, each.mean, each.high) if value is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    low, high = math.floor(low * 20 + 1e-9) / 20, math.ceil(high * 20 - 1e-9) / 20
    return Axis(low, high if high > low else low + 0.05)


def choices(table: BoardTable) -> list[tuple[str, str, list[str]]]:
    """(attribute, what all of them are called, values) of each filter that has something to choose from."""
    specs = [row.first.spec for row in table.rows]
    found: list[tuple[str, str, list[str]]] = [
        ("detector", "all detectors", sorted({spec.detector for spec in specs})),
        ("strategy", "all strategies", sorted({spec.strategy for spec in specs})),
        ("preset", "all presets", sorted({spec.preset for spec in specs})),
        ("budget", "all budgets", [str(b) for b in sorted({spec.memory for spec in specs})]),
        ("status", "every status", sorted({row.status for row in table.rows})),
    ]
    return [each for each in found if len(each[2]) > 1]


def subject(table: BoardTable) -> about.Benchmark:
    """What the table's benchmark is."""
    return about.benchmark([record for row in table.rows for record in row.records])
