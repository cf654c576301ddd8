"""The tables of the docs, from the records on the leaderboard: ``make docs`` writes them through cog.

``python -m tools.tables`` writes the figures of the published tables.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np

from dfbench.files import write_whole
from dfbench.publish.board.table import make_board
from dfbench.publish.reproduction import packaged
from dfbench.publish.reproduction.figure import svg
from dfbench.publish.reproduction.page import figure_name, section
from dfbench.publish.reproduction.recipe import read_recipe
from dfbench.publish.reproduction.result import Result, fill
from dfbench.records import text
from dfbench.records.record import Record
from dfbench.records.seeds import by_seed, mean_and_spread
from dfbench.records.spec import SPEED

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
Seeds = tuple[Record, ...]
"""The records of a row, by seed."""


@functools.cache
def leaderboard() -> list[Record]:
    """All records that stand on the leaderboard."""
    return [Record.read(path) for path in sorted((ROOT / "leaderboard" / "results").glob("*.json"))]


def strategies(detector: str, *benchmarks: str) -> str:
    """One line per strategy, sorted by its average under the first of the benchmarks; then where naive loses it.

    Args:
        detector: The detector whose rows are shown.
        benchmarks: A stream, and perhaps its reverse.
    """
    by_order = [rows_of(detector, benchmark) for benchmark in benchmarks]
    columns = ["average AUC | forgetting | AF | n"] + ["reverse: average AUC | forgetting | AF | n"] * (
        len(by_order) - 1
    )
    lines = ["", f"| strategy | {' | '.join(columns)} | stored | bytes | passes | compute |"]
    lines.append(f"|---|{'---|' * (4 * len(by_order) + 4)}")
    (table,) = make_board([record for row in by_order[0].values() for record in row]).tables
    board = {row.id: row for row in table.rows}
    for strategy in sorted(by_order[0], key=lambda name: -(_mean(by_order[0][name], "average")[0] or 0)):
        cells = []
        for rows in by_order:
            row = rows.get(strategy, ())
            cells += [cell(*_mean(row, metric)) for metric in ("average", "forgetting", "af")] + [str(len(row))]
        first = board[by_order[0][strategy][0].spec.row_id]
        cells += [
            str(round(first.stored[0]) or text.NONE),
            text.size(first.held_bytes) if first.held_bytes else text.NONE,
            text.NONE if first.passes is None else f"{first.passes / 1000:.0f} k",
            text.compute(table.relative_compute(first)),
        ]
        lines.append(f"| {strategy} | {' | '.join(cells)} |")
    lines += ["", "Where naive loses it (sum over the experiences before, mean over seeds):", ""]
    for benchmark, rows in zip(benchmarks, by_order, strict=True):
        lines += _losses(benchmark, rows["naive"])
    return "\n".join(lines) + "\n"


def first_result() -> str:
    """The README's line on what the demo shows, over seeds."""
    rows = rows_of("simple_cnn", "forge5")
    naive, replay = rows["naive"], rows["replay"]

    def ends(row: Seeds) -> str:
        return f"ends at {cell(*_mean(row, 'average'))} and forgets {cell(*_mean(row, 'forgetting'))}"

    stored, threads = replay[0].memory.samples[-1], {record.environment.threads for record in (*naive, *replay)}
    assert len(naive) == len(replay)
    how = f"{len(naive)} seeds, {'/'.join(map(str, sorted(threads, key=str)))} thread, synthetic faces"
    return (
        f"\n**Trained one after another (`naive`), `simple_cnn` {ends(naive)}; with {stored} stored samples (`replay`) "
        f"it {ends(replay)}** (mean AUC over five test sets ± standard deviation, {how}).\n\n"
    )


