"""The record of a run: one JSON object that says what was run, on what, with which result."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dfbench.benchmarks.stream import Stream
from dfbench.errors import PluginError
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import evaluate
from dfbench.evaluation.uncertainty import data_key, uncertainty
from dfbench.records.spec import RunSpec

SCHEMA_VERSION = 1
Metric = Callable[[np.ndarray, np.ndarray], float]


def make_record(
    spec: RunSpec, stream: Stream, scores: Scores, metrics: Mapping[str, Metric], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Assemble a record; every metric in it is computed from ``scores``.

    Args:
        metrics: further metrics of a test set, by name, from plugins. facts: environment, seconds, memory, ….
    """
    names, classes = [e.name for e in stream.experiences], len(stream.classes)
    summary = evaluate(scores, names, stream.metric, classes)
    matrices = dict(summary["matrix"])
    if classes == 2:
        for name, metric in metrics.items():
            if name not in matrices:
                matrices[name] = matrix_of(name, metric, scores, len(stream.experiences))
    return {
        "schema": SCHEMA_VERSION,
        "run": spec.run_id,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "spec": spec.model_dump(),
        "identity": spec.identity,
        "headline": summary["headline"],
        "metrics": summary["metrics"],
        "matrix": matrices,
        "per_experience": summary["per_experience"],
        "uncertainty": uncertainty(scores, names, stream.metric, classes, data_key(spec.data_fingerprint, spec.split)),
        "data": describe(stream),
        **facts,
    }


def matrix_of(name: str, metric: Metric, scores: Scores, size: int) -> list[list[float | None]]:
    """The R matrix of one metric (T rows), null where it was not measured or is undefined.

    Raises:
        PluginError: the metric failed; the scores are stored, and the same command goes on from there.
    """
    matrix: list[list[float | None]] = [[None] * size for _ in range(size)]
    for group in scores:
        if group.trained_on >= 0:
            try:
                value = float(metric(group.labels, group.scores))
            except Exception as error:
                raise PluginError(
                    f"metric {name!r} failed on experience {group.tested_on}: {type(error).__name__}: {error}; "
                    "mend it, or disable its plugin, and run the same command again"
                ) from error
            matrix[group.trained_on][group.tested_on] = value if math.isfinite(value) else None
    return matrix


def describe(stream: Stream) -> dict[str, Any]:
    """The data of a stream: fingerprint, sizes by class, notes."""
    labels = stream.samples.label
    return {
        "benchmark": stream.name,
        "fingerprint": stream.fingerprint,
        "classes": list(stream.classes),
        "experiences": [
            {
                "name": e.name,
                **{
                    split: {c: int((labels[rows] == k).sum()) for k, c in enumerate(stream.classes)}
                    for split, rows in e.rows.items()
                },
            }
            for e in stream.experiences
        ],
        "notes": list(stream.notes),
    }
