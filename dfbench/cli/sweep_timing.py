"""``python -m dfbench.cli.sweep_timing ARGUMENTS OF EVAL``: times the first steps of a run, and writes nothing.

The last line on stdout is JSON: seconds until the first step (``start``), and those that all trainings (``train``) and
all evaluations (``evaluate``) would take at the pace of the first ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time

from dfbench.runs.events import EvaluationProgress, Event, Listener, TrainingStep

STEPS, WARM_UP = 12, 2
"""Steps of the first training that are timed; those before them load code and data."""
LONGEST = 60.0
"""Seconds after which fewer steps have to do."""


class _Enough(Exception):
    """The steps were seen."""


class _Watch(Listener):
    """Notes when steps are done, and ends the training after enough of them."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.total = 1

    def follows(self, kind: type[Event]) -> bool:
        """Steps alone."""
        return issubclass(kind, TrainingStep | EvaluationProgress)

    def due(self, done: int, total: int) -> bool:
        """Every step."""
        return True

    def event(self, event: Event) -> None:
        """Note it."""
        if not isinstance(event, TrainingStep):
            return
        self.times.append(time.perf_counter())
        self.total = event.total
        if len(self.times) >= STEPS + WARM_UP or self.times[-1] - self.times[0] > LONGEST:
            raise _Enough

    @property
    def seconds(self) -> float:
        """Of a whole training."""
        times = self.times[WARM_UP:] if len(self.times) > WARM_UP + 1 else self.times
        return (times[-1] - times[0]) / (len(times) - 1) * self.total if len(times) > 1 else 0.0


def measure(words: list[str]) -> dict[str, float]:
    """Prepare the run, score the untrained network, take the first steps."""
    import click

    from dfbench.cli import cli
    from dfbench.cli.eval import command, request_options
    from dfbench.plugins import registry
    from dfbench.runs.events import EventStream
    from dfbench.runs.prepare import Request, prepare
    from dfbench.runs.session import Session

    began, known = time.perf_counter(), registry()
    context = command.make_context("eval", words, click.Context(cli, None, "dfbench", **cli.context_settings))
    names = {field.name for field in dataclasses.fields(Request)}
    options = {name: value for name, value in context.params.items() if name in {*names, "options_from"}}
    request = Request(**request_options(options, known, lambda text: None))
    watch = _Watch()
    session = Session(prepare(request, known), EventStream(watch))
    with contextlib.closing(session):
        ready = time.perf_counter()
        start = ready - began
        if session.strategy.trains:
            session.evaluate(0)
            first = time.perf_counter() - ready
            with contextlib.suppress(Exception):  # a detector's loop may wrap what ends it
                session.train(1)
            if not watch.times:
                raise SystemExit("no training step was seen")
        else:
            session.train(1)
            session.evaluate(1)
            first = time.perf_counter() - ready
        trainings = session.trainings if session.strategy.trains else 0
        return {"start": start, "train": watch.seconds * trainings, "evaluate": first * (trainings + 1)}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(sys.argv[1:])
    print(json.dumps(found))
