"""``leaderboard/index.html``: one file that asks for nothing else, from ``assets/`` and the board's data.

Records come from outsiders. The template escapes every text, the data stand in the page as JSON without ``<``, the
script writes text nodes only, and a content security policy names the one script and the one style sheet by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from dfbench.publish.board.cells import LEGEND, cells
from dfbench.publish.board.data import page_data
from dfbench.publish.board.table import Board, BoardRow, BoardTable
from dfbench.records import text

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Axis:
    """The common scale of a table's interval plots: value → position in the drawing."""

    low: float
    high: float
    width: float = 132.0
    margin: float = 6.0

    def at(self, value: float) -> str:
        """Horizontal position, in the drawing's units."""
        share = (value - self.low) / (self.high - self.low)
        return f"{self.margin + share * (self.width - 2 * self.margin):.1f}"


def page(board: Board) -> str:
    """The whole file."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = _environment()
    return environment.get_template("index.html.j2").render(
        board=board,
        text=text,
        cells=cells,
        legend=LEGEND,
        style=style,
        script=script,
        policy=policy,
        data=embedded(page_data(board)),
        axes={table.key: axis(table) for table in board.tables},
        reported=_by_protocol(board),
        choices=choices,
        sort_value=sort_value,
        reported_value=reported_value,
    )


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element, whatever texts are in it."""
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return plain


def axis(table: BoardTable) -> Axis:
    """From the lowest to the highest end of an interval, rounded outwards to .05."""
    ends = [
        v
        for row in table.rows
        if row.average
        for v in (row.average.low, row.average.high, row.average.mean)
        if v is not None
    ]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    low, high = math.floor(low * 20 + 1e-9) / 20, math.ceil(high * 20 - 1e-9) / 20
    return Axis(low, high if high > low else low + 0.05)


def choices(table: BoardTable) -> list[tuple[str, str, list[str]]]:
    """(attribute, label, values) of each filter that has something to choose from."""
    found: dict[tuple[str, str], set[str]] = {
        ("detector", "Detector"): {row.first.spec.detector for row in table.rows},
        ("strategy", "Strategy"): {row.first.spec.strategy for row in table.rows},
        ("preset", "Preset"): {row.first.spec.preset for row in table.rows},
        ("status", "Status"): {row.status for row in table.rows},
    }
    result = [(key, label, sorted(values)) for (key, label), values in found.items()]
    budgets = [str(b) for b in sorted({row.first.spec.memory for row in table.rows})]
    result.insert(3, ("budget", "Budget", budgets))
    return result


def sort_value(row: BoardRow, column: str) -> str | float:
    """What a column is sorted by; an empty text sorts last."""
    values: dict[str, Any] = {
        "strategy": row.first.spec.strategy,
        "detector": row.first.spec.detector,
        "average": row.average.mean if row.average else None,
        "interval": row.average.low if row.average else None,
        "stored": row.stored[0],
        "seconds": row.seconds,
        "steps": row.steps,
        "seeds": len(row.records),
        "status": row.status,
    }
    value = values[column] if column in values else row.metric(column)[0]
    return "" if value is None else round(value, 6) if isinstance(value, float) else value


def reported_value(printed: str) -> str:
    """A printed figure as a number to sort by; empty where it is none."""
    try:
        return repr(float(printed.replace("−", "-")))
    except ValueError:
        return ""


def _by_protocol(board: Board) -> list[tuple[str, Sequence[Any]]]:
    groups: dict[str, list[Any]] = {}
    for each in board.reported:
        groups.setdefault(each.protocol, []).append(each)
    return list(groups.items())


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_asset)
    )


def _asset(name: str) -> str:
    return resources.files("dfbench.publish.board").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
