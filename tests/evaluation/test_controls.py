"""AUCs between reals against figures worked out by hand, and against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dfbench.evaluation.controls import between_reals
from dfbench.evaluation.scores import Scores


def add(scores: Scores, tested_on: int, reals: list[float], name: str, frames: int = 1, trained_on: int = 1) -> None:
    """Real videos of several equal frames, and one fake."""
    values = np.repeat(np.array([*reals, 0.9], np.float32), frames)
    videos = np.repeat([f"{name}-{n}" for n in range(len(reals) + 1)], frames).tolist()
    labels = np.repeat([0] * len(reals) + [1], frames)
    samples = [f"{video}/{k}" for k, video in enumerate(videos)]
    scores.append(trained_on, tested_on, samples, videos, labels, values, values > 0.5)


def test_by_hand() -> None:
    """Of 2 × 3 pairs of reals the second set is higher in three and level in one."""
    scores = Scores()
    add(scores, 0, [0.2, 0.4], "a")
    add(scores, 1, [0.1, 0.4, 0.6], "b")
    expected = (0 + 1.5 + 2) / 6  # .1 is above neither; .4 above one and level with one; .6 above both
    found = between_reals(scores, 2)
    assert found is not None
    assert found["auc"] == pytest.approx(expected)
    assert (found["of"], found["reals"]) == ([0, 1], [2, 3])


def test_the_largest_pair_is_named_whichever_way_it_differs_and_the_mean_is_over_all() -> None:
    scores = Scores()
    add(scores, 0, [0.5, 0.6], "a", trained_on=2)
    add(scores, 1, [0.5, 0.6], "b", trained_on=2)
    add(scores, 2, [0.1, 0.2], "c", trained_on=2)
    found = between_reals(scores, 3)
    assert found == {"auc": 1.0, "of": [0, 2], "reals": [2, 2], "mean": pytest.approx((0.5 + 1 + 1) / 3)}


def test_frames_of_a_video_are_one_real() -> None:
    scores = Scores()
    add(scores, 0, [0.2, 0.4], "a", frames=5)
    add(scores, 1, [0.3, 0.5], "b", frames=3)
    found = between_reals(scores, 2)
    assert found is not None
    assert found["reals"] == [2, 2]
    assert found["auc"] == 0.75


def test_test_sets_that_share_a_real_are_not_compared() -> None:
    scores = Scores()
    add(scores, 0, [0.2, 0.4], "same")
    add(scores, 1, [0.3, 0.5], "same")
    assert between_reals(scores, 2) is None


def test_only_the_last_network_counts_and_one_test_set_is_nothing() -> None:
    scores = Scores()
    add(scores, 0, [0.2, 0.4], "a", trained_on=0)
    add(scores, 1, [0.9, 0.9], "b", trained_on=0)
    add(scores, 1, [0.9, 0.9], "b")
    assert between_reals(scores, 2) is None


values = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30)


@settings(deadline=None)
@given(values, values)
def test_as_scikit_learn_has_it(one: list[float], other: list[float]) -> None:
    scores = Scores()
    add(scores, 0, one, "a")
    add(scores, 1, other, "b")
    found = between_reals(scores, 2)
    assert found is not None
    auc = roc_auc_score([0] * len(one) + [1] * len(other), np.array([*one, *other], np.float32))
    assert found["auc"] == pytest.approx(max(auc, 1 - auc), abs=1e-9)
