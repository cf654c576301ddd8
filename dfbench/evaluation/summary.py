"""The ``matrix`` and ``metrics`` of a record, computed from the scores of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfbench.errors import DataError, UsageError
from dfbench.evaluation import continual, detection
from dfbench.evaluation.scores import UNTRAINED, Group, Scores

TWO_CLASS_METRICS = ("auc", "video_auc", "accuracy")
"""The matrices of a real/fake stream. A stream with more classes has "accuracy" alone."""


def evaluate(scores: Scores, experiences: list[str], metric: str, classes: int) -> dict[str, Any]:
    """Compute a record's matrices and metrics; JSON-serialisable, all figures are fractions, None is undefined.

    Pairs that were not measured are None in the matrices (a joint run has only its last row). Scores of the untrained
    network (trained_on −1) are the baseline of ``fwt``.

    Args:
        scores: of the whole run.
        experiences: names of the T experiences in order.
        metric: the headline, "auc" (of frames), "video_auc" or "accuracy": forgetting and the other continual metrics
            are computed on its matrix.
        classes: number of classes.

    Returns:
        ``headline`` (the metric's name), ``matrix`` (name → T×T rows), ``metrics`` (name → value), and
        ``per_experience`` (the final model's metrics on each test set, with n).

    Raises:
        UsageError: the stream has no such metric.
        DataError: the scores are of another stream.
    """
    names = TWO_CLASS_METRICS if classes == 2 else ("accuracy",)
    if metric not in names:
        raise UsageError(f"a stream of {classes} classes has no metric {metric!r}; it has {', '.join(names)}")
    _check(scores, len(experiences), classes)
    # One row more than R: row −1, the last, is the untrained network.
    rows = {name: np.full((len(experiences) + 1, len(experiences)), np.nan) for name in names}
    for group in scores:
        for name, value in group_metrics(group, classes).items():
            rows[name][group.trained_on, group.tested_on] = value
    matrices = {name: values[:-1] for name, values in rows.items()}
    per_experience = [
        {"experience": name} | final_metrics(scores.get(len(experiences) - 1, j), classes)
        for j, name in enumerate(experiences)
    ]
    means = {}
    for name in ("partial_auc", "tpr_at_1_fpr") if classes == 2 else ():
        means[f"average_{name}"] = _mean([entry[name] for entry in per_experience])
    return {
        "headline": metric,
        "matrix": {name: continual.as_rows(R) for name, R in matrices.items()},
        "metrics": _metrics(matrices, metric, baseline=rows[metric][UNTRAINED])
        | (_of_sampled(matrices[metric]) if _is_sampled(scores, len(experiences)) else {})
        | means,
        "per_experience": per_experience,
    }


def _is_sampled(scores: Scores, size: int) -> bool:
    """Whether every model was tested on its own experience, and some on a part of the earlier ones alone."""
    pairs = set(scores.pairs)
    below = {(i, j) for i in range(size) for j in range(i + 1)}
    return all((i, i) in pairs for i in range(size)) and not below <= pairs


def _of_sampled(R: np.ndarray) -> dict[str, float | None]:
    """What can be said of an R that was sampled below its diagonal."""
    return {
        "forgetting_at_least": continual.defined(continual.forgetting_at_least(R)),
        "average_incremental_estimate": continual.defined(continual.average_incremental_estimate(R)),
    }


def _check(scores: Scores, size: int, classes: int) -> None:
    """Check that the scores fit a stream of this size (UsageError, DataError)."""
    if not size or classes < 2:
        raise UsageError(f"a stream has an experience and two classes at least, not {size} and {classes}")
    for group in scores:
        where = f"scores on experience {group.tested_on} after experience {group.trained_on}"
        if max(group.trained_on, group.tested_on) >= size:
            raise DataError(f"{where}: the stream has {size} experiences, counted from 0")
        top = max(group.labels.max(initial=0), group.predicted.max(initial=0))
        if top >= classes:
            raise DataError(f"{where}: class {top} in a stream of {classes} classes, counted from 0")


def group_metrics(group: Group, classes: int) -> dict[str, float]:
    """The entries of each matrix for one pair (trained on, tested on); nan where undefined."""
    if classes > 2:
        return {"accuracy": _share_correct(group)}
    videos = detection.by_video(group.labels, group.scores, group.videos)
    return {
        "auc": detection.auc(group.labels, group.scores),
        "video_auc": detection.auc(*videos),
        "accuracy": detection.accuracy(group.labels, group.scores),
    }


def _share_correct(group: Group) -> float:
    return float(np.mean(group.predicted == group.labels)) if len(group) else float("nan")


def _metrics(matrices: dict[str, np.ndarray], headline: str, baseline: np.ndarray) -> dict[str, float | None]:
    """The average of each matrix (None if the stream has no such matrix), and the continual metrics of the headline."""
    averages = {
        f"average_{name}": continual.defined(continual.average(matrices[name])) if name in matrices else None
        for name in TWO_CLASS_METRICS
    }
    summary = continual.summarize(matrices[headline], baseline)
    return averages | {name: value for name, value in summary.items() if name != "final"}


def _mean(values: Sequence[Any]) -> float | None:
    return None if None in values else continual.defined(float(np.mean(values)))


def final_metrics(group: Group | None, classes: int) -> dict[str, float | int | None]:
    """The final model's metrics on one test set; without a test, n is 0 and everything else None."""
    n = len(group) if group else 0
    if classes > 2:
        return {"n": n, "accuracy": continual.defined(_share_correct(group)) if group else None}
    if group is None:
        return {"n": n} | detection.detection_metrics([], [], [])
    return {"n": n} | detection.detection_metrics(group.labels, group.scores, group.videos)
