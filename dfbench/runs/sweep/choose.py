"""Options chosen by the mean over seeds on validation splits: the file that later runs name."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfbench.errors import DataError, DfbenchError
from dfbench.records.choice import Candidate, Choice, ChoiceFile, ValidationRun, best_of, better, subject
from dfbench.records.record import Record
from dfbench.runs.sweep.plan import Job


def choose(name: str, metric: str, jobs: Sequence[Job], done: Mapping[str, Path]) -> ChoiceFile:
    """The best candidate of each detector, preset, strategy and benchmark.

    Args:
        name: Of the grid.
        metric: What is compared.
        jobs: All runs of the grid, in its order; each was scored on the validation split.
        done: Key → folder of the finished ones.

    Raises:
        DfbenchError: A run is missing: the best of those that are left may not be the best.
        DataError: The metric is undefined in a run, or the seeds of a candidate do not start alike.
    """
    if missing := [job for job in jobs if job.key not in done]:
        raise DfbenchError(
            f"nothing is chosen while {len(missing)} of {len(jobs)} runs are missing, as {missing[0].label}: the same "
            "command tries them again, exclude: leaves them out for good"
        )
    rows: dict[tuple[object, ...], list[Record]] = {}
    for job in jobs:
        rows.setdefault(job.row, []).append(_read(done[job.key]))
    groups: dict[tuple[str, ...], list[Candidate]] = {}
    for records in rows.values():
        candidate = _candidate(sorted(records, key=lambda record: record.spec.seed), metric)
        groups.setdefault(subject(candidate.spec), []).append(candidate)
    choices = [Choice(candidates=each, chosen=best_of([c.mean for c in each], metric)) for each in groups.values()]
    return ChoiceFile(schema=1, name=name, metric=metric, better=better(metric), choices=choices)


def _read(folder: Path) -> Record:
    record = Record.read(folder)
    if record.spec.split != "val":
        raise DataError(f"{folder}: scored on the {record.spec.split} split, which options are never chosen by")
    return record


def _candidate(records: Sequence[Record], metric: str) -> Candidate:
    first = records[0]
    if len({record.spec.row_id for record in records}) > 1:
        raise DataError(f"{first.run}: its seeds started from different weights (pretrained in one of them?)")
    runs = []
    for record in records:
        value = record.metrics.get(metric)
        if value is None:
            raise DataError(f"{record.run}: {metric} is undefined, so nothing can be chosen by it")
        runs.append(
            ValidationRun(
                seed=record.spec.seed, run=record.run, identity=record.identity, value=value,
                scores_sha256=record.scores_sha256,
            )
        )  # fmt: skip
    values = [run.value for run in runs]
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Candidate(spec=first.spec, runs=runs, mean=statistics.fmean(values), spread=spread)
