"""``leaderboard/index.html``: one file that asks for nothing else, from ``assets/`` and the board's data.

Records come from outsiders. The templates escape every text, the data stand in the page as JSON without ``<``, the
script writes text nodes only, and a content security policy names the one script and the one style sheet by hash.
Downloads are made by the page itself, as blobs, which need no further permission.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from dfbench.publish import about, heat
from dfbench.publish.board import imported, printed, view
from dfbench.publish.board.cells import NOTES_LEGEND, cells, marks_legend, written
from dfbench.publish.board.data import page_data
from dfbench.publish.board.reported import by_protocol
from dfbench.publish.board.table import Board
from dfbench.records import text

if TYPE_CHECKING:
    from jinja2 import Environment

STYLES = ("base.css", "table.css", "plots.css", "row.css", "papers.css", "narrow.css")
SCRIPTS = (
    "base.js", "address.js", "export.js", "heat.js", "plots.js", "table.js", "papers.js", "further.js", "row.js",
    "main.js",
)  # fmt: skip
"""Parts of the one style sheet and of the one script, in order."""


def page(board: Board) -> str:
    """The whole file."""
    style = "\n".join(map(_asset, STYLES))
    script = '"use strict";\n(() => {\n' + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    subjects = {table.key: view.subject(table) for table in board.tables}
    own = [table.benchmark for table in board.tables]
    fingerprints = [table.fingerprint for table in board.tables]
    reported = list(by_protocol(board.reported).items())
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            board=board,
            groups=view.groups(board, subjects),
            subjects=subjects,
            strategies=view.strategies(board),
            project=about.project(),
            newest=view.newest(board),
            text=text,
            view=view,
            printed_view=printed,
            cells=cells,
            written=written,
            marks_legend=marks_legend,
            notes=NOTES_LEGEND,
            style=style,
            script=script,
            policy=policy,
            data=embedded(page_data(board) | _extra(board, subjects)),
            axes={table.key: view.axis(table) for table in board.tables},
            imported_view=imported,
            imported_below=[each for each in board.imported if each.same_as in fingerprints],
            imported_apart=[each for each in board.imported if each.same_as not in fingerprints],
            below=[each for each in reported if each[0] in own],
            papers=[each for each in reported if each[0] not in own],
        )
    )


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element, whatever texts are in it."""
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return plain


def _extra(board: Board, subjects: dict[str, about.Benchmark]) -> dict[str, Any]:
    """What the script shows besides the rows."""
    found = {key: [each.badge, each.meaning, each.description] for key, each in subjects.items()}
    known = {each.name: [each.summary, each.paper, each.link] for each in view.strategies(board)}
    return {"about": found, "strategies": known, "ramp": heat.STOPS, "cells": [heat.FRAMED, heat.SMALLER]}


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_asset)
    )


def _asset(name: str) -> str:
    return resources.files("dfbench.publish.board").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
