"""Rows next to the best of their group, with the leaderboard's test: ``make docs`` writes them with cog."""

from __future__ import annotations

from dfbench.publish.board.row import BoardRow
from dfbench.publish.board.table import make_board
from tools.tables import cell, rows_of


def compared(detector: str, benchmark: str) -> str:
    """One line per continual row with counted passes: average, forgetting, AF, and p of its difference from the best.

    p is that of the leaderboard's test, corrected for the number of rows of the group (Holm).
    """
    named = rows_of(detector, benchmark)
    (table,) = make_board([record for row in named.values() for record in row]).tables
    board = {row.id: row for row in table.rows}
    lines = ["", "| strategy | passes | average AUC | forgetting | AF | n | p |", "|---|---|---|---|---|---|---|"]
    shown = [(name, board[records[0].spec.row_id]) for name, records in named.items()]
    shown = [(name, row) for name, row in shown if not row.bound and row.passes is not None]
    for name, row in sorted(shown, key=lambda each: -(each[1].metric("average")[0] or 0)):
        cells = [cell(*row.metric(metric)) for metric in ("average", "forgetting", "af")]
        lines.append(
            f"| {name} | {(row.passes or 0) / 1000:.0f} k | {' | '.join(cells)} | {len(row.records)} | {_p(row)} |"
        )
    return "\n".join(lines) + "\n\n"


def _p(row: BoardRow) -> str:
    if row.mark == "best":
        return "the best"
    return "–" if row.p is None else "< .001" if row.p < 0.0005 else f"{row.p:.3f}".replace("0.", ".")
