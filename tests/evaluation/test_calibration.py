"""Calibration: probabilities that hold, verdicts that are wrong as seldom as was asked for, and honest intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.errors import DataError
from dfbench.evaluation.calibration import Platt, choose_band, fit_platt, rate
from dfbench.evaluation.detection import ece


def overconfident(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores whose logits are three times the true ones, and shifted by one."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(int)
    return labels, 1 / (1 + np.exp(-(3 * logits + 1)))


def test_platt_scaling_undoes_what_was_done_to_the_logits() -> None:
    platt = fit_platt(*overconfident(40_000, 0))
    assert platt.slope == pytest.approx(1 / 3, abs=0.02)
    assert platt.intercept == pytest.approx(-1 / 3, abs=0.05)


def test_the_calibration_error_falls_on_data_that_it_was_not_fitted_on() -> None:
    platt = fit_platt(*overconfident(4000, 1))
    labels, scores = overconfident(4000, 2)
    assert ece(labels, scores) > 0.12
    assert ece(labels, platt(scores)) < 0.03


def test_scores_of_nought_and_one_stay_finite_and_in_order() -> None:
    p = Platt(2.0, 0.5)(np.array([0.0, 0.3, 0.5, 1.0]))
    assert np.isfinite(p).all()
    assert (np.diff(p) > 0).all()


@pytest.mark.parametrize(("labels", "message"), [([1, 1, 1, 1], "reals and fakes"), ([1, 1, 0, 0], "higher score")])
def test_data_that_cannot_calibrate_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_platt(np.array(labels), np.array([0.1, 0.2, 0.8, 0.9]))


@given(st.integers(0, 2**32 - 1), st.integers(2, 200), st.integers(2, 200), st.sampled_from([0.01, 0.05, 0.2]))
def test_neither_class_is_wrong_more_often_than_allowed(seed: int, reals: int, fakes: int, allowed: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [reals, fakes])
    p = np.clip(rng.normal(0.45 + 0.1 * labels, 0.2), 0, 1).round(2)  # rounded: ties
    band = choose_band(labels, p, allowed)
    assert band.real_below <= band.fake_above
    assert (p[:reals] > band.fake_above).mean() <= allowed
    assert (p[reals:] < band.real_below).mean() <= allowed


def test_classes_that_do_not_overlap_need_no_band() -> None:
    band = choose_band([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 0.0)
    assert band.real_below == band.fake_above == pytest.approx(0.5)


def test_the_interval_of_a_rate_is_wider_where_few_people_have_many_pictures() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20).astype(str), 50)
    wrong = np.repeat(rng.random(20) < 0.3, 50)  # a person is wrong in all pictures or in none
    by_person, by_picture = rate(wrong, people), rate(wrong, [""] * 1000)
    assert by_person.value == by_picture.value == wrong.mean()
    assert by_person.high - by_person.low > 3 * (by_picture.high - by_picture.low)


def test_no_error_in_a_sample_is_not_called_no_error_at_all() -> None:
    assert rate(np.zeros(100, bool), np.repeat(np.arange(10).astype(str), 10)) == (0.0, 0.0, pytest.approx(0.3))
    assert rate(np.ones(4, bool), [""] * 4) == (1.0, pytest.approx(0.25), 1.0)
