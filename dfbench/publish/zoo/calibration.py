"""Calibrate a checkpoint on the validation identities of its benchmark; errors are measured on its test identities."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from dfbench.errors import DataError, UsageError
from dfbench.evaluation import outliers
from dfbench.evaluation.calibration import ERROR_RATE, Band, Platt, Rate, choose_band, fit_platt, rate
from dfbench.evaluation.detection import ece
from dfbench.publish.zoo.entry import Calibration, Familiarity, Measured
from dfbench.publish.zoo.predictor import Predictor
from dfbench.runs.events import EvaluationStarted, EventStream, Listener
from dfbench.runs.prediction import EVAL_BATCH, TestSets, class_probabilities
from dfbench.training.modeling import linear_heads

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream

BANK_KEY = "features"
"""Name of the tensor in the file of training features: float16 (n, d), rows of unit length."""


class Calibrated(NamedTuple):
    """What was found; ``bank`` is float16 (n, d), None with ``familiarity``."""

    calibration: Calibration
    familiarity: Familiarity | None
    bank: np.ndarray | None


@dataclass
class Features:
    """The inputs of a network's last linear layers, caught while it predicts.

    Attributes:
        parts: float32 (rows, d) of each call.
    """

    parts: list[np.ndarray] = field(default_factory=list)

    @contextlib.contextmanager
    def of(self, heads: list[nn.Linear]) -> Iterator[None]:
        """A context in which they are caught; those of an ensemble's heads are joined."""
        caught: dict[int, torch.Tensor] = {}

        def catch(head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            caught[id(head)] = inputs[0].detach().flatten(1).float()
            if len(caught) == len(heads):
                self.parts.append(torch.cat([caught[id(each)] for each in heads], 1).cpu().numpy())
                caught.clear()

        hooks = [head.register_forward_pre_hook(catch) for head in heads]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class Judged(NamedTuple):
    """Predictions on one split; every array has one row per unit."""

    labels: np.ndarray
    scores: np.ndarray
    people: np.ndarray
    features: np.ndarray | None
    """float32 (n, d); None where the network does not give one row per unit before a last linear layer."""


def calibrate(predictor: Predictor, stream: Stream, bank: str, listener: Listener | None = None) -> Calibrated:
    """Fit Platt scaling and the band, and measure both.

    Args:
        predictor: The checkpoint.
        stream: The benchmark that it was trained on.
        bank: Name of the file that will hold the training features.
        listener: Receives the progress.

    Raises:
        UsageError: The checkpoint has more than two classes.
        DataError: The benchmark has no validation set, or other data than the checkpoint was trained on.
    """
    entry = predictor.entry
    if len(entry.classes) != 2:
        raise UsageError(f"{entry.name} distinguishes {len(entry.classes)} classes: only real or fake is calibrated")
    if stream.fingerprint != entry.training.fingerprint:
        raise DataError(
            f"{stream.name} holds other data here ({stream.fingerprint[:12]}…) than {entry.name} was trained on "
            f"({entry.training.fingerprint[:12]}…)"
        )
    if missing := [e.name for e in stream.experiences if not len(e.rows["val"])]:
        raise DataError(f"experience {missing[0]!r} of {stream.name} has no validation set to calibrate on")
    events = EventStream(listener)
    pixels = stream.pixels(predictor.detector.image_size, progress=events.data)
    sets = {split: TestSets(predictor.detector, stream, pixels, predictor.device, split) for split in ("val", "test")}
    val, test = (_judged(predictor, each, stream, None, events) for each in sets.values())
    platt = fit_platt(val.labels, val.scores)
    band = choose_band(val.labels, platt(val.scores))
    calibration = _measured(platt, band, val, test)
    if val.features is None:
        return Calibrated(calibration, None, None)
    train = TestSets(predictor.detector, stream, pixels, predictor.device, "train")
    known = _judged(predictor, train, stream, outliers.BANK, events).features
    if known is None:
        return Calibrated(calibration, None, None)
    stored = outliers.unit_length(known).astype(np.float16)
    limit = outliers.threshold(outliers.distances(val.features, stored))
    familiarity = Familiarity(bank=bank, neighbour=outliers.NEIGHBOUR, threshold=limit, kept=outliers.KEPT)
    return Calibrated(calibration, familiarity, stored)


def heads_of(predictor: Predictor) -> list[nn.Linear]:
    """The last linear layers of a checkpoint's network; empty where there is none."""
    return list(linear_heads(predictor.model, predictor.detector.head).values())


def _judged(predictor: Predictor, sets: TestSets, stream: Stream, limit: int | None, events: EventStream) -> Judged:
    ids = torch.arange(len(sets.units))
    rows = sets.units.rows.reshape(len(sets.units), -1)[:, 0]
    if limit is not None and len(ids) > limit:
        names = stream.samples.sample[rows]
        order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(str(names[i]).encode()).digest())
        ids = torch.tensor(sorted(order[:limit]))
    batches = ids.split(EVAL_BATCH)
    events.event(EvaluationStarted(1, 1))
    caught, heads = Features(), heads_of(predictor)
    with caught.of(heads):
        probabilities = class_probabilities(
            predictor.detector,
            predictor.model,
            sets.loader.stream(batches),
            predictor.autocast,
            lambda done: events.tested(done, len(batches)),
        )
    sets.loader.close()
    one_each = [len(part) for part in caught.parts] == [len(batch) for batch in batches]
    chosen = ids.numpy()
    return Judged(
        sets.units.labels[chosen],
        probabilities[:, 1],
        sets.identities[rows[chosen]],
        np.concatenate(caught.parts) if heads and one_each else None,
    )


def _measured(platt: Platt, band: Band, val: Judged, test: Judged) -> Calibration:
    p, fake = platt(test.scores), test.labels == 1
    said_fake, said_real = p > band.fake_above, p < band.real_below
    return Calibration(
        slope=platt.slope,
        intercept=platt.intercept,
        real_below=band.real_below,
        fake_above=band.fake_above,
        samples=len(val.labels),
        people=len(set(val.people.tolist()) - {""}),
        ece_before=ece(test.labels, test.scores),
        ece_after=ece(test.labels, p),
        error_rate=ERROR_RATE,
        false_positive_rate=_share(rate(said_fake[~fake], test.people[~fake])),
        false_negative_rate=_share(rate(said_real[fake], test.people[fake])),
        inconclusive=_share(rate(~(said_fake | said_real), test.people)),
    )


def _share(found: Rate) -> Measured:
    return Measured(value=round(found.value, 6), low=round(found.low, 6), high=round(found.high, 6))
