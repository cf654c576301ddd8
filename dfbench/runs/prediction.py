"""Predictions on all test sets of a stream: each test unit is read and predicted once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

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

EVAL_BATCH = 128


def experience_units(detector: Detector, stream: Stream, split: str, training: bool) -> tuple[list[Units], list[str]]:
    """A detector's units of each experience, and lines for the user on what they leave out."""
    rows = {e.name: e.rows[split] for e in stream.experiences}
    make = functools.partial(detector.units, stream.samples, training=training)
    return units_of_experiences(make, stream.samples, rows, split, stream.classes)


class TestSets:
    """The test units of every experience, without repetition, and where each experience's are.

    Args:
        detector: Whose units they are, and which predicts.
        stream: The experiences.
        pixels: Of all samples of the stream.
        device: Where predictions are made.
        split: ``test``, or ``val`` to choose hyperparameters.
    """

    __test__ = False  # not a test class, whatever pytest thinks

    def __init__(self, detector: Detector, stream: Stream, pixels: Pixels, device: torch.device, split: str) -> None:
        parts, self.notices = experience_units(detector, stream, split, training=False)
        self.detector = detector
        self.names = stream.samples.sample
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
        batches = torch.arange(len(self.units)).split(EVAL_BATCH)
        done = None if progress is None else lambda count: progress(count, len(batches))
        return class_probabilities(self.detector, model, self.loader.stream(batches), autocast, done)

    def add_scores(self, scores: Scores, trained_on: int, probabilities: np.ndarray) -> None:
        """One group of rows for every experience's test set, cut from one prediction of all of them."""
        first = self.units.rows.reshape(len(self.units), -1)[:, 0]
        two_class = probabilities.shape[1] == 2
        for tested_on, members in enumerate(self.members):
            rows, p = first[members], probabilities[members]
            predicted = p.argmax(1)
            names, videos = self.names[rows], self.videos[rows]
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
