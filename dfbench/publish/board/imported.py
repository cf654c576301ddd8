"""Rows of imported scores (``leaderboard/imported/*.json``): in tables of their own, never ranked against ours.

The figures are computed as those of records are, so averages and intervals on the same samples can be read side by
side. How the scores were made is not known: there is no mark, no cost and no memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dfbench.evaluation.further import mean_of
from dfbench.evaluation.significance import Estimate, Sample, estimate, moderated
from dfbench.evaluation.uncertainty import decode
from dfbench.records import text
from dfbench.records.imported import FOLDER, ImportedRow
from dfbench.records.seeds import mean_and_spread

TEXT_COLUMNS = 2
"""How many of the columns come before the first number."""
POLICIES = {"error": "", "drop": "left out", "worst": "counted as wrong"}
"""What was done about predictions that are missing, in words."""
LEGEND = (
    "Scores that others made, from which every figure was computed here. Nothing says how they were made, so they are "
    "never ranked against rows that dfbench trained. Coverage: predictions that the scores have, of those that they "
    "should have."
)


@dataclass(frozen=True)
class ImportedTableRow:
    """A row with the figures that its seeds have in common."""

    row: ImportedRow

    @cached_property
    def average(self) -> Estimate:
        """The headline average with its interval, over people (else videos, else samples) and seeds."""
        values = [value for seed in self.row.seeds if (value := seed.metrics["average"]) is not None]
        drawn = [decode(seed.uncertainty.replicates) for seed in self.row.seeds]
        return estimate(Sample(values, drawn, moderated([values])[0]))

    def metric(self, name: str) -> tuple[float | None, float | None]:
        """(mean, spread over seeds); the spread is None for one seed."""
        return mean_and_spread([seed.metrics.get(name) for seed in self.row.seeds])

    @property
    def final(self) -> list[tuple[str, float | None, int]]:
        """Each test set with the final model's headline metric (mean over seeds), and the samples that were scored."""
        key = {"auc": "frame_auc"}.get(self.row.headline, self.row.headline)
        found = []
        for place, each in enumerate(self.row.coverage.per_set):
            lines = [
                [*seed.per_experience, *(seed.generalisation.per_set if seed.generalisation else [])][place]
                for seed in self.row.seeds
            ]
            values = [value if isinstance(value := line.get(key), float | int) else None for line in lines]
            found.append((each.set, mean_of(values), each.scored))
        return found

    @property
    def coverage(self) -> str:
        """``99.1 %, missing ones counted as wrong``."""
        found = self.row.coverage
        if found.predicted == found.expected:
            return "100 %"
        # Never rounded up to all of them.
        return f"{int(found.share * 1000) / 10:.1f} %, missing ones {POLICIES[found.missing]}"

    @property
    def seeds(self) -> str:
        """``0, 1, 2``; a dash where the file does not say."""
        return ", ".join(text.NONE if seed.seed is None else str(seed.seed) for seed in self.row.seeds)

    def cells(self, unseen: bool) -> list[str]:
        """One text per column of :func:`columns`."""
        average, row = self.average, self.row
        further = [text.number(self.metric("generalisation")[0])] if unseen else []
        return [
            row.detector,
            row.strategy,
            text.with_spread(average.mean, average.spread),
            text.interval(average.low, average.high),
            text.number(self.metric("forgetting")[0]),
            text.number(self.metric("af")[0]),
            text.number(self.metric("learning_accuracy")[0]),
            *further,
            text.count(sum(each.scored for each in row.coverage.per_set)),
            self.coverage,
            self.seeds,
            row.status,
        ]

    @property
    def about(self) -> str:
        """Where the scores come from, and what a reader should know of them."""
        row = self.row
        parts = [
            row.source or "source not stated",
            *([f"imported by {row.by}"] if row.by else []),
            *([f"one model, trained on {row.trained_once}"] if row.trained_once else []),
            *(["the last model alone was tested"] if row.one_model and len(row.experiences) > 1 else []),
            *(["P(fake) from logits"] if row.logits else []),
            *row.notes,
            f"sha256 {', '.join(each.sha256[:12] for each in row.files)}",
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class ImportedTable:
    """Rows on the same samples, the best average first."""

    key: str
    """Unique among imported tables, and stable."""
    rows: tuple[ImportedTableRow, ...]

    @property
    def first(self) -> ImportedRow:
        """The row that says what all of them have in common."""
        return self.rows[0].row

    @property
    def benchmark(self) -> str:
        """What the rows say that they are on."""
        return self.first.benchmark

    @property
    def same_as(self) -> str | None:
        """Fingerprint of the board's own rows on the same samples."""
        return next((each.row.data.same_as for each in self.rows if each.row.data.same_as), None)

    @property
    def samples(self) -> str:
        """How its samples compare with those of the board's own rows, in words."""
        if self.same_as:
            return f"the same samples and labels as the board's own rows (data {self.same_as[:12]})"
        if not self.first.data.compared:
            return "samples not compared with those of the board's own rows, whose scores were not here"
        return "samples of none of the board's own rows"

    @property
    def unseen(self) -> bool:
        """Whether a test set was never trained on."""
        return bool(self.first.unseen)

    @property
    def title(self) -> str:
        """The benchmark, and how many rows there are."""
        return f"{self.key}, imported scores: {len(self.rows)} row{'s' * (len(self.rows) != 1)}"


def columns(table: ImportedTable) -> list[str]:
    """The headings of :meth:`ImportedTableRow.cells`."""
    average, further = f"average {text.METRICS[table.first.headline]}", ["generalisation"] if table.unseen else []
    return ["detector", "strategy", average, "95 % interval", "forgetting", "AF", "learning", *further, "samples",
            "coverage", "seeds", "status"]  # fmt: skip


def sort_value(cell: str) -> str:
    """What a cell is sorted by: the number that it begins with, else its text; a dash sorts last."""
    number = re.match(r"−?[\d.]+", cell.replace("\u202f", ""))
    return number[0].replace("−", "-") if number else "" if cell == text.NONE else cell


def read_imported(folder: Path) -> list[ImportedRow]:
    """The imported rows of a leaderboard's folder.

    Raises:
        DataError: A file breaks the schema.
    """
    return [ImportedRow.read(path) for path in sorted((folder / FOLDER).glob("*.json"))]


def imported_tables(rows: Sequence[ImportedRow]) -> tuple[ImportedTable, ...]:
    """Rows of one benchmark, headline, stream and collection of samples stand in one table."""
    groups: dict[tuple[Any, ...], list[ImportedRow]] = {}
    for row in rows:
        key = row.benchmark, row.data.sha256, row.headline, tuple(row.experiences), tuple(row.unseen)
        groups.setdefault(key, []).append(row)
    names = [key[0] for key in groups]
    tables = []
    for number, (key, members) in enumerate(sorted(groups.items())):
        alike = [other for other in groups if other[:2] == key[:2]]
        name = key[0] if names.count(key[0]) == 1 else f"{key[0]}-{key[1][:8]}"
        name += f"-{key[2]}-{number}" if len(alike) > 1 else ""
        found = sorted(map(ImportedTableRow, members), key=lambda each: (-each.average.mean, each.row.run))
        tables.append(ImportedTable(name, tuple(found)))
    return tuple(tables)


def table_data(table: ImportedTable) -> dict[str, Any]:
    """A table as ``leaderboard show --json`` prints it."""
    first = table.first
    return {
        "key": table.key,
        "benchmark": table.benchmark,
        "imported": True,
        "same_as": table.same_as,
        "headline": first.headline,
        "experiences": first.experiences,
        "unseen": first.unseen,
        "rows": [_row_data(each) for each in table.rows],
    }


def _row_data(each: ImportedTableRow) -> dict[str, Any]:
    row, average = each.row, each.average
    return {
        "run": row.run,
        "detector": row.detector,
        "strategy": row.strategy,
        "status": row.status,
        "average": {"mean": average.mean, "spread": average.spread, "low": average.low, "high": average.high},
        **{name: each.metric(name)[0] for name in ("forgetting", "af", "bwt", "learning_accuracy", "generalisation")},
        "per_set": {name: {"value": value, "n": n} for name, value, n in each.final},
        "coverage": row.coverage.model_dump(),
        "seeds": [seed.seed for seed in row.seeds],
        "source": row.source,
        "by": row.by,
        "notes": row.notes,
        "files": [file.model_dump() for file in row.files],
    }
