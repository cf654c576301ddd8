"""A row in words and signs: the same in the terminal, in README.md and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dfbench.publish.board.row import BoardRow, Change, Mark
from dfbench.publish.board.table import BoardTable
from dfbench.records import text
from dfbench.records.verdict import Verdict

MARKS: dict[Mark | None, str] = {"best": "★", "tied": "≈", "worse": "", None: ""}
BOUND, BASELINE = "bound", "as it is"
MARK_WORDS: dict[Mark | None, str] = {
    "best": "best continual row of its group",
    "tied": "not significantly worse than the best",
    "worse": "significantly worse than the best",
    None: "",
}
NOTES_LEGEND = (
    "Rows that store more samples than the stream allows are compared with those that store as much. Comparisons take "
    "people (videos where people are not known) and seeds into account and are corrected for the number of rows. Bytes "
    "are of stored samples and all other state, such as a teacher's weights; compute is in passes of plain training of "
    "the same detector; no time is given where seeds ran on different processors or numbers of threads; checks count "
    "the controls that passed, of seven, and name those that failed (leaks, processing, reals against reals, seeds, a "
    "threshold carried on, unseen sets, options that no validation data chose)."
)
TEXT_COLUMNS = 3
"""How many of the columns come before the first number."""
_NAMED = 5
"""Unseen sets that a cell's title names."""


@dataclass(frozen=True)
class Cells:
    """What is written of a row. Nothing is escaped: records come from outsiders."""

    mark: str
    mark_words: str
    detector: tuple[str, ...]
    """Its name, its preset, and the options that distinguish the row from others."""
    strategy: tuple[str, ...]
    """Its name and such options."""
    average: str
    spread: str
    """Of the average; empty for one seed."""
    interval: str
    forgetting: tuple[str, str]
    """(mean, spread over seeds), as are the next three; the spread is empty for one seed."""
    generalisation: tuple[str, str] | None
    """None in a table where no row was tested on unseen sets."""
    generalisation_sets: str
    """``1 of 2 sets`` where it was tested on fewer than other rows; else empty."""
    generalisation_words: str
    """Which sets, and what the untrained network has on them."""
    robustness: tuple[str, str] | None
    """None in a table where no row was tested on degraded copies."""
    robustness_words: str
    """What the same samples give undegraded."""
    af: tuple[str, str]
    learning: tuple[str, str]
    stored: str
    stored_bytes: str
    """Of the stored samples; empty where there are none."""
    state_bytes: str
    """Of the strategy's other state; empty where there is none."""
    held_bytes: str
    """Of both."""
    compute: str
    time: str
    """A dash where seeds ran on different processors or numbers of threads."""
    seconds: str
    times: tuple[str, ...]
    """Seconds on each of several processors; empty where there is one."""
    steps: str
    checks: str
    """How many of the checks passed, and which failed."""
    checks_words: str
    """All checks and their results."""
    seeds: tuple[tuple[int, str], ...]
    """(seed, run) of each run."""
    status: str

    def line(self) -> list[str]:
        """One text per column of :func:`columns`."""
        detector, preset, *options = self.detector
        return [
            self.mark,
            " ".join([detector, *([preset] if preset != "default" else []), *options]),
            " ".join(self.strategy),
            f"{self.average} ± {self.spread}" if self.spread else self.average,
            self.interval,
            self.forgetting[0],
            self.af[0],
            self.learning[0],
            *(found[0] for found in (self.generalisation, self.robustness) if found is not None),
            self.stored,
            self.held_bytes,
            self.compute,
            self.seconds,
            self.checks,
            ", ".join(str(seed) for seed, _ in self.seeds),
            self.status,
        ]


def marks_legend(tables: Iterable[BoardTable]) -> str:
    """What the marks in these tables mean."""
    rows = [row for table in tables for row in table.rows]
    return marks_words(any(row.first.spec.init for row in rows), any(row.baseline for row in rows))


def marks_words(started: bool, baseline: bool) -> str:
    """What the marks mean.

    Args:
        started: A row started from a checkpoint.
        baseline: A row was not trained.
    """
    start = "one start, " if started else ""
    text = (
        f"★ the best continual row of its group (one detector and preset, {start}one memory of samples); ≈ not "
        "significantly worse than it (5 %); bound: a reference that saw all data, not compared"
    )
    return f"{text}; as it is: weights that were not trained here." if baseline else f"{text}."


def legend(tables: Iterable[BoardTable]) -> str:
    """That, and how rows are compared."""
    return f"{marks_legend(tables)} {NOTES_LEGEND}"


