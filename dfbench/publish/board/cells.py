"""A row in words and signs: the same in the terminal, in README.md and on the page."""

from __future__ import annotations

from dataclasses import dataclass

from dfbench.publish.board.table import BoardRow, BoardTable, Mark
from dfbench.records import text

MARKS: dict[Mark | None, str] = {"best": "★", "tied": "≈", "worse": "", None: ""}
BOUND = "∎"
MARK_WORDS: dict[Mark | None, str] = {
    "best": "best continual row",
    "tied": "not significantly worse than the best",
    "worse": "significantly worse than the best",
    None: "",
}
LEGEND = (
    "★ the best continual row; ≈ not significantly worse than it (videos and seeds taken into account, "
    "corrected for the number of rows, 5 %); ∎ an upper bound that saw all data, not compared."
)
TEXT_COLUMNS = 3
"""How many of the columns come before the first number."""


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
    """(mean, spread over seeds), as are the next two; the spread is empty for one seed."""
    bwt: tuple[str, str]
    learning: tuple[str, str]
    stored: str
    stored_bytes: str
    """Of the stored samples; empty where there are none."""
    state_bytes: str
    """Of the strategy's other state; empty where there is none."""
    compute: str
    time: str
    seconds: str
    steps: str
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
            self.bwt[0],
            self.learning[0],
            f"{self.stored} ({self.stored_bytes})" if self.stored_bytes else self.stored,
            self.compute,
            self.seconds,
            ", ".join(str(seed) for seed, _ in self.seeds),
            self.status,
        ]


def columns(table: BoardTable) -> list[str]:
    """The headings of :meth:`Cells.line`."""
    return ["", "detector", "strategy", f"average {text.METRICS[table.headline]}", "95 % interval", "forgetting", "BWT",
            "learning", "stored", "compute", "seconds", "seeds", "status"]  # fmt: skip


def cells(table: BoardTable, row: BoardRow) -> Cells:
    """The row of a table in words."""
    spec, average = row.first.spec, row.average
    prefix = "strategy."
    samples, sample_bytes, state_bytes = row.stored

    def mean_and_spread(name: str) -> tuple[str, str]:
        mean, spread = row.metric(name)
        return text.number(mean), "" if spread is None else text.number(spread)

    return Cells(
        mark=BOUND if row.bound else MARKS[row.mark],
        mark_words="" if row.bound else MARK_WORDS[row.mark],
        detector=(spec.detector, spec.preset, *(o for o in row.options if not o.startswith(prefix))),
        strategy=(spec.strategy, *(o.removeprefix(prefix) for o in row.options if o.startswith(prefix))),
        average=text.number(average.mean if average else None),
        spread=text.number(average.spread) if average and average.spread is not None else "",
        interval=text.interval(average.low, average.high) if average else text.NONE,
        forgetting=mean_and_spread("forgetting"),
        bwt=mean_and_spread("bwt"),
        learning=mean_and_spread("learning_accuracy"),
        stored=text.count(samples) if samples else text.NONE,
        stored_bytes=text.size(sample_bytes) if samples else "",
        state_bytes=text.size(state_bytes) if state_bytes else "",
        compute=text.compute(row.passes, table.relative_compute(row)),
        time=text.seconds(row.seconds),
        seconds=text.count(row.seconds),
        steps=text.count(row.steps) if row.steps else text.NONE,
        seeds=tuple((record.spec.seed, record.run) for record in row.records),
        status=row.status,
    )
