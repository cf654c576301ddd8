"""Metrics of the course of trainings: the stability gap, and worst cases.

A :class:`Curve` is a metric (higher is better) on one experience at several moments of a run. Definitions are of
De Lange et al. 2023, "Continual evaluation for lifelong learning: identifying the stability gap" (arXiv 2205.13452,
section 3), at the measured moments instead of every iteration, and for any metric instead of accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dfbench.evaluation.continual import defined

WINDOWS = (10, 100)
"""Lengths of a window in measured moments; the paper has the same numbers of iterations."""


def stability(points: Sequence[Mapping[str, Any]], metric: str, size: int) -> dict[str, float | None]:
    """The metrics of a run, computed from its points (a record's ``mid_training``); None where undefined.

    Args:
        points: in order of time. Each has ``trained_on`` (the row of R that its training fills), ``metric``, ``values``
            (one per experience), and ``done``, which is 0 for a point from before the first step of its training.
        metric: the metric whose points are used.
        size: number of experiences.
    """
    mine = [p for p in points if p["metric"] == metric]
    rows = np.array([p["trained_on"] for p in mine], dtype=int)
    before = np.array([p["done"] == 0 for p in mine], dtype=bool)
    values = np.array([p["values"] for p in mine], dtype=float).reshape(len(mine), size)
    result = {
        "min_acc": min_acc(values, rows, before),
        "wc_acc": wc_acc(values, rows, before),
        "stability_gap": stability_gap(values, rows, before),
    }
    for width in WINDOWS:
        result[f"wf_{width}"] = windowed(-values, rows, before, width)
        result[f"wp_{width}"] = windowed(values, rows, before, width)
    return {name: defined(value) for name, value in result.items()}


def min_acc(values: np.ndarray, rows: np.ndarray, before: np.ndarray) -> float:
    """min-ACC at the end: the mean over all experiences but the last of their lowest value since their training ended.

    Args:
        values: float (P, T), the metric on each experience at each moment.
        rows: int (P,), the experience in training at each moment.
        before: bool (P,), whether the moment is before the first step of that training.
    """
    size = values.shape[1]
    lowest = [_lowest(values[:, i], rows > i, before) for i in range(size - 1)]
    return float(np.mean(lowest)) if lowest else math.nan


def wc_acc(values: np.ndarray, rows: np.ndarray, before: np.ndarray) -> float:
    """WC-ACC at the end, a lower bound of the average: the last experience's value weighs 1/T, min-ACC the rest."""
    if not len(values) or rows[-1] != values.shape[1] - 1:
        return math.nan
    size = values.shape[1]
    if size == 1:
        return float(values[-1, 0])
    return float(values[-1, -1] / size + (1 - 1 / size) * min_acc(values, rows, before))


def stability_gap(values: np.ndarray, rows: np.ndarray, before: np.ndarray) -> float:
    """The mean depth of the gap: min(start, end) − lowest value of an earlier experience inside a training.

    The mean is over all pairs (training k, experience i < k). Lasting forgetting is left out, because the depth is
    measured from the lower of the two ends. Our own summary of the paper's figures, in the unit of the metric.
    """
    depths = []
    for k in sorted(set(rows.tolist())):
        here = values[rows == k]
        if k > 0 and (len(here) < 2 or not before[rows == k][0]):
            return math.nan
        for i in range(k):
            curve = here[:, i]
            depths.append(min(curve[0], curve[-1]) - curve.min() if np.isfinite(curve).all() else math.nan)
    return float(np.mean(depths)) if depths else math.nan


def windowed(values: np.ndarray, rows: np.ndarray, before: np.ndarray, width: int) -> float:
    """Windowed plasticity WP: the largest rise of an experience within ``width`` consecutive moments.

    The mean over experiences, each from the start of its own training on; nan if one has fewer than two moments. Of
    −``values`` it is the windowed forgetting WF. The moment before a later training is dropped: the network is still
    that of the moment before it.
    """
    best = []
    for i in range(values.shape[1]):
        curve = values[(rows > i) & ~before | (rows == i), i]
        if len(curve) < 2 or not np.isfinite(curve).all():
            return math.nan
        gaps = range(1, min(width, len(curve)))
        best.append(max((curve[gap:] - curve[:-gap]).max() for gap in gaps))
    return float(np.mean(best))


def _lowest(curve: np.ndarray, later: np.ndarray, before: np.ndarray) -> float:
    """The lowest value inside later trainings; the moment before a training repeats the one after the last."""
    inside = curve[later & ~before]
    return float(inside.min()) if inside.size and np.isfinite(inside).all() else math.nan
