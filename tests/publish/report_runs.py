"""Folders of finished runs, as ``dfbench eval`` leaves them, from scores that a test chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import evaluate
from dfbench.evaluation.uncertainty import data_key, uncertainty
from dfbench.records.record import SCHEMA_VERSION, Record
from dfbench.records.spec import RunSpec

NAMES = ("swap", "sync", "gan")


def make_run(
    folder: Path,
    strategy: str = "naive",
    seed: int = 0,
    names: tuple[str, ...] = NAMES,
    classes: int = 2,
    joint: bool = False,
    fingerprint: str = "f" * 64,
    memory: int = 12,
    **more: Any,
) -> Path:
    """Write one run and return its folder. The naive one forgets; the others hardly do."""
    rng = np.random.default_rng([seed, len(strategy)])
    size, n = len(names), 40
    scores = Scores()
    for i in [size - 1] if joint else range(-1, size):
        for j in range(size):
            labels = np.arange(n) % classes
            known = 0.0 if i < j else 2.5 if i == j or joint else 0.4 if strategy == "naive" else 1.8
            if classes == 2:
                values = 1 / (1 + np.exp(-(rng.normal(size=n) + known * (labels - 0.5))))
                predicted = (values > 0.5).astype(int)
            else:
                predicted = np.where(rng.random(n) < 0.3 + known / 5, labels, (labels + 1) % classes)
                values = rng.random(n)
            samples = [f"{names[j]}/{k}" for k in range(n)]
            videos = [f"{names[j]}/v{k // 4}-{k % 2}" if classes == 2 else "" for k in range(n)]
            scores.append(i, j, samples, videos, labels, values, predicted)
    spec = RunSpec(
        detector="tiny", preset="default", detector_config={"lr": 0.1, "epochs": 1}, strategy=strategy,
        strategy_config={}, benchmark="three", data_fingerprint=fingerprint, memory=memory, seed=seed,
    )  # fmt: skip
    metric = "auc" if classes == 2 else "accuracy"
    summary = evaluate(scores, list(names), metric, classes)
    trainings = 1 if joint else size
    counts = {f"c{k}" if classes > 2 else ("real", "fake")[k]: n // classes for k in range(classes)}
    path = folder / str(more.get("run", spec.run_id))
    path.mkdir(parents=True)
    scores.write(path / "scores.parquet")
    record = {
        "schema": SCHEMA_VERSION,
        "run": spec.run_id,
        "created": "2026-01-01T00:00:00+00:00",
        "spec": spec.document(),
        "identity": spec.identity,
        **summary,
        "uncertainty": uncertainty(scores, list(names), metric, classes, data_key(fingerprint, spec.split)),
        "data": {
            "benchmark": "three",
            "fingerprint": fingerprint,
            "classes": list(counts),
            "experiences": [{"name": name, "train": counts, "test": counts} for name in names],
            "notes": [],
        },
        "input": {"native_size": [8, 8], "size": [8, 8], "unit": []},
        "detector": {"parameters": 1234567, "head": "head"},
        "effects": {"replayed_units": 96.0} if strategy == "replay" else {},
        "memory": {
            "budget_samples": memory, "samples": [memory] * trainings, "bytes": [3600] * trainings, "state_bytes": 0,
        },
        "steps": [10] * trainings,
        "seconds": {"train": [1.5] * trainings, "evaluate": [0.5] * (trainings + 1), "total": 2.0 * trainings + 0.5},
        "peak_memory": {"host_bytes": 10**9, "device_bytes": None},
        "resumed": 0,
        "environment": {
            "python": "3.11", "platform": "Linux", "processor": "a processor", "cores": 2, "threads": 1,
            "device": "cpu", "device_name": "a processor", "packages": {"torch": "2.15.0"}, "plugins": {},
        },
        "git": {"commit": "0" * 40, "dirty": False},
        "weights_sha256": "0" * 64,
        "scores_sha256": scores.digest(),
        **more,
    }  # fmt: skip
    Record.parse(record, path).write(path / "record.json")
    return path


def read_record(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((path / "record.json").read_text(encoding="utf-8"))
    return value


def write_record(path: Path, record: dict[str, Any]) -> None:
    (path / "record.json").write_text(json.dumps(record), encoding="utf-8")
