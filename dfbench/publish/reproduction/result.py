"""Runs put into the published tables: a mean and a spread over seeds next to each published figure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from dfbench.publish.reproduction.recipe import Recipe, Row, Table
from dfbench.records.record import Record
from dfbench.records.seeds import mean_and_spread

Records = Mapping[tuple[str, str], Mapping[int, Record]]
"""(table, row) → seed → record."""


@dataclass(frozen=True)
class RowResult:
    """A row: what was published and what was measured, in percent."""

    row: Row
    values: dict[int, list[float | None]]
    """Seed → the figure of each column, None where no test set was scored; without the seeds that are not run yet."""
    runs: dict[int, str]
    """Seed → run."""

    @property
    def measured(self) -> list[tuple[float | None, float | None]]:
        """(mean, sample standard deviation) over seeds, per column."""
        return [mean_and_spread([v[k] for v in self.values.values()]) for k in range(len(self.row.reported))]

    @property
    def difference(self) -> list[float | None]:
        """The measured mean minus the published figure, per column; None where one of them is missing."""
        pairs = zip(self.measured, self.row.reported, strict=True)
        return [None if mean is None or reported is None else mean - reported for (mean, _), reported in pairs]


@dataclass(frozen=True)
class TableResult:
    """A table with its rows."""

    table: Table
    rows: list[RowResult]


@dataclass(frozen=True)
class Result:
    """A recipe with all that was measured for it."""

    recipe: Recipe
    tables: list[TableResult]

    @property
    def seeds(self) -> list[int]:
        """All seeds that any row was run with."""
        return sorted({seed for table in self.tables for row in table.rows for seed in row.values})


def fill(recipe: Recipe, records: Records) -> Result:
    """The recipe's tables with the figures of these records; rows without records stay empty."""
    tables = []
    for table in recipe.tables:
        rows = []
        for row in table.rows:
            found = sorted(records.get((table.key, row.name), {}).items())
            values = {seed: after_each(record) for seed, record in found}
            rows.append(RowResult(row, values, {seed: record.run for seed, record in found}))
        tables.append(TableResult(table, rows))
    return Result(recipe, tables)


def after_each(record: Record) -> list[float | None]:
    """Mean accuracy over all test sets after each experience, in percent; None where none was scored."""
    rows = ([value for value in row if value is not None] for row in record.matrix["accuracy"])
    return [100 * statistics.fmean(row) if row else None for row in rows]
