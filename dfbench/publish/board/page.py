"""``leaderboard/index.html``, from ``assets/`` and what is known of each table, and the parts that it loads.

The page holds no rows. Those of a table, and a row with its runs, are scripts below ``data/`` that hand one text to the
page: a script is loaded from disk as well as from a server, which other files are not.

Records come from outsiders. The templates escape every text, data are JSON without ``<`` in a string of a script, the
script writes text nodes only, and a content security policy names the one script and the one style sheet by hash; only
what that script asks for is loaded. Downloads are made by the page itself, as blobs, which need no further permission.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from dfbench.publish import about, heat
from dfbench.publish.board import imported, printed
from dfbench.publish.board.cells import NOTES_LEGEND, marks_words
from dfbench.publish.board.imported import ImportedTable
from dfbench.publish.board.panel import Panel
from dfbench.publish.board.parts import embedded
from dfbench.publish.board.reported import Reported, by_protocol
from dfbench.records import text

if TYPE_CHECKING:
    from jinja2 import Environment

STYLES = ("base.css", "table.css", "plots.css", "row.css", "papers.css", "narrow.css")
SCRIPTS = (
    "base.js", "parts.js", "address.js", "export.js", "heat.js", "plots.js", "lines.js", "table.js", "papers.js",
    "further.js", "row.js", "main.js",
)  # fmt: skip
"""Parts of the one style sheet and of the one script, in order."""


def page(
    panels: Sequence[Panel], imported_tables: Sequence[ImportedTable] = (), papers: Sequence[Reported] = ()
) -> str:
    """The whole file."""
    style = "\n".join(map(_asset, STYLES))
    script = '"use strict";\n(() => {\n' + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}' 'strict-dynamic'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    own, fingerprints = [each.benchmark for each in panels], [each.fingerprint for each in panels]
    reported = list(by_protocol(papers).items())
    strategies = _strategies(panels)
    known = {each.name: [each.summary, each.paper, each.link] for each in strategies}
    data = {"tables": [each.known for each in panels], "strategies": known, "ramp": heat.STOPS,
            "cells": [heat.FRAMED, heat.SMALLER]}  # fmt: skip
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            groups=_groups(panels),
            strategies=strategies,
            project=about.project(),
            newest=max((each.newest for each in panels), default=""),
            text=text,
            printed_view=printed,
            marks_words=marks_words,
            notes=NOTES_LEGEND,
            style=style,
            script=script,
            policy=policy,
            data=embedded(data),
            imported_view=imported,
            imported_below=[each for each in imported_tables if each.same_as in fingerprints],
            imported_apart=[each for each in imported_tables if each.same_as not in fingerprints],
            below=[each for each in reported if each[0] in own],
            papers=[each for each in reported if each[0] not in own],
        )
    )


def _groups(panels: Sequence[Panel]) -> list[tuple[str, list[Panel]]]:
    """The tabs under their headings: those about forgeries, and those that are not."""
    main, other = ([each for each in panels if (each.scope == "other") is wanted] for wanted in (False, True))
    named = [("Forgery detection", main), ("Not deepfakes", other)]
    return [(heading, found) for heading, found in named if found]


def _strategies(panels: Sequence[Panel]) -> list[about.Strategy]:
    """Those of the board that dfbench knows, by name."""
    names = sorted({name for each in panels for name in each.strategies})
    return [found for name in names if (found := about.strategy(name)) is not None]


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_asset)
    )


def _asset(name: str) -> str:
    return resources.files("dfbench.publish.board").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
