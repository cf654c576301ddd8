"""Records of earlier schemas, brought to today's as far as the record alone allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfbench.evaluation import continual


def converted(value: Any) -> Any:
    """A record's JSON value under today's schema; anything else as it is.

    Schema 1 took the maximum in ``forgetting`` over models from before an experience was learned, too. The figure is
    computed anew from the matrix. Its interval cannot be without the scores and is left out;
    ``python -m dfbench.publish.conversion`` computes it, and counts people instead of videos where they are known.
    """
    if not isinstance(value, dict) or value.get("schema") != 1:
        return _with_later_metrics(value)
    try:
        matrix = np.array(value["matrix"][value["headline"]], dtype=float)
        metrics = value["metrics"]
        if "forgetting" in metrics:
            metrics = {**metrics, "forgetting": continual.defined(continual.forgetting(matrix))}
        drawn = {**value["uncertainty"], "forgetting": None}
    except Exception:  # not a record: the schema says what is wrong with it
        return {**value, "schema": 2}
    return _with_later_metrics({**value, "schema": 2, "metrics": metrics, "uncertainty": drawn})


def _with_later_metrics(value: Any) -> Any:
    """With the metrics of R that records did not have from the start; anything but a record as it is."""
    try:
        metrics = value["metrics"]
        if "average_incremental" not in metrics or {*_LATER} <= {*metrics}:
            return value
        matrix = np.array(value["matrix"][value["headline"]], dtype=float)
        further = {name: continual.defined(metric(matrix)) for name, metric in _LATER.items()}
    except Exception:  # not a record: the schema says what is wrong with it
        return value
    return {**value, "metrics": {**metrics, **further}}


ADDED = frozenset(("partial_auc", "tpr_at_1_fpr", "tpr_at_01_fpr", "average_partial_auc", "average_tpr_at_1_fpr"))
"""Figures of schema 2 that its first records lack, and that only their scores could give them."""


def with_what_is_stated(found: Any, stated: Any) -> Any:
    """Figures from scores, JSON of any depth, without those of :data:`ADDED` that a record does not state."""
    if isinstance(found, Mapping) and isinstance(stated, Mapping):
        kept = {name: value for name, value in found.items() if name in stated or name not in ADDED}
        return {name: with_what_is_stated(value, stated.get(name)) for name, value in kept.items()}
    if isinstance(found, list) and isinstance(stated, list) and len(found) == len(stated):
        return [with_what_is_stated(*pair) for pair in zip(found, stated, strict=True)]
    return found


_LATER = {"next": continual.next_experience, "whole": continual.whole}
