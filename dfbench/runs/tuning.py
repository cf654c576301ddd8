"""``--tune``: which speed settings train this detector fastest here, without changing what it learns.

Each candidate trains the first steps of the run with the detector's own loop under the strategy, in a
session of its own that is thrown away: nothing of a measurement reaches the run. What was measured is
kept in ``<out>/.tuning``, by all that it depends on but the seed, so that a run that goes on, and the
other seeds of a row, take the same choice without measuring again.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dfbench.files import write_json
from dfbench.records.spec import MEASURES, SPEED, Tuned, in_order
from dfbench.runs.environment import environment
from dfbench.runs.events import Event, EventStream, ExperienceStarted, Listener, TrainingStep
from dfbench.runs.prepare import Prepared, initial_network
from dfbench.runs.session import Session
from dfbench.training.tuned_forward import has_channels_last_gain

STEPS, WARM = 10, 3
"""Steps of a candidate; of these, how many are not timed."""
LOSS, COSINE = 0.05, 0.7
"""Tolerance: the largest difference of the mean loss after any step, as a share of plain float32's; the smallest
cosine between the changes that the steps made to the weights."""
GAIN = 0.95
"""A candidate is taken if its step takes at most this share of the next simpler one's."""
HOPELESS = 2.0
"""A candidate is given up when a step of it takes so many times plain float32's."""
COMPILE_FROM = 300.0
"""Seconds of training left from which compiling is tried: it takes a minute or more itself."""


@dataclass(frozen=True)
class Trial:
    """What was measured of one candidate.

    Attributes:
        tuned: Its settings.
        losses: Mean loss so far after each step.
        change: Of the weights, flat; None where it was not measured.
        seconds: Per step, median.
        start: Seconds until the first step was made.
        planned: Steps of this training.
        layout: channels_last would change something.
        failure: Why it could not be measured.
    """

    tuned: Tuned
    losses: tuple[float, ...] = ()
    change: torch.Tensor | None = None
    seconds: float = float("inf")
    start: float = 0.0
    planned: int = 0
    layout: bool = False
    failure: str | None = None


class _Enough(BaseException):
    """Ends a training from inside; no detector's ``except Exception`` holds it up."""


class _Watch(Listener):
    """Times steps and ends the training after enough of them."""

    def __init__(self, hopeless: float) -> None:
        self.hopeless = hopeless
        self.losses: list[float] = []
        self.marks = [time.perf_counter()]
        self.planned = 0

    def due(self, done: int, total: int) -> bool:
        """Every step; reading its loss waits for the device, so the clock shows what a step takes."""
        return True

    def event(self, event: Event) -> None:
        """Note a step, and end the training after enough of them."""
        if isinstance(event, ExperienceStarted):  # the first step counts from here
            self.marks = [time.perf_counter()]
        elif isinstance(event, TrainingStep):
            self.losses.append(event.loss)
            self.marks.append(time.perf_counter())
            self.planned = event.total
            took = self.marks[-1] - self.marks[-2]
            if len(self.losses) >= STEPS or (len(self.losses) > 1 and took > self.hopeless):
                raise _Enough

    @property
    def seconds(self) -> float:
        """Median of the timed steps."""
        steps = [b - a for a, b in zip(self.marks, self.marks[1:], strict=False)]
        return statistics.median(steps[WARM:] or steps[1:] or steps or [float("inf")])


def tune(prepared: Prepared, out: Path, fresh: bool, listener: Listener | None = None) -> Prepared:
    """The run with the settings to train with, and with how they were found.

    Args:
        prepared: The run.
        out: The folder of runs, where measurements are kept.
        fresh: Measure, whatever is kept.
        listener: Receives notices.
    """
    path = out / ".tuning" / f"{_key(prepared)}.json"
    report = None if fresh else _read(path)
    if report is None:
        report = measure(prepared, listener)
        write_json(path, report, advice="choose another folder with --out")
    tuned = in_order(report["chosen"])
    EventStream(listener).notice(f"tuned: {', '.join(tuned) or 'plain float32 it is'}")
    return replace(
        prepared,
        spec=prepared.spec.model_copy(update={"tuned": tuned}),
        measure=False,
        tuning={**report, "scores": prepared.detector.config.precision},
    )


def measure(prepared: Prepared, listener: Listener | None = None) -> dict[str, Any]:
    """Try the candidates and choose."""
    began, events = time.perf_counter(), EventStream(listener)
    if prepared.detector.opaque:
        events.notice("--tune: this detector hides its steps, nothing can be measured")
        return {"chosen": [], "tried": [], "seconds": 0.0}
    trials: list[Trial] = []

    def attempt(*names: str) -> Trial:
        tuned = in_order(names)
        events.notice(f"measuring {', '.join(tuned) or 'plain'} …")
        plain = trials[0].seconds if trials and "compile" not in tuned else float("inf")
        trials.append(_trial(prepared, tuned, HOPELESS * plain))
        return trials[-1]

    plain = attempt()
    if plain.failure is not None:
        return {"chosen": [], "tried": [_described(plain, plain)], "seconds": time.perf_counter() - began}
    layout, half = plain.layout, prepared.detector.config.precision == "fp32"
    if layout:
        attempt("channels_last")
    if half:
        attempt("bf16")
    if layout and half:
        attempt("bf16", "channels_last")
    trainings = 1 if prepared.strategy.whole_stream else len(prepared.stream.experiences)
    steps = plain.planned * trainings
    best = choose(trials, steps)
    if best.seconds * steps > COMPILE_FROM:
        attempt(*best.tuned, "compile")
        best = choose(trials, steps)
    return {
        "chosen": list(best.tuned),
        "tried": [_described(trial, plain) for trial in trials],
        "tolerance": {"loss": LOSS, "cosine": COSINE},
        "seconds": round(time.perf_counter() - began, 3),
    }


