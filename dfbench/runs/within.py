"""Test sets scored in the middle of a training, which does not notice it.

Every ``every`` optimizer steps, before the first and after the last. Random states and the network's modes are put
back, the test pictures
are read by a loader of their own, and gradients stay: a run ends with the same weights, bit for bit, as one without.
"""

from __future__ import annotations

import contextlib
import copy
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from dfbench.evaluation.continual import defined
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import group_metrics
from dfbench.runs.prediction import TestSets

Point = dict[str, Any]
"""``number``, ``trained_on``, ``done``, ``step``, ``metric`` and ``values``: the fields of
:class:`dfbench.runs.events.MeasuredWithin`, as the record's field ``within`` holds them."""


class Within:
    """The measures inside the trainings of one run.

    Args:
        tests: all test sets. every: optimizer steps from one measure to the next. samples: test units of each
            experience, about equally many of each class; None: all.
    """

    def __init__(self, tests: TestSets, every: int, samples: int | None, classes: int, metrics: list[str]) -> None:
        self.tests = tests if samples is None else part_of(tests, samples)
        self.every, self.classes, self.metrics = every, classes, metrics
        self.points: list[Point] = []
        self.seconds = 0.0
        """Spent on it in the current training."""
        self.told: Callable[[Point], None] = lambda point: None
        """Called with each new point."""

    def measure(
        self,
        model: nn.Module,
        autocast: Callable[[], torch.autocast],
        device: torch.device,
        *,
        number: int,
        trained_on: int,
        done: int,
        step: int,
    ) -> None:
        """Score the test sets now and keep a point for each metric."""
        start = time.perf_counter()
        with untouched_randomness(device):
            probabilities = self.tests.predict(model, autocast)
        scores = Scores()
        self.tests.add_scores(scores, trained_on, probabilities)
        rows = [group_metrics(group, self.classes) for group in scores]
        for metric in self.metrics:
            values = [defined(float(row[metric])) for row in rows]
            point = {"number": number, "trained_on": trained_on, "done": done, "step": step, "metric": metric,
                     "values": values}  # fmt: skip
            self.points.append(point)
            self.told(point)
        self.seconds += time.perf_counter() - start


@contextlib.contextmanager
def untouched_randomness(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, Python, NumPy and torch go on as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def part_of(tests: TestSets, samples: int) -> TestSets:
    """``samples`` units of each experience's test set at most, spread evenly over each class of it.

    It depends on the data alone, so that runs of any seed are measured on the same.
    """
    chosen = [_spread(tests.units.target[members], members, samples) for members in tests.members]
    kept = np.unique(np.concatenate(chosen))
    part = copy.copy(tests)
    part.units = tests.units.take(kept)
    part.members = [np.searchsorted(kept, members) for members in chosen]
    part.loader = tests.loader.only(kept)
    return part


def _spread(classes: np.ndarray, members: np.ndarray, samples: int) -> np.ndarray:
    """``samples`` of ``members``, in order, their classes as equal as their numbers allow."""
    groups = [np.flatnonzero(classes == k) for k in np.unique(classes)]
    takes = [0] * len(groups)
    left = min(samples, len(members))
    while left:  # a class at a time, until each has what it can give
        for k, group in enumerate(groups):
            if left and takes[k] < len(group):
                takes[k] += 1
                left -= 1
    picked = [
        group[np.linspace(0, len(group) - 1, take).round().astype(int)]
        for group, take in zip(groups, takes, strict=True)
    ]
    return members[np.sort(np.concatenate(picked))]
