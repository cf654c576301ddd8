"""Finished runs for a leaderboard: real scores files and records, but scores that no network had to be trained for.

A run's scores are normal deviates around a mean that falls with every training since its experience was learned, so
that its matrix, its forgetting and its intervals are those of a plausible run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.benchmarks.parts import Perturb
from dfbench.evaluation.further import figures, parts_of, tested_of
from dfbench.evaluation.scores import UNTRAINED, Scores
from dfbench.evaluation.uncertainty import data_key
from dfbench.records.record import RECORD, SCHEMA_VERSION, SCORES, Record
from dfbench.records.spec import RunSpec

NAMES = ("autoencoder", "face_swap", "reenactment")
FINGERPRINT = hashlib.sha256(b"the data of these tests").hexdigest()
ENVIRONMENT = {
    "python": "3.11.7", "platform": "Linux", "processor": "a processor", "cores": 2, "threads": 1, "device": "cpu",
    "device_name": "a processor", "packages": {"torch": "2.15.0", "numpy": "2.4.6"},
    "plugins": {"simple_cnn (dfbench-deepfake)": "0.1.0"},
}  # fmt: skip


def make_scores(
    strength: float, decay: float, seed: int, whole: bool = False, videos: int = 20, frames: int = 3,
    names: tuple[str, ...] = NAMES, unseen: tuple[str, ...] = (), perturb: Perturb | None = None, held: int = 0,
) -> Scores:  # fmt: skip
    """``strength``: how far fakes lie above reals once learned; ``decay``: what a later training leaves of that.

    On unseen sets every training leaves a part of ``strength``; on degraded copies it falls with the level.
    """
    data, noise = np.random.default_rng(7), np.random.default_rng([seed, 1])
    scores, size = Scores(), len(names)
    hard = data.normal(0, 0.6, (size, 2 * videos))  # videos are easy or hard for everyone
    trained = [size - 1] if whole else range(size)
    labels, video = np.repeat(np.arange(2 * videos) % 2, frames), np.repeat(np.arange(2 * videos), frames)

    def test(i: int, j: int, name: str, power: float, hardness: np.ndarray, noise: np.random.Generator) -> None:
        values = power * labels + hardness[video] + noise.normal(0, 0.25) * labels + noise.normal(0, 1, len(labels))
        p = 1 / (1 + np.exp(-(values - power / 2)))
        keys = [f"{name}/{'fake' if v % 2 else 'real'}{v}" for v in video]
        scores.append(i, j, [f"{key}/{n}" for n, key in enumerate(keys)], keys, labels, p, p > 0.5)

    for i in [UNTRAINED, *trained]:
        for j, name in enumerate(names):
            kept = 1.0 if whole else decay ** (i - j) if i >= j else 0.3
            test(i, j, name, 0.0 if i == UNTRAINED else strength * kept, hard[j], noise)
    more = np.random.default_rng([seed, 2])  # so that the scores above do not depend on further tests
    for j, name in enumerate(unseen):
        for i in [UNTRAINED, *trained]:
            test(i, size + j, name, 0.4 * strength * (i + 1) / size, more.normal(0, 0.6, 2 * videos), more)
    for k, copy in enumerate(tested_of(names, unseen, perturb).copies):
        j = names.index(copy.of)
        kept = (1.0 if whole else decay ** (size - 1 - j)) * (1 - 0.12 * copy.level)
        test(size - 1, size + len(unseen) + k, copy.of, strength * kept, hard[j], more)
    first, level = size + len(unseen) + len(tested_of(names, unseen, perturb).copies), np.random.default_rng(9)
    hardness = level.normal(0, 1, (size, held))
    for i, j in [(k, j) for k in trained for j in range(k + 1)] if held else []:
        p = 1 / (1 + np.exp(strength / 2 - hardness[j] - 0.3 * (i - j)))  # reals look more fake with each training
        keys = [f"{names[j]}/val{n}" for n in range(held)]
        scores.append(i, first + j, keys, keys, np.zeros(held), p, p > 0.5)
    return scores


def make_run(
    out: Path, strategy: str = "replay", seed: int = 0, *, strength: float = 2.0, decay: float = 0.8,
    whole: bool = False, stored: int = 30, detector: str = "simple_cnn", preset: str = "default",
    benchmark: str = "three", fingerprint: str = FINGERPRINT, split: Any = "test", lr: float = 0.001,
    notes: tuple[str, ...] = (), names: tuple[str, ...] = NAMES, videos: int = 20, sure: bool = True,
    initial_weights: dict[str, Any] | None = None, about: dict[str, Any] | None = None, passes: float | None = None,
    unseen: tuple[str, ...] = (), perturb: Perturb | None = None, init: dict[str, Any] | None = None,
    trained: bool = True, held: int = 0,
) -> Path:  # fmt: skip
    """A folder with record.json and scores.parquet, as ``dfbench eval`` leaves it.

    ``sure``: with intervals; ``about``: further facts of the data; ``unseen`` and ``perturb``: tested next to them;
    ``init``: what it started from; ``trained``: False for weights as they are; ``held``: validation
    reals per experience.
    """
    whole, stored = whole or not trained, stored if trained else 0
    spec = RunSpec(
        detector=detector, preset=preset, detector_config={"epochs": 6, "lr": lr, "image_size": None},
        strategy=strategy, strategy_config={"memory": None}, benchmark=benchmark, data_fingerprint=fingerprint,
        memory=30, split=split, seed=seed, initial_weights=initial_weights or {},
        further_tests="f" * 64 if unseen or perturb else None, init=init,
    )  # fmt: skip
    folder = out / spec.run_id
    folder.mkdir(parents=True)
    scores = make_scores(strength, decay, int(spec.identity[:6], 16), whole, names=names, videos=videos,
                         unseen=unseen, perturb=perturb, held=held)  # fmt: skip
    scores.write(folder / SCORES)
    trainings = 1 if whole else len(names)
    tested = tested_of(names, unseen, perturb)
    summary = figures(parts_of(scores, tested), tested, "auc", 2, data_key(fingerprint, split))
    sizes = {"real": 60, "fake": 60}
    record: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "run": spec.run_id,
        "created": "2026-11-23T18:07:34+00:00",
        "spec": spec.document(),
        "identity": spec.identity,
        "headline": "auc",
        **summary,
        "uncertainty": summary["uncertainty"] | ({} if sure else {"replicates": None, "average": None}),
        "data": {
            "benchmark": benchmark,
            "fingerprint": fingerprint,
            "classes": ["real", "fake"],
            "experiences": [
                {"name": n, "train": {"real": 50, "fake": 50}, "val": {}, "test": {"real": 60, "fake": 60}}
                for n in names
            ],
            "unseen": [{"name": name, "test": sizes} for name in unseen],
            "perturbed": perturb and perturb.model_dump(exclude={"samples"}) | {"test": [sizes] * len(names)},
            "notes": list(notes),
            **(about or {}),
        },
        "input": {"native_size": [64, 64], "size": [64, 64], "unit": []},
        "detector": {"parameters": 138194, "head": "head"},
        "effects": {"replayed_units": 180.0} if stored else {},
        "memory": {
            "budget_samples": 30,
            "samples": [stored] * trainings,
            "bytes": [stored * 3072] * trainings,
            "state_bytes": 8 * stored,
        },
        "trained": trained,
        "steps": [270 * trained] * trainings,
        "compute": _compute(trainings, passes) if trained else {"forward": [0], "backward": [0], "passes": 0.0},
        "seconds": {"train": [20.0 + stored] * trainings, "evaluate": [1.5] * (trainings + 1), "total": 70.0 + stored},
        "peak_memory": {"host_bytes": 1_500_000_000, "device_bytes": None},
        "environment": ENVIRONMENT,
        "git": {"commit": "c" * 40, "dirty": False},
        "weights_sha256": "0" * 64,
        "scores_sha256": scores.digest(),
    }
    Record.parse(record, folder).write(folder / RECORD)
    return folder


def _compute(trainings: int, passes: float | None) -> dict[str, Any] | None:
    return passes and {"forward": [7200] * trainings, "backward": [7200] * trainings, "passes": passes}  # type: ignore[return-value]


def make_runs(out: Path, seeds: int = 3, **more: Any) -> list[Path]:
    """Five methods of different quality, the first two nearly alike, and an upper bound."""
    methods = [
        ("replay", {"decay": 0.92}), ("gem", {"decay": 0.9}), ("ewc", {"decay": 0.6, "stored": 0}),
        ("naive", {"decay": 0.5, "stored": 0}), ("joint", {"whole": True, "stored": 0, "strength": 2.4}),
    ]  # fmt: skip
    return [make_run(out, name, seed, **{**options, **more}) for name, options in methods for seed in range(seeds)]


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run's folder."""
    value: dict[str, Any] = json.loads((folder / RECORD).read_text())
    return value


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write it back, whatever was done to it."""
    (folder / RECORD).write_text(json.dumps(record, indent=1))
