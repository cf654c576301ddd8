"""Runs put into the published tables: a mean and a spread over seeds beside each published figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfbench.publish.reproduction.recipe import Recipe, Row, Table

Records = Mapping[tuple[str, str], Mapping[int, Mapping[str, Any]]]
"""(table, row) → seed → record."""


@dataclass(frozen=True)
class Line:
    """A row: what was published and what was measured, in percent."""

    row: Row
    values: dict[int, list[float]]
    """Seed → the figure of each column; without the seeds that are not run yet."""
    runs: dict[int, str] = field(default_factory=dict)
    """Seed → run."""

    @property
    def seeds(self) -> list[int]:
        """Those that were run."""
        return sorted(self.values)

    def mean(self, column: int) -> float | None:
        """Over seeds; None without any."""
        return statistics.fmean(v[column] for v in self.values.values()) if self.values else None

    def spread(self, column: int) -> float | None:
        """Sample standard deviation over seeds; None for fewer than two."""
        return statistics.stdev(v[column] for v in self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Filled:
    """A table with its lines."""

    table: Table
    lines: list[Line]

    def line(self, name: str) -> Line:
        """The line of this name."""
        return next(line for line in self.lines if line.row.name == name)

    def column(self, name: str) -> int:
        """Position of a column, from 0."""
        return self.table.columns.index(name)


@dataclass(frozen=True)
class Result:
    """A recipe with all that was measured for it."""

    recipe: Recipe
    tables: list[Filled]

    def table(self, key: str) -> Filled:
        """The table of this key."""
        return next(filled for filled in self.tables if filled.table.key == key)

    @property
    def seeds(self) -> list[int]:
        """All seeds that any row was run with."""
        return sorted({seed for filled in self.tables for line in filled.lines for seed in line.seeds})


def fill(recipe: Recipe, records: Records) -> Result:
    """The recipe's tables with the figures of these records; rows without records stay empty."""
    tables = []
    for table in recipe.tables:
        lines = []
        for row in table.rows:
            found = records.get((table.key, row.name), {})
            values = {seed: after_each(record) for seed, record in sorted(found.items())}
            lines.append(Line(row, values, {seed: str(record["run"]) for seed, record in sorted(found.items())}))
        tables.append(Filled(table, lines))
    return Result(recipe, tables)


def after_each(record: Mapping[str, Any]) -> list[float]:
    """Mean accuracy over all test sets after each experience, in percent; nan where none was scored."""
    return [100 * _mean(value for value in row if value is not None) for row in record["matrix"]["accuracy"]]


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return statistics.fmean(known) if known else float("nan")
