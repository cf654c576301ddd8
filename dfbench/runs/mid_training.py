"""Test sets scored in the middle of a training, which does not notice it.

They are scored every so many optimizer steps, before the first and after the last. Random generators and the network's
modes are restored, the test pictures are read by a loader of their own, and gradients stay: a run ends with the same
weights, bit for bit, as one without.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from torch import nn

from dfbench.benchmarks.stream import Stream
from dfbench.evaluation.continual import defined
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.stability import stability
from dfbench.evaluation.summary import group_metrics
from dfbench.runs.events import EventStream, MidTrainingEvaluated
from dfbench.runs.prediction import TestSets, shares
from dfbench.runs.randomness import restored
from dfbench.training.template import LoopTemplate


class MidTrainingEval:
    """The evaluations in the middle of the trainings of one run.

    Args:
        template: Trains the network.
        tests: All test sets.
        stream: Whose they are.
        events: Receives each new point.
        every: Optimizer steps from one evaluation to the next.
        samples: Test units of each experience, about equally many of each class; None: all.
    """

    def __init__(
        self,
        template: LoopTemplate,
        tests: TestSets,
        stream: Stream,
        events: EventStream,
        every: int,
        samples: int | None,
    ) -> None:
        self.template, self.stream, self.events, self.every = template, stream, events, every
        self.tests = tests if samples is None else part_of(tests, samples)
        self.metrics = list(dict.fromkeys([stream.metric, "accuracy"]))
        self.points: list[dict[str, Any]] = []
        """As the record has them: the fields of :class:`dfbench.records.record.MidTrainingPoint`."""
        self.seconds = 0.0
        """Spent on it in the current training."""
        self._place: dict[str, int] = {}
        self._first_step = 0

    @property
    def stability(self) -> dict[str, dict[str, float | None]]:
        """The measures of stability, for each metric."""
        return {metric: stability(self.points, metric, len(self.stream.experiences)) for metric in self.metrics}

    def begin(self, number: int, row: int, first_step: int) -> None:
        """Score during the coming training.

        Args:
            number: Of the training, from 1.
            row: The row of R that it fills.
            first_step: Optimizer steps of the run before it.
        """
        self.seconds, self._first_step = 0.0, first_step
        self._place = {"number": number, "trained_on": row}
        self.template.mid_training = self._after_step

    def end(self, model: nn.Module, done: int) -> None:
        """Score the network that predicts after a training of ``done`` steps: strategies change it at its end."""
        self.points = [p for p in self.points if (p["number"], p["done"]) != (self._place["number"], done)]
        self._evaluate(model, done)

    def _after_step(self, model: nn.Module, done: int) -> None:
        if done % self.every == 0:
            self._evaluate(model, done)

    def _evaluate(self, model: nn.Module, done: int) -> None:
        start = time.perf_counter()
        template = self.template
        with template.compute.counting(False), template.paused(), restored():
            probabilities = self.tests.predict(model, template.scoring)
        scores = Scores()
        self.tests.add_scores(scores, self._place["trained_on"], probabilities)
        rows = [group_metrics(group, len(self.stream.classes)) for group in scores]
        for metric in self.metrics:
            values = [defined(float(row[metric])) for row in rows]
            point = {**self._place, "done": done, "step": self._first_step + done, "metric": metric, "values": values}
            self.points.append(point)
            self.events.event(MidTrainingEvaluated(**{**point, "values": tuple(values)}))  # type: ignore[arg-type]
        self.seconds += time.perf_counter() - start


def part_of(tests: TestSets, samples: int) -> TestSets:
    """``samples`` units of each experience's test set at most, spread evenly over each class of it.

    It depends on the data alone, so that runs of any seed are scored on the same.
    """
    return tests.part([_spread(tests.units.target[members], members, samples) for members in tests.members])


def _spread(classes: np.ndarray, members: np.ndarray, samples: int) -> np.ndarray:
    """``samples`` of ``members``, in order, their classes as equal as their numbers allow."""
    picked = [
        group[np.linspace(0, len(group) - 1, take).round().astype(int)] for group, take in shares(classes, samples)
    ]
    return members[np.sort(np.concatenate(picked))]
