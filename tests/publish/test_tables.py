"""The tables in the docs are what the committed records give."""

from __future__ import annotations

import json

import pytest

from tools.make_tables import PAGES, Page, Reproduced, with_tables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.name)
def test_the_tables_in_the_docs_are_what_the_records_give(page: Page | Reproduced) -> None:
    assert with_tables(page) == page.path.read_text(encoding="utf-8"), "run: python -m tools.make_tables"


@pytest.mark.parametrize("page", [page for page in PAGES if isinstance(page, Reproduced)], ids=lambda page: page.recipe)
def test_a_recipe_has_the_settings_that_were_chosen_and_all_its_runs(page: Reproduced) -> None:
    tried = json.loads(page.choice.read_text(encoding="utf-8"))["tried"]
    nearest = min(tried, key=lambda each: each["distance"])
    assert nearest["chosen"]
    recipe = page.result.recipe
    assert {key: recipe.settings[key] for key in nearest["settings"]} == nearest["settings"]
    for each in tried:
        row = [str(each["settings"][key]) for key in ("width", "lr", "batch_size")] + [
            f"{v:.1f}" for v in each["values"]
        ]
        assert f"| {' | '.join(row)} |" in page.path.read_text(encoding="utf-8")
    for table in page.result.tables:
        assert all(list(line.values) == recipe.seeds for line in table.lines)
