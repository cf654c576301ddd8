"""Write the strategies' table into docs/forge5.md, from the records in leaderboard/results.

python -m tools.make_forge5_table
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfbench.publish.board import Row, Table, read_board

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "forge5.md"
BEGIN, END = "<!-- strategies: begin -->\n", "<!-- strategies: end -->\n"
ORDERS = ("forge5", "forge5-reverse")
DETECTOR = "simple_cnn"


def name(row: Row) -> str:
    """The strategy, with what was set."""
    changed = [setting.removeprefix("strategy.") for setting in row.first.settings or ()]
    return row.first.spec.strategy + (f" ({', '.join(changed)})" if changed else "")


def cell(values: tuple[float | None, float | None]) -> str:
    """``.812 ± .020``; the spread is left out for one seed."""
    mean, spread = values
    if mean is None:
        return "–"
    text = f"{mean:.3f}".replace("0.", ".")
    return text if spread is None else f"{text} ± {spread:.3f}".replace(" 0.", " .")


def average(row: Row) -> tuple[float | None, float | None]:
    """Mean and spread over seeds of the headline average."""
    return (row.average.mean, row.average.spread) if row.average else (None, None)


def strategies(tables: Sequence[Table]) -> list[str]:
    """One line a strategy, under both orders, by its average under the default one."""
    by_order = [{name(row): row for row in table.rows if row.first.spec.detector == DETECTOR} for table in tables]
    lines = [
        "| strategy | average AUC | forgetting | n | reverse: average AUC | forgetting | n | stored |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for strategy in sorted(by_order[0], key=lambda s: -(average(by_order[0][s])[0] or 0)):
        cells = []
        for rows in by_order:
            row = rows.get(strategy)
            figures = ["–", "–", "0"]
            if row is not None:
                figures = [cell(average(row)), cell(row.metric("forgetting")), str(len(row.records))]
            cells += figures
        samples = round(by_order[0][strategy].stored[0])
        lines.append(f"| {strategy} | {' | '.join(cells)} | {samples or '–'} |")
    return lines


def losses(table: Table, strategy: str) -> list[str]:
    """What each step of the stream took from the experiences before it: fallen AUC, mean over seeds."""
    row = next(r for r in table.rows if name(r) == strategy and r.first.spec.detector == DETECTOR)
    taken = []
    for record in row.records:
        R = np.array(record.matrix[record.headline], dtype=float)
        taken.append([np.maximum(R[i - 1, :i] - R[i, :i], 0).sum() for i in range(1, len(R))])
    means = np.mean(taken, axis=0)
    header = " | ".join(f"{n}. {e}" for n, e in enumerate(table.experiences[1:], 2))
    cells = " | ".join(f"{value:.2f}" for value in means)
    return [
        f"| {table.key} | {header} |",
        f"|---|{'---|' * len(means)}",
        f"| AUC lost by the earlier ones | {cells} |",
        "",
    ]


def section() -> str:
    """What stands between the markers."""
    board = read_board(ROOT / "leaderboard")
    tables = [next(t for t in board.tables if t.benchmark == order) for order in ORDERS]
    lines = [*strategies(tables), "", "Where naive loses it (sum over the experiences before, mean over seeds):", ""]
    for table in tables:
        lines += losses(table, "naive")
    return "\n".join(lines)


def with_tables(text: str) -> str:
    """The page with the present tables."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{section()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
