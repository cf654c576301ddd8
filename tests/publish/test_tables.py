"""The published tables in the docs have all their runs, and the settings that were chosen."""

from __future__ import annotations

import json

import pytest

from dfbench.publish.reproduction import packaged
from tools.tables import DOCS, measured


@pytest.mark.parametrize("name", packaged())
def test_a_recipe_has_the_settings_that_were_chosen_and_all_its_runs(name: str) -> None:
    tried = json.loads((DOCS / "reproductions" / f"{name}-choice.json").read_text(encoding="utf-8"))["tried"]
    nearest = min(tried, key=lambda each: each["distance"])
    assert [each for each in tried if each["chosen"]] == [nearest]
    result = measured(name)
    assert {key: result.recipe.settings[key] for key in nearest["settings"]} == nearest["settings"]
    for table in result.tables:
        assert all(list(row.values) == result.recipe.seeds for row in table.rows)
