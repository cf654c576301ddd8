"""What ``dfbench reproduce`` writes into its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dfbench.files import write_whole
from dfbench.publish.reproduction.figure import svg
from dfbench.publish.reproduction.recipe import Choice
from dfbench.publish.reproduction.result import Result
from dfbench.publish.reproduction.runs import Tried
from dfbench.publish.reproduction.text import as_json, choice_json, choice_table, page

TABLES, CHOICE = "tables", "choice"


def write_result(result: Result, folder: Path) -> Path:
    """``tables.md``, ``tables.json`` and a figure a table; the page's path.

    :raise StorageError: a file cannot be written
    """
    for filled in result.tables:
        write_whole(folder / figure_name(filled.table.key), svg(filled, result.recipe.called))
    _json(folder / f"{TABLES}.json", as_json(result))
    path = folder / f"{TABLES}.md"
    write_whole(path, page(result, figure_name).encode())
    return path


def write_choice(tried: Sequence[Tried], choice: Choice, folder: Path) -> Path:
    """``choice.md`` and ``choice.json``; the page's path."""
    _json(folder / f"{CHOICE}.json", choice_json(tried, choice))
    path = folder / f"{CHOICE}.md"
    write_whole(path, ("\n".join(choice_table(tried, choice)) + "\n").encode())
    return path


def figure_name(key: str) -> str:
    """The file of a table's figure."""
    return f"table-{key}.svg"


def _json(path: Path, value: object) -> None:
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
