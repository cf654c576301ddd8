"""What a run scores next to its experiences: sets that are never trained on, and degraded copies of the test sets."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from dfbench.benchmarks.assemble import UNSEEN
from dfbench.benchmarks.schema import Perturb
from dfbench.benchmarks.stream import Stream
from dfbench.data.loader import UnitLoader
from dfbench.data.units import Units
from dfbench.data.workers import Progress
from dfbench.errors import DataError
from dfbench.evaluation.scores import Scores
from dfbench.runs.prediction import EVAL_BATCH, TestSets, class_probabilities, shares


def chosen(names: np.ndarray, classes: np.ndarray, samples: int | None) -> np.ndarray:
    """The units of one test set that are degraded: positions, int64, sorted.

    They are drawn by a hash of their names, so that runs of any seed and detector are scored on the same.

    Args:
        names: Of the units, (n,).
        classes: Of the units, (n,).
        samples: How many at most, their classes as equal as their numbers allow; None: all.
    """
    if samples is None:
        return np.arange(len(names))
    order = np.array([hashlib.sha256(name.encode()).hexdigest() for name in names.tolist()])
    drawn = [group[np.argsort(order[group], kind="stable")[:take]] for group, take in shares(classes, samples)]
    return np.sort(np.concatenate(drawn))


class FurtherTests:
    """Those that a stream has and that were asked for.

    Args:
        tests: The test sets of the experiences.
        stream: Whose they are.
        size: (height, width) that the detector wants.
        device: Where predictions are made.
        split: What is scored, ``test`` or ``val``.
        progress: Receives how many pictures of unseen sets are decoded.

    Raises:
        DataError: The detector cannot make units of an unseen set.
    """

    def __init__(
        self,
        tests: TestSets,
        stream: Stream,
        size: tuple[int, int],
        device: torch.device,
        split: str,
        progress: Progress | None = None,
    ) -> None:
        self.unseen: TestSets | None = None
        self.perturbed: PerturbedTests | None = None
        self.notices: list[str] = []
        """Lines for the user."""
        sets = stream.unseen and stream.unseen.having(split)
        self.names = [each.name for each in sets.experiences] if sets is not None else []
        """Of the unseen sets that are scored, in order."""
        every = stream.unseen.experiences if stream.unseen is not None else []
        if left_out := [each.name for each in every if each.name not in self.names]:
            self.notices.append(f"unseen sets without a {split} split are not scored: {', '.join(left_out)}")
        if sets is not None:
            pixels = sets.pixels(size, progress=progress)
            try:
                self.unseen = TestSets(tests.detector, sets, pixels, device, split, UNSEEN)
            except DataError as error:
                raise DataError(f"{error}; --skip-tests NAME leaves a set out") from None
            self.notices += self.unseen.notices
        if stream.perturb is not None:
            self.perturbed = PerturbedTests(tests, stream, stream.perturb, size, device)


class PerturbedTests:
    """The units of all degraded copies, and where each copy's are.

    Args:
        tests: The test sets.
        stream: Whose they are; it has perturbations.
        perturb: Which.
        size: (height, width) that the detector wants.
        device: Where predictions are made.
    """

    def __init__(
        self, tests: TestSets, stream: Stream, perturb: Perturb, size: tuple[int, int], device: torch.device
    ) -> None:
        first = tests.first_rows
        self.tests = tests.part(
            [
                members[chosen(tests.names.take(first[members]).objects, tests.units.target[members], perturb.samples)]
                for members in tests.members
            ]
        )
        self.ways = list(itertools.product(perturb.kinds, perturb.levels))
        self.device = device
        units = self.tests.units
        kept, places = np.unique(units.rows, return_inverse=True)
        rows = places.reshape(units.rows.shape)
        # One table of all ways after another, so that one pass with one set of worker processes predicts them all.
        self._units = Units(
            np.concatenate([rows + way * len(kept) for way in range(len(self.ways))]),
            np.concatenate([units.labels] * len(self.ways)),
            np.concatenate([units.target] * len(self.ways)),
        )
        self._pixels = stream.perturbed_pixels(kept, size, self.ways, units.samples_per_unit)

    def scores(
        self,
        model: nn.Module,
        autocast: Callable[[], torch.autocast],
        trained_on: int,
        first: int,
        progress: Callable[[int, int], None],
    ) -> Scores:
        """Predictions on every copy.

        Args:
            model: The network that predicts.
            autocast: Makes the context of each prediction.
            trained_on: Row of R.
            first: ``tested_on`` of the first copy.
            progress: Receives the number of batches so far, and of all.
        """
        batches = torch.arange(len(self._units)).split(EVAL_BATCH)
        loader = UnitLoader(self._units, np.zeros(len(self._units)), self._pixels, self.device)
        try:
            found = class_probabilities(
                self.tests.detector, model, loader.stream(batches), autocast, lambda done: progress(done, len(batches))
            )
        finally:
            loader.close()
        scores = Scores()
        for way, probabilities in enumerate(np.split(found, len(self.ways))):
            places = [first + e * len(self.ways) + way for e in range(len(self.tests.members))]
            self.tests.add_scores(scores, trained_on, probabilities, places)
        return scores
