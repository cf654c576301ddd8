"""A reproduction in words: Markdown for people and the docs, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dfbench.publish.reproduction.claims import cell, findings
from dfbench.publish.reproduction.recipe import Choice, as_options
from dfbench.publish.reproduction.result import Filled, Line, Result
from dfbench.publish.reproduction.runs import Tried


def page(result: Result, figure: Callable[[str], str]) -> str:
    """The whole page that a command writes.

    :param figure: the file of a table's figure, by the table's key
    """
    recipe = result.recipe
    settings = ", ".join(as_options(recipe.settings)) or "its defaults"
    lines = [
        f"# {recipe.title}",
        "",
        f"Published in: {recipe.paper}. {recipe.note}".rstrip(),
        "",
        f"Run here: detector {recipe.detector}, {settings}; {_seeds(result)}. Percent; mean ± sample standard "
        "deviation over seeds.",
        "",
        section(result, figure),
    ]
    return "\n".join(lines)


def section(result: Result, figure: Callable[[str], str]) -> str:
    """The tables, and where they differ."""
    lines: list[str] = []
    for filled in result.tables:
        lines += [f"### Table {filled.table.key}: {filled.table.title}", "", *table(filled, result.recipe.called), ""]
        if any(line.values for line in filled.lines):
            lines += [f"![Table {filled.table.key}, run here and published]({figure(filled.table.key)})", ""]
    lines += ["### Where they differ", ""]
    lines += [f"- {f.claim}: **{f.verdict}**. {f.detail}" for f in findings(result)]
    return "\n".join(lines) + "\n"


def table(filled: Filled, published_in: str) -> list[str]:
    """Two lines a row: ours, and what was published."""
    columns = filled.table.columns
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for line in filled.lines:
        ours = " | ".join(cell(line, k) for k in range(len(columns)))
        lines.append(f"| **{line.row.name}** ({_count(line)}) | {ours} |")
        lines.append(f"| *{published_in}* | {' | '.join(reported(line))} |")
    return lines


def reported(line: Line) -> list[str]:
    """The published figures as they are printed."""
    return ["–" if value is None else f"{value:g}" for value in line.row.reported]


def choice_table(tried: Sequence[Tried], choice: Choice) -> list[str]:
    """The grid, nearest first."""
    options = list(choice.grid)
    targets = [f"after {n} (target {target:g})" for n, target in enumerate(choice.targets, 1)]
    lines = [
        f"| {' | '.join([*options, *targets, 'mean distance'])} |",
        f"|{'---|' * (len(options) + len(targets) + 1)}",
    ]
    for each in sorted(tried, key=lambda t: t.distance):
        cells = [f"{each.settings[option]}" for option in options] + [f"{value:.1f}" for value in each.values]
        distance = f"**{each.distance:.2f}**" if each.chosen else f"{each.distance:.2f}"
        lines.append(f"| {' | '.join([*cells, distance])} |")
    return lines


def as_json(result: Result) -> dict[str, Any]:
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
                "key": filled.table.key,
                "title": filled.table.title,
                "columns": filled.table.columns,
                "rows": [_row(line, len(filled.table.columns)) for line in filled.lines],
            }
            for filled in result.tables
        ],
        "claims": [{"claim": f.claim, "verdict": f.verdict, "detail": f.detail} for f in findings(result)],
    }


def choice_json(tried: Sequence[Tried], choice: Choice) -> dict[str, Any]:
    """The grid with its validation figures."""
    return {
        "targets": choice.targets,
        "seeds": choice.seeds,
        "tried": [
            {"settings": t.settings, "values": t.values, "distance": t.distance, "chosen": t.chosen} for t in tried
        ],
    }


def _row(line: Line, columns: int) -> dict[str, Any]:
    return {
        "name": line.row.name,
        "benchmark": line.row.benchmark,
        "strategy": line.row.strategy,
        "settings": line.row.settings,
        "reported": line.row.reported,
        "mean": [line.mean(k) for k in range(columns)],
        "spread": [line.spread(k) for k in range(columns)],
        "values": {str(seed): values for seed, values in line.values.items()},
        "runs": {str(seed): run for seed, run in line.runs.items()},
    }


def _count(line: Line) -> str:
    return f"n = {len(line.values)}"


def _seeds(result: Result) -> str:
    return f"seeds {', '.join(map(str, result.seeds))}" if result.seeds else "no runs yet"
