"""What happens in a run, as typed events, and what follows them.

A run sends its loggers these, in this order::

    RunStarted | RunResumed
    Evaluated                                      the untrained network
    ExperienceStarted  TrainingStep …  ExperienceFinished  Evaluated        for each training
    RunFinished | RunStopped

:class:`MidTrainingEvaluated` may come between training steps, in runs that score test sets while they train. Displays
are sent :class:`ProgressEvent` too. No listener decides anything: none is part of a run's spec, hash or result.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dfbench.records.record import Record


@dataclass(frozen=True)
class Event:
    """Something that happened in a run."""

    kind: ClassVar[str] = "event"
    """Name of the event, and of the method of :class:`Logger` that receives it."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them; a number that is not finite becomes None."""
        return {"event": self.kind, **_plain({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})}


@dataclass(frozen=True)
class RunStarted(Event):
    """A run begins, from the untrained network."""

    kind: ClassVar[str] = "run_started"
    run: str
    """Its name, that of its folder too."""
    identity: str
    """sha256 of the spec."""
    spec: Mapping[str, Any]
    folder: Path
    """The run's folder: a logger's own files go there, and ``--fresh`` removes them."""
    experiences: tuple[str, ...]
    headline: str
    """The metric that forgetting is computed on."""
    trainings: int
    """How many trainings there are: one per experience, or one in all (joint)."""


@dataclass(frozen=True)
class RunResumed(RunStarted):
    """A run that was interrupted goes on; events after its last finished training are repeated."""

    kind: ClassVar[str] = "run_resumed"
    finished: int
    """Trainings that were finished before."""
    step: int
    """Optimizer steps that they took, in all."""


@dataclass(frozen=True)
class ExperienceStarted(Event):
    """A training begins."""

    kind: ClassVar[str] = "experience_started"
    number: int
    """Of the training, from 1."""
    experiences: tuple[str, ...]
    """What it trains on."""
    step: int
    """Optimizer steps of the run so far."""


@dataclass(frozen=True)
class TrainingStep(Event):
    """An optimizer step: every :attr:`LoggerConfig.every` steps, and the last of a training."""

    kind: ClassVar[str] = "training_step"
    number: int
    done: int
    """Steps of this training, and of how many."""
    total: int
    step: int
    """Optimizer steps of the run."""
    loss: float
    """The detector's own loss, without a strategy's penalty: the mean over this training so far."""


@dataclass(frozen=True)
class MidTrainingEvaluated(Event):
    """Test sets were scored in the middle of a training. The record keeps these in its field ``mid_training``."""

    kind: ClassVar[str] = "mid_training_evaluated"
    number: int
    trained_on: int
    """Row of R that this training fills, from 0."""
    done: int
    """Steps of this training; 0 before its first."""
    step: int
    metric: str
    values: tuple[float | None, ...]
    """One per experience, None where it is undefined."""


@dataclass(frozen=True)
class ExperienceFinished(Event):
    """A training is done."""

    kind: ClassVar[str] = "experience_finished"
    number: int
    experiences: tuple[str, ...]
    seconds: float
    steps: int
    """Optimizer steps of this training."""
    step: int
    stored_samples: int
    """What the strategy holds now."""


@dataclass(frozen=True)
class Evaluated(Event):
    """All test sets were scored."""

    kind: ClassVar[str] = "evaluated"
    number: int
    """After which training; 0: the network before any."""
    step: int
    metrics: Mapping[str, Mapping[str, float | None]]
    """metric → experience → value: the row of each R matrix; None where it is undefined."""
    seconds: float
    unseen: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """The same of sets that are never trained on; empty where there are none."""


@dataclass(frozen=True)
class RunFinished(Event):
    """The record is written."""

    kind: ClassVar[str] = "run_finished"
    record: Record
    path: Path
    """Of ``record.json``."""

    def as_dict(self) -> dict[str, Any]:
        """The record as its file holds it, and the path."""
        return {"event": self.kind, "record": self.record.document(), "path": str(self.path)}


@dataclass(frozen=True)
class RunStopped(Event):
    """The run ended early (Ctrl-C, an error); there is no event after ``kill -9``."""

    kind: ClassVar[str] = "run_stopped"
    reason: str


@dataclass(frozen=True)
class ProgressEvent(Event):
    """Of interest while it happens: for displays, not for loggers."""


@dataclass(frozen=True)
class Notice(ProgressEvent):
    """Something that the user should know."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True)
class DataProgress(ProgressEvent):
    """Pictures are being prepared."""

    kind: ClassVar[str] = "data_progress"
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class StrategyPass(ProgressEvent):
    """A strategy looked at a batch of units by itself, ``done`` of ``total``: to choose what it stores, say."""

    kind: ClassVar[str] = "strategy_pass"
    done: int
    total: int


@dataclass(frozen=True)
class EvaluationStarted(ProgressEvent):
    """Scoring all test sets begins, after training ``number`` of ``trainings``; 0: before any."""

    kind: ClassVar[str] = "evaluation_started"
    number: int
    trainings: int
    what: str = ""
    """What is scored next to the experiences: ``unseen sets``, ``degraded copies``; empty: these themselves."""


@dataclass(frozen=True)
class EvaluationProgress(ProgressEvent):
    """A batch of test samples was predicted, ``done`` of ``total``."""

    kind: ClassVar[str] = "evaluation_progress"
    done: int
    total: int


class Listener:
    """Follows runs: a logger, a progress bar, a test. This one does nothing."""

    def follows(self, kind: type[Event]) -> bool:
        """Whether events of this kind are wanted; what no listener follows is not even computed."""
        return True

    def due(self, done: int, total: int) -> bool:
        """Whether the :class:`TrainingStep` after ``done`` of a training's ``total`` steps is wanted.

        Its loss is then read from the device, which waits for all that is computed there.
        """
        return False

    def event(self, event: Event) -> None:
        """Receive an event."""


class EventStream(Listener):
    """Passes events on to several listeners, in their order."""

    def __init__(self, *listeners: Listener | None) -> None:
        self._listeners = [each for each in listeners if each is not None]

    def follows(self, kind: type[Event]) -> bool:
        """Whether any listener does."""
        return any(each.follows(kind) for each in self._listeners)

    def due(self, done: int, total: int) -> bool:
        """Whether it is for any listener."""
        return any(each.due(done, total) for each in self._listeners)

    def event(self, event: Event) -> None:
        """Pass it on to those that follow its kind, a training step to those for which it is due."""
        for each in self._listeners:
            if each.follows(type(event)) and (not isinstance(event, TrainingStep) or each.due(event.done, event.total)):
                each.event(event)

    def notice(self, text: str) -> None:
        """Pass a :class:`Notice` on."""
        self.event(Notice(text))

    def data(self, done: int, total: int, what: str) -> None:
        """Pass a :class:`DataProgress` on; the callback of whatever prepares pictures."""
        self.event(DataProgress(what, done, total))

    def passed(self, done: int, total: int) -> None:
        """Pass a :class:`StrategyPass` on; the callback of a strategy's passes."""
        if self._listeners:
            self.event(StrategyPass(done, total))

    def tested(self, done: int, total: int) -> None:
        """Pass a :class:`EvaluationProgress` on; the callback of whatever predicts test sets."""
        if self._listeners:
            self.event(EvaluationProgress(done, total))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
