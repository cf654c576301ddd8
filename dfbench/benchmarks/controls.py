"""Does a benchmark's processing tell its reals from its fakes? What a regression on the pictures' borders reaches.

For each experience a logistic regression on :func:`dfbench.data.traces.traces` is fitted on training pictures and
scored on test pictures: what a detector could reach without looking at a face. Where a forgery changes the face alone,
an AUC well above ½ says that reals and fakes were compressed, resized or recorded differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dfbench.benchmarks.stream import Experience, Stream
from dfbench.data.audit.classifier import ENOUGH, Row, fitted, independent, tells_apart
from dfbench.data.pictures import PictureError
from dfbench.data.sources import Source, read_pixels
from dfbench.data.traces import mean_traces
from dfbench.data.workers import Progress, map_chunks
from dfbench.errors import UsageError

VERSION = 1
"""Raised when the same data give other figures."""

PICTURES = 400
"""Of each class and split of an experience, at most."""


class ExperienceControl(BaseModel):
    """What was found on one experience."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=300)]
    auc: Annotated[float, Field(ge=0, le=1)] | None
    """Of the test pictures; None where there are too few."""
    reals: Annotated[int, Field(ge=0)]
    """People (videos or pictures where people are not known) among the test pictures."""
    fakes: Annotated[int, Field(ge=0)]

    @property
    def told_apart(self) -> bool:
        """Whether the borders alone tell the classes apart."""
        return self.auc is not None and tells_apart(self.auc, self.reals, self.fakes)


class Controls(BaseModel):
    """The controls of a benchmark, as ``dfbench data controls --to`` writes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    benchmark: Annotated[str, Field(min_length=1, max_length=300)]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the data; results on these data are meant."""
    split: str
    """That was scored."""
    experiences: list[ExperienceControl]

    @property
    def failed(self) -> list[ExperienceControl]:
        """The experiences whose borders tell the classes apart."""
        return [each for each in self.experiences if each.told_apart]


def controls(
    stream: Stream, split: str = "test", *, progress: Progress | None = None, workers: int | None = None
) -> Controls:
    """Run the controls of a stream; the same figures for the same data.

    Args:
        stream: of two classes.
        split: ``test`` or ``val``: what is scored.
        progress: called with the number of pictures looked at.
        workers: number of processes; chosen by the number of pictures by default.

    Raises:
        UsageError: the stream has other classes than real and fake.
    """
    if len(stream.classes) != 2:
        raise UsageError(f"{stream.name} has {len(stream.classes)} classes; the controls are about real and fake")
    chosen = [{part: _drawn(stream, each, part) for part in ("train", split)} for each in stream.experiences]
    rows = np.unique(np.concatenate([part for parts in chosen for part in parts.values()])).tolist()
    found: dict[int, Row] = {}
    what = f"looking at the borders of {stream.name}'s pictures"
    for chunk in map_chunks(
        _look, (rows, stream.located(rows)), len(rows), what=what, workers=workers, progress=progress
    ):
        found.update(chunk)
    return Controls(
        version=VERSION,
        benchmark=stream.name,
        fingerprint=stream.fingerprint,
        split=split,
        experiences=[
            _control(stream, each, parts["train"], parts[split], found)
            for each, parts in zip(stream.experiences, chosen, strict=True)
        ],
    )


def _drawn(stream: Stream, experience: Experience, split: str) -> np.ndarray:
    """At most :data:`PICTURES` rows of each class, the same ones whatever else the stream has."""
    rows, label = experience.rows[split], stream.samples.label
    parts = []
    for name in (0, 1):
        own = rows[label[rows] == name]
        keys = [hashlib.sha256(sample.encode()).digest() for sample in stream.samples.sample[own].tolist()]
        parts.append(own[sorted(range(len(own)), key=keys.__getitem__)[:PICTURES]])
    return np.concatenate(parts)


def _look(shared: tuple[Sequence[int], Sequence[tuple[Source, str]]], start: int, stop: int) -> dict[int, Row]:
    rows, located = shared
    found: dict[int, Row] = {}
    for row, (source, sample) in zip(rows[start:stop], located[start:stop], strict=True):
        try:
            features = mean_traces([read_pixels(source, sample)])
        except PictureError:  # became unreadable since the stream was loaded
            continue
        if features is not None:
            found[row] = features
    return found


def _control(
    stream: Stream, experience: Experience, train: np.ndarray, test: np.ndarray, found: dict[int, Row]
) -> ExperienceControl:
    def of(rows: np.ndarray) -> tuple[list[Row], np.ndarray, np.ndarray]:
        read = [row for row in rows.tolist() if row in found]
        return [found[row] for row in read], stream.samples.label[read], _people(stream, read)

    features, labels, people = of(train)
    tests, test_labels, test_people = of(test)
    counts = independent(test_labels, test_people)
    enough = min(*counts, *independent(labels, people)) >= ENOUGH
    auc = fitted(features, labels, tests, test_labels) if enough else None
    return ExperienceControl(name=experience.name, auc=auc, reals=counts[0], fakes=counts[1])


def _people(stream: Stream, rows: list[int]) -> np.ndarray:
    """The person of each picture, or else its video, or else itself."""
    samples, people = stream.samples, stream.identities
    return np.array([people[row] or samples.video[row] or samples.sample[row] for row in rows], object)
