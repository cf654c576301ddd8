"""What a sweep will cost: from records of like runs, else from timed first steps."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dfbench.documents import read_json
from dfbench.errors import DataError
from dfbench.records.record import RECORD
from dfbench.runs.sweep.plan import Job

Basis = Literal["records", "like", "steps", "unknown"]
"""``records``: of runs that differ in the seed alone; ``like``: of the same detector, preset and benchmark, with other
options or another strategy; ``steps``: timed first steps; ``unknown``: nothing is known."""
WORDS: dict[Basis, str] = {
    "records": "records of the same runs with other seeds",
    "like": "records of like runs",
    "steps": "timed first steps",
    "unknown": "not known",
}
ENOUGH = 3
"""Runs that differ in the seed alone, of which the seconds are read."""
LENGTHS = ("epochs", "steps")
"""Options that the length of a training is proportional to."""


@dataclass(frozen=True)
class Cost:
    """What one run takes."""

    seconds: float
    """Wall time; 0 where it is not known."""
    basis: Basis


@dataclass(frozen=True)
class Seen:
    """What a finished run took."""

    spec: Mapping[str, Any]
    device: str
    threads: int | None
    train: float
    """Seconds, evaluations in between included."""
    evaluate: float


def seen(
    folders: Iterable[Path], jobs: Sequence[Job], device: str, threads: int, *, validation: bool = False
) -> list[Seen]:
    """Finished runs of the jobs' detectors and presets on this kind of device with so many threads.

    Of runs that differ in the seed alone a few are read: records are large, and there may be thousands.

    Args:
        folders: Of runs, or the ``results`` of a leaderboard; what cannot be read is passed over.
        jobs: What is to be estimated.
        device: ``cpu`` or ``cuda``.
        threads: Of a run.
        validation: Open records of runs that were scored on validation splits alone.
    """
    starts = tuple({job.spec.run_id_start for job in jobs})
    found, rows = [], Counter[str]()
    for folder in folders:
        named = [(path.parent.name, path) for path in sorted(folder.glob(f"*/{RECORD}"))]
        for name, path in (*named, *((path.stem, path) for path in sorted(folder.glob("*.json")))):
            if not name.startswith(starts):
                continue
            spec = _spec_beside(path)
            row = repr({k: v for k, v in spec.items() if k != "seed"}) if spec else str(path)
            if rows[row] >= ENOUGH or (validation and spec.get("split") != "val"):
                continue
            one = _seen(path)
            if one is not None and (one.device, one.threads) == (device, threads):
                rows[row] += 1
                found.append(one)
    return found


def _seen(path: Path) -> Seen | None:
    try:
        document = read_json(path)
        where, took = document["environment"], document["seconds"]
        train = float(sum(took["train"]) + sum(took.get("mid_training") or [0]))
        return Seen(document["spec"], where["device"], where.get("threads"), train, float(took["total"]) - train)
    except (DataError, KeyError, TypeError, ValueError):
        return None


def _spec_beside(path: Path) -> dict[str, Any]:
    """The spec next to a record, which is small; empty where there is none."""
    try:
        return dict(read_json(path.with_name("spec.json")))
    except (DataError, TypeError, ValueError):
        return {}


def from_records(jobs: Sequence[Job], known: Sequence[Seen]) -> dict[str, Cost]:
    """Cost of each job, by its key; ``unknown`` where no run is like it."""
    by_kind: dict[tuple[Any, ...], list[Seen]] = {}
    for each in known:
        spec = each.spec
        kind = tuple(spec.get(name) for name in ("detector", "preset", "benchmark"))
        by_kind.setdefault(kind, []).append(each)
    cache: dict[tuple[object, ...], Cost] = {}
    for job in jobs:
        if job.row not in cache:
            kind = job.spec.detector, job.spec.preset, job.spec.benchmark
            cache[job.row] = _cost(job, by_kind.get(kind, []))
    return {job.key: cache[job.row] for job in jobs}


def _cost(job: Job, alike: Sequence[Seen]) -> Cost:
    if not alike:
        return Cost(0.0, "unknown")
    spec = job.spec
    same = [
        each.train + each.evaluate
        for each in alike
        if each.spec.get("strategy") == spec.strategy
        and each.spec.get("detector_config") == spec.detector_config
        and each.spec.get("strategy_config") == spec.strategy_config
    ]
    if same:
        return Cost(statistics.fmean(same), "records")
    near = [each for each in alike if each.spec.get("strategy") == spec.strategy] or alike
    scaled = [each.train * longer(spec.detector_config, each.spec["detector_config"]) + each.evaluate for each in near]
    return Cost(statistics.median(scaled), "like")


def longer(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """How many times as long a training is with our options as with theirs, by epochs or steps alone."""
    for name in LENGTHS:
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, int) and isinstance(other, int) and mine > 0 and other > 0:
            return mine / other
    return 1.0


def to_time(jobs: Sequence[Job], costs: Mapping[str, Cost]) -> list[Job]:
    """The shortest run of each kind of which nothing is known; a kind of one run is not worth it."""
    kinds: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        if costs[job.key].basis == "unknown":
            kinds.setdefault(job.kind, []).append(job)
    return [min(each, key=lambda job: longer(job.spec.detector_config, each[0].spec.detector_config))
            for each in kinds.values() if len(each) > 1]  # fmt: skip


def with_timings(
    jobs: Sequence[Job], costs: Mapping[str, Cost], timed: Mapping[str, Mapping[str, float]]
) -> dict[str, Cost]:
    """The costs with what first steps showed, in proportion to epochs or steps.

    Args:
        jobs: All of them.
        costs: As :func:`from_records` gives them.
        timed: Key of a timed job → seconds of ``start``, ``train`` and ``evaluate``.
    """
    of_kind = {job.kind: (job, timed[job.key]) for job in jobs if job.key in timed}
    result = dict(costs)
    for job in jobs:
        if costs[job.key].basis == "unknown" and job.kind in of_kind:
            other, took = of_kind[job.kind]
            train = took["train"] * longer(job.spec.detector_config, other.spec.detector_config)
            result[job.key] = Cost(took["start"] + train + took["evaluate"], "steps")
    return result


@dataclass(frozen=True)
class Total:
    """What a number of runs takes."""

    runs: int
    seconds: float
    """Of one worker after the other."""
    unknown: int
    """Runs of which nothing is known; they are not in ``seconds``."""
    bases: dict[Basis, int]

    @property
    def words(self) -> str:
        """``from records of like runs (12), timed first steps (6)``."""
        return ", ".join(f"{WORDS[basis]} ({count})" for basis, count in self.bases.items() if count)


def total(jobs: Sequence[Job], costs: Mapping[str, Cost]) -> Total:
    """The sum over jobs."""
    found = [costs[job.key] for job in jobs]
    bases: dict[Basis, int] = {basis: sum(c.basis == basis for c in found) for basis in WORDS}
    return Total(len(found), sum(c.seconds for c in found), bases["unknown"], bases)
