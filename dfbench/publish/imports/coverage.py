"""Predictions that are missing: found, counted, and refused, left out or counted as wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from dfbench.errors import DataError
from dfbench.evaluation.scores import UNTRAINED, Scores
from dfbench.publish.imports.order import Order
from dfbench.publish.imports.predictions import NO_SEED, Predictions
from dfbench.records.imported import Coverage, Policy, SetCoverage

POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass
class Expected:
    """The samples that a test set should have, in the order in which they are first met."""

    name: str
    place: dict[str, int] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)

    def add(self, sample: str, label: int, video: str, identity: str) -> int:
        """The place of a sample, which is new or has the same label, video and person as before."""
        place = self.place.setdefault(sample, len(self.place))
        if place == len(self.labels):
            self.labels.append(label)
            self.videos.append(video)
            self.identities.append(identity)
            return place
        self._same("label", sample, str(self.labels[place]), str(label))
        self.videos[place] = self._same("video", sample, self.videos[place], video)
        self.identities[place] = self._same("identity", sample, self.identities[place], identity)
        return place

    def _same(self, what: str, sample: str, before: str, now: str) -> str:
        if before and now and before != now:
            raise DataError(f"sample {sample!r} of test set {self.name!r} has two values of {what}: {before} and {now}")
        return before or now


def expected_sets(predictions: Predictions, order: Order, listed: Predictions | None) -> list[Expected]:
    """What each test set should hold: all samples that the file names, or those of a list.

    Args:
        predictions: Of all files.
        order: Theirs.
        listed: The samples of the list, with their labels; its scores are not read.

    Raises:
        DataError: A sample has two labels, or a list lacks a sample, or has a test set that is none of the file's.
    """
    found = [Expected(name) for name in order.sets]
    if listed is not None:
        at = {each.name: each for each in found}
        for name, *sample in _samples(listed, listed.tested_on):
            if name not in at:
                raise DataError(f"the list of samples has a test set {name!r}; the predictions are on {', '.join(at)}")
            at[name].add(*sample)
    sizes = [len(each.place) for each in found]
    for number, *sample in _samples(predictions, order.tested_on):
        found[number].add(*sample)
        if listed is not None and len(found[number].place) > sizes[number]:
            raise DataError(f"sample {sample[0]!r} of test set {found[number].name!r} is not in the list of samples")
    return found


def complete(
    predictions: Predictions, probabilities: np.ndarray, order: Order, sets: list[Expected], policy: Policy
) -> tuple[dict[int, Scores], Coverage]:
    """The scores of each seed, every test set whole (or equally incomplete) for each model, and what was missing.

    Args:
        predictions: Of all files.
        probabilities: P(fake) of each, float64 (n,); nan where there is none.
        order: Theirs.
        sets: What each test set should hold.
        policy: What is done about missing predictions.

    Raises:
        DataError: A sample was scored twice by one model, predictions are missing under the policy ``error``, or a
            test set has one class left under ``drop``.
    """
    tables = _tables(predictions, probabilities, order, sets)
    last = len(order.experiences) - 1
    for seed, i in {(seed, i) for seed, i, _ in tables} | {(seed, last) for seed, _, _ in tables}:
        for j, each in enumerate(sets):
            if i == last or j > last:  # the final model is tested on everything, an unseen set by every model
                tables.setdefault((seed, i, j), np.full(len(each.place), np.nan))
    kept = [np.ones(len(each.place), dtype=bool) for each in sets]
    for (_, _, j), values in tables.items():
        kept[j] &= ~np.isnan(values)
    expected, missing = sum(map(len, tables.values())), sum(int(np.isnan(v).sum()) for v in tables.values())
    if missing and policy == "error":
        raise DataError(
            f"{missing} of {expected} predictions are missing (the first: {_first(tables, order, sets)}); "
            "--missing drop scores the samples that all models have, --missing worst counts them as wrong"
        )
    kept = kept if policy == "drop" else [np.ones(len(rows), dtype=bool) for rows in kept]
    for each, rows in zip(sets, kept, strict=True):
        if len({each.labels[place] for place in np.flatnonzero(rows)}) < 2:
            raise DataError(f"test set {each.name!r}: {int(rows.sum())} samples of one class are left to be scored")
    found: dict[int, Scores] = {}
    for (seed, i, j), values in sorted(tables.items()):
        rows, labels = kept[j], np.array(sets[j].labels, dtype=np.int16)
        filled = np.where(np.isnan(values), 1.0 - labels, values)[rows].astype(np.float32)
        samples, videos, people = ([each[row] for row in np.flatnonzero(rows)] for each in _names(sets[j]))
        found.setdefault(seed, Scores()).append(i, j, samples, videos, labels[rows], filled, filled > 0.5, people)
    per_set = [
        SetCoverage(set=each.name, expected=len(each.place), scored=int(rows.sum()))
        for each, rows in zip(sets, kept, strict=True)
    ]
    return found, Coverage(missing=policy, expected=expected, predicted=expected - missing, per_set=per_set)


def _names(each: Expected) -> tuple[list[str], list[str], list[str]]:
    return list(each.place), each.videos, each.identities


def _samples(predictions: Predictions, sets: np.ndarray) -> Iterator[tuple]:
    columns = (sets, predictions.samples, predictions.labels, predictions.videos, predictions.identities)
    return zip(*(column.tolist() for column in columns), strict=True)


def _tables(
    predictions: Predictions, probabilities: np.ndarray, order: Order, sets: list[Expected]
) -> dict[tuple[int, int, int], np.ndarray]:
    """(seed, model, test set) → its scores in the order of the test set; nan where there is none."""
    tables: dict[tuple[int, int, int], np.ndarray] = {}
    rows: dict[tuple[int, int, int], np.ndarray] = {}
    keys = zip(predictions.seeds.tolist(), order.trained_on.tolist(), order.tested_on.tolist(), strict=True)
    for row, (key, sample) in enumerate(zip(keys, predictions.samples.tolist(), strict=True)):
        if key not in tables:
            size = len(sets[key[2]].place)
            tables[key], rows[key] = np.full(size, np.nan), np.zeros(size, dtype=bool)
        place = sets[key[2]].place[sample]
        if rows[key][place]:
            raise DataError(f"{_named(key, order)}: sample {sample!r} is there twice")
        tables[key][place], rows[key][place] = probabilities[row], True
    return tables


def _first(tables: dict[tuple[int, int, int], np.ndarray], order: Order, sets: list[Expected]) -> str:
    key = min(key for key, values in tables.items() if np.isnan(values).any())
    sample = list(sets[key[2]].place)[int(np.flatnonzero(np.isnan(tables[key]))[0])]
    return f"sample {sample!r}, {_named(key, order)}"


def _named(key: tuple[int, int, int], order: Order) -> str:
    """``test set 'b' after training on 'a', seed 1``."""
    seed, i, j = key
    model = f" after training on {(order.trained_once or order.experiences[i])!r}" if i != UNTRAINED else " untrained"
    which = f", seed {seed}" if seed != NO_SEED else ""
    return f"test set {order.sets[j]!r}{model if order.stated else ''}{which}"
