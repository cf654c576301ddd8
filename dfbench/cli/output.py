"""Printing: results on stdout, everything else on stderr. Nothing that is printed is read as markup."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from dfbench.records.text import number as number

Cell = str | Text
PADDING = 2
"""Blanks between columns."""


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def console() -> Console:
    """Results. Names and paths keep their brackets and colons; what is to be coloured is a ``Text``."""
    width = None if sys.stdout.isatty() else 200  # a file or a pipe has no width of its own
    return Console(soft_wrap=True, width=width, markup=False, emoji=False, highlight=False)


def say(text: str) -> None:
    """A result in prose on stdout; on a terminal its lines break between words, so that no figure is cut in two."""
    if sys.stdout.isatty():
        text = wrapped(text, console().width)
    console().print(text)


def wrapped(text: str, width: int) -> str:
    """Lines of up to ``width`` characters; a longer word (a path) stays in one piece, so that it can be copied."""
    fill = textwrap.TextWrapper(
        max(width, 20), break_long_words=False, break_on_hyphens=False, replace_whitespace=False, expand_tabs=False
    ).fill
    return "\n".join(map(fill, text.split("\n")))


def next_steps(*commands: str) -> None:
    """A dim line on stderr that says what to do with the result.

    Args:
        commands: Lines for a shell.
    """
    if commands:
        colour = False if os.environ.get("NO_COLOR") else None
        click.echo(click.style(f"next: {' · '.join(commands)}", dim=True), err=True, color=colour)


def note_numbered(numbered: Mapping[str, str]) -> None:
    """Say on stderr which numbers stand for which names in figures (:func:`dfbench.publish.glyphs.unwritable`)."""
    if numbered:
        drawn = ", ".join(f"{number} is {name}" for name, number in numbered.items())
        click.echo(f"no font here has all letters: in PNG and PDF files {drawn}; SVG keeps the names", err=True)


@dataclass(frozen=True)
class Grid:
    """A table in which no name and no figure is cut, at any width.

    Where there are ``keys``, which say what a row is, they stand first, and as many of the other columns as fit next
    to them. What does not fit on a terminal is left out and named below where there are ``ranks``; else it follows in
    further tables, each with the keys. Without keys the texts are wrapped.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    keys: int | None
    """How many columns say what a row is."""
    numbers_from: int
    """Columns from here on are right-aligned."""
    ranks: Sequence[int] | None = None
    """Columns that may be left out, the most important first; those that are in none come last."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The title in one line, the tables, and what is not shown."""
        width = options.max_width
        if self.ranks is not None and not console.is_terminal:  # in a file or a pipe nothing may be missing
            yield replace(self, ranks=None)
            return
        if self.title:
            yield Text(wrapped(self.title, width), style="bold")
        for columns in self.blocks(width):
            yield self._table(columns, width)
        if hidden := self.hidden(width):
            names = ", ".join(self.columns[j] for j in hidden)
            yield Text(wrapped(f"not shown: {names} (a wider terminal or --json shows them)", width), style="dim")

    def fits(self, width: int) -> bool:
        """Whether all columns fit next to each other."""
        return self._width(range(len(self.columns))) <= width

    def hidden(self, width: int) -> list[int]:
        """The columns that are left out, from 0."""
        shown = [j for block in self.blocks(width) for j in block]
        return [j for j in range(len(self.columns)) if j not in shown]

    def blocks(self, width: int) -> Iterator[list[int]]:
        """The columns of each table, from 0: all of them where they fit, or where there are no keys."""
        if self.keys is None or self.fits(width):
            yield list(range(len(self.columns)))
            return
        keys, others = list(range(self.keys)), list(range(self.keys, len(self.columns)))
        if self.ranks is not None:
            others.sort(key=lambda j: self.ranks.index(j) if j in self.ranks else len(self.columns))  # type: ignore
        widest = max(self._width([j]) for j in others)
        room = max(width - min(self._width(keys) + PADDING, width // 2), widest)  # broad keys are wrapped
        block: list[int] = []
        for column in others:
            if block and self._width([*block, column]) > room:
                if self.ranks is not None:
                    break
                yield keys + block
                block = []
            block.append(column)
        yield keys + sorted(block)

    def _texts(self, column: int) -> list[str]:
        return [self.columns[column], *(str(row[column]) for row in self.rows)]

    def _width(self, columns: Sequence[int]) -> int:
        own = (max(map(cell_len, self._texts(column))) for column in columns)
        return sum(width + PADDING for width in own) - PADDING

    def _table(self, columns: Sequence[int], width: int) -> Table:
        result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, PADDING - 1, 0, 0))
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
    ranks: Sequence[str] | None = None,
) -> Grid:
    """A plain table.

    Args:
        title: A line above it, or nothing.
        columns: Their headings.
        rows: Cells; a ``str`` is printed as it is.
        numbers_from: Columns from this one on are right-aligned.
        keys: Columns that say what a row is; ``numbers_from`` unless given.
        ranks: Headings, the most important first: what does not fit is left out. None: it follows in further tables.
    """
    last = len(columns) if numbers_from is None else numbers_from
    order = None if ranks is None else [columns.index(name) for name in ranks if name in columns]
    return Grid(title, columns, rows, numbers_from if keys is None else keys, last, order)
