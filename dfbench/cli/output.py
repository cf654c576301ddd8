"""Printing: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dfbench.records.text import number as number


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def console() -> Console:
    """Results."""
    width = None if sys.stdout.isatty() else 200  # a file or a pipe has no width of its own
    return Console(soft_wrap=True, width=width)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int | None = None) -> Table:
    """A plain table; columns from ``numbers_from`` on are right-aligned."""
    result = Table(title=title or None, title_justify="left")
    for index, column in enumerate(columns):
        right = numbers_from is not None and index >= numbers_from
        result.add_column(column, justify="right" if right else "left", no_wrap=right)
    for row in rows:
        result.add_row(*row)
    return result
