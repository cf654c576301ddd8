"""Records made up for a test: valid throughout, with the parts that a test is about as it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfbench.records.record import SCHEMA_VERSION, Record
from dfbench.records.spec import RunSpec

FINGERPRINT = "f" * 64


def make_record(
    strategy: str,
    matrix: list[list[float | None]],
    *,
    names: tuple[str, ...] | None = None,
    stored: int = 0,
    passes: float | None = None,
    metrics: Mapping[str, float | None] | None = None,
    run: str | None = None,
    **spec: Any,
) -> Record:
    """A run of two classes, five training samples of each per experience.

    Args:
        strategy: Its name.
        matrix: R of the headline, ``auc``.
        names: Of the experiences; a, b, … unless given.
        stored: Samples held at the end.
        passes: Counted compute; None: not counted.
        metrics: Of the record.
        run: Its name; that of its spec unless given.
        spec: Further fields of the spec.
    """
    size = len(matrix)
    names = names or tuple("abcdefgh"[:size])
    known = RunSpec(
        **{
            "detector": "cnn",
            "preset": "p",
            "detector_config": {},
            "strategy": strategy,
            "strategy_config": {},
            "benchmark": "some",
            "data_fingerprint": FINGERPRINT,
            "memory": 10,
            **spec,
        }
    )
    counts = {"real": 5, "fake": 5}
    value = {
        "schema": SCHEMA_VERSION,
        "run": run or known.run_id,
        "created": "2026-11-23T18:07:34+00:00",
        "spec": known,
        "identity": known.identity,
        "headline": "auc",
        "metrics": dict(metrics or {}),
        "matrix": {"auc": matrix},
        "per_experience": [{"experience": name} for name in names],
        "uncertainty": {
            "method": "bootstrap", "unit": "video", "metric": "auc", "count": 0, "level": 0.95, "average": None,
            "forgetting": None, "bwt": None, "learning_accuracy": None, "per_experience": [None] * size,
            "replicates": None,
        },
        "data": {
            "benchmark": known.benchmark,
            "fingerprint": known.data_fingerprint,
            "classes": ["real", "fake"],
            "experiences": [{"name": name, "train": counts, "val": {}, "test": counts} for name in names],
        },
        "input": {"native_size": None, "size": [8, 8], "unit": []},
        "detector": {"parameters": 1, "head": "head"},
        "memory": {"budget_samples": 10, "samples": [stored], "bytes": [stored], "state_bytes": 0},
        "steps": [1],
        "compute": passes and {"forward": [round(passes)], "backward": [round(passes)], "passes": passes},
        "seconds": {"train": [1.0], "evaluate": [1.0], "total": 2.0},
        "environment": {"device": "cpu"},
        "weights_sha256": "0" * 64,
        "scores_sha256": "0" * 64,
    }  # fmt: skip
    return Record.parse(value, "a record of a test")
