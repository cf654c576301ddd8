"""Recipes: what may stand in them, and which records are runs of their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfbench.errors import UsageError
from dfbench.plugins import load_plugins
from dfbench.publish.reproduction import packaged
from dfbench.publish.reproduction.recipe import Recipe, Repeat, as_options, read_recipe
from dfbench.records.record import parse_record, read_reported
from dfbench.records.spec import parse_settings
from tests.conftest import ROOT

RECIPE: dict[str, Any] = {
    "name": "r",
    "title": "T",
    "paper": "P",
    "detector": "simple_cnn",
    "settings": {"epochs": 1},
    "tables": [
        {
            "key": "1",
            "title": "t",
            "columns": ["1", "2"],
            "rows": [{"name": "a", "benchmark": "forge5", "strategy": "naive", "reported": [1, None]}],
        },
        {
            "key": "2",
            "title": "t",
            "columns": ["1"],
            "rows": [{"name": "b", "benchmark": "forge5", "strategy": "replay", "reported": [1]}],
        },
    ],
    "claims": [
        {"kind": "level", "table": "1", "within": 5},
        {
            "kind": "repeat",
            "rows": [{"table": "1", "row": "a"}, {"table": "2", "row": "b"}],
            "column": "1",
            "within": 1,
        },
    ],
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return path


def changed(table: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**each, **(changes if n == table else {})} for n, each in enumerate(RECIPE["tables"])]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"detectr": "x"}, "detectr: Extra inputs are not permitted"),
        ({"tables": changed(0, columns=["1"])}, "table 1, row a: 2 figures for 1 columns"),
        ({"tables": changed(1, key="1")}, "two tables have one key"),
        ({"tables": changed(0, rows=2 * RECIPE["tables"][0]["rows"])}, "table 1: two rows have one name"),
        ({"claims": [{"kind": "level", "table": "3", "within": 5}]}, "a claim is about table 3, which is not there"),
        (
            {"claims": [{"kind": "order", "table": "1", "rows": ["a", "x"], "column": "1"}]},
            "a claim is about row x of table 1, which is not there",
        ),
        (
            {"claims": [{"kind": "order", "table": "1", "rows": ["a", "a"], "column": "7"}]},
            "a claim is about column 7 of table 1, which is not there",
        ),
        ({"claims": [{"kind": "beauty"}]}, "beauty"),
        ({"seeds": []}, "seeds: List should have at least 1 item"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[", "- a list", "", "42"])
def test_what_is_no_recipe(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"x\.yaml: not a recipe"):
        read_recipe(path)
    with pytest.raises(UsageError, match=r"gone\.yaml: not a recipe"):
        read_recipe(tmp_path / "gone.yaml")


def test_one_table_has_its_own_claims_alone(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path))
    assert [claim.kind for claim in recipe.only(["1"]).claims] == ["level"]
    assert [claim.kind for claim in recipe.only(["2"]).claims] == []
    assert len(recipe.only(["1", "2"]).claims) == 2
    with pytest.raises(UsageError, match="r has no table '7'; it has 1, 2"):
        recipe.only(["7"])


def test_a_stream_file_lies_beside_the_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path))
    assert recipe.place("mine.yaml") == str(tmp_path / "mine.yaml")
    assert recipe.place("forge5") == "forge5"


def test_options_are_read_back_as_they_were() -> None:
    settings = {"lr": 0.001, "epochs": 1, "flip": False, "strategy.policy": "class"}
    assert parse_settings(as_options(settings)) == ({"lr": 0.001, "epochs": 1, "flip": False}, {"policy": "class"})


def test_a_record_is_of_a_row_if_nothing_else_was_set(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, settings={"epochs": 6}))
    row = recipe.tables[0].rows[0]
    path = next((ROOT / "leaderboard" / "results").glob("simple_cnn-default-naive-forge5-s0-*.json"))
    record = parse_record(json.loads(path.read_text()), path)
    assert recipe.is_of(row, record)
    assert not recipe.is_of(recipe.tables[1].rows[0], record)
    assert not recipe.is_of(row, record.model_copy(update={"settings": ["width=24"]}))
    assert recipe.is_of(row, record.model_copy(update={"settings": ["epochs=6"]}))
    other = recipe.model_copy(update={"settings": {"epochs": 7}})
    assert not other.is_of(row, record)
    assert not recipe.model_copy(update={"preset": "paper"}).is_of(row, record)


# --- What ships with dfbench ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report() -> Recipe:
    return read_recipe(packaged()["report"])


def test_the_reports_figures_are_those_on_the_leaderboard(report: Recipe) -> None:
    for table in report.tables:
        published = read_reported(ROOT / "leaderboard" / "reported" / f"report-2022-table{table.key}.yaml")
        assert table.columns == published.columns
        theirs = {row.strategy: [float(value) for value in row.values] for row in published.rows}
        assert {row.name: row.reported for row in table.rows} == theirs


@pytest.mark.parametrize("name", packaged())
def test_recipes_name_what_is_registered(name: str) -> None:
    recipe, registry = read_recipe(packaged()[name]), load_plugins()
    assert recipe.name == name
    detector = registry.detectors.load(recipe.detector)
    assert set(recipe.settings) <= set(detector.Config.model_fields)
    for row in (row for table in recipe.tables for row in table.rows):
        assert row.benchmark in registry.benchmarks
        options = registry.strategies.load(row.strategy).Config.model_fields
        assert {key.removeprefix("strategy.") for key in row.settings} <= set(options)
    if recipe.choice is not None:
        assert Path(recipe.place(recipe.choice.benchmark)).is_file()
        assert set(recipe.choice.grid) <= set(detector.Config.model_fields)


def test_what_was_chosen_is_one_of_the_grid(report: Recipe) -> None:
    assert report.choice is not None
    for option, values in report.choice.grid.items():
        assert report.settings[option] in values


def test_the_reports_same_trainings_are_the_same_runs(report: Recipe) -> None:
    """Rows that are called one training for all columns have the same benchmark, strategy and settings."""
    for claim in report.claims:
        if isinstance(claim, Repeat) and claim.column is None:
            rows = [next(t for t in report.tables if t.key == c.table).row(c.row) for c in claim.rows]
            assert len({(r.benchmark, r.strategy, as_options(r.settings)) for r in rows}) == 1