def choose(trials: Sequence[Trial], steps: int) -> Trial:
    """The fastest of those that train as plain float32 does (the first); a simpler one where the gain is small.

    Args:
        trials: Plain float32 first.
        steps: Of the whole run. The time that compiling takes is counted against them, twice: another shape (a last
            batch, replayed samples) is met in every run.
    """
    plain = best = trials[0]
    for trial in trials[1:]:
        compiling = 2 * max(trial.start - trial.seconds, 0.0) if "compile" in trial.tuned else 0.0
        whole, so_far = compiling + trial.seconds * steps, best.seconds * steps
        if trial.failure is None and agrees(trial, plain) and whole <= GAIN * so_far:
            best = trial
    return best


def agrees(trial: Trial, plain: Trial) -> bool:
    """Whether the losses and the change of the weights are within the tolerance."""
    return loss_difference(trial, plain) <= LOSS and cosine(trial, plain) >= COSINE


def loss_difference(trial: Trial, plain: Trial) -> float:
    """The largest difference of the mean loss after any step, as a share of plain's; infinite if not a number."""
    pairs = list(zip(trial.losses, plain.losses, strict=False))
    shares = [abs(a - b) / max(abs(b), 1e-3) for a, b in pairs]
    return max(shares) if shares and all(share < float("inf") for share in shares) else float("inf")


def cosine(trial: Trial, plain: Trial) -> float:
    """Between the changes of the weights; −1 where the two made different numbers of steps."""
    if trial.change is None or plain.change is None or len(trial.losses) != len(plain.losses):
        return -1.0
    a, b = trial.change.double(), plain.change.double()
    return float(a @ b / (a.norm() * b.norm()).clamp_min(1e-300))


def _trial(prepared: Prepared, tuned: Tuned, hopeless: float) -> Trial:
    """Train the first steps with these settings, with a detector and a strategy of their own."""
    detector = type(prepared.detector)(prepared.detector.config, prepared.detector.task)
    strategy = type(prepared.strategy)(prepared.strategy.config)
    watch = _Watch(hopeless)
    spec = prepared.spec.model_copy(update={"tuned": tuned, "eval_every": None})  # steps are timed undisturbed
    network, _ = initial_network(detector, spec.seed, prepared.init, spec.preset, prepared.adapters)
    session = Session(replace(prepared, spec=spec, detector=detector, network=network, strategy=strategy), watch)
    model = session.template.model
    before = [p.detach().clone() for p in model.parameters()]
    layout = has_channels_last_gain(model)
    try:
        session.train(1)
    except _Enough:
        pass
    except (RuntimeError, NotImplementedError, TypeError) as error:
        if not tuned:
            raise  # the detector's own fault, not a setting's
        return Trial(tuned, failure=type(error).__name__)
    finally:
        session.close()
    failure = session.fast.failure if session.fast is not None else None
    change = torch.cat([(p.detach() - old).reshape(-1) for p, old in zip(model.parameters(), before, strict=True)])
    start = watch.marks[1] - watch.marks[0] if len(watch.marks) > 1 else 0.0
    return Trial(tuned, tuple(watch.losses), change.cpu(), watch.seconds, start, watch.planned, layout, failure)


def _described(trial: Trial, plain: Trial) -> dict[str, Any]:
    """A candidate as the record has it."""
    if trial.failure is not None:
        return {"settings": list(trial.tuned), "failed": trial.failure}
    found: dict[str, Any] = {"settings": list(trial.tuned), "seconds_per_step": round(trial.seconds, 6)}
    if len(trial.losses) < len(plain.losses):
        return {**found, "given_up_after": len(trial.losses)}
    if trial is not plain:
        difference = loss_difference(trial, plain)
        found |= {"loss_difference": round(difference, 6) if difference < float("inf") else None,
                  "cosine": round(cosine(trial, plain), 4), "within_tolerance": agrees(trial, plain)}  # fmt: skip
    if "compile" in trial.tuned:
        found["seconds_compiling"] = round(max(trial.start - trial.seconds, 0.0), 3)
    return found


def _key(prepared: Prepared) -> str:
    """Of all that the measurement depends on; not the seed."""
    here = environment(prepared.device, {})
    names = ("processor", "processor_model", "processor_flags", "threads", "device", "device_name")
    where = {name: here[name] for name in names}
    document = [prepared.spec.model_dump(exclude={"seed", "split", *MEASURES}), where, here["packages"]["torch"]]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:20]


def _read(path: Path) -> dict[str, Any] | None:
    """What was measured before; None where it was not, or the file is damaged."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and set(report.get("chosen", ["?"])) <= set(SPEED) else None
