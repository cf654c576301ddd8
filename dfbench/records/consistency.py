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
    yield from _untrained(record)
    yield from _mid_training(record)
    yield from _generalisation(record)
    yield from _robustness(record)
    yield from _operating(record)
    if record.between_reals is not None and not all(i < len(record.data.experiences) for i in record.between_reals.of):
        yield f"between_reals.of: {record.between_reals.of} in a stream of {len(record.data.experiences)} experiences"
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


def _untrained(record: Any) -> Iterator[str]:
    """A network that was evaluated as it was has one row, took no step and holds nothing."""
    if record.trained:
        return
    if any(value is not None for rows in record.matrix.values() for row in rows[:-1] for value in row):
        yield "matrix: rows of trainings, though 'trained' says that there was none"
    counts = {"steps": record.steps, "memory.samples": record.memory.samples}
    counts |= {f"compute.{name}": getattr(record.compute, name, []) for name in ("forward", "backward")}
    for name, values in counts.items():
        if any(values):
            yield f"{name}: not 0, though 'trained' says that nothing was trained"


def _mid_training(record: Any) -> Iterator[str]:
    size, trainings = len(record.data.experiences), len(record.steps)
    for i, point in enumerate(record.mid_training or []):
        if not (1 <= point.number <= trainings and 0 <= point.trained_on < size and len(point.values) == size):
            yield f"mid_training.{i}: not a training or not {size} experiences of this record"
        if point.metric in FRACTIONS and any(value is not None and not 0 <= value <= 1 for value in point.values):
            yield f"mid_training.{i}: a value outside 0 to 1"


def _generalisation(record: Any) -> Iterator[str]:
    size, sets, found = len(record.data.experiences), record.data.unseen, record.generalisation
    if bool(sets) != (found is not None):
        yield "generalisation and data.unseen do not go together: the record has one of the two"
    if found is None or not sets:
        return
    names = [each.name for each in sets]
    if len({*names, *(e.name for e in record.data.experiences)}) < len(names) + size:
        yield "data.unseen: a name is there twice"
    yield from _of_classes(record, "data.unseen", [each.test for each in sets])
    for part, rows_of in (("untrained", {n: [v] for n, v in found.untrained.items()}), ("matrix", found.matrix)):
        if record.headline not in rows_of:
            yield f"generalisation.{part} lacks the headline metric {record.headline!r}"
        for name, rows in rows_of.items():
            if len(rows) != (size if part == "matrix" else 1) or any(len(row) != len(names) for row in rows):
                yield f"generalisation.{part} {name!r}: not one column per unseen set, and one row per experience"
            yield from _fractions(f"generalisation.{part} {name!r}", name, [v for row in rows for v in row])
    if [entry.get("set") for entry in found.per_set] != names:
        yield "generalisation.per_set does not name the unseen sets in their order"
    for i, entry in enumerate(found.per_set):
        for key, value in entry.items():
            where = f"generalisation.per_set.{i}.{key}"
            if key != "set" and isinstance(value, str):
                yield f"{where}: {value[:40]!r} is not a number"
            if key in FRACTIONS and not isinstance(value, str):
                yield from _fractions(where, key, [value])
    if len(found.uncertainty.per_set) != len(names):
        yield f"generalisation.uncertainty.per_set: {len(found.uncertainty.per_set)} intervals for {len(names)} sets"


def _robustness(record: Any) -> Iterator[str]:
    data, found = record.data.perturbed, record.robustness
    if (data is None) != (found is None):
        yield "robustness and data.perturbed do not go together: the record has one of the two"
    if (record.data.unseen or data) and record.spec.further_tests is None:
        yield "spec.further_tests: missing, though data.unseen or data.perturbed names tests"
    if found is None or data is None:
        return
    if len(data.test) != len(record.data.experiences):
        yield f"data.perturbed.test: {len(data.test)} entries for {len(record.data.experiences)} experiences"
    for name in ("kinds", "levels"):
        if len({*getattr(data, name)}) < len(getattr(data, name)):
            yield f"data.perturbed.{name}: one is there twice"
    yield from _of_classes(record, "data.perturbed.test", data.test)
    for part in (found.by_kind, found.clean):
        if record.headline not in part:
            yield f"robustness lacks the headline metric {record.headline!r}"
    for name, by_kind in found.by_kind.items():
        levels = {str(level) for level in data.levels}
        if {*by_kind} != {*data.kinds} or any({*row} != levels for row in by_kind.values()):
            yield f"robustness.by_kind {name!r}: not the kinds and levels of data.perturbed"
        yield from _fractions(
            f"robustness.by_kind {name!r}", name, [v for row in by_kind.values() for v in row.values()]
        )
    for name, value in found.clean.items():
        yield from _fractions(f"robustness.clean {name!r}", name, [value])


def _operating(record: Any) -> Iterator[str]:
    """Of each threshold and each network one figure."""
    found, size = record.operating, len(record.data.experiences)
    if found is None:
        return
    rates = {"at_half": found.at_half, **{f"recalibrated.{n}": each for n, each in found.recalibrated.items()}}
    lists = {"thresholds": found.thresholds, "reals": found.reals}
    for name in ("false_positive_rate", "true_positive_rate"):
        rows = getattr(found, name)
        if len(rows) != size or any(len(row) != size for row in rows):
            yield f"operating.{name} is not {size}×{size}: one row per threshold, one column per network"
        lists |= {f"{where}.{name}": getattr(each, name) for where, each in rates.items()}
    for name, values in lists.items():
        if len(values) != size:
            yield f"operating.{name}: {len(values)} entries for {size} experiences"


def _of_classes(record: Any, where: str, counts: Sequence[Any]) -> Iterator[str]:
    for i, count in enumerate(counts):
        if unknown := sorted(set(count) - set(record.data.classes)):
            yield f"{where}.{i}: {unknown[0]!r} is not a class of the data"


def _fractions(where: str, name: str, values: Sequence[float | None]) -> Iterator[str]:
    if name in FRACTIONS and any(value is not None and not 0 <= value <= 1 for value in values):
        yield f"{where} has a value outside 0 to 1"
