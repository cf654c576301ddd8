"""Rows reported in papers (``leaderboard/reported/*.yaml``): shown next to ours, never ranked against them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dfbench.benchmarks import packaged
from dfbench.documents import read_yaml
from dfbench.errors import DataError, UsageError, first_problem
from dfbench.publish.board.recomputation import FIGURE, Formula, Recomputed, recompute
from dfbench.records import outside
from dfbench.records.parts import Name

Kind = Literal["continual", "test time", "one training"]
KINDS: dict[Kind, str] = {
    "continual": "Trained on one set after another",
    "test time": "Adapted while it is tested, without labels",
    "one training": "Trained once, tested on other data",
}
"""What a table is about → its heading, in the order of the page."""
Read = Literal["text", "repository", "second hand", "not noted"]
READ: dict[Read, str] = {
    "text": "read in the text",
    "repository": "read in the project's repository",
    "second hand": "second hand: from notes on the paper",
    "not noted": "how it was read was not noted",
}
Printed = Annotated[str, Field(max_length=40)]


class ReportedRow(BaseModel):
    """One row of a paper's table, as printed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Name | None = None
    detector: Name | None = None
    """The network, where the source says; in a table of ``kind: one training`` the detector."""
    memory: Name | None = None
    settings: dict[Name, Name] = Field(default_factory=dict)
    """What else tells the row from others, such as ``{weights: linear probe}``."""
    values: list[Printed]
    matrix: list[Name] | None = None
    """R as printed, a line per training: ``["95.5", "87.8 81.6"]``."""
    along: dict[Name, list[Printed]] = Field(default_factory=dict)
    """Computed column → its figures as printed after each training from the second on."""
    differs: dict[Name, Name] = Field(default_factory=dict)
    """Computed column → in what the printed figure differs from the one that follows from the table."""
    note: str = ""

    @property
    def method(self) -> str:
        """What the row is named after."""
        return self.strategy or self.detector or ""


