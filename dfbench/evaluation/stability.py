"""Measures of what happens inside trainings: the stability gap, and the worst case.

A :class:`Curve` is a metric (higher is better) on one experience at several moments of a run. Definitions are of
De Lange et al. 2023, "Continual evaluation for lifelong learning: identifying the stability gap" (arXiv 2205.13452,
section 3), at the moments that were measured instead of every iteration, and for any metric instead of accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dfbench.evaluation.continual import defined

WINDOWS = (10, 100)
"""Measured moments that a window spans; the paper's, where a moment is an iteration."""


def stability(points: Sequence[Mapping[str, Any]], metric: str, size: int) -> dict[str, float | None]:
    """The measures of a run from its points (a record's ``within``), None where one is undefined.

    Points are in order of time. Each has ``trained_on`` (row of R that its training fills), ``metric`` and ``values``
    (one of ``size`` experiences). A point with ``done`` 0 is from before its training.
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
        values: float (P, T), the metric on each experience at each moment. rows: int (P,), what was trained on then.
        before: bool (P,), the moment is before the first step of that training.
    """
    size = values.shape[1]
    lowest = [_lowest(values[:, i], rows > i, before) for i in range(size - 1)]
    return float(np.mean(lowest)) if lowest else math.nan


def wc_acc(values: np.ndarray, rows: np.ndarray, before: np.ndarray) -> float:
    """WC-ACC at the end: 1/T of the last experience's value, and the rest of min-ACC: a lower bound of the average."""
    if not len(values) or rows[-1] != values.shape[1] - 1:
        return math.nan
    size = values.shape[1]
    if size == 1:
        return float(values[-1, 0])
    return float(values[-1, -1] / size + (1 - 1 / size) * min_acc(values, rows, before))


def stability_gap(values: np.ndarray, rows: np.ndarray, before: np.ndarray) -> float:
    """The mean depth of the gap: how far an experience learned before falls inside a training below what that training
    leaves it at or found it at, whichever is lower, so that lasting forgetting is not in it.

    Over all pairs (training k, experience i < k); our own summary of the paper's figures, in the unit of the metric.
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
    """Windowed plasticity WP: the largest rise of an experience within ``width`` consecutive moments, the mean over
    experiences, each from the start of its own training on. Of −``values`` it is the windowed forgetting WF.

    nan where an experience has fewer than two moments. The moment before a later training is the one before it again,
    and not counted twice.
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
    """The least of the moments inside later trainings; the moment before a training is the one after the last."""
    inside = curve[later & ~before]
    return float(inside.min()) if inside.size and np.isfinite(inside).all() else math.nan
