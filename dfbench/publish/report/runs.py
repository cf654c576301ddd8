"""The runs of a report: read, checked, and gathered over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.errors import DataError, UsageError
from dfbench.evaluation import continual
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.uncertainty import data_key, replicates
from dfbench.files import sha256_of
from dfbench.records.comparison import check_comparable, read_record

SCORES = "scores.parquet"
LONGEST = 26
"""Letters of a name in a figure."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its record and its scores."""

    folder: Path
    record: dict[str, Any]
    scores: Scores

    @property
    def spec(self) -> dict[str, Any]:
        """What was run."""
        return dict(self.record["spec"])

    @property
    def headline(self) -> str:
        """The metric that forgetting is computed on."""
        return str(self.record["headline"])

    @property
    def names(self) -> list[str]:
        """The experiences, in order."""
        return [str(e["name"]) for e in self.record["data"]["experiences"]]

    @property
    def labels(self) -> list[str]:
        """The experiences as figures write them: very long names are cut."""
        return [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in self.names]

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return [str(c) for c in self.record["data"]["classes"]]

    @property
    def two_class(self) -> bool:
        """Real and fake: scores are P(fake)."""
        return len(self.classes) == 2

    @cached_property
    def matrix(self) -> np.ndarray:
        """R of the headline metric, float64 (T, T), nan where it was not measured."""
        return np.array(self.record["matrix"][self.headline], dtype=float)

    @cached_property
    def replicates(self) -> np.ndarray:
        """R of every bootstrap replicate, float64 (1000, T, T); replicate b of two runs on the same data is paired."""
        data = data_key(self.spec["data_fingerprint"], self.spec["split"])
        return replicates(self.scores, self.names, self.headline, len(self.classes), data)


@dataclass(frozen=True, eq=False)
class Method:
    """Runs that differ in their seed alone."""

    label: str
    runs: tuple[Run, ...]

    @cached_property
    def matrices(self) -> np.ndarray:
        """R of each seed, float64 (seeds, T, T)."""
        return np.stack([run.matrix for run in self.runs])

    @property
    def mean(self) -> np.ndarray:
        """Mean of R over seeds; nan where one seed has none."""
        return np.asarray(self.matrices.mean(0))

    @property
    def spread(self) -> np.ndarray | None:
        """Sample standard deviation over seeds; None for one seed."""
        return np.asarray(self.matrices.std(0, ddof=1)) if len(self.runs) > 1 else None

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return [int(run.spec["seed"]) for run in self.runs]

    @property
    def seen(self) -> np.ndarray:
        """After each experience the mean over those seen so far, float64 (seeds, T); nan where one is unknown."""
        size = self.matrices.shape[1]
        return np.stack([self.matrices[:, i, : i + 1].mean(1) for i in range(size)], axis=1)

    def metric(self, name: str) -> tuple[float | None, float | None]:
        """Mean and sample standard deviation of a continual metric; None where undefined, and of one seed."""
        values = [run.record["metrics"].get(name) for run in self.runs]
        if any(value is None for value in values):
            return None, None
        return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def load_run(path: Path) -> Run:
    """A finished run from its folder (or its ``record.json``).

    Raises:
        DataError: it is not finished, its scores are missing, or they are not the ones of the record.
    """
    record = read_record(path)
    folder = path if path.is_dir() else path.parent
    file = folder / SCORES
    if not file.is_file():
        raise DataError(f"{file}: the run's scores are missing; a report is drawn from a run's folder with its scores")
    try:
        expected = record["files"][SCORES]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / 'record.json'}: not a record of a run (it names no hash of {SCORES})") from error
    if sha256_of(file) != expected:
        raise DataError(f"{file} is damaged or of another run: its sha256 is not the one of the record")
    run = Run(folder, record, Scores.read(file))
    size = len(run.names)
    if run.matrix.shape != (size, size) or len(record.get("per_experience", ())) != size:
        raise DataError(f"{folder / 'record.json'}: not a record of a run (R is not {size}×{size})")
    if any(max(group.trained_on, group.tested_on) >= size for group in run.scores):
        raise DataError(f"{file}: scores of more experiences than the record's {size}")
    return run


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Finished runs on the same data.

    Raises:
        DataError: as :func:`load_run`, or the runs' data differ. UsageError: a run is given twice.
    """
    runs = [load_run(path) for path in paths]
    names = [run.record["run"] for run in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{twice} is given twice: name each run once")
    check_comparable([run.record for run in runs])
    if len({run.headline for run in runs}) > 1:
        raise DataError("the runs have different headline metrics: they are not comparable")
    return runs


def gather(runs: Sequence[Run]) -> list[Method]:
    """The runs by what they share but the seed, in the order given, each with a label that tells it from the others."""
    groups: dict[str, list[Run]] = {}
    options: dict[str, dict[str, Any]] = {}
    for run in runs:
        flat = _flat({k: v for k, v in run.spec.items() if k != "seed"})
        key = repr(sorted(flat.items()))
        groups.setdefault(key, []).append(run)
        options[key] = flat
    differing = {
        name for flat in options.values() for name in flat if len({repr(o.get(name)) for o in options.values()}) > 1
    }
    labels = {key: _label(flat, differing) for key, flat in options.items()}
    return [
        Method(labels[key], tuple(sorted(members, key=lambda run: run.spec["seed"]))) for key, members in groups.items()
    ]


def average_per_seed(method: Method) -> list[float]:
    """The headline average of each seed."""
    return [continual.average(run.matrix) for run in method.runs]


def _label(options: dict[str, Any], differing: set[str]) -> str:
    parts = [options["detector"]] if "detector" in differing else []
    parts += [options["preset"]] if "preset" in differing else []
    parts.append(options["strategy"])
    known = {"detector", "preset", "strategy"}
    # An option that only one strategy has goes with its name; one that two share and set differently is told.
    for name in sorted(differing - known):
        same_strategy = name.startswith("strategy_config.") or name.startswith("detector_config.") or name == "memory"
        if same_strategy and name in options:
            parts.append(f"{name.rpartition('.')[2]}={options[name]}")
    return " · ".join(map(str, parts))


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        result |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return result
