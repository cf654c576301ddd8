"""One run in memory: detector, strategy and data put together, trained experience by experience."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dfbench.benchmarks.flow import scored_after
from dfbench.data.loader import UnitLoader
from dfbench.data.pixels import Pixels
from dfbench.data.units import Units, concat
from dfbench.errors import DataError
from dfbench.evaluation.continual import defined
from dfbench.evaluation.scores import UNTRAINED, Scores
from dfbench.evaluation.summary import group_metrics
from dfbench.plugin_faults import calling, made_by, where
from dfbench.runs.adapting import Adapting
from dfbench.runs.detector_state import Kept, kept_tensors
from dfbench.runs.events import (
    Evaluated,
    EvaluationStarted,
    EventStream,
    ExperienceFinished,
    ExperienceStarted,
    Listener,
    TrainingStep,
)
from dfbench.runs.further import FurtherTests
from dfbench.runs.ledger import Ledger
from dfbench.runs.mid_training import MidTrainingEval
from dfbench.runs.prediction import TestSets, experience_units
from dfbench.runs.prepare import Prepared
from dfbench.runs.randomness import restored, seed_everything
from dfbench.runs.validation_data import ValidationData
from dfbench.training.compatibility import check_pair
from dfbench.training.dataset import experiences_of, unit_dataset
from dfbench.training.detector import Detector
from dfbench.training.modeling import copy_network, linear_heads
from dfbench.training.strategies import Need, StrategyContext
from dfbench.training.template import LoopTemplate
from dfbench.training.tuned_forward import TunedForward, to_channels_last
from dfbench.training.unit_rows import check_unit_logits

SIZES = re.compile("size|shape|spatial|dimension|value per channel|kernel|too small", re.IGNORECASE)
"""Messages of errors that pictures of another size may avoid."""


@dataclass(frozen=True)
class Stage:
    """One training of a run."""

    number: int
    """From 1; stage 0 is the untrained network."""
    row: int
    """Row of R that it fills, from 0."""
    members: list[int]
    """Experiences that it trains on, from 0: one, all of them at once (joint), or none where nothing is trained."""
    names: tuple[str, ...]
    """Theirs."""


class Session:
    """A run that can be trained, scored, stored and restored.

    Args:
        prepared: What to run.
        listener: Receives what happens.

    Raises:
        IncompatibleError: At construction: the strategy cannot train this detector.
        DataError: At construction: the scored split is missing.
    """

    def __init__(self, prepared: Prepared, listener: Listener | None = None) -> None:
        self.spec, self.stream, self.device = prepared.spec, prepared.stream, prepared.device
        self.ranks = prepared.ranks
        self.detector, self.strategy = prepared.detector, prepared.strategy
        self.events = EventStream(listener)
        self.ledger = Ledger()
        self.names = [e.name for e in self.stream.experiences]
        self.init = prepared.init
        self.adapting = Adapting(prepared)
        size = len(self.names)
        self.stages = [Stage(i + 1, i, [i], (name,)) for i, name in enumerate(self.names)]
        if self.strategy.whole_stream:
            self.stages = [Stage(1, size - 1, list(range(size)), tuple(self.names))]
        if not self.strategy.trains:
            self.stages = [Stage(1, size - 1, [], ())]
        with calling(self.detector, "units"):
            self._read_data()
        model = self._checked(prepared.network)
        self.template = self._template(model)
        self.fast = TunedForward.attach(self.template)
        self.validation = ValidationData(self.template, self.stream, self.pixels, self.events, self.spec.split)
        self.template.validation = self.validation.of
        self.mid_training: MidTrainingEval | None = None
        if (every := self.spec.eval_every) is not None:
            self.mid_training = MidTrainingEval(
                self.template, self.tests, self.stream, self.events, every, self.spec.eval_samples
            )

    def _read_data(self) -> None:
        detector, stream, split = self.detector, self.stream, self.spec.split
        for e in stream.experiences:
            if len(e.rows[split]) == 0:
                raise DataError(f"experience {e.name!r} of {stream.name!r} has no {split} split to score")
        self.pixels = pixels = stream.pixels(detector.image_size, progress=self.events.data)
        notices = self._read_training(pixels) if self.strategy.trains else []
        self.tests = TestSets(detector, stream, pixels, self.device, split, ranks=self.ranks)
        self.further = FurtherTests(self.tests, stream, pixels, self.device, split, self.events.data)
        for notice in (*notices, *self.tests.notices, *self.further.notices):
            self.events.notice(notice)
        if not self.strategy.trains:  # nor need the training pictures be fit for it
            self.loader = self.tests.loader

    def _read_training(self, pixels: Pixels) -> list[str]:
        """The units to train on; lines for the user."""
        detector, stream = self.detector, self.stream
        parts, notices = experience_units(detector, stream, "train", training=True)
        units, experience = concat(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        augment = detector.augment if type(detector).augment is not Detector.augment else None
        self.loader = UnitLoader(units, experience, pixels, self.device, augment)
        of_stage = [np.flatnonzero(np.isin(experience, stage.members)) for stage in self.stages]
        self.training_sets = experiences_of([_dataset(units, torch.from_numpy(ids)) for ids in of_stage])
        return notices

    def _checked(self, network: torch.nn.Module) -> torch.nn.Module:
        """The untrained network on the device, checked to go with the strategy."""
        seed_everything(self.spec.seed, 0)
        model = to_channels_last(network.to(self.device), self.spec.tuned)
        self.ranks.same_weights(model)
        probe = self.tests.loader.fetch(self.tests.probe_batch())
        names = (self.spec.detector, self.spec.strategy)
        with restored(), self._where("before any training"):
            check_pair(self.detector, self.strategy, model, probe, names)
            if kept := self.strategy.needs & {Need.UNIT_LOGITS, Need.UNIT_ROWS}:
                self.loader.seed(self.spec.seed)
                few = self.loader.fetch(self.few_units())
                check_unit_logits(self.detector, model, few, names, several=kept == {Need.UNIT_ROWS})
        return model

    def few_units(self) -> torch.Tensor:
        """Ids of up to four training units of two classes, which take turns, the later class first."""
        target = self.loader.units.target
        by_class = [np.flatnonzero(target == k)[:2] for k in np.unique(target)[1::-1]]
        every = by_class[0] if len(by_class) == 1 else [i for turn in zip(*by_class, strict=False) for i in turn]
        return torch.as_tensor(np.asarray(every), dtype=torch.int64)

    def _template(self, model: torch.nn.Module) -> LoopTemplate:
        detector, strategy, units = self.detector, self.strategy, self.loader.units
        context = StrategyContext(
            model=model,
            heads=tuple(linear_heads(model, detector.head)),
            experiences=len(self.names),
            memory=self.spec.memory,
            samples_per_unit=units.samples_per_unit,
            batch_size=detector.config.batch_size,
            targets=torch.from_numpy(units.target),
            sample_bytes=self.loader.sample_bytes,
        )
        plugins = strategy.plugins(context)
        made_by(strategy, plugins)
        return LoopTemplate(
            detector=detector,
            model=model,
            loader=self.loader,
            plugins=plugins,
            device=self.device,
            effects=strategy.effects,
            needs=strategy.needs,
            whole_stream=strategy.whole_stream,
            tuned=self.spec.tuned,
            repeated_passes=strategy.repeated_passes,
            ranks=self.ranks,
            trains_detector=strategy.trains_detector,
        )

    @property
    def trainings(self) -> int:
        """How many times the detector is trained: once per experience, or once in all (of nothing, if it never is)."""
        return len(self.stages)

    @property
    def evaluations(self) -> range:
        """What :meth:`evaluate` is called for: the network before any training, where there is one, and each stage."""
        return range(0 if self.strategy.trains else 1, self.trainings + 1)

    @property
    def step(self) -> int:
        """Optimizer steps of the run so far."""
        return int(self.template.clock.train_iterations)

    def train(self, number: int) -> None:
        """Do training ``number``, from 1; nothing is done under a strategy that does not train."""
        if not self.strategy.trains:
            self.ledger.note_idle()
            self._note_stored()
            return
        stage, first_step, mid_training = self.stages[number - 1], self.step, self.mid_training
        self.events.event(ExperienceStarted(number, stage.names, first_step))
        self._seed(stage)
        self.template.added = self.adapting.before(number - 1)
        kept = kept_tensors(self.detector, self.template.model)
        self.template.progress = functools.partial(self._after_step, number, first_step)
        self.template.pass_progress = self.events.passed
        if mid_training is not None:
            mid_training.begin(number, stage.row, first_step)
        with self._where(f"in training {number} of {self.trainings}, on {', '.join(map(repr, stage.names))}"):
            seconds = self._timed_training(stage)
        steps = self.step - first_step
        if mid_training is not None:
            seconds -= mid_training.seconds
            mid_training.end(self._predictor(number), steps)
            self.ledger.mid_training.append(mid_training.seconds)
        self.ledger.train.append(seconds)
        self.ledger.steps.append(steps)
        if number == 1 < self.trainings:
            self._note_unsaved(kept)
        stored = self._note_stored()
        self.events.event(ExperienceFinished(number, stage.names, seconds, steps, self.step, stored))

    def _where(self, place: str) -> contextlib.AbstractContextManager[None]:
        """A context whose exceptions say where they were raised, and on pictures of which size if that may matter."""
        height, width = self.loader.pixels.shape[1:3]

        def text(message: str) -> str:
            if not SIZES.search(message):
                return place
            option = "image_size" in type(self.detector.config).model_fields
            advice = "; --set image_size=N stores them at N×N" if option else ""
            return f"{place}, pictures of {height}×{width} pixels{advice}"

        return where(text)

    def _seed(self, stage: Stage) -> None:
        seed = seed_everything(self.spec.seed, stage.row + 1)
        if self.stream.fresh_model and stage.number > 1:  # the first is new already
            new = self.detector.build().state_dict() if self.init is None else self.init.weights()
            self.template.model.load_state_dict(new)
            seed_everything(self.spec.seed, stage.row + 1)  # batches are those of a network that is trained on
        self.template.generator.manual_seed(seed)
        self.loader.seed(seed)

    def _timed_training(self, stage: Stage) -> float:
        """Train; the seconds that it took, evaluations in the middle included."""
        compute = self.template.compute
        compute.forward = compute.backward = 0
        start = time.perf_counter()
        with compute.counting():
            self.template.train(self.training_sets[stage.number - 1], eval_streams=[])
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - start
        forward, backward = self.ranks.sums(compute.forward, compute.backward)
        self.ledger.forward.append(round(forward))
        self.ledger.backward.append(round(backward))
        return seconds

    def _after_step(self, number: int, first_step: int, done: int, total: int, loss: torch.Tensor) -> None:
        # float(loss) waits for the device: only where somebody is to read it.
        if self.events.due(done, total):
            self.events.event(TrainingStep(number, done, total, first_step + done, float(loss)))

    def _note_unsaved(self, before: Kept) -> None:
        """Say which state of the detector no checkpoint will hold."""
        if type(self.detector).state_dict is not Detector.state_dict:
            return
        after = kept_tensors(self.detector, self.template.model)
        if changed := ", ".join(f"self.{name}" for name in after if after[name] != before.get(name)):
            self.events.notice(
                f"detector {self.spec.detector} keeps tensors in {changed}, which an interrupted run would lose: "
                "return them from its state_dict()"
            )

    def _note_stored(self) -> int:
        """Note which samples the strategy holds; returns their number."""
        ids, classes, label = self.strategy.stored_units(), len(self.stream.classes), self.stream.samples.label
        self.ledger.stored.append(len(self.loader.rows_of(ids)))
        self.ledger.held.append(
            [
                np.bincount(label[self.loader.rows_of(part)], minlength=classes).tolist()
                for part in self.loader.by_experience(ids, len(self.names))
            ]
        )
        return self.ledger.stored[-1]

    def evaluate(self, number: int) -> Scores:
        """Predictions on the test sets after training ``number``, unseen ones too; 0: the untrained network.

        On all of them, unless the stream's ``flow`` says that only some are scored in between. After a training, on the
        validation reals of these that were trained on, too.
        """
        start, held = time.perf_counter(), Scores()
        trained = number if self.strategy.trains else 0
        self.events.event(EvaluationStarted(trained, self.trainings))
        after = f"after training {number} of {self.trainings}" if trained else "before any training"
        model, row = self._predictor(number), self.stages[number - 1].row if number else UNTRAINED
        scores, unseen, validation = Scores(), self.further.unseen, self.further.validation
        places = scored_after(row, self.names, self.stream.flow.tests)
        with calling(self.detector, "predict"), self._where(after), self.tests.only(places) as tests:
            tests.add_scores(scores, row, tests.predict(model, self.template.scoring, self.events.tested), places)
            if unseen is not None:
                self.events.event(EvaluationStarted(trained, self.trainings, "unseen sets"))
                with restored():  # a detector may draw random numbers: the next training draws the same without this
                    found = unseen.predict(model, self.template.scoring, self.events.tested)
                unseen.add_scores(scores, row, found, len(self.names) + np.arange(len(self.further.names)))
            if validation is not None and number:
                self.events.event(EvaluationStarted(trained, self.trainings, "validation reals"))
                with restored():
                    first = self.further.place_of_validation
                    held = validation.scores(model, self.template.scoring, row, places, first, self.events.tested)
        self.ledger.evaluate.append(time.perf_counter() - start)
        if self.events.follows(Evaluated):
            rows = [self._metrics(scores, names) for names in (self.names, self.further.names)]
            self.events.event(Evaluated(trained, self.step, rows[0], self.ledger.evaluate[-1], rows[1]))
        return Scores.concat([scores, held])

    def evaluate_perturbed(self) -> Scores:
        """Predictions of the last network on the degraded copies of the test sets; none where none are wanted."""
        perturbed = self.further.perturbed
        if perturbed is None:
            return Scores()
        start, number = time.perf_counter(), self.trainings
        self.events.event(EvaluationStarted(number if self.strategy.trains else 0, number, "degraded copies"))
        first = self.further.place_of_copies
        place = self._where("on degraded copies of the test sets, after the last training")
        with calling(self.detector, "predict"), place, restored():
            model, row = self._predictor(number), self.stages[-1].row
            scores = perturbed.scores(model, self.template.scoring, row, first, self.events.tested)
        self.ledger.perturbed = time.perf_counter() - start
        return scores

    def _metrics(self, scores: Scores, wanted: list[str]) -> dict[str, dict[str, float | None]]:
        """Those of the experiences, or of the unseen sets."""
        metrics: dict[str, dict[str, float | None]] = {}
        for group in scores:
            name = (*self.names, *self.further.names)[group.tested_on]
            for metric, value in group_metrics(group, len(self.stream.classes)).items() if name in wanted else ():
                metrics.setdefault(metric, dict.fromkeys(wanted))[name] = defined(np.float64(value))
        return metrics

    def _predictor(self, number: int) -> torch.nn.Module:
        """The network that predicts after training ``number``."""
        averaged = self.template.averaged
        return averaged if number and averaged is not None else self.template.model

    def close(self) -> None:
        """End what runs next to the training."""
        self.loader.close()
        self.tests.loader.close()
        self.validation.close()
        if self.further.unseen is not None:
            self.further.unseen.loader.close()

    @property
    def final_weights(self) -> dict[str, torch.Tensor]:
        """State dict of the network that predicts at the end."""
        return dict(self._predictor(self.trainings).state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that the next experience and the record depend on."""
        averaged = self.template.averaged
        return {
            "model": dict(self.template.model.state_dict()),
            "adaptations": self.adapting.state(),
            "averaged": dict(averaged.state_dict()) if averaged is not None else None,
            "strategy": self.strategy.state_dict(),
            "effects": self.strategy.effects.values(),
            "clock": {"experiences": self.template.clock.train_exp_counter, "iterations": self.step},
            "mid_training": self.mid_training.points if self.mid_training is not None else [],
            "ledger": dataclasses.asdict(self.ledger),
            "facts": self.detector.facts,
            "detector": self.detector.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.adapting.load(state.get("adaptations", []))
        self.template.model.load_state_dict(state["model"])
        self.strategy.load_state_dict(state["strategy"], functools.partial(_dataset, self.loader.units))
        self.strategy.effects.counts = dict(state["effects"])
        self.template.clock.train_exp_counter = state["clock"]["experiences"]
        self.template.clock.train_iterations = state["clock"]["iterations"]
        self.ledger = Ledger(**state["ledger"])
        self.ledger.resumed += 1
        if self.mid_training is not None:
            self.mid_training.points = list(state["mid_training"])
        self.detector.facts.update(state["facts"])
        self.detector.load_state_dict(state["detector"])
        if state["averaged"] is not None:
            self.template.averaged = copy_network(self.template.model)
            self.template.averaged.load_state_dict(state["averaged"])


def _dataset(units: Units, ids: torch.Tensor) -> Any:
    return unit_dataset(ids, torch.from_numpy(units.target[ids.numpy()]))
