"""A run's session put into events; nothing is computed where no logger listens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfbench.evaluation.continual import defined
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import group_metrics
from dfbench.runs.events import (
    Evaluated,
    ExperienceFinished,
    ExperienceStarted,
    MeasuredWithin,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStopped,
)
from dfbench.runs.loggers import Events

if TYPE_CHECKING:
    from dfbench.runs.session import Session


class Telling:
    """What happens in one run, told to its loggers."""

    def __init__(self, events: Events, folder: Path) -> None:
        self._events, self._folder = events, folder

    @contextlib.contextmanager
    def to_the_end(self) -> Iterator[None]:
        """Whatever ends the run, its loggers are told and closed."""
        try:
            yield
        except BaseException as error:
            self._events.emit(RunStopped(f"{type(error).__name__}: {error}".removesuffix(": ")))
            raise
        finally:
            self._events.close()

    def start(self, session: Session, finished: int) -> None:
        """Before anything is trained; ``finished`` trainings were done by an earlier process."""
        if not self._events:
            return
        facts: dict[str, Any] = {
            "run": session.spec.run_id,
            "identity": session.spec.identity,
            "spec": session.spec.model_dump(),
            "folder": self._folder,
            "experiences": tuple(e.name for e in session.stream.experiences),
            "headline": session.stream.metric,
            "trainings": session.trainings,
        }
        step = session.template.clock.train_iterations
        self._events.emit(RunResumed(**facts, finished=finished, step=step) if finished else RunStarted(**facts))
        if session.within is not None:
            session.within.told = self._measured
        session.template.observe(self._events.avalanche_plugins())

    def _measured(self, point: Mapping[str, Any]) -> None:
        self._events.emit(MeasuredWithin(**{**point, "values": tuple(point["values"])}))

    def training(self, session: Session, number: int) -> None:
        """Training ``number`` begins."""
        if self._events:
            step = session.template.clock.train_iterations
            self._events.emit(ExperienceStarted(number, _names(session, number), step))

    def trained(self, session: Session, number: int) -> None:
        """Training ``number`` is done."""
        if self._events:
            self._events.emit(
                ExperienceFinished(
                    number,
                    _names(session, number),
                    session.seconds["train"][-1],
                    session.steps[-1],
                    session.template.clock.train_iterations,
                    session.stored[-1],
                )
            )

    def scored(self, session: Session, number: int, scores: Scores) -> None:
        """The test sets were scored after training ``number``; 0: the untrained network."""
        if not self._events:
            return
        names = [e.name for e in session.stream.experiences]
        metrics: dict[str, dict[str, float | None]] = {}
        for group in scores:
            for metric, value in group_metrics(group, len(session.stream.classes)).items():
                metrics.setdefault(metric, dict.fromkeys(names))[names[group.tested_on]] = defined(np.float64(value))
        step = session.template.clock.train_iterations
        self._events.emit(Evaluated(number, step, metrics, session.seconds["evaluate"][-1]))

    def finish(self, record: Mapping[str, Any]) -> None:
        """The record is written."""
        if self._events:
            self._events.emit(RunFinished(record, self._folder / "record.json"))


def _names(session: Session, number: int) -> tuple[str, ...]:
    return tuple(session.stream.experiences[m].name for m in session.schedule[number - 1][1])
