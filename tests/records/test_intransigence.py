"""What a run did not learn, against the runs on all data next to it."""

from __future__ import annotations

import pytest

from dfbench.records.comparison import intransigence
from tests.records.builder import make_record

RUN = make_record("some", [[0.8, 0.5], [0.6, 0.7]], stored=5)
JOINT = make_record("once", [[None, None], [0.9, 0.85]])
CUMULATIVE = make_record("all", [[0.82, 0.5], [0.8, 0.9]], stored=20)


def test_joint_is_a_stand_in() -> None:
    found = intransigence(RUN, [RUN, JOINT])
    assert found is not None
    assert found.each == pytest.approx([0.1, 0.15])
    assert found.mean == pytest.approx(0.125)
    assert (found.against, found.so_far) == (JOINT.run, False)


def test_a_run_that_kept_the_data_so_far_stands_in_before_a_joint_one() -> None:
    found = intransigence(RUN, [JOINT, CUMULATIVE, RUN])
    assert found is not None
    assert found.each == pytest.approx([0.02, 0.2])
    assert (found.against, found.so_far) == (CUMULATIVE.run, True)


def test_only_the_same_detector_settings_and_seed_are_a_bound() -> None:
    for other in ({"seed": 1}, {"preset": "q"}, {"detector_config": {"epochs": 9}}, {"data_fingerprint": "0" * 64}):
        assert intransigence(RUN, [make_record("once", JOINT.matrix["auc"], **other)]) is None
    assert intransigence(JOINT, [JOINT, CUMULATIVE]) is None
    assert intransigence(RUN, [RUN]) is None
