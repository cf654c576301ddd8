"""One run in memory: detector, strategy and data put together, trained an experience at a time."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import torch

from dfbench.benchmarks.stream import Stream
from dfbench.data.loader import UnitLoader
from dfbench.data.units import Units, concat
from dfbench.errors import DataError
from dfbench.evaluation.scores import UNTRAINED, Scores
from dfbench.records.spec import RunSpec
from dfbench.runs.prediction import TestSets
from dfbench.runs.report import Reporter
from dfbench.runs.within import Within
from dfbench.training.compatibility import check_pair, check_unit_logits, linear_heads
from dfbench.training.dataset import experiences_of, unit_dataset
from dfbench.training.detector import Detector
from dfbench.training.speed import Fast, lay_out
from dfbench.training.strategies import Need, Strategy, StrategyContext
from dfbench.training.template import LoopTemplate


def seed_everything(seed: int, stage: int) -> int:
    """Seed Python, numpy and torch for one stage of a run (0 the network, i + 1 experience i).

    Each experience starts from its own seed, so a resumed run draws what an undisturbed one draws.
    """
    value = int(np.random.SeedSequence([seed, stage]).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


class Session:
    """A run that can be trained, scored, stored and restored.

    Raises (at construction, before anything is trained):
        IncompatibleError: the strategy cannot train this detector. DataError: the scored split is missing.
    """

    def __init__(
        self,
        spec: RunSpec,
        stream: Stream,
        detector: Detector,
        strategy: Strategy,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self.spec, self.stream, self.detector, self.strategy = spec, stream, detector, strategy
        self.device, self.reporter = device, reporter
        for e in stream.experiences:
            if len(e.rows[spec.split]) == 0:
                raise DataError(f"experience {e.name!r} of {stream.name!r} has no {spec.split} split to score")
        pixels = stream.pixels(detector.image_size, progress=reporter.data)

        parts = [detector.units(stream.samples, e.rows["train"], training=True) for e in stream.experiences]
        units = concat(parts)
        experience = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        augment = detector.augment if type(detector).augment is not Detector.augment else None
        self.loader = UnitLoader(units, experience, pixels, device, augment)
        self.tests = TestSets(detector, stream, pixels, device, spec.split)

        seed_everything(spec.seed, 0)
        model = lay_out(detector.build().to(device), spec.tuned)
        probe = self.tests.loader.fetch(self.tests.probe_batch())
        names = (spec.detector, spec.strategy)
        check_pair(detector, strategy, model, probe, names)
        if Need.UNIT_LOGITS in strategy.needs:
            self.loader.seed(spec.seed)
            check_unit_logits(detector, model, self.loader.fetch(torch.arange(min(2, len(units)))), names)
        self.template = self._template(model, units, reporter)
        self.fast = Fast.attach(self.template)
        self.tuning: dict[str, Any] | None = None
        """How the speed settings were found, for the record."""
        self.schedule = _schedule(len(parts), strategy.whole_stream)
        self.experiences = experiences_of([self._dataset(units, experience, members) for _, members in self.schedule])
        self.scores = Scores()
        self.seconds: dict[str, list[float]] = {"train": [], "evaluate": []}
        self.compute: dict[str, list[int]] = {"forward": [], "backward": [], "cached": []}
        self.within = self._within()
        self.steps: list[int] = []
        self.stored: list[int] = []
        self.held: list[list[list[int]]] = []
        self.resumed = 0

    @property
    def trainings(self) -> int:
        """How many times the detector is trained: once an experience, or once in all."""
        return len(self.schedule)

    def train(self, number: int) -> None:
        """Training ``number``, counted from 1."""
        row, members = self.schedule[number - 1]
        names = ", ".join(self.stream.experiences[m].name for m in members)
        self.reporter.training(number, self.trainings, names)
        seed = seed_everything(self.spec.seed, row + 1)
        if self.stream.fresh_model and number > 1:  # the first is new already
            self.template.model.load_state_dict(self.detector.build().state_dict())
            seed_everything(self.spec.seed, row + 1)  # batches are those of a network that is trained on
        self.template.generator.manual_seed(seed)
        self.loader.seed(seed)
        before = self.template.clock.train_iterations
        passes = self.template.passes
        passes.forward = passes.backward = 0
        frozen = self.template.frozen
        served = frozen.served if frozen is not None else 0
        self._measure_within(number, row, before)
        start = time.perf_counter()
        with passes.counting():
            self.template.train(self.experiences[number - 1], eval_streams=[])
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - start
        self.steps.append(self.template.clock.train_iterations - before)
        self.compute["forward"].append(passes.forward)
        self.compute["backward"].append(passes.backward)
        self.compute["cached"].append(frozen.served - served if frozen is not None else 0)
        if self.within is not None:
            seconds -= self.within.seconds
            self._measure(self.within, self._predictor(number), number, row, self.steps[-1], before)
            self.seconds.setdefault("within", []).append(self.within.seconds)
        self.seconds["train"].append(seconds)
        ids = self.strategy.stored_units()
        self.stored.append(len(self.loader.rows_of(ids)))
        self.held.append(self._held(ids))

    def close(self) -> None:
        """End what runs beside the training."""
        self.loader.close()

    def evaluate(self, number: int) -> Scores:
        """Predictions on every test set after training ``number``; 0: the untrained network."""
        start = time.perf_counter()
        self.reporter.evaluating(number, self.trainings)
        probabilities = self.tests.predict(self._predictor(number), self.template.scoring, self.reporter.tested)
        scores = Scores()
        self.tests.add_scores(scores, self.schedule[number - 1][0] if number else UNTRAINED, probabilities)
        self.seconds["evaluate"].append(time.perf_counter() - start)
        return scores

    def _predictor(self, number: int) -> torch.nn.Module:
        """The network that predicts after training ``number``."""
        averaged = self.template.averaged
        return averaged if number and averaged is not None else self.template.model

    def _within(self) -> Within | None:
        every, stream = self.spec.eval_every, self.stream
        if every is None:
            return None
        metrics = list(dict.fromkeys([stream.metric, "accuracy"]))
        return Within(self.tests, every, self.spec.eval_samples, len(stream.classes), metrics)

    def _measure_within(self, number: int, row: int, before: int) -> None:
        """Have the coming training measured while it goes on, if that is asked for."""
        within = self.within
        if within is None:
            return
        within.seconds = 0.0

        def look(model: torch.nn.Module, done: int) -> None:
            if done % within.every == 0:
                self._measure(within, model, number, row, done, before)

        self.template.within = look

    def _measure(self, within: Within, model: torch.nn.Module, number: int, row: int, done: int, before: int) -> None:
        within.points = [p for p in within.points if (p["number"], p["done"]) != (number, done)]  # the end has the word
        with self.template.passes.counting(False), self.template.paused():
            within.measure(
                model, self.template.scoring, self.device, number=number, trained_on=row, done=done, step=before + done
            )

    @property
    def final_weights(self) -> dict[str, torch.Tensor]:
        """State dict of the network that predicts at the end."""
        model = self.template.averaged if self.template.averaged is not None else self.template.model
        return dict(model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that the next experience and the record depend on."""
        averaged = self.template.averaged
        return {
            "model": dict(self.template.model.state_dict()),
            "averaged": dict(averaged.state_dict()) if averaged is not None else None,
            "strategy": self.strategy.state_dict(),
            "effects": self.strategy.effects.values(),
            "clock": {
                "experiences": self.template.clock.train_exp_counter,
                "iterations": self.template.clock.train_iterations,
            },
            "seconds": self.seconds,
            "compute": self.compute,
            "within": self.within.points if self.within is not None else [],
            "steps": self.steps,
            "stored": self.stored,
            "held": self.held,
            "resumed": self.resumed,
            "facts": self.detector.facts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.template.model.load_state_dict(state["model"])
        self.strategy.load_state_dict(state["strategy"], self._rebuild)
        self.strategy.effects.counts = dict(state["effects"])
        self.template.clock.train_exp_counter = state["clock"]["experiences"]
        self.template.clock.train_iterations = state["clock"]["iterations"]
        self.seconds, self.steps, self.stored = state["seconds"], state["steps"], state["stored"]
        self.compute = state.get("compute", {"forward": [], "backward": []})  # a checkpoint from before has none
        self.compute.setdefault("cached", [0] * len(self.compute["forward"]))
        if self.within is not None:
            self.within.points = list(state["within"])
        self.held = state.get("held", [[] for _ in self.stored])  # a checkpoint from before has none
        self.resumed = state["resumed"] + 1
        self.detector.facts.update(state["facts"])
        if state["averaged"] is not None:
            import copy

            self.template.averaged = copy.deepcopy(self.template.model)
            self.template.averaged.load_state_dict(state["averaged"])

    def memory(self) -> dict[str, Any]:
        """What the strategy held after each training: distinct samples (``held``: by experience and class) and their
        bytes, and its other state."""
        tensors = _tensors(self.strategy.state_dict())
        in_bytes = getattr(self.strategy.config, "memory_bytes", None)
        return {
            "budget_samples": in_bytes // self.loader.sample_bytes if in_bytes else self.spec.memory,
            "samples": self.stored,
            "held": self.held,
            "bytes": [count * self.loader.sample_bytes for count in self.stored],
            "state_bytes": sum(t.numel() * t.element_size() for t in tensors),
        }

    def _held(self, ids: torch.Tensor) -> list[list[int]]:
        """Distinct stored samples by experience and class."""
        classes, label = len(self.stream.classes), self.stream.samples.label
        return [
            np.bincount(label[self.loader.rows_of(part)], minlength=classes).tolist()
            for part in self.loader.by_experience(ids, len(self.stream.experiences))
        ]

    def _template(self, model: torch.nn.Module, units: Units, reporter: Reporter) -> LoopTemplate:
        detector, strategy = self.detector, self.strategy
        context = StrategyContext(
            model=model,
            heads=tuple(linear_heads(detector, model)),
            experiences=len(self.stream.experiences),
            memory=self.spec.memory,
            samples_per_unit=units.samples_per_unit,
            batch_size=detector.config.batch_size,
            targets=torch.from_numpy(units.target),
            sample_bytes=self.loader.sample_bytes,
        )
        return LoopTemplate(
            detector=detector,
            model=model,
            loader=self.loader,
            plugins=strategy.plugins(context),
            device=self.device,
            effects=strategy.effects,
            progress=reporter.step,
            needs_logits=Need.LOGITS in strategy.needs,
            whole_stream=strategy.whole_stream,
            tuned=self.spec.tuned,
        )

    def _dataset(self, units: Units, experience: np.ndarray, members: list[int]) -> Any:
        ids = np.flatnonzero(np.isin(experience, members))
        return unit_dataset(torch.from_numpy(ids), torch.from_numpy(units.target[ids]))

    def _rebuild(self, ids: torch.Tensor) -> Any:
        return unit_dataset(ids, torch.from_numpy(self.loader.units.target[ids.numpy()]))


def _schedule(experiences: int, whole_stream: bool) -> list[tuple[int, list[int]]]:
    """(row of R, experiences trained on) of each training."""
    if whole_stream:
        return [(experiences - 1, list(range(experiences)))]
    return [(i, [i]) for i in range(experiences)]


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for child in children for tensor in _tensors(child)]
