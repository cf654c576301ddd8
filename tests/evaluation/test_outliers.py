"""Distances to the training features, compared with scikit-learn's neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from dfbench.evaluation.outliers import distances, threshold, unit_length


def test_the_distance_is_that_of_the_k_th_neighbour() -> None:
    rng = np.random.default_rng(0)
    bank, shown = unit_length(rng.normal(size=(200, 16))), rng.normal(size=(30, 16)) * 7
    expected = NearestNeighbors(n_neighbors=10).fit(bank).kneighbors(unit_length(shown))[0][:, -1]
    assert distances(shown, bank, 10) == pytest.approx(expected, abs=1e-5)


def test_a_bank_smaller_than_k_gives_its_farthest() -> None:
    bank = unit_length(np.eye(3))
    assert distances(np.array([[1.0, 0, 0]]), bank, 10) == pytest.approx([np.sqrt(2)])


def test_features_without_length_are_not_divided_by_nought() -> None:
    assert np.isfinite(distances(np.zeros((2, 4)), unit_length(np.ones((5, 4))))).all()


def test_what_is_drawn_from_elsewhere_lies_beyond_the_threshold() -> None:
    rng = np.random.default_rng(1)
    centre = rng.normal(size=32) * 3
    bank, own, other = (unit_length(rng.normal(size=(300, 32)) + shift) for shift in (centre, centre, -centre))
    limit = threshold(distances(own, bank))
    assert (distances(own, bank) > limit).mean() == pytest.approx(0.05, abs=0.01)
    assert (distances(other, bank) > limit).all()
