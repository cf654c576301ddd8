"""Measured figures next to published ones: means, spreads, differences, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dfbench.publish.reproduction.page import cells, document, section
from dfbench.publish.reproduction.recipe import Recipe
from dfbench.publish.reproduction.result import Result, after_each, fill
from dfbench.records.record import Record
from tests.publish.report_runs import make_run

REPORTED: dict[str, list[float | None]] = {"a": [50, 60], "b": [48.5, None]}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return Record.read(make_run(tmp_path_factory.mktemp("runs"), names=("x", "y")))


def result(record: Record, values: dict[str, dict[int, Sequence[float | None]]]) -> Result:
    """A table "1" of two columns: row → seed → percent after each experience."""
    rows = [{"name": n, "benchmark": "b", "strategy": n, "reported": r} for n, r in REPORTED.items()]
    tables = [{"key": "1", "title": "t", "columns": ["1", "2"], "rows": rows}]
    recipe = Recipe.model_validate({"name": "r", "title": "T", "paper": "P", "detector": "d", "tables": tables})
    records = {
        ("1", name): {
            seed: record.model_copy(
                update={
                    "run": f"{name}-{seed}",
                    "matrix": {"accuracy": [[None if v is None else v / 100] * 2 for v in figures]},
                }
            )
            for seed, figures in seeds.items()
        }
        for name, seeds in values.items()
    }
    return fill(recipe, records)


def test_a_row_has_its_mean_its_spread_and_its_difference(record: Record) -> None:
    a, _ = result(record, {"a": {3: [46, 60], 0: [45, 61]}}).tables[0].rows
    assert list(a.values) == [0, 3]
    assert a.runs == {0: "a-0", 3: "a-3"}
    assert a.measured == [pytest.approx((45.5, np.std([45, 46], ddof=1))), pytest.approx((60.5, 0.5**0.5))]
    assert a.difference == pytest.approx([-4.5, 0.5])


def test_three_lines_for_each_row(record: Record) -> None:
    (table,) = result(record, {"a": {0: [45.24, 59.98], 1: [46, 60]}, "b": {0: [45.25, 1]}}).tables
    assert cells(table, "the paper") == [
        ["a (n = 2)", "45.6 ± 0.5", "60.0 ± 0.0"],
        ["the paper", "50", "60"],
        ["difference", "−4.4", "0.0"],
        ["b (n = 1)", "45.2", "1.0"],
        ["the paper", "48.5", "–"],
        ["difference", "−3.2", "–"],
    ]


def test_what_is_not_run_has_no_figure(record: Record) -> None:
    empty = result(record, {})
    written = section(empty, lambda key: f"{key}.svg")
    assert "| **a** (n = 0) | – | – |\n| *the paper* | 50 | 60 |\n| difference | – | – |" in written
    assert ".svg" not in written
    assert empty.seeds == []
    assert document(empty)["tables"][0]["rows"][0]["mean"] == [None, None]
    assert "![Table 1, run here and published](1.svg)" in section(
        result(record, {"a": {0: [1, 2]}}), lambda key: f"{key}.svg"
    )


def test_an_experience_without_scores_is_missing_and_no_number(record: Record, tmp_path: Path) -> None:
    joint = Record.read(make_run(tmp_path, "joint", joint=True, names=("x", "y")))
    nothing, known = after_each(joint)
    assert nothing is None
    assert known == pytest.approx(100 * np.mean(joint.matrix["accuracy"][-1]))
    a, _ = result(record, {"a": {0: [None, 60], 1: [50, 60]}}).tables[0].rows
    assert a.measured[0] == (None, None)
    assert a.difference == [None, pytest.approx(0)]
