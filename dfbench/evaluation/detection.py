"""Detection metrics of one test set, from labels (0 real, 1 fake) and scores P(fake).

Pure functions on arrays of shape (n,), in NumPy alone because the bootstrap runs them thousands of
times; tests compare them with scikit-learn. Every function returns ``nan`` where it is not
defined (AUC of one class, anything of an empty set) and raises DataError for arrays that are not
labels and scores. Fake is the positive class. ``docs/metrics.md`` lists the conventions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dfbench.errors import DataError

THRESHOLD = 0.5
"""A sample is called fake when its score is *above* this; a tie is real, as with the argmax of two logits."""

LOG_LOSS_CLIP = (0.01, 0.99)
"""DFDC's bounds: no prediction costs more than −log .01."""

ECE_BINS = 15


MAX_FPR = 0.1
"""Where the partial AUC ends."""

OPERATING = {"tpr_at_1_fpr": 0.01, "tpr_at_01_fpr": 0.001}
"""Names of true-positive rates at a false-positive rate: of 1 %, of .1 %."""


class EqualErrorRate(NamedTuple):
    """``rate`` in [0, 1] and the ``threshold`` that gives it (fake when score ≥ threshold)."""

    rate: float
    threshold: float


def _check(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bool (True is fake) and scores as float64, both of shape (n,)."""
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise DataError(f"labels and scores must be lists of one length, not {truth.shape}, {values.shape}")
    fake = truth == 1
    if not (fake | (truth == 0)).all():
        raise DataError(f"a label is {truth[~(fake | (truth == 0))][0]!s}: labels are 0 (real) or 1 (fake)")
    if not np.isfinite(values).all():
        raise DataError(f"a score is {values[~np.isfinite(values)][0]}: scores must be finite")
    return fake, values


def _check_probabilities(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_check`, for metrics that need the score to be a probability, in [0, 1]."""
    fake, values = _check(labels, scores)
    if values.size and (values.min() < 0 or values.max() > 1):
        raise DataError(f"scores run from {values.min():g} to {values.max():g}: P(fake) lies between 0 and 1")
    return fake, values


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _counts(fake: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and threshold at each distinct score, from the highest down."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1)
    true_positives = np.cumsum(fake[order])[last_of_tie]
    return true_positives, last_of_tie + 1 - true_positives, ordered[last_of_tie]


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a fake scores above a real, a tie counting half.

    The Mann–Whitney statistic (Hanley & McNeil 1982), from integer counts: exact in any order of samples.
    """
    fake, values = _check(labels, scores)
    fakes, reals = values[fake], np.sort(values[~fake])
    if not fakes.size or not reals.size:
        return math.nan
    fakes = np.sort(fakes)  # sorted queries walk through the reals once: several times faster
    below = np.searchsorted(reals, fakes, side="left").sum()
    not_above = np.searchsorted(reals, fakes, side="right").sum()
    return float(int(below + not_above) / (2 * fakes.size * reals.size))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Σ (recall_n − recall_{n−1}) · precision_n over distinct scores, not interpolated (scikit-learn)."""
    fake, values = _check(labels, scores)
    if not fake.any() or fake.all():
        return math.nan
    true_positives, false_positives, _ = _counts(fake, values)
    precision = true_positives / (true_positives + false_positives)
    return float((np.diff(true_positives, prepend=0) * precision).sum() / fake.sum())


def eer(labels: ArrayLike, scores: ArrayLike) -> EqualErrorRate:
    """False-positive rate at the threshold where |FNR − FPR| is least, over every distinct score.

    If the two thresholds around the crossing are equally near, the rate is their mean, the point half way along
    the ROC curve: a constant score has an EER of .5, not 0 or 1. ``threshold`` is then the higher of the two that
    is a score. Gaps are compared as integers, so ties are exact.
    """
    fake, values = _check(labels, scores)
    if not fake.any() or fake.all():
        return EqualErrorRate(math.nan, math.nan)
    true_positives, false_positives, thresholds = _counts(fake, values)
    n_fake = int(fake.sum())
    n_real = fake.size - n_fake
    # A leading point where nothing is called fake: FNR 1, FPR 0.
    false_positives = np.append(0, false_positives)
    false_negatives = n_fake - np.append(0, true_positives)
    gap = np.abs(false_negatives * n_real - false_positives * n_fake)
    nearest = np.flatnonzero(gap == gap.min())
    # The leading point has no threshold, but it is never the only nearest: calling everything fake is as near.
    return EqualErrorRate(
        float((false_positives[nearest] / n_real).mean()), float(thresholds[nearest[nearest > 0][0] - 1])
    )


def tpr_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float) -> float:
    """The true-positive rate at the lowest threshold with a false-positive rate of no more than ``fpr``, in (0, 1).

    nan for fewer than 1 / ``fpr`` reals: the rate would be that of the single highest real.
    """
    fake, values = _check(labels, scores)
    reals = np.sort(values[~fake])[::-1]
    allowed = int(fpr * reals.size * (1 + 1e-9))
    if allowed < 1 or not fake.any():
        return math.nan
    return _mean(values[fake] > reals[allowed])


def partial_auc(labels: ArrayLike, scores: ArrayLike, max_fpr: float = MAX_FPR) -> float:
    """The area under the ROC curve up to a false-positive rate, scaled so that chance is .5 and perfect is 1.

    McClish 1989, as in scikit-learn's ``roc_auc_score(max_fpr=…)``; linear between the points of the curve.
    """
    fake, values = _check(labels, scores)
    if not fake.any() or fake.all():
        return math.nan
    true_positives, false_positives, _ = _counts(fake, values)
    x = np.append(0, false_positives / (fake.size - fake.sum()))
    y = np.append(0, true_positives / fake.sum())
    stop = int(np.searchsorted(x, max_fpr, side="right"))
    x, y = np.append(x[:stop], max_fpr), np.append(y[:stop], np.interp(max_fpr, x[stop - 1 :], y[stop - 1 :]))
    chance = max_fpr**2 / 2
    return float((1 + (np.trapezoid(y, x) - chance) / (max_fpr - chance)) / 2)


def accuracy(labels: ArrayLike, scores: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Share of samples on the correct side of the threshold; fake when score > threshold."""
    fake, values = _check_probabilities(labels, scores)
    return _mean((values > threshold) == fake)


def accuracy_real(labels: ArrayLike, scores: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Accuracy on the reals alone (true-negative rate)."""
    fake, values = _check_probabilities(labels, scores)
    return _mean(values[~fake] <= threshold)


def accuracy_fake(labels: ArrayLike, scores: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Accuracy on the fakes alone (true-positive rate, recall)."""
    fake, values = _check_probabilities(labels, scores)
    return _mean(values[fake] > threshold)


def balanced_accuracy(labels: ArrayLike, scores: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Mean of the accuracies on reals and on fakes; nan where a class is missing."""
    return (accuracy_real(labels, scores, threshold) + accuracy_fake(labels, scores, threshold)) / 2


def log_loss(labels: ArrayLike, scores: ArrayLike, clip: tuple[float, float] = LOG_LOSS_CLIP) -> float:
    """Mean −log P(label), in nats, P(fake) clipped as in DFDC (Dolhansky et al. 2020, arXiv 2006.07397)."""
    fake, values = _check_probabilities(labels, scores)
    clipped = np.clip(values, *clip)
    return _mean(-np.log(np.where(fake, clipped, 1 - clipped)))


def brier(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean squared error of P(fake), in [0, 1] (Brier 1950)."""
    fake, values = _check_probabilities(labels, scores)
    return _mean((values - fake) ** 2)


def ece(labels: ArrayLike, scores: ArrayLike, bins: int = ECE_BINS) -> float:
    """Expected calibration error of P(fake): mean |mean score − share of fakes| over equal-width bins.

    Bins are [k/bins, (k+1)/bins), the last one closed, each weighted by its samples. It is the
    two-class form (Naeini et al. 2015), of P(fake), not of the confidence in the predicted class.
    """
    fake, values = _check_probabilities(labels, scores)
    if not values.size:
        return math.nan
    index = np.minimum((values * bins).astype(int), bins - 1)
    surplus = np.bincount(index, weights=values - fake, minlength=bins)
    return float(np.abs(surplus).sum() / values.size)


def by_video(labels: ArrayLike, scores: ArrayLike, videos: Sequence[str] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of videos: the mean of their frames' probabilities, videos in order of first appearance.

    A sample with the empty key "" is a still and counts as a video of its own. Two forgeries of one source video
    need two keys (method and name): under one key they would be averaged into a single fake, unnoticed.

    Args:
        labels: int (n,), 0 real, 1 fake.
        scores: P(fake), (n,).
        videos: the video key of each sample, (n,).

    Returns:
        labels and scores, int64 and float64 of shape (number of videos,).

    Raises:
        DataError: a key has frames of both labels.
    """
    fake, values = _check_probabilities(labels, scores)
    keys = videos.tolist() if isinstance(videos, np.ndarray) else list(videos)
    if len(keys) != fake.size:
        raise DataError(f"{len(keys)} video keys for {fake.size} scores")
    first: dict[str | int, int] = {}
    codes = np.array(
        [first.setdefault(i if key == "" else key, len(first)) for i, key in enumerate(keys)], dtype=np.intp
    )
    frames = np.bincount(codes, minlength=len(first))
    fakes = np.bincount(codes, weights=fake, minlength=len(first))
    mixed = (fakes > 0) & (fakes < frames)
    if mixed.any():
        key = list(first)[int(np.flatnonzero(mixed)[0])]
        raise DataError(f"video {key!r} has real and fake frames: give each forgery of a video its own key")
    means = np.bincount(codes, weights=values, minlength=len(first)) / frames
    return (fakes > 0).astype(np.int64), means


def detection_metrics(
    labels: ArrayLike, scores: ArrayLike, videos: Sequence[str] | np.ndarray | None = None
) -> dict[str, float | int | None]:
    """All of the above for one test set, by name; None where undefined, for JSON.

    Names without ``video_`` are metrics of frames (samples). Without ``videos`` the video metrics are None.
    """
    fake, values = _check_probabilities(labels, scores)
    rate, threshold = eer(fake, values)
    metrics: dict[str, float] = {
        "frame_auc": auc(fake, values),
        "average_precision": average_precision(fake, values),
        "eer": rate,
        "eer_threshold": threshold,
        "partial_auc": partial_auc(fake, values),
        **{name: tpr_at_fpr(fake, values, fpr) for name, fpr in OPERATING.items()},
        "accuracy": accuracy(fake, values),
        "accuracy_real": accuracy_real(fake, values),
        "accuracy_fake": accuracy_fake(fake, values),
        "balanced_accuracy": balanced_accuracy(fake, values),
        "log_loss": log_loss(fake, values),
        "brier": brier(fake, values),
        "ece": ece(fake, values),
    }
    counts: dict[str, int | None] = {
        "n_frames": fake.size,
        "n_real": int((~fake).sum()),
        "n_fake": int(fake.sum()),
        "n_videos": None,
    }
    of_videos = dict.fromkeys(("auc", "average_precision", "eer", "accuracy", "log_loss"), math.nan)
    if videos is not None:
        video_labels, video_scores = by_video(fake, values, videos)
        counts["n_videos"] = video_labels.size
        of_videos = {
            "auc": auc(video_labels, video_scores),
            "average_precision": average_precision(video_labels, video_scores),
            "eer": eer(video_labels, video_scores).rate,
            "accuracy": accuracy(video_labels, video_scores),
            "log_loss": log_loss(video_labels, video_scores),
        }
    metrics |= {f"video_{name}": value for name, value in of_videos.items()}
    return counts | {name: None if math.isnan(value) else value for name, value in metrics.items()}
