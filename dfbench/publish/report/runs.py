"""The runs of a report: read, checked, and gathered over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dfbench.errors import DataError, UsageError
from dfbench.evaluation import continual
from dfbench.publish.plotting import common_unseen, unseen_matrix
from dfbench.records.comparison import check_comparable
from dfbench.records.finished import FinishedRun
from dfbench.records.seeds import by_seed, labels, mean_and_spread
from dfbench.records.text import METRICS

LONGEST = 26
"""Letters of a name in a figure."""


def shortened(names: Sequence[str]) -> list[str]:
    """Names, very long ones cut."""
    return [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]


class Run(FinishedRun):
    """A finished run with what its figures ask for."""

    @property
    def metric(self) -> str:
        """The headline metric in words."""
        return METRICS[self.record.headline]

    @property
    def names(self) -> list[str]:
        """The experiences, in order."""
        return self.record.names

    @property
    def labels(self) -> list[str]:
        """The experiences as figures write them: very long names are cut."""
        return shortened(self.names)

    @property
    def unseen_labels(self) -> list[str]:
        """The sets that are never trained on, as figures write them."""
        return shortened(self.record.unseen_names)

    @property
    def unseen(self) -> np.ndarray | None:
        """The headline metric on them after each training, float64 (T, U)."""
        return unseen_matrix(self.record)

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.record.data.classes

    @property
    def two_class(self) -> bool:
        """Real and fake: scores are P(fake)."""
        return len(self.classes) == 2

    @property
    def final(self) -> list[dict[str, float | None]]:
        """The final network's figures on each test set, by name."""
        return [{k: v for k, v in each.items() if not isinstance(v, str)} for each in self.record.per_experience]

    @cached_property
    def matrix(self) -> np.ndarray:
        """R of the headline metric, float64 (T, T), nan where it was not measured."""
        return self.record.R()


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
    def unseen(self) -> np.ndarray | None:
        """Mean over seeds on the sets that are never trained on, float64 (T, U); None where the seeds' sets differ."""
        found = [run.unseen for run in self.runs]
        if not common_unseen([run.record for run in self.runs]):
            return None
        return np.asarray(np.mean([each for each in found if each is not None], axis=0))

    @property
    def spread(self) -> np.ndarray | None:
        """Sample standard deviation over seeds; None for one seed."""
        return np.asarray(self.matrices.std(0, ddof=1)) if len(self.runs) > 1 else None

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return [run.record.spec.seed for run in self.runs]

    @property
    def seen(self) -> np.ndarray:
        """After each experience the mean over those seen so far, float64 (seeds, T); nan where one is unknown."""
        size = self.matrices.shape[1]
        return np.stack([self.matrices[:, i, : i + 1].mean(1) for i in range(size)], axis=1)

    def metric(self, name: str) -> tuple[float | None, float | None]:
        """Mean and sample standard deviation of a continual metric; None where undefined, and of one seed."""
        return mean_and_spread([run.record.metrics.get(name) for run in self.runs])


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Finished runs on the same data, their scores checked.

    Raises:
        DataError: A run is not finished, its scores are missing or not those of the record, or the runs' data differ.
        UsageError: A run is given twice.
    """
    runs = [Run.open(path) for path in paths]
    for number, run in enumerate(runs):
        for other in runs[:number]:
            if run.record.spec.training == other.record.spec.training:
                raise UsageError(f"{run.record.run} is given twice: name each training once")
    check_comparable([run.record for run in runs])
    if len({run.record.headline for run in runs}) > 1:
        raise DataError("the runs have different headline metrics: they are not comparable")
    for run in runs:
        _ = run.scores
    return runs


def gather(runs: Sequence[Run]) -> list[Method]:
    """The runs by what they share but the seed, in the order given, each with a label of its own."""
    groups = by_seed(runs, lambda run: run.record.spec)
    names = labels([group[0].record.spec for group in groups])
    return [Method(name, group) for name, group in zip(names, groups, strict=True)]


def average_per_seed(method: Method) -> list[float]:
    """The headline average of each seed."""
    return [continual.average(run.matrix) for run in method.runs]
