"""What a run scores next to its experiences: sets that are never trained on, degraded copies of the test sets, and
reals of the validation sets, which thresholds are fixed on."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from dfbench.benchmarks.assemble import UNSEEN
from dfbench.benchmarks.parts import Perturb
from dfbench.benchmarks.stream import Stream
from dfbench.data.loader import UnitLoader
from dfbench.data.pixels import Pixels
from dfbench.data.units import Units
from dfbench.data.workers import Progress
from dfbench.errors import DataError
from dfbench.evaluation.scores import Scores
from dfbench.runs.prediction import EVAL_BATCH, TestSets, class_probabilities, shares

REALS = 500
"""Validation units of an experience that thresholds are fixed on: at 1 % of them, the fifth or sixth decides."""


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


class ValidationReals:
    """Real validation units of each experience, which thresholds are fixed on; see :mod:`dfbench.evaluation.operating`.

    At most :data:`REALS` of each experience, drawn by a hash of their names.

    Args:
        tests: The test sets of the experiences.
        stream: Whose they are; at least one has a validation set.
        pixels: Of all samples of the stream.
        device: Where predictions are made.

    Raises:
        DataError: The detector cannot make units of a validation set.
    """

    def __init__(self, tests: TestSets, stream: Stream, pixels: Pixels, device: torch.device) -> None:
        having = stream.having("val")
        assert having is not None
        self.sets = TestSets(tests.detector, having, pixels, device, "val")
        names, label = self.sets.names.take(self.sets.first_rows).objects, self.sets.units.labels
        places = {experience.name: place for place, experience in enumerate(stream.experiences)}
        self.members: dict[int, np.ndarray] = {}
        """Experience → units."""
        for experience, members in zip(having.experiences, self.sets.members, strict=True):
            reals = members[label[members] == 0]
            if len(reals):
                self.members[places[experience.name]] = reals[chosen(names[reals], label[reals], REALS)]

    def scores(
        self,
        model: nn.Module,
        autocast: Callable[[], torch.autocast],
        trained_on: int,
        tested: Sequence[int],
        first: int,
        progress: Callable[[int, int], None],
    ) -> Scores:
        """Predictions of the network after an experience, on the reals of this one and of those before.

        Args:
            model: The network that predicts.
            autocast: Makes the context of each prediction.
            trained_on: The experience, from 0.
            tested: The experiences whose test sets are scored then.
            first: ``tested_on`` of those of experience 0.
            progress: Receives the number of batches so far, and of all.
        """
        scores = Scores()
        members = {e: units for e, units in self.members.items() if e <= trained_on and e in tested}
        if members:
            part = self.sets.part(list(members.values()))
            found = part.predict(model, autocast, progress)
            part.add_scores(scores, trained_on, found, [first + place for place in members])
            part.loader.close()
        return scores


class FurtherTests:
    """Those that a stream has and that were asked for.

    Args:
        tests: The test sets of the experiences.
        stream: Whose they are.
        pixels: Of all its samples, as the detector wants them.
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
        pixels: Pixels,
        device: torch.device,
        split: str,
        progress: Progress | None = None,
    ) -> None:
        self._experiences = len(stream.experiences)
        self.unseen: TestSets | None = None
        self.perturbed: PerturbedTests | None = None
        self.validation: ValidationReals | None = None
        """None where there is none that thresholds could be fixed on, or where validation sets are what is scored."""
        self.notices: list[str] = []
        """Lines for the user."""
        sets = stream.unseen and stream.unseen.having(split)
        self.names = [each.name for each in sets.experiences] if sets is not None else []
        """Of the unseen sets that are scored, in order."""
        every = stream.unseen.experiences if stream.unseen is not None else []
        if left_out := [each.name for each in every if each.name not in self.names]:
            self.notices.append(f"unseen sets without a {split} split are not scored: {', '.join(left_out)}")
        size = (pixels.shape[1], pixels.shape[2])
        if sets is not None:
            further = sets.pixels(size, progress=progress)
            try:
                self.unseen = TestSets(tests.detector, sets, further, device, split, UNSEEN)
            except DataError as error:
                raise DataError(f"{error}; --skip-tests NAME leaves a set out") from None
            self.notices += self.unseen.notices
        if split == "test" and len(stream.classes) == 2 and any(len(e.rows["val"]) for e in stream.experiences):
            try:
                self.validation = ValidationReals(tests, stream, pixels, device)
            except DataError as error:
                self.notices.append(f"no threshold is fixed and carried on: {error}")
        if stream.perturb is not None:
            self.perturbed = PerturbedTests(tests, stream, stream.perturb, size, device)

    @property
    def place_of_copies(self) -> int:
        """``tested_on`` of the first degraded copy: after the experiences and the unseen sets."""
        return self._experiences + len(self.names)

    @property
    def place_of_validation(self) -> int:
        """``tested_on`` of the validation reals of the first experience: after the degraded copies."""
        return self.place_of_copies + (self.perturbed.count if self.perturbed is not None else 0)


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
        self.count = len(self.ways) * len(self.tests.members)
        """Copies of test sets."""
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
