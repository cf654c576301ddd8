"""What is checked, and the bench on which it is: a small stream, and trainings on it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dfbench.data.loader import Batch, UnitLoader
from dfbench.data.units import concat
from dfbench.files import CACHE_VARIABLE
from dfbench.plugins import Registry, registry
from dfbench.runs.prediction import class_probabilities, experience_units
from dfbench.runs.prepare import Prepared, Request, prepare
from dfbench.runs.randomness import seed_everything
from dfbench.runs.session import Session
from dfbench.testing.outcome import Broken
from dfbench.testing.stream import write_stream
from dfbench.training.checkpoint import load_checkpoint, save_checkpoint
from dfbench.training.compatibility import build_network
from dfbench.training.detector import Detector, load_detector
from dfbench.training.strategies import Strategy, StrategyConfig

FEW = 8
"""Units that single batches are made of."""


@dataclass(frozen=True)
class Subject:
    """A detector to be checked, and how.

    Attributes:
        detector: its registered name.
        preset: named configuration; its default unless given.
        settings: options, as :func:`dfbench.run` takes them. Keep the detector small with them.
        benchmark: a stream to train on, by name or file. None: a small one is written, of pictures of noise.
        strategies: those that it is trained under; all that are installed unless given.
        refused: those of them that may refuse it; any of them unless given.
        rounds: it may train so many times on the first experience before its training pictures must be told apart.
        pairs: of the small stream, training pairs per experience.
        frames: of the small stream, frames per video.
        size: of the small stream, side of a picture in pixels.
        device: as :func:`dfbench.run` takes it.
    """

    detector: str
    preset: str | None = None
    settings: Mapping[str, Any] | Sequence[str] = ()
    benchmark: str | None = None
    strategies: Sequence[str] | None = None
    refused: Sequence[str] | None = None
    rounds: int = 20
    pairs: int = 8
    frames: int = 4
    size: int = 64
    device: str = "cpu"


@dataclass(frozen=True)
class Trained:
    """A detector that was trained on the first two experiences.

    Attributes:
        probabilities: of all test units, float32 (N, classes).
        weights: of the network that predicts.
    """

    probabilities: np.ndarray
    weights: dict[str, torch.Tensor]


class Workbench:
    """Makes what the checks look at; what is expensive is made once.

    Args:
        subject: What is checked.
        folder: Of its own, for streams, runs and checkpoints; it must exist.
        known: The plugins; the installed ones unless given.
    """

    def __init__(self, subject: Subject, folder: Path, known: Registry | None = None) -> None:
        self.subject, self.folder = subject, folder
        self.registry = known or registry()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Workbench]:
        """A context in which the pictures of the small stream are cached in the bench's own folder."""
        before = os.environ.get(CACHE_VARIABLE)
        if self.subject.benchmark is None:
            os.environ[CACHE_VARIABLE] = str(self.folder / "cache")
        try:
            yield self
        finally:
            if before is None:
                os.environ.pop(CACHE_VARIABLE, None)
            else:
                os.environ[CACHE_VARIABLE] = before

    @cached_property
    def kind(self) -> type[Detector]:
        """The detector's class."""
        return load_detector(self.registry, self.subject.detector)

    @cached_property
    def strategies(self) -> list[str]:
        """The strategies that the detector is trained under."""
        if self.subject.strategies is not None:
            return list(self.subject.strategies)
        return [name for name in self.registry.strategies if self.registry.strategies.load(name, Strategy).trains]

    @cached_property
    def benchmark(self) -> str:
        """Name or file of the stream."""
        s = self.subject
        if s.benchmark is not None:
            return s.benchmark
        return str(write_stream(self.folder / "stream", 2, s.pairs, max(s.pairs // 2, 2), s.size, s.frames))

    def request(self, strategy: str, out: str = "runs") -> Request:
        """A run of the detector under a strategy."""
        s = self.subject
        return Request(
            s.detector, strategy, self.benchmark, preset=s.preset, settings=s.settings, device=s.device,
            out=self.folder / out, skip_tests=("all",), data_root=_data_root(),
        )  # fmt: skip

    def prepared(self) -> Prepared:
        """The detector, its untrained network and the stream, under a strategy that does nothing."""
        table = self.registry.strategies
        kinds = {name: table.load(name, Strategy) for name in table}
        plain = next(name for name, kind in kinds.items() if kind.trains and not kind.needs)
        return replace(prepare(self.request(plain), self.registry), strategy=Strategy(StrategyConfig()))

    def session(self) -> Session:
        """A training that has not begun, from the same start every time."""
        return Session(self.prepared())

    @cached_property
    def looked_at(self) -> Session:
        """A training that never begins: its network is the untrained one, which no check may change."""
        return self.session()

    def network(self, detector: Detector) -> nn.Module:
        """An untrained network of its own, built under a fixed seed."""
        seed_everything(0, 0)
        return build_network(detector).to(self.looked_at.device)

    def training_batch(self) -> Batch:
        """A few training units of both classes, augmented as the first of an experience."""
        loader = self.looked_at.loader
        target = loader.units.target
        ids = np.concatenate([np.flatnonzero(target == k)[: FEW // 2] for k in np.unique(target)])
        loader.seed(0)
        return loader.fetch(torch.as_tensor(ids))

    def test_ids(self) -> torch.Tensor:
        """Ids of a few test units of both classes."""
        labels = self.looked_at.tests.units.labels
        ids = np.concatenate([np.flatnonzero(labels == k)[: FEW // 2] for k in np.unique(labels)])
        return torch.as_tensor(ids)

    def probabilities(self, session: Session, model: nn.Module, batches: Sequence[Batch]) -> np.ndarray:
        """What the detector predicts, float32 (N, classes)."""
        return class_probabilities(session.detector, model, batches, session.template.scoring)

    def first_training_set(self, session: Session) -> UnitLoader:
        """The training pictures of the first experience as units to predict."""
        parts, _ = experience_units(session.detector, session.stream, "train", training=False)
        units = concat(parts[:1])
        return UnitLoader(units, np.zeros(len(units)), session.loader.pixels, session.device)

    @cached_property
    def trained(self) -> Trained:
        """Two trainings; what is to be stored after the first is kept in the bench's folder."""
        with contextlib.closing(self.session()) as session:
            self._need_two(session)
            session.train(1)
            save_checkpoint(self.folder / "after-1", session.state_dict())
            session.train(2)
            return self._result(session)

    def again(self) -> Trained:
        """The same trainings once more."""
        with contextlib.closing(self.session()) as session:
            session.train(1)
            session.train(2)
            return self._result(session)

    def gone_on(self) -> Trained:
        """The second training, in a run that goes on from what was stored after the first."""
        with contextlib.closing(self.session()) as session:
            session.load_state_dict(load_checkpoint(self.folder / "after-1"))
            session.train(2)
            return self._result(session)

    def _need_two(self, session: Session) -> None:
        if session.trainings < 2:
            raise Broken(f"{self.benchmark} has one experience: the checks need two")

    def _result(self, session: Session) -> Trained:
        model = session.template.averaged or session.template.model
        weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        return Trained(session.tests.predict(model, session.template.scoring), weights)

    def close(self) -> None:
        """End what runs next to it."""
        if "looked_at" in self.__dict__:
            self.looked_at.close()


def _data_root() -> Path | None:
    root = os.environ.get("DFBENCH_DATA")
    return Path(root) if root else None
