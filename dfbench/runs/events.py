"""What happens in a run, as typed events, and what a logger is.

A run tells its loggers in this order::

    RunStarted | RunResumed
    Evaluated                                      the untrained network
    ExperienceStarted  TrainingStep …  ExperienceFinished  Evaluated        for each training
    RunFinished | RunStopped

:class:`MeasuredWithin` may come between training steps, in runs that score test sets while they train.
Loggers never decide anything: they are no part of a run's spec, hash or result.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from dfbench.errors import PluginError


@dataclass(frozen=True)
class Event:
    """Something that happened in a run."""

    kind: ClassVar[str] = "event"
    """Name of the event, and of the method of :class:`Logger` that is told of it."""

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
    """How many trainings there are: one an experience, or one in all (joint)."""


@dataclass(frozen=True)
class RunResumed(RunStarted):
    """A run that was interrupted goes on; what follows its last finished training is told again."""

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
    """An optimizer step; told every :attr:`LoggerConfig.every` steps and at the last of a training."""

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
class MeasuredWithin(Event):
    """Test sets scored in the middle of a training. The record keeps these in its field ``within``."""

    kind: ClassVar[str] = "measured_within"
    number: int
    trained_on: int
    """Row of R that this training fills, from 0."""
    done: int
    """Steps of this training; 0 before its first."""
    step: int
    metric: str
    values: tuple[float | None, ...]
    """One an experience, None where it was not measured."""


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
    """After which training; 0: the untrained network."""
    step: int
    metrics: Mapping[str, Mapping[str, float | None]]
    """metric → experience → value: the row of each R matrix; None where it is undefined."""
    seconds: float


@dataclass(frozen=True)
class RunFinished(Event):
    """The record is written."""

    kind: ClassVar[str] = "run_finished"
    record: Mapping[str, Any]
    path: Path
    """Of ``record.json``."""


@dataclass(frozen=True)
class RunStopped(Event):
    """The run ended early (Ctrl-C, an error); ``kill -9`` tells nobody."""

    kind: ClassVar[str] = "run_stopped"
    reason: str


class LoggerConfig(BaseModel):
    """Options of a logger; ``--log NAME:key=value,key=value`` sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int = Field(50, ge=1, description="training steps from one loss to the next")


class Logger:
    """Told of what happens in a run; every method does nothing here.

    One object a run, made before anything is trained: an ``__init__`` that raises refuses the run. After that
    nothing that a logger raises ends a run: it is reported, and the logger is told of nothing more.
    """

    Config: ClassVar[type[LoggerConfig]] = LoggerConfig

    def __init__(self, config: LoggerConfig) -> None:
        self.config: Any = config

    def event(self, event: Event) -> None:
        """Every event passes here; calls the method of its kind."""
        getattr(self, event.kind)(event)

    def avalanche_plugins(self) -> list[Any]:
        """Avalanche plugins (metrics, an ``EvaluationPlugin``) that only watch; asked for once, after the start.

        They are called after the strategy's own plugins, at Avalanche's callbacks, and see ``strategy`` as those do.
        """
        return []

    def close(self) -> None:
        """Called once at the end, whatever it was."""

    def run_started(self, event: RunStarted) -> None:
        """The run begins."""

    def run_resumed(self, event: RunResumed) -> None:
        """The run goes on; unless overridden, as if it began."""
        self.run_started(event)

    def experience_started(self, event: ExperienceStarted) -> None:
        """A training begins."""

    def training_step(self, event: TrainingStep) -> None:
        """An optimizer step."""

    def measured_within(self, event: MeasuredWithin) -> None:
        """Test sets were scored in the middle of a training."""

    def experience_finished(self, event: ExperienceFinished) -> None:
        """A training is done."""

    def evaluated(self, event: Evaluated) -> None:
        """All test sets were scored."""

    def run_finished(self, event: RunFinished) -> None:
        """The record is written."""

    def run_stopped(self, event: RunStopped) -> None:
        """The run ended early."""

    @staticmethod
    def require(module: str, package: str = "") -> Any:
        """Import a module that not everybody has; for ``__init__``.

        Raises:
            PluginError: it is not installed, with the command that installs it.
        """
        import importlib

        try:
            return importlib.import_module(module)
        except ImportError as error:
            missing = package or module.partition(".")[0]
            raise PluginError(
                f"this logger needs the package {missing}, which cannot be imported ({error}): pip install {missing}"
            ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
