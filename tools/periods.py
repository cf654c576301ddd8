"""The table of next, past and whole, from the records on the leaderboard: ``make docs`` writes it with cog."""

from __future__ import annotations

from dfbench.records.seeds import mean_and_spread
from tools.tables import Seeds, cell, rows_of

NAMES = ("next", "average_incremental", "whole", "average")


def periods(detector: str, *benchmarks: str) -> str:
    """One line per continual strategy, sorted by the next experience under the first of the benchmarks."""
    by_order = [rows_of(detector, benchmark) for benchmark in benchmarks]
    shown = [name for name, row in by_order[0].items() if row[0].metrics["next"] is not None]
    columns = ["next", "past", "whole", "average", "n"] + ["reverse: next", "past", "n"] * (len(by_order) - 1)
    lines = ["", f"| strategy | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for strategy in sorted(shown, key=lambda name: -(_mean(by_order[0][name], "next")[0] or 0)):
        cells: list[str] = []
        for i, rows in enumerate(by_order):
            row = rows.get(strategy, ())
            cells += [cell(*_mean(row, name)) for name in (NAMES if i == 0 else NAMES[:2])] + [str(len(row))]
        lines.append(f"| {strategy} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def _mean(row: Seeds, name: str) -> tuple[float | None, float | None]:
    return mean_and_spread([record.metrics[name] for record in row])
