"""What is stored of a prediction."""

from __future__ import annotations

import numpy as np
import pytest

from dfbench.data.texts import Texts
from dfbench.evaluation.scores import Scores
from dfbench.runs.prediction import TestSets


@pytest.mark.parametrize("classes", [2, 5])
def test_two_class_scores_are_exact_and_others_rounded_to_a_256th(classes: int) -> None:
    n = 40
    p = np.random.default_rng(0).dirichlet(np.ones(classes), n).astype(np.float32)
    sets = TestSets.__new__(TestSets)
    sets.units = _Units(n, classes)  # type: ignore[assignment]
    sets.members = [np.arange(n)]
    sets.names, sets.videos = Texts.of([f"s{k}" for k in range(n)]), np.array([""] * n, object)
    sets.identities = np.array([""] * n, object)
    scores = Scores()
    sets.add_scores(scores, 0, p)
    group = scores.get(0, 0)
    assert group is not None
    np.testing.assert_array_equal(group.predicted, p.argmax(1))
    if classes == 2:
        np.testing.assert_array_equal(group.scores, p[:, 1])
    else:
        np.testing.assert_array_equal(group.scores * 256, np.round(p.max(1) * 256))
        assert (group.scores != p.max(1)).any()


class _Units:
    """As many units of one picture each, their classes in turns."""

    def __init__(self, count: int, classes: int) -> None:
        self.rows = np.arange(count)
        self.labels = np.arange(count) % classes

    def __len__(self) -> int:
        return len(self.rows)
