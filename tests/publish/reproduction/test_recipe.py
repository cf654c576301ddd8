"""Recipes: what may stand in them, and which records are runs of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dfbench.errors import UsageError
from dfbench.plugins import load_plugins
from dfbench.publish.board.reported import read_reported
from dfbench.publish.reproduction import packaged
from dfbench.publish.reproduction.recipe import Recipe, as_options, read_recipe
from dfbench.records.record import Record
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
        ({"seeds": []}, "seeds: List should have at least 1 item"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
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


def test_one_table_can_be_chosen(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path))
    assert [table.key for table in recipe.only(["2"]).tables] == ["2"]
    assert recipe.only(["1", "2"]) == recipe
    with pytest.raises(UsageError, match="r has no table '7'; it has 1, 2"):
        recipe.only(["7"])


def test_a_stream_file_lies_next_to_the_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path))
    row = recipe.tables[0].rows[0]
    assert recipe.stream(row.model_copy(update={"benchmark": "mine.yaml"})) == str(tmp_path / "mine.yaml")
    assert recipe.stream(row) == "forge5"


def test_options_are_read_back_as_they_were() -> None:
    settings = {"lr": 0.001, "epochs": 1, "flip": False, "strategy.policy": "class"}
    assert parse_settings(as_options(settings)) == ({"lr": 0.001, "epochs": 1, "flip": False}, {"policy": "class"})


def test_a_record_is_of_a_row_if_nothing_else_was_set(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, settings={"epochs": 6}))
    row = recipe.tables[0].rows[0]
    path = next((ROOT / "leaderboard" / "results").glob("simple_cnn-default-naive-forge5-s0-*.json"))
    record = Record.read(path)
    assert recipe.is_of(row, record)
    assert not recipe.is_of(recipe.tables[1].rows[0], record)
    assert not recipe.is_of(row, record.model_copy(update={"settings": ["width=24"]}))
    assert recipe.is_of(row, record.model_copy(update={"settings": ["epochs=6"]}))
    tuned = record.spec.model_copy(update={"tuned": ("bf16",)})
    assert not recipe.is_of(row, record.model_copy(update={"spec": tuned}))
    other = recipe.model_copy(update={"settings": {"epochs": 7}})
    assert not other.is_of(row, record)
    assert not recipe.model_copy(update={"preset": "paper"}).is_of(row, record)


# --- What ships with dfbench ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report() -> Recipe:
    return read_recipe(packaged()["cifar10-2022"])


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


def test_the_reports_two_naive_rows_are_one_training(report: Recipe) -> None:
    naive = [next(row for row in table.rows if row.name.endswith("Naive")) for table in report.tables]
    assert len({(row.benchmark, row.strategy, as_options(row.settings)) for row in naive}) == 1
