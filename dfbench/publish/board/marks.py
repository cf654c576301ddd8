"""The signs of a leaderboard's rows, and what they mean."""

from __future__ import annotations

from dfbench.publish.board.table import Mark, Row

MARKS: dict[Mark | None, str] = {"best": "★", "tied": "≈", "worse": "", None: ""}
BOUND = "∎"
MARK_WORDS: dict[Mark | None, str] = {
    "best": "best continual row",
    "tied": "not significantly worse than the best",
    "worse": "significantly worse than the best",
    None: "",
}
LEGEND = (
    "★ the best continual row; ≈ not significantly worse than it (videos and seeds taken into account, "
    "corrected for the number of rows, 5 %); ∎ an upper bound that saw all data, not compared."
)


def mark(row: Row) -> str:
    """The sign beside a row."""
    return BOUND if row.bound else MARKS[row.mark]


def split_options(row: Row) -> tuple[list[str], list[str]]:
    """(options of the detector, of the strategy without their prefix) that tell this row from others."""
    prefix = "strategy."
    of_strategy = [o.removeprefix(prefix) for o in row.options if o.startswith(prefix)]
    return [o for o in row.options if not o.startswith(prefix)], of_strategy
