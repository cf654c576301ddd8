"""All that the pages say of one table, as plain values: it depends on the table's records and controls alone."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from dfbench.publish.board import cells, view
from dfbench.publish.board.data import details
from dfbench.publish.board.listed import listed
from dfbench.publish.board.markdown import section
from dfbench.publish.board.parts import part
from dfbench.publish.board.table import BoardTable
from dfbench.records.verdict import NAMES, QUESTIONS

PLAIN = 100
"""Rows of a table in the page that a browser without scripts shows."""


@dataclass(frozen=True)
class Panel:
    """A table on the page and in README.md."""

    key: str
    benchmark: str
    fingerprint: str
    headline: str
    experiences: tuple[str, ...]
    rows: int
    runs: int
    newest: str
    """The day of the newest record."""
    badge: str
    meaning: str
    description: str
    scope: str | None
    citation: dict[str, Any] | None
    columns: tuple[view.Column, ...]
    choices: tuple[tuple[str, str, list[str]], ...]
    axis: tuple[float, float]
    finding: str
    started: bool
    """A row started from a checkpoint."""
    bounds: bool
    baseline: bool
    strategies: tuple[str, ...]
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    """The first rows in words, under ``heads``."""
    ids: str
    """Of all rows, ten digits each."""
    section: str
    """Of README.md."""
    folder: str
    """Of its parts."""
    parts: dict[str, str]
    """Name → script that the page loads: its rows (``FOLDER/rows``), and the rows with all their runs by the first two
    digits of their id (``FOLDER/3f``)."""

    @property
    def known(self) -> dict[str, Any]:
        """What the page's script has of it from the start."""
        names = ("key", "benchmark", "fingerprint", "headline", "experiences", "folder", "ids", "axis", "badge",
                 "meaning", "description")  # fmt: skip
        return {name: getattr(self, name) for name in names} | {"checks": [[name, QUESTIONS[name]] for name in NAMES]}


PANEL = TypeAdapter(Panel)
"""To JSON and back."""


def panel(table: BoardTable) -> Panel:
    """Of a table."""
    subject, axis, folder, rows = view.subject(table), view.axis(table), folder_of(table.key), table.rows
    parts = {"rows": listed(table), **details(table)}
    return Panel(
        key=table.key,
        benchmark=table.benchmark,
        fingerprint=table.fingerprint,
        headline=table.headline,
        experiences=table.experiences,
        rows=len(rows),
        runs=table.runs,
        newest=max(record.created[:10] for row in rows for record in row.records),
        badge=subject.badge,
        meaning=subject.meaning,
        description=subject.description,
        scope=subject.scope,
        citation=subject.citation.model_dump() if subject.citation else None,
        columns=tuple(view.columns(table)),
        choices=tuple(view.choices(table)),
        axis=(axis.low, axis.high),
        finding=view.finding(table),
        started=any(row.first.spec.init is not None for row in rows),
        bounds=any(row.bound for row in rows),
        baseline=any(row.baseline for row in rows),
        strategies=tuple(sorted({row.first.spec.strategy for row in rows})),
        heads=tuple(cells.columns(table)),
        lines=tuple(tuple(cells.cells(table, row).line()) for row in rows[:PLAIN]),
        ids="".join(row.id for row in rows),
        section=section(table),
        folder=folder,
        parts={f"{folder}/{name}": part(f"{folder}/{name}", value) for name, value in parts.items()},
    )


def folder_of(key: str) -> str:
    """Where a table's parts lie: readable, and no other table's."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-").lower()[:40]
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"
