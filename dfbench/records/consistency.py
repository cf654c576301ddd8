"""Whether the parts of a record fit together: as many figures as trainings and experiences, each in its range.

Pages, comparisons and reports index records of strangers without further checks, so what they rely on is checked here.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

FRACTIONS = ("auc", "video_auc", "accuracy")
"""Metrics of a matrix that are fractions; those of plugins may be anything finite."""


def problem(record: Any) -> str | None:
    """The first thing that does not fit in a :class:`~dfbench.records.record.Record`; None where everything does."""
    return next(_problems(record), None)


def _problems(record: Any) -> Iterator[str]:
    yield from _experiences(record)
    yield from _matrices(record)
    yield from _lengths(record)
    yield from _mid_training(record)
    if record.compute is not None:
        forward, backward, passes = sum(record.compute.forward), sum(record.compute.backward), record.compute.passes
        if abs((forward + 2 * backward) / 3 - passes) > 0.051:  # recorded to one decimal
            yield f"compute.passes: {passes:g} are not those of {forward} rows forward and {backward} backward"
    if record.spec.data_fingerprint != record.data.fingerprint:
        yield "spec.data_fingerprint is not data.fingerprint: the record states two data sets"
    for name in ("seed", "memory"):
        if getattr(record.spec, name) < 0:
            yield f"spec.{name}: {getattr(record.spec, name)} is below 0"
    try:
        datetime.datetime.fromisoformat(record.created)
    except ValueError:
        yield f"created: {record.created[:40]!r} is not a date and time (ISO 8601)"


def _experiences(record: Any) -> Iterator[str]:
    classes, experiences = record.data.classes, record.data.experiences
    names = [e.name for e in experiences]
    for what, values in (("classes", classes), ("experiences", names)):
        if len(set(values)) < len(values):
            yield f"data.{what}: a name is there twice"
    for i, experience in enumerate(experiences):
        for split in ("train", "val", "test"):
            if unknown := sorted(set(getattr(experience, split)) - set(classes)):
                yield f"data.experiences.{i}.{split}: {unknown[0]!r} is not a class of the data"
    if [entry.get("experience") for entry in record.per_experience] != names:
        yield "per_experience does not name the experiences in their order"
    for i, entry in enumerate(record.per_experience):
        for key, value in entry.items():
            if key != "experience" and isinstance(value, str):
                yield f"per_experience.{i}.{key}: {value[:40]!r} is not a number"


def _matrices(record: Any) -> Iterator[str]:
    size = len(record.data.experiences)
    if record.headline not in record.matrix:
        yield f"matrix lacks the headline metric {record.headline!r}"
    for name, rows in record.matrix.items():
        if len(rows) != size or any(len(row) != size for row in rows):
            yield f"matrix {name!r} is not {size}×{size}: one row and one column per experience"
        if name in FRACTIONS and any(value is not None and not 0 <= value <= 1 for row in rows for value in row):
            yield f"matrix {name!r} has a value outside 0 to 1"
    if len(record.per_experience) != size:
        yield f"per_experience has {len(record.per_experience)} entries for {size} experiences"
    if len(record.uncertainty.per_experience) != size:
        yield "uncertainty.per_experience does not have one entry per experience"


def _lengths(record: Any) -> Iterator[str]:
    """One figure per training: T of them, or 1 where everything was trained at once."""
    size, trainings = len(record.data.experiences), len(record.steps)
    if trainings not in (1, size):
        yield f"steps: {trainings} trainings of {size} experiences; there are {size}, or 1 on all of them"
    memory, compute, seconds = record.memory, record.compute, record.seconds
    per_training: dict[str, Sequence[Any] | None] = {
        "seconds.train": seconds.train,
        "memory.samples": memory.samples,
        "memory.bytes": memory.bytes,
        "memory.held": memory.held,
        "compute.forward": compute and compute.forward,
        "compute.backward": compute and compute.backward,
        "seconds.mid_training": seconds.mid_training or None,
    }
    for name, values in per_training.items():
        if values is not None and len(values) != trainings:
            yield f"{name}: {len(values)} entries for {trainings} trainings"
    if not trainings <= len(seconds.evaluate) <= trainings + 1:
        yield f"seconds.evaluate: {len(seconds.evaluate)} entries for {trainings} trainings and the untrained network"
    classes = len(record.data.classes)
    for held in memory.held or []:
        if len(held) != size or any(len(counts) != classes for counts in held):
            yield f"memory.held: not {size} experiences of {classes} classes for each training"


def _mid_training(record: Any) -> Iterator[str]:
    size, trainings = len(record.data.experiences), len(record.steps)
    for i, point in enumerate(record.mid_training or []):
        if not (1 <= point.number <= trainings and 0 <= point.trained_on < size and len(point.values) == size):
            yield f"mid_training.{i}: not a training or not {size} experiences of this record"
        if point.metric in FRACTIONS and any(value is not None and not 0 <= value <= 1 for value in point.values):
            yield f"mid_training.{i}: a value outside 0 to 1"
