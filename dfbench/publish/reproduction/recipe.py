"""What a recipe's YAML file says: which runs stand for which published row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from dfbench.documents import read_yaml
from dfbench.errors import DataError, UsageError, first_problem
from dfbench.records.record import Record
from dfbench.records.spec import STRATEGY_PREFIX

Text = Annotated[str, Field(min_length=1)]
Settings = dict[str, bool | int | float | str]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Part):
    """A published row, and what is run for it."""

    name: Text
    benchmark: Text
    """A registered benchmark, or a stream's YAML file next to the recipe."""
    strategy: Text
    settings: Settings = {}
    """As ``--set`` takes them, over the recipe's own."""
    reported: list[float | None]
    """The published figures in percent, one per column; None where there is none."""


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


class Recipe(_Part):
    """A whole file."""

    name: Text
    title: Text
    paper: Text
    """Where the tables were published."""
    short_name: Text = "the paper"
    """The same in a sentence or a table."""
    note: str = ""
    """What a reader should know of the recipe."""
    detector: Text
    preset: Text | None = None
    settings: Settings = {}
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)] = [0, 1, 2]
    tables: Annotated[list[Table], Field(min_length=1)]
    folder: Path = Field(Path(), exclude=True)
    """Where the file lies."""

    @model_validator(mode="after")
    def _keys_differ(self) -> Recipe:
        if len({table.key for table in self.tables}) < len(self.tables):
            raise ValueError("two tables have one key")
        return self

    def only(self, keys: list[str]) -> Recipe:
        """The recipe with these tables alone.

        Raises:
            UsageError: There is no such table.
        """
        known = [table.key for table in self.tables]
        for key in keys:
            if key not in known:
                raise UsageError(f"{self.name} has no table {key!r}; it has {', '.join(known)}")
        return self.model_copy(update={"tables": [table for table in self.tables if table.key in keys]})

    def stream(self, row: Row) -> str:
        """The benchmark of a row as a run takes it: a YAML file lies next to the recipe."""
        is_file = row.benchmark.endswith((".yaml", ".yml"))
        return str(self.folder / row.benchmark) if is_file else row.benchmark

    def settings_of(self, row: Row) -> Settings:
        """All options that a row's runs set."""
        return {**self.settings, **row.settings}

    def is_of(self, row: Row, record: Record) -> bool:
        """Whether a record of the leaderboard is a run of this row: nothing else is set than what the row sets."""
        spec, wanted = record.spec, self.settings_of(row)
        if (spec.detector, spec.benchmark, spec.strategy, spec.tuned) != (
            self.detector, row.benchmark, row.strategy, (),
        ):  # fmt: skip
            return False
        if self.preset is not None and spec.preset != self.preset:
            return False
        had = {**spec.detector_config, **{STRATEGY_PREFIX + key: v for key, v in spec.strategy_config.items()}}
        named = {setting.partition("=")[0] for setting in record.settings or ()}
        return named <= set(wanted) and all(had.get(key) == value for key, value in wanted.items())


def as_options(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings as ``--set`` takes them."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in settings.items())


def read_recipe(path: Path) -> Recipe:
    """A recipe, checked.

    Raises:
        UsageError: One line with the file and what is wrong in it.
    """
    try:
        content = read_yaml(path)
        return Recipe.model_validate({**content, "folder": path.parent})
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error)}") from None
    except (DataError, TypeError) as error:
        raise UsageError(f"{path}: not a recipe ({str(error).removeprefix(f'{path}: ')})") from None
