"""What a run did not learn, against the runs on all data beside it."""

from __future__ import annotations

from typing import Any

import pytest

from dfbench.records.comparison import intransigence


def record(name: str, matrix: list[list[float | None]], stored: int = 0, **spec: Any) -> dict[str, Any]:
    return {
        "run": name,
        "headline": "auc",
        "matrix": {"auc": matrix},
        "memory": {"samples": [stored]},
        "data": {"experiences": [{"name": e, "train": {"real": 5, "fake": 5}} for e in "ab"]},
        "spec": {"detector": "d", "preset": "p", "detector_config": {}, "data_fingerprint": "f", "split": "test",
                 "seed": 0, "strategy": name, **spec},
    }  # fmt: skip


RUN = record("some", [[0.8, 0.5], [0.6, 0.7]], stored=5)
JOINT = record("once", [[None, None], [0.9, 0.85]])
CUMULATIVE = record("all", [[0.82, 0.5], [0.8, 0.9]], stored=20)


def test_joint_is_a_stand_in() -> None:
    found = intransigence(RUN, [RUN, JOINT])
    assert found is not None
    assert found.each == pytest.approx([0.1, 0.15])
    assert found.mean == pytest.approx(0.125)
    assert (found.against, found.exact) == ("once", False)


def test_cumulative_is_the_definition() -> None:
    found = intransigence(RUN, [JOINT, CUMULATIVE, RUN])
    assert found is not None
    assert found.each == pytest.approx([0.02, 0.2])
    assert (found.against, found.exact) == ("all", True)


def test_only_the_same_detector_settings_and_seed_are_a_bound() -> None:
    for other in ({"seed": 1}, {"preset": "q"}, {"detector_config": {"epochs": 9}}, {"data_fingerprint": "g"}):
        assert intransigence(RUN, [record("once", JOINT["matrix"]["auc"], **other)]) is None
    assert intransigence(JOINT, [JOINT, CUMULATIVE]) is None
    assert intransigence(RUN, [RUN]) is None