def first_rows() -> str:
    """The README's table: the bound, two methods and the naive row, for both detectors that have them on forge5."""
    lines = ["", "| | detector | average AUC | forgetting | AF | seeds |", "|---|---|---|---|---|---|"]
    words = {"joint": "joint (all data at once, one budget)", "dfil": "DFIL", "replay": "replay", "naive": "naive"}
    for detector, preset in (("simple_cnn", "default"), ("xception", "lite")):
        rows = rows_of(detector, "forge5")
        for strategy, shown in words.items():
            names = (name for name in rows if name.split()[0] == strategy and "epochs" not in name)
            row = min(names, key=len)
            options = row.removeprefix(strategy).strip()
            label = f"{shown} {options.replace('(', '(`').replace(')', '`)')}".strip()
            name = f"`{detector}`" if preset == "default" else f"`{detector} --preset {preset}`"
            cells = [cell(*_mean(rows[row], metric)) for metric in ("average", "forgetting", "af")]
            cells.append(str(len(rows[row])))
            lines.append(f"| {label} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def reproduction(name: str) -> str:
    """The tables of a recipe, measured and published."""
    return f"\n{section(measured(name), lambda key: f'img/{name}-{figure_name(key)}')}\n"


def measured(name: str) -> Result:
    """A recipe with the leaderboard's records that are runs of its rows, with its seeds."""
    recipe = read_recipe(packaged()[name])
    found = {
        (table.key, row.name): {
            r.spec.seed: r for r in leaderboard() if r.spec.seed in recipe.seeds and recipe.is_of(row, r)
        }
        for table in recipe.tables
        for row in table.rows
    }
    return fill(recipe, found)


def choice(name: str) -> str:
    """The grid from which a recipe's settings were chosen, nearest to the targets first."""
    found = json.loads((DOCS / "reproductions" / f"{name}-choice.json").read_text(encoding="utf-8"))
    options = list(found["tried"][0]["settings"])
    targets = [f"after {n} (target {target:g})" for n, target in enumerate(found["targets"], 1)]
    head = [*options, *targets, "mean distance"]
    lines = ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for each in sorted(found["tried"], key=lambda each: each["distance"]):
        distance = f"{each['distance']:.2f}"
        cells = [str(each["settings"][option]) for option in options] + [f"{value:.1f}" for value in each["values"]]
        lines.append(f"| {' | '.join([*cells, f'**{distance}**' if each['chosen'] else distance])} |")
    return "\n".join(lines) + "\n\n"


def rows_of(detector: str, benchmark: str) -> dict[str, Seeds]:
    """The rows by strategy and what was set, without what most of them have set."""
    records = [r for r in leaderboard() if (r.spec.detector, r.data.benchmark) == (detector, benchmark)]
    rows = by_seed(records, lambda record: record.spec)
    labels = [_set(row[0]) for row in rows]
    usual = [label for label, count in Counter(chain(*labels)).items() if count > len(rows) / 2]
    named = {}
    for row, each in zip(rows, labels, strict=True):
        spec = row[0].spec
        shown = [label for label in each if label not in usual]
        if not spec.tuned and any(label in SPEED for label in usual):
            shown.append("fp32")
        named[spec.strategy + (f" ({', '.join(shown)})" if shown else "")] = row
    assert len(named) == len(rows)
    return named


def _set(record: Record) -> list[str]:
    return [option.removeprefix("strategy.") for option in record.settings or ()] + list(record.spec.tuned)


def _mean(records: Seeds, metric: str) -> tuple[float | None, float | None]:
    return mean_and_spread([record.metrics.get(metric) for record in records])


def cell(mean: float | None, spread: float | None) -> str:
    """``.812 ± .020``; the spread is left out for one seed."""
    if mean is None:
        return "–"
    shown = f"{mean:.3f}".replace("0.", ".")
    return shown if spread is None else f"{shown} ± {spread:.3f}".replace(" 0.", " .")


def _losses(benchmark: str, naive: Seeds) -> list[str]:
    """What each step of the stream took from the experiences before it: fallen AUC, mean over seeds."""
    taken = []
    for record in naive:
        R = record.R()
        taken.append([np.maximum(R[i - 1, :i] - R[i, :i], 0).sum() for i in range(1, len(R))])
    means = np.mean(taken, axis=0)
    header = " | ".join(f"{n}. {e}" for n, e in enumerate(naive[0].names[1:], 2))
    return [
        f"| {benchmark} | {header} |",
        f"|---|{'---|' * len(means)}",
        f"| AUC lost by the earlier ones | {' | '.join(f'{value:.2f}' for value in means)} |",
        "",
    ]


if __name__ == "__main__":
    for result in map(measured, packaged()):
        for table in result.tables:
            path = DOCS / "img" / f"{result.recipe.name}-{figure_name(table.table.key)}"
            write_whole(path, svg(table, result.recipe.short_name))
