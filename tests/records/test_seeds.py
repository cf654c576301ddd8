"""Runs that differ in the seed alone."""

from __future__ import annotations

import pytest

from dfbench.records.seeds import by_seed, differing_options, mean_and_spread
from tests.records.builder import make_record

R: list[list[float | None]] = [[0.9]]


def test_runs_are_grouped_whatever_their_order_and_sorted_by_seed() -> None:
    runs = [make_record(name, R, seed=seed) for name, seed in (("b", 2), ("a", 1), ("b", 0), ("a", 0))]
    groups = by_seed(runs, lambda record: record.spec)
    assert [[(r.spec.strategy, r.spec.seed) for r in group] for group in groups] == [
        [("b", 0), ("b", 2)],
        [("a", 0), ("a", 1)],
    ]


def test_what_is_only_measured_does_not_split_a_group() -> None:
    runs = [make_record("a", R), make_record("a", R, seed=1, eval_every=5)]
    assert len(by_seed(runs, lambda record: record.spec)) == 1


def test_mean_and_spread_are_undefined_where_a_value_is() -> None:
    assert mean_and_spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_spread([1.5]) == (1.5, None)
    assert mean_and_spread([1.0, None]) == mean_and_spread([]) == (None, None)


def test_specs_say_where_they_differ() -> None:
    one = make_record("a", R, detector_config={"lr": 0.1, "epochs": 2}).spec
    other = make_record("a", R, detector_config={"lr": 0.2, "epochs": 2}, seed=3).spec
    assert differing_options([one, other]) == [[("detector_config.lr", 0.1)], [("detector_config.lr", 0.2)]]


@pytest.mark.parametrize("count", [1, 2])
def test_equal_specs_do_not_differ(count: int) -> None:
    assert differing_options([make_record("a", R).spec] * count) == [[]] * count
