"""The tables in the docs are what the committed records give."""

from __future__ import annotations

import pytest

from tools.make_tables import PAGES, Page, Reproduced, with_tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.name)
def test_the_tables_in_the_docs_are_what_the_records_give(page: Page | Reproduced) -> None:
    assert with_tables(page) == page.path.read_text(encoding="utf-8"), "run: python -m tools.make_tables"
