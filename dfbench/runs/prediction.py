"""Predictions on all test sets of a stream: each test unit is read and predicted once."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from dfbench.benchmarks.stream import Stream
from dfbench.data.loader import Batch, UnitLoader
from dfbench.data.pixels import Pixels
from dfbench.data.units import Units, concat, units_of_experiences
from dfbench.data.videos import video_keys
from dfbench.errors import DfbenchError
from dfbench.evaluation.scores import Scores
from dfbench.training.detector import Detector
from dfbench.training.ranks import ALONE, Ranks

EVAL_BATCH = 128


def experience_units(
    detector: Detector, stream: Stream, split: str, training: bool, what: str = "experience"
) -> tuple[list[Units], list[str]]:
    """A detector's units of each experience, and lines for the user on what they leave out."""
    rows = {e.name: e.rows[split] for e in stream.experiences}
    make = functools.partial(detector.units, stream.samples, training=training)
    return units_of_experiences(make, stream.samples, rows, split, stream.classes, what)


class TestSets:
    """The test units of every experience, without repetition, and where each experience's are.

    Args:
        detector: Whose units they are, and which predicts.
        stream: The experiences.
        pixels: Of all samples of the stream.
        device: Where predictions are made.
        split: ``test``, or ``val`` to choose hyperparameters.
        what: What errors call an experience.
        ranks: The processes that share the work: each predicts some of the batches.
    """

    __test__ = False  # not a test class, whatever pytest thinks

    def __init__(
        self,
        detector: Detector,
        stream: Stream,
        pixels: Pixels,
        device: torch.device,
        split: str,
        what: str = "experience",
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        parts, self.notices = experience_units(detector, stream, split, False, what)
        self.detector = detector
        self.names = stream.samples.texts("sample")
        self.videos = video_keys(stream.samples)
        self.identities = stream.identities
        every = concat(parts)
        flat = every.rows.reshape(len(every), -1)
        _, first, inverse = np.unique(flat, axis=0, return_index=True, return_inverse=True)
        self.units: Units = every.take(first)
        ends = np.cumsum([len(part) for part in parts])
        self.members = np.split(inverse.reshape(-1), ends[:-1])
        self.loader = UnitLoader(self.units, np.zeros(len(self.units)), pixels, device)

    def probe_batch(self, count: int = 2) -> torch.Tensor:
        """Ids of a few test units, to try a detector on."""
        return torch.arange(min(count, len(self.units)))

    def predict(
        self,
        model: nn.Module,
        autocast: Callable[[], torch.autocast],
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Class probabilities, float32 (units, classes); see :func:`class_probabilities`."""
        batches = self.batches[self.ranks.rank :: self.ranks.size]
        done = None if progress is None else lambda count: progress(count, len(batches))
        loaded = self.loader.stream(batches)
        if self.ranks.alone:
            return class_probabilities(self.detector, model, loaded, autocast, done)
        classes = self.detector.task.num_classes
        own = class_probabilities(self.detector, model, loaded, autocast, done) if batches else np.empty((0, classes))
        found = np.empty((len(self.units), classes), dtype=np.float32)
        for rank, part in enumerate(self.ranks.gathered(own)):
            if len(part):
                found[torch.cat(self.batches[rank :: self.ranks.size]).numpy()] = part
        return found

    @property
    def batches(self) -> list[torch.Tensor]:
        """Ids of all units, as they are predicted together."""
        return list(torch.arange(len(self.units)).split(EVAL_BATCH))

    @property
    def first_rows(self) -> np.ndarray:
        """The first sample of each unit, whose name is the unit's: rows, int64 (units,)."""
        return self.units.rows.reshape(len(self.units), -1)[:, 0]

    def part(self, chosen: list[np.ndarray]) -> TestSets:
        """Some units of each experience (ids of ours, sorted), to be scored in the same way."""
        kept = np.unique(np.concatenate(chosen))
        part = copy.copy(self)
        part.units = self.units.take(kept)
        part.members = [np.searchsorted(kept, members) for members in chosen]
        part.loader = self.loader.only(kept)
        return part

    @contextlib.contextmanager
    def only(self, places: Sequence[int]) -> Iterator[TestSets]:
        """The test sets of these experiences alone (numbers from 0, ascending), as a context."""
        if len(places) == len(self.members):
            yield self
            return
        part = self.part([self.members[place] for place in places])
        try:
            yield part
        finally:
            part.loader.close()

    def add_scores(
        self, scores: Scores, trained_on: int, probabilities: np.ndarray, places: Iterable[int] | None = None
    ) -> None:
        """One group of rows for every experience's test set, cut from one prediction of all of them.

        Args:
            scores: Receives them.
            trained_on: Row of R.
            probabilities: As :meth:`predict` returns them.
            places: ``tested_on`` of each test set; their numbers unless given.
        """
        first = self.first_rows
        two_class = probabilities.shape[1] == 2
        places = range(len(self.members)) if places is None else places
        for tested_on, members in zip(places, self.members, strict=True):
            rows, p = first[members], probabilities[members]
            predicted = p.argmax(1)
            names, videos = self.names.take(rows).objects.tolist(), self.videos[rows]
            scores.append(
                trained_on,
                tested_on,
                names,
                videos,
                self.units.labels[members],
                p[:, 1] if two_class else np.round(p.max(1) * 256) / 256,  # see SCHEMA of the scores
                (p[:, 1] > 0.5).astype(np.int16) if two_class else predicted,
                self.identities[rows],
            )


def shares(classes: np.ndarray, samples: int) -> list[tuple[np.ndarray, int]]:
    """How many of each class to take so that ``samples`` are taken in all, as equally as their numbers allow.

    Args:
        classes: Of the units, (n,).
        samples: How many units to take; all where there are fewer.

    Returns:
        For each class the positions of its units, and how many of them to take.
    """
    groups = [np.flatnonzero(classes == k) for k in np.unique(classes)]
    takes = [0] * len(groups)
    left = min(samples, len(classes))
    while left:  # a class at a time, until each has what it can give
        for k, group in enumerate(groups):
            if left and takes[k] < len(group):
                takes[k] += 1
                left -= 1
    return list(zip(groups, takes, strict=True))


@torch.no_grad()
def class_probabilities(
    detector: Detector,
    model: nn.Module,
    batches: Iterable[Batch],
    autocast: Callable[[], torch.autocast],
    done: Callable[[int], None] | None = None,
) -> np.ndarray:
    """What a detector predicts with the model in eval mode; the modes are put back.

    Args:
        detector: Its :meth:`~dfbench.Detector.predict` is used.
        model: Its network.
        batches: On the network's device.
        autocast: Makes the context of each prediction.
        done: Receives the number of batches so far after each.

    Returns:
        Float32 (units, classes), rows summing to 1.

    Raises:
        DfbenchError: A prediction is not finite.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    parts: list[torch.Tensor] = []
    try:
        for batch in batches:
            with autocast():
                parts.append(detector.predict(model, batch).float())
            if done is not None:
                done(len(parts))
    finally:
        for module, training in modes.items():
            module.training = training
    probabilities = torch.cat(parts).cpu().numpy()
    if not np.isfinite(probabilities).all():
        raise DfbenchError("the predictions are not finite numbers: training diverged; try a lower learning rate")
    return probabilities
