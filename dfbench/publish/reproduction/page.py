"""A reproduction as a page of Markdown, as JSON and as figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfbench.files import write_json, write_whole
from dfbench.publish.reproduction.figure import svg
from dfbench.publish.reproduction.recipe import as_options
from dfbench.publish.reproduction.result import Result, RowResult, TableResult
from dfbench.records.text import NONE, signed, with_spread


def write_result(result: Result, folder: Path) -> Path:
    """Write ``tables.md``, ``tables.json`` and a figure per table; returns the page's path.

    Raises:
        StorageError: A file cannot be written.
    """
    for table in result.tables:
        write_whole(folder / figure_name(table.table.key), svg(table, result.recipe.short_name))
    write_json(folder / "tables.json", document(result))
    write_whole(folder / "tables.md", page(result).encode())
    return folder / "tables.md"


def figure_name(key: str) -> str:
    """The file of a table's figure."""
    return f"table-{key}.svg"


def page(result: Result) -> str:
    """The whole page."""
    recipe = result.recipe
    settings = ", ".join(as_options(recipe.settings)) or "its defaults"
    seeds = f"seeds {', '.join(map(str, result.seeds))}" if result.seeds else "no runs yet"
    return (
        f"# {recipe.title}\n\nPublished in: {recipe.paper}. {recipe.note}".rstrip()
        + f"\n\nRun here: detector {recipe.detector}, {settings}; {seeds}. Percent; mean ± sample standard deviation "
        f"over seeds.\n\n{section(result, figure_name)}"
    )


def section(result: Result, figure: Callable[[str], str]) -> str:
    """The tables with their figures; ``figure`` gives the file of a table's figure by its key."""
    lines: list[str] = []
    for each in result.tables:
        key, columns = each.table.key, each.table.columns
        lines += [f"### Table {key}: {each.table.title}", ""]
        lines += [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(row)} |" for row in cells(each, f"*{result.recipe.short_name}*", "**")]
        lines.append("")
        if any(row.values for row in each.rows):
            lines += [f"![Table {key}, run here and published]({figure(key)})", ""]
    return "\n".join(lines)


def cells(result: TableResult, published_in: str, mark: str = "") -> list[list[str]]:
    """Three lines per row: measured (its name within ``mark``), published, and the difference of the two."""
    lines = []
    for each in result.rows:
        lines.append([f"{mark}{each.row.name}{mark} (n = {len(each.values)})", *_measured(each)])
        lines.append([published_in, *(NONE if value is None else f"{value:g}" for value in each.row.reported)])
        lines.append(["difference", *(signed(value, 1) for value in each.difference)])
    return lines


def document(result: Result) -> dict[str, Any]:
    """Everything, unrounded."""
    recipe = result.recipe
    return {
        "name": recipe.name,
        "paper": recipe.paper,
        "detector": recipe.detector,
        "preset": recipe.preset,
        "settings": recipe.settings,
        "seeds": result.seeds,
        "tables": [
            {
                "key": each.table.key,
                "title": each.table.title,
                "columns": each.table.columns,
                "rows": [_row(row) for row in each.rows],
            }
            for each in result.tables
        ],
    }


def _row(result: RowResult) -> dict[str, Any]:
    return {
        **result.row.model_dump(),
        "mean": [mean for mean, _ in result.measured],
        "spread": [spread for _, spread in result.measured],
        "difference": result.difference,
        "values": {str(seed): values for seed, values in result.values.items()},
        "runs": {str(seed): run for seed, run in result.runs.items()},
    }


def _measured(result: RowResult) -> list[str]:
    return [with_spread(mean, spread, 1) for mean, spread in result.measured]
