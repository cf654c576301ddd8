"""Printing: results on stdout, everything else on stderr. Nothing that is printed is read as markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from dfbench.records.text import number as number

Cell = str | Text
FRAME, PADDING = 1, 3
"""Characters of a table next to its columns' own: the first rule; blanks and a rule for each column."""


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def console() -> Console:
    """Results. Names and paths keep their brackets and colons; what is to be coloured is a ``Text``."""
    width = None if sys.stdout.isatty() else 200  # a file or a pipe has no width of its own
    return Console(soft_wrap=True, width=width, markup=False, emoji=False)


def note_numbered(numbered: Mapping[str, str]) -> None:
    """Say on stderr which numbers stand for which names in figures (:func:`dfbench.publish.glyphs.unwritable`)."""
    if numbered:
        drawn = ", ".join(f"{number} is {name}" for name, number in numbered.items())
        click.echo(f"no font here has all letters: in PNG and PDF files {drawn}; SVG keeps the names", err=True)


@dataclass(frozen=True)
class Grid:
    """A table that is printed whole at any width: what does not fit next to each other follows below.

    Where there are ``keys``, as many of the other columns as fit are shown next to them, then the keys and the next
    ones. Without keys the texts are wrapped.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    keys: int | None
    """How many columns say what a row is."""
    numbers_from: int
    """Columns from here on are right-aligned."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The title in one line, then the tables."""
        if self.title:
            yield Text(self.title, style="table.title")
        for columns in self.blocks(options.max_width):
            yield self._table(columns, options.max_width)

    def fits(self, width: int) -> bool:
        """Whether all columns fit next to each other."""
        return self._width(range(len(self.columns))) <= width

    def blocks(self, width: int) -> Iterator[list[int]]:
        """The columns of each table, from 0: all of them where they fit, or where there are no keys."""
        if self.keys is None or self.fits(width):
            yield list(range(len(self.columns)))
            return
        keys = list(range(self.keys))
        widest = max(self._width([j]) for j in range(self.keys, len(self.columns)))
        room = max(width - min(self._width(keys), width // 2), widest)  # broad keys are wrapped
        block: list[int] = []
        for column in range(self.keys, len(self.columns)):
            if block and self._width([*block, column]) - FRAME > room:
                yield keys + block
                block = []
            block.append(column)
        yield keys + block

    def _texts(self, column: int) -> list[str]:
        return [self.columns[column], *(str(row[column]) for row in self.rows)]

    def _width(self, columns: Sequence[int]) -> int:
        own = (max(map(cell_len, self._texts(column))) for column in columns)
        return FRAME + sum(width + PADDING for width in own)

    def _table(self, columns: Sequence[int], width: int) -> Table:
        result = Table()
        whole = [j for j in columns if j >= (self.keys or 0)] if self.keys is not None else [0]
        for j in columns:
            # Where there is too little room, rich takes from columns that may be wrapped, and wraps these.
            fixed = j in whole and self._width([j]) <= width // 2
            result.add_column(
                self.columns[j], justify="right" if j >= self.numbers_from else "left", overflow="fold", no_wrap=fixed
            )
        for row in self.rows:
            result.add_row(*(row[j] for j in columns))
        return result


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    numbers_from: int | None = None,
    keys: int | None = None,
) -> Grid:
    """A plain table.

    Args:
        title: A line above it, or nothing.
        columns: Their headings.
        rows: Cells; a ``str`` is printed as it is.
        numbers_from: Columns from this one on are right-aligned.
        keys: Columns that are repeated where the table is too wide for one block; ``numbers_from`` unless given.
    """
    last = len(columns) if numbers_from is None else numbers_from
    return Grid(title, columns, rows, numbers_from if keys is None else keys, last)