class Reported(BaseModel):
    """One table of a paper: ``leaderboard/reported/*.yaml``. As printed there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Name
    title: Name
    kind: Kind = "continual"
    paper: Name
    """What it is called, then where it stands: ``DevFD, NeurIPS 2025``."""
    table: str = ""
    read: Read
    """How its figures came here."""
    metric: Name
    """What the numbers are, with their unit."""
    note: str = ""
    columns: Annotated[list[Name], Field(min_length=1)]
    headline: Name | None = None
    """The column with the one figure by which the paper compares its rows."""
    computed: dict[Name, Formula] = Field(default_factory=dict)
    """Columns that follow from those before the first of them, and how."""
    rows: Annotated[list[ReportedRow], Field(min_length=1)]

    @property
    def source(self) -> str:
        """The paper or project without place and year: ``DevFD``."""
        return re.split(r"[,:]", self.paper)[0]

    @property
    def where(self) -> str:
        """The paper, and the table in it."""
        return f"{self.paper}, table {self.table}" if self.table else self.paper

    @property
    def settings(self) -> list[str]:
        """Names of settings, in the order in which rows have them."""
        return list(dict.fromkeys(name for row in self.rows for name in row.settings))

    def recomputed(self, row: ReportedRow) -> list[Recomputed]:
        """The printed figures of a row that follow from others of it."""
        return recompute(self.columns, self.computed, row.values, row.matrix, row.along)

    @property
    def checked(self) -> list[str]:
        """Computed columns of which every printed figure was recomputed."""
        done = [{each.where for each in self.recomputed(row)} for row in self.rows]
        printed = [dict(zip(self.columns, row.values, strict=True)) for row in self.rows]
        pairs = list(zip(done, printed, strict=True))
        return [c for c in self.computed if all(c in found or not values[c] for found, values in pairs)]

    @model_validator(mode="after")
    def _columns(self) -> Reported:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"columns have a name twice: {', '.join(self.columns)}")
        for name in [*self.computed, *([self.headline] if self.headline else [])]:
            if name not in self.columns:
                raise ValueError(f"{name!r} is named, but is none of the columns {', '.join(self.columns)}")
        first = min(map(self.columns.index, self.computed), default=1)
        if first < 1 + ("difference" in self.computed.values()):
            raise ValueError("a computed column comes after the columns that it is computed of")
        return self

    @model_validator(mode="after")
    def _rows(self) -> Reported:
        for row in self.rows:
            if problem := self._problem(row) or self._unflagged(row):
                raise ValueError(f"row {row.method!r} {problem}")
        return self

    def _problem(self, row: ReportedRow) -> str | None:
        """What is wrong with the form of a row."""
        if len(row.values) != len(self.columns):
            return f"has {len(row.values)} values for {len(self.columns)} columns"
        if self.kind == "one training" and (row.strategy or row.memory or not row.detector):
            return "has a strategy, a memory or no detector: a table of kind 'one training' has detectors alone"
        if not row.method:
            return "has neither a strategy nor a detector"
        for figure in [*row.values, *(f for figures in row.along.values() for f in figures)]:
            if figure and not FIGURE.fullmatch(figure):
                return f'has {figure!r}, which is no figure: digits as printed, "" where the paper has none'
        return self._matrix_problem(row)

    def _matrix_problem(self, row: ReportedRow) -> str | None:
        if row.matrix is None:
            return "has figures along the way, but no matrix" if row.along else None
        lines = [line.split() for line in row.matrix]
        experiences = min(map(self.columns.index, self.computed), default=len(self.columns))
        if [len(line) for line in lines] != list(range(1, experiences + 1)):
            return f"has a matrix that is not a triangle of 1 to {experiences} figures a line"
        if wrong := next((f for line in lines for f in line if not FIGURE.fullmatch(f)), None):
            return f"has {wrong!r} in its matrix, which is no figure"
        if lines[-1] != row.values[:experiences]:
            return (
                f"has a matrix that ends in {' '.join(lines[-1])}, but the values {' '.join(row.values[:experiences])}"
            )
        for name, figures in row.along.items():
            if name not in self.computed:
                return f"has {name!r} along the way, which is no computed column"
            if len(figures) != experiences - 1 or figures[-1] != row.values[self.columns.index(name)]:
                return (
                    f"has {name!r} along the way: figures of trainings 2 to {experiences}, the last that of the column"
                )
        return None

    def _unflagged(self, row: ReportedRow) -> str | None:
        """A printed figure that does not follow and is not flagged, or the reverse."""
        try:
            off = {each.where: each.words for each in self.recomputed(row) if not each.agrees}
        except UsageError as error:
            return str(error)
        for where, words in off.items():
            if row.differs.get(where) != words:
                flag = f'differs: {{{where}: "{words}"}}'
                return f"prints a figure that does not follow from the others: correct it, or write {flag}"
        if rest := next((where for where in row.differs if where not in off), None):
            return f"flags {rest} as one that differs, but it follows or cannot be recomputed: take it out"
        return None


def read_reported(path: Path) -> Reported:
    """A table of a paper.

    Raises:
        DataError: The file cannot be read, breaks the schema, or has an average, a forgetting or a difference that does
            not follow from the other figures and is not flagged.
    """
    value = read_yaml(path)
    if problem := outside.value_problem(value):
        raise DataError(f"{path}: {problem}")
    try:
        return Reported.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from error


def by_protocol(tables: Sequence[Reported]) -> dict[str, list[Reported]]:
    """The tables of each protocol: first those of packaged benchmarks, then by the number of rows.

    Of several tables the one with the shortest title stands first; the others' titles say what they add to it.
    """
    groups: dict[str, list[Reported]] = {}
    for table in tables:
        groups.setdefault(table.protocol, []).append(table)
    known = packaged()
    order = sorted(groups, key=lambda name: (name not in known, -sum(len(t.rows) for t in groups[name]), name))
    return {name: sorted(groups[name], key=lambda table: len(table.title)) for name in order}
