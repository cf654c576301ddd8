"""Validation data for detectors whose training asks for them: early stopping, the best epoch."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from dfbench.benchmarks.stream import Stream
from dfbench.data.loader import Batch, UnitLoader
from dfbench.data.pixels import Pixels
from dfbench.data.units import concat, units_of_experiences
from dfbench.evaluation import detection
from dfbench.evaluation.continual import defined
from dfbench.runs.events import EventStream
from dfbench.runs.prediction import EVAL_BATCH, class_probabilities
from dfbench.runs.randomness import restored
from dfbench.training.template import LoopTemplate
from dfbench.training.validation import Validation

SMALLEST = 1e-7
"""Probability of the true class from which on a log loss does not grow."""


class ValidationData:
    """The ``val`` split of each experience, as units that the detector predicts; made when first asked for.

    Args:
        template: Trains the detector.
        stream: Whose experiences they are.
        pixels: Of all its samples.
        events: Receives a notice where the validation data are also what the run is scored on.
        scored: The split that the run is scored on.
    """

    def __init__(
        self, template: LoopTemplate, stream: Stream, pixels: Pixels, events: EventStream, scored: str
    ) -> None:
        self.template, self.stream, self.pixels, self.events, self.scored = template, stream, pixels, events, scored
        self._sets: dict[tuple[int, ...], _Units | None] = {}

    def of(self, trained: torch.Tensor) -> _Units | None:
        """Of the experiences that are trained as a whole; None where one of them has no validation data.

        A part of an experience that a strategy has stored does not bring the validation data of that experience.

        Args:
            trained: Ids of the units of the training set, int64 (N,).
        """
        loader, count = self.template.loader, len(self.stream.experiences)
        every = loader.by_experience(torch.arange(len(loader.units)), count)
        found = loader.by_experience(torch.unique(trained), count)
        whole = tuple(e for e in range(count) if len(every[e]) and len(found[e]) == len(every[e]))
        if not whole:  # a memory alone: the validation data of the newest experience
            whole = (max(e for e in range(count) if len(found[e])),)
        if whole not in self._sets:
            self._sets[whole] = self._units(whole)
        return self._sets[whole]

    def _units(self, experiences: tuple[int, ...]) -> _Units | None:
        stream, detector = self.stream, self.template.detector
        rows = {stream.experiences[e].name: stream.experiences[e].rows["val"] for e in experiences}
        if any(len(each) == 0 for each in rows.values()):
            return None
        if self.scored == "val":
            self.events.notice(
                "the detector looks at validation data while it trains, and this run is scored on them: its figures "
                "are too good"
            )
        make = functools.partial(detector.units, stream.samples, training=False)
        parts, _ = units_of_experiences(make, stream.samples, rows, "val", stream.classes)
        units = concat(parts)
        return _Units(self, UnitLoader(units, np.zeros(len(units)), self.pixels, self.template.device))

    def close(self) -> None:
        """End what runs next to the training."""
        for found in self._sets.values():
            if found is not None:
                found.loader.close()


class _Units:
    """A :class:`~dfbench.training.validation.ValidationSet`."""

    def __init__(self, data: ValidationData, loader: UnitLoader) -> None:
        self.data, self.loader = data, loader

    def batches(self) -> Iterator[Batch]:
        """All units once."""
        yield from self.loader.stream(list(torch.arange(len(self.loader.units)).split(EVAL_BATCH)))

    def score(self, model: nn.Module) -> Validation:
        """Predict all of them; the training does not notice."""
        template = self.data.template
        with template.compute.counting(False), template.paused(), restored():
            p = class_probabilities(template.detector, model, self.batches(), template.scoring)
        labels, classes = self.loader.units.labels, p.shape[1]
        auc = defined(float(detection.auc(labels, p[:, 1]))) if classes == 2 else None
        facts = template.detector.facts
        facts["validations"] = facts.get("validations", 0) + 1
        return Validation(
            auc=auc,
            accuracy=float(np.mean(p.argmax(1) == labels)),
            log_loss=float(-np.log(np.maximum(p[np.arange(len(p)), labels].astype(np.float64), SMALLEST)).mean()),
            count=len(labels),
        )
