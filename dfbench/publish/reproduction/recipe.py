"""What a recipe's YAML file says: which runs stand for which published row, and what is claimed of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError, model_validator

from dfbench.errors import UsageError
from dfbench.records.record import Record

Text = Annotated[str, Field(min_length=1)]
Settings = dict[str, bool | int | float | str]
STRATEGY = "strategy."


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """A published row, and what is run for it.

    :ivar benchmark: a registered benchmark, or a stream's YAML file, relative to the recipe
    :ivar settings: as ``--set`` takes them, over the recipe's own
    :ivar reported: the published figures in percent, one a column; null where there is none
    """

    name: Text
    benchmark: Text
    strategy: Text
    settings: Settings = {}
    reported: list[float | None]


class Table(_Part):
    """A published table: column k is the mean accuracy over the test sets after experience k."""

    key: Text
    title: Text
    columns: Annotated[list[Text], Field(min_length=1)]
    rows: Annotated[list[Row], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> Table:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"table {self.key}: two rows have one name")
        for row in self.rows:
            if len(row.reported) != len(self.columns):
                raise ValueError(
                    f"table {self.key}, row {row.name}: {len(row.reported)} figures for {len(self.columns)} columns"
                )
        return self

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)


class Level(_Part):
    """Claim: every figure of every row is within so many points of the published one."""

    kind: Literal["level"]
    table: Text
    within: NonNegativeFloat

    @property
    def cells(self) -> list[tuple[str, str | None, str | None]]:
        """(table, row, column) that it is about; None: all."""
        return [(self.table, None, None)]


class Order(_Part):
    """Claim: in this column each row is above the next one."""

    kind: Literal["order"]
    table: Text
    rows: Annotated[list[Text], Field(min_length=2)]
    column: Text

    @property
    def cells(self) -> list[tuple[str, str | None, str | None]]:
        """See :class:`Level`."""
        return [(self.table, row, self.column) for row in self.rows]


class Gap(_Part):
    """Claim: the first row's lead over the second is within so many points of the published one."""

    kind: Literal["gap"]
    table: Text
    rows: tuple[Text, Text]
    column: Text
    within: NonNegativeFloat

    @property
    def cells(self) -> list[tuple[str, str | None, str | None]]:
        """See :class:`Level`."""
        return [(self.table, row, self.column) for row in self.rows]


class Cell(_Part):
    """A row of some table."""

    table: Text
    row: Text


class Repeat(_Part):
    """Claim: rows that are one and the same training, in a column or in all, are published within so many points."""

    kind: Literal["repeat"]
    rows: Annotated[list[Cell], Field(min_length=2)]
    column: Text | None = None
    within: NonNegativeFloat

    @property
    def cells(self) -> list[tuple[str, str | None, str | None]]:
        """See :class:`Level`."""
        return [(cell.table, cell.row, self.column) for cell in self.rows]


Claim = Annotated[Level | Order | Gap | Repeat, Field(discriminator="kind")]


class Choice(_Part):
    """How settings were chosen: a grid, run on a validation split that no test figure is made of.

    :ivar grid: option → values; every combination is run
    :ivar targets: in percent, what is aimed at after each experience of the benchmark; the combination with the
        smallest mean distance to them, averaged over seeds, is chosen
    """

    benchmark: Text
    strategy: Text
    settings: Settings = {}
    grid: dict[str, Annotated[list[bool | int | float | str], Field(min_length=1)]]
    targets: Annotated[list[float], Field(min_length=1)]
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)] = [0]

    @property
    def combinations(self) -> list[Settings]:
        """Every combination of the grid's values."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


class Recipe(_Part):
    """A whole file.

    :ivar paper: where the tables were published. called: what it is called in a sentence
    :ivar note: what one should know of it
    """

    name: Text
    title: Text
    paper: Text
    called: Text = "the paper"
    note: str = ""
    detector: Text
    preset: Text | None = None
    settings: Settings = {}
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)] = [0, 1, 2]
    tables: Annotated[list[Table], Field(min_length=1)]
    claims: list[Claim] = []
    choice: Choice | None = None
    folder: Path = Field(Path(), exclude=True)
    """Where the file lies."""

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Recipe:
        tables = {table.key: table for table in self.tables}
        if len(tables) < len(self.tables):
            raise ValueError("two tables have one key")
        for claim in self.claims:
            for key, row, column in claim.cells:
                if key not in tables:
                    raise ValueError(f"a claim is about table {key}, which is not there")
                if row is not None and row not in [each.name for each in tables[key].rows]:
                    raise ValueError(f"a claim is about row {row} of table {key}, which is not there")
                if column is not None and column not in tables[key].columns:
                    raise ValueError(f"a claim is about column {column} of table {key}, which is not there")
        return self

    def only(self, keys: list[str]) -> Recipe:
        """The recipe with these tables alone, and the claims about nothing else.

        :raise UsageError: there is no such table
        """
        known = [table.key for table in self.tables]
        for key in keys:
            if key not in known:
                raise UsageError(f"{self.name} has no table {key!r}; it has {', '.join(known)}")
        claims = [claim for claim in self.claims if all(table in keys for table, _, _ in claim.cells)]
        return self.model_copy(update={"tables": [t for t in self.tables if t.key in keys], "claims": claims})

    def place(self, benchmark: str) -> str:
        """A benchmark as a run takes it: a YAML file lies beside the recipe."""
        return str(self.folder / benchmark) if benchmark.endswith((".yaml", ".yml")) else benchmark

    def settings_of(self, row: Row | Choice, more: Mapping[str, Any] | None = None) -> Settings:
        """All options that a row's runs set."""
        return {**self.settings, **row.settings, **(more or {})}

    def is_of(self, row: Row, record: Record) -> bool:
        """Whether a record of the leaderboard is a run of this row: nothing else is set than what the row sets."""
        spec, wanted = record.spec, self.settings_of(row)
        if (spec.detector, spec.benchmark, spec.strategy) != (self.detector, row.benchmark, row.strategy):
            return False
        if self.preset is not None and spec.preset != self.preset:
            return False
        had = {**spec.detector_config, **{STRATEGY + key: value for key, value in spec.strategy_config.items()}}
        named = {setting.partition("=")[0] for setting in record.settings or ()}
        return named <= set(wanted) and all(had.get(key) == value for key, value in wanted.items())


def as_options(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings as ``--set`` takes them."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())


def read_recipe(path: Path) -> Recipe:
    """A recipe, checked.

    :raise UsageError: one line with the file and what is wrong in it
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Recipe.model_validate({**content, "folder": path.parent})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {where}: {message}" if where else f"{path}: {message}") from None
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not a recipe ({' '.join(str(error).split())})") from None
