"""The tables in docs/forge5.md are what the committed records give."""

from __future__ import annotations

from tools.make_forge5_table import PAGE, with_tables


def test_the_tables_in_the_docs_are_what_the_records_give() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run: python -m tools.make_forge5_table"