def columns(table: BoardTable) -> list[str]:
    """The headings of :meth:`Cells.line`."""
    further = [*(["generalisation"] if table.unseen else []), *(["robustness"] if table.degraded else [])]
    return ["", "detector", "strategy", f"average {text.METRICS[table.headline]}", "95 % interval", "forgetting", "AF",
            "learning", *further, "stored", "bytes", "compute", "seconds", "checks", "seeds", "status"]  # fmt: skip


def cells(table: BoardTable, row: BoardRow) -> Cells:
    """The row of a table in words."""
    spec, average = row.first.spec, row.average
    prefix = "strategy."
    samples, sample_bytes, state_bytes = row.stored
    verdicts = table.verdicts(row)

    def mean_and_spread(name: str) -> tuple[str, str]:
        return written(row, name)

    return Cells(
        mark=BASELINE if row.baseline else BOUND if row.bound else MARKS[row.mark],
        mark_words=table.bound_words(row) if row.bound else MARK_WORDS[row.mark],
        detector=(spec.detector, spec.preset, *(o for o in row.options if not o.startswith(prefix))),
        strategy=(spec.strategy, *(o.removeprefix(prefix) for o in row.options if o.startswith(prefix))),
        average=text.number(average.mean if average else None),
        spread=text.number(average.spread) if average and average.spread is not None else "",
        interval=text.interval(average.low, average.high) if average else text.NONE,
        forgetting=mean_and_spread("forgetting"),
        generalisation=_change(row.generalisation) if table.unseen else None,
        generalisation_sets=_fewer(table, row),
        generalisation_words=_generalisation_words(table, row),
        robustness=_change(row.robustness) if table.degraded else None,
        robustness_words=_robustness_words(row),
        af=mean_and_spread("af"),
        learning=mean_and_spread("learning_accuracy"),
        stored=text.count(samples) if samples else text.NONE,
        stored_bytes=text.size(sample_bytes) if samples else "",
        state_bytes=text.size(state_bytes) if state_bytes else "",
        held_bytes=text.size(row.held_bytes) if row.held_bytes else text.NONE,
        compute=text.compute(table.relative_compute(row)),
        time=text.NONE if row.seconds is None else text.seconds(row.seconds),
        seconds=text.NONE if row.seconds is None else text.count(row.seconds),
        times=tuple(f"{text.seconds(s)} on {where}" for where, s in row.times.items()) if row.seconds is None else (),
        steps=text.count(row.steps) if row.steps else text.NONE,
        checks=_checks(verdicts),
        checks_words="; ".join(f"{each.name}: {each.status}, {each.detail}" for each in verdicts),
        seeds=tuple((record.spec.seed, record.run) for record in row.records),
        status=row.status,
    )


def _checks(verdicts: Sequence[Verdict]) -> str:
    """``5/6``, or ``4/6 ✗ unseen`` where one failed; what was not checked counts as not passed."""
    failed = [each.name for each in verdicts if each.status == "failed"]
    passed = sum(each.status == "passed" for each in verdicts)
    return f"{passed}/{len(verdicts)}" + (f" ✗ {', '.join(failed)}" if failed else "")


def written(row: BoardRow, name: str) -> tuple[str, str]:
    """(mean, spread over seeds) of a metric in words; the spread is empty for one seed."""
    mean, spread = row.metric(name)
    return text.number(mean), "" if spread is None else text.number(spread)


def _change(found: Change | None) -> tuple[str, str]:
    if found is None:
        return text.NONE, ""
    return text.number(found.mean), "" if found.spread is None else text.number(found.spread)


def _fewer(table: BoardTable, row: BoardRow) -> str:
    return f"{len(row.unseen)} of {len(table.unseen)} sets" if 0 < len(row.unseen) < len(table.unseen) else ""


def _generalisation_words(table: BoardTable, row: BoardRow) -> str:
    found = row.generalisation
    if found is None:
        return "not tested on sets that it was never trained on" if table.unseen else ""
    names = ", ".join(row.unseen[:_NAMED]) + (", …" if len(row.unseen) > _NAMED else "")
    return f"{names}: {text.number(found.before)} untrained → {text.number(found.mean)}{_of_seeds(row, found)}"


def _robustness_words(row: BoardRow) -> str:
    found = row.robustness
    if found is None:
        return ""
    figures = f"{text.number(found.before)} undegraded → {text.number(found.mean)} degraded"
    return f"the same samples: {figures}{_of_seeds(row, found)}"


def _of_seeds(row: BoardRow, found: Change) -> str:
    """How many of the row's runs were tested, where earlier ones were not."""
    return f" ({found.seeds} of {len(row.records)} seeds)" if found.seeds < len(row.records) else ""
