"""From scores to probabilities and verdicts: Platt scaling, the band in which nothing is said, and what both cost.

Pure functions on arrays of shape (n,): labels (0 real, 1 fake) and scores P(fake) in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dfbench.errors import DataError

ERROR_RATE = 0.05
"""Share of reals that may be called fake, and of fakes that may be called real, on the data that choose the band."""
REPLICATES = 2000
_EDGE = 1e-6
"""Scores are kept so far from 0 and 1, whose logits are infinite."""


class Platt(NamedTuple):
    """P = σ(slope · logit(score) + intercept) (Platt 1999, on the logit of a probability); (1, 0) changes nothing."""

    slope: float
    intercept: float

    def __call__(self, scores: ArrayLike) -> np.ndarray:
        """Calibrated P(fake), float64 of the scores' shape."""
        return 1 / (1 + np.exp(-(self.slope * _logits(scores) + self.intercept)))


class Band(NamedTuple):
    """Calibrated P(fake) above ``fake_above`` is fake, below ``real_below`` real; nothing is said in between."""

    real_below: float
    fake_above: float


class Rate(NamedTuple):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


def fit_platt(labels: ArrayLike, scores: ArrayLike) -> Platt:
    """The slope and the intercept that maximise the likelihood of the labels, both classes weighing the same.

    Args:
        labels: 0 or 1, both present.
        scores: P(fake).

    Raises:
        DataError: only one class is there, or a higher score does not mean that a fake is more likely.
    """
    from sklearn.linear_model import LogisticRegression

    truth = np.asarray(labels)
    if len(np.unique(truth)) != 2:
        raise DataError("calibration needs reals and fakes")
    fitted = LogisticRegression(C=1e6, class_weight="balanced").fit(_logits(scores)[:, None], truth)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if not slope > 0:
        raise DataError("calibration: on the validation data a higher score does not mean that a fake is more likely")
    return Platt(slope, intercept)


def choose_band(labels: ArrayLike, probabilities: ArrayLike, error_rate: float = ERROR_RATE) -> Band:
    """The narrowest band outside of which neither class is wrong more often than ``error_rate``.

    Args:
        labels: 0 or 1.
        probabilities: calibrated P(fake).
        error_rate: share of reals above ``fake_above``, and of fakes below ``real_below``, at most.

    Returns:
        the band; where the classes are so far apart that none is needed, both ends are the middle of the gap.
    """
    truth, p = np.asarray(labels) == 1, np.asarray(probabilities, np.float64)
    reals, fakes = np.sort(p[~truth])[::-1], np.sort(p[truth])
    # The lowest real above which no more than the allowed share lies.
    highest = float(reals[math.floor(error_rate * len(reals))])
    lowest = float(fakes[math.floor(error_rate * len(fakes))])
    if lowest > highest:
        return Band((lowest + highest) / 2, (lowest + highest) / 2)
    return Band(lowest, highest)


def rate(wrong: ArrayLike, people: Sequence[str] | np.ndarray, seed: int = 0) -> Rate:
    """A share and its percentile interval, resampling people: pictures of one person are not independent.

    Args:
        wrong: bool (n,).
        people: the person of each sample; "" for a sample that stands for itself.
        seed: of the bootstrap.
    """
    values = np.asarray(wrong, np.float64)
    if not values.size:
        return Rate(math.nan, math.nan, math.nan)
    names = [name or f"\0{i}" for i, name in enumerate(np.asarray(people, object).tolist())]
    _, group = np.unique(np.array(names, object), return_inverse=True)
    sums, counts = np.bincount(group, weights=values), np.bincount(group)
    drawn = np.random.default_rng(seed).integers(0, len(counts), (REPLICATES, len(counts)))
    shares = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    if sums.sum() in (0, counts.sum()):  # a bootstrap of equal values has no width: the rule of three for people
        edge = min(3 / len(counts), 1.0)
        low, high = (0.0, edge) if sums.sum() == 0 else (1 - edge, 1.0)
    return Rate(float(values.mean()), float(low), float(high))


def _logits(scores: ArrayLike) -> np.ndarray:
    p = np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
    return np.log(p / (1 - p))
