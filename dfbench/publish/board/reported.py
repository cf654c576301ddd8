"""Rows reported in papers (``leaderboard/reported/*.yaml``): shown next to ours, never ranked against them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dfbench.documents import read_yaml
from dfbench.errors import DataError, first_problem
from dfbench.records import outside
from dfbench.records.record import Name


class ReportedRow(BaseModel):
    """One row of a paper's table, as printed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Name
    detector: Name | None = None
    """The network, where the source says."""
    memory: Name | None = None
    values: list[str]
    note: str = ""


class Reported(BaseModel):
    """One table of a paper: ``leaderboard/reported/*.yaml``. As printed there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Name
    title: Name
    paper: Name
    table: str = ""
    metric: Name
    """What the numbers are, with their unit."""
    note: str = ""
    columns: Annotated[list[Name], Field(min_length=1)]
    rows: Annotated[list[ReportedRow], Field(min_length=1)]

    @model_validator(mode="after")
    def _widths(self) -> Reported:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"row {row.strategy!r} has {len(row.values)} values for {len(self.columns)} columns")
        return self


def read_reported(path: Path) -> Reported:
    """A table of a paper.

    Raises:
        DataError: The file cannot be read, or breaks the schema.
    """
    value = read_yaml(path)
    if problem := outside.value_problem(value):
        raise DataError(f"{path}: {problem}")
    try:
        return Reported.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from error
