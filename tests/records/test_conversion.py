"""Records of schema 1 are read as today's."""

from __future__ import annotations

import pytest

from dfbench.errors import DataError
from dfbench.records.record import SCHEMA_VERSION, Record
from tests.records.builder import make_record


def test_forgetting_of_an_older_record_is_computed_anew_and_its_interval_left_out() -> None:
    rows: list[list[float | None]] = [[0.8, 0.9, 0.5], [0.8, 0.7, 0.5], [0.8, 0.6, 0.9]]
    value = make_record("some", rows, metrics={"forgetting": 0.15, "average": 0.77}).document()
    value |= {"schema": 1, "uncertainty": {**value["uncertainty"], "forgetting": [0.1, 0.2], "average": [0.7, 0.8]}}
    record = Record.parse(value, "old.json")
    assert record.schema_version == SCHEMA_VERSION
    assert record.metrics["forgetting"] == pytest.approx(0.05)
    assert (record.uncertainty.forgetting, record.uncertainty.average) == (None, (0.7, 0.8))
    assert record.document()["schema"] == SCHEMA_VERSION


def test_what_is_no_record_of_any_schema_is_named() -> None:
    for value in ({"schema": 1}, {"schema": 1, "matrix": 3}, {"schema": 99}):
        with pytest.raises(DataError, match=r"old\.json: "):
            Record.parse(value, "old.json")


def test_a_record_without_next_and_whole_gets_them_from_its_matrix() -> None:
    rows: list[list[float | None]] = [[0.8, 0.9, 0.5], [0.8, 0.7, 0.4], [0.8, 0.6, 0.9]]
    value = make_record("some", rows, metrics={"average_incremental": 0.77, "average": 0.77}).document()
    found = Record.parse({**value, "metrics": {"average_incremental": 0.77, "average": 0.77}}, "old.json").metrics
    assert (found["next"], found["whole"]) == (pytest.approx((0.9 + 0.4) / 2), pytest.approx(6.4 / 9))
    kept = Record.parse({**value, "metrics": {"average_incremental": 0.77, "next": 0.1, "whole": 0.2}}, "new.json")
    assert (kept.metrics["next"], kept.metrics["whole"]) == (0.1, 0.2)
