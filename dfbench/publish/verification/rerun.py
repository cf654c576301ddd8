"""Rerunning the training of a record, and how far the two runs agree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dfbench.benchmarks.schema import EVERYTHING
from dfbench.errors import DataError
from dfbench.evaluation.scores import Scores
from dfbench.records.command import all_settings
from dfbench.records.finished import FinishedRun
from dfbench.records.record import RECORD, Environment, Record, Verification
from dfbench.records.text import METRICS, number

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.runs.events import Listener

TOLERANCE = 0.02
"""How far the headline average may be off where the environment differs; each experience thrice as far."""


@dataclass(frozen=True)
class Rerun:
    """The outcome of a rerun."""

    agreement: Literal["identical", "tolerance", "differs"]
    difference: float
    """Of the headline average, rerun minus record."""
    largest: float
    """The largest absolute difference of an experience's final value."""
    tolerance: float
    changed: tuple[str, ...]
    """What differs between the two environments."""
    environment: Environment
    counts: tuple[str, ...]
    """Fields that were counted and differ: steps, memory, compute."""
    path: Path
    """The new record."""
    metrics: dict[str, tuple[float | None, float | None]]
    """The continual metrics, each (of the record, of the rerun)."""
    torch: tuple[str | None, str | None]
    """PyTorch's version, then and now."""

    @property
    def within(self) -> float:
        """The largest absolute difference of a continual metric; infinite where one of the two is undefined."""
        return max((_apart(old, new) for old, new in self.metrics.values()), default=0.0)

    @property
    def closeness(self) -> str:
        """How far the two runs agree, in a few words: ``within 0.0101 (torch 2.15.0 → 2.14.1)``."""
        old, new = self.torch
        versions = f"torch {old} in both" if old == new else f"torch {old} → {new}"
        if self.agreement == "identical":
            return f"every score identical ({versions})"
        if not math.isfinite(self.within):
            return f"a metric undefined in one of the two ({versions})"
        return f"within {math.ceil(self.within * 1e4) / 1e4:g} ({versions})"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        where = f"; what differs here: {', '.join(self.changed)}" if self.changed else "; the environment is the same"
        off = ", ".join(
            f"{METRICS.get(name, name)} {number(old, 4)} → {number(new, 4)}"
            for name, (old, new) in self.metrics.items()
            if old != new
        )
        off = f"{off or 'equal metrics'}; single experiences by up to {number(self.largest, 4)}"
        if self.agreement == "identical":
            return f"trained again: {self.closeness}"
        if self.agreement == "tolerance":
            return f"trained again: other scores, {self.closeness}: {off}{where}"
        if self.counts:
            return f"trained again: NOT reproduced, other {', '.join(self.counts)} than the record states{where}"
        return f"trained again: NOT reproduced, {self.closeness}: {off}; {self.tolerance:g} is allowed{where}"


def rerun(
    finished: FinishedRun,
    registry: Registry,
    listener: Listener | None,
    out: Path,
    *,
    benchmark: str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    tolerance: float = TOLERANCE,
) -> Rerun:
    """Train the record's spec once more under ``out``, and compare scores, or else metrics.

    Args:
        finished: The run to repeat; its scores must be available.
        registry: Where its detector, strategy and benchmark are looked up.
        listener: Follows the training.
        out: Folder for the new run's folder.
        benchmark: The stream's YAML file, where its name is not registered.
        device: The record's unless given.
        data_root: Folder that holds the data sets.
        tolerance: See :data:`TOLERANCE`.

    Raises:
        DataError: The spec cannot be repeated here (other data, an option that is new or gone): nothing is trained.
    """
    import torch

    from dfbench.publish.zoo.initial import find_initial
    from dfbench.runs.prepare import Request, prepare
    from dfbench.runs.runner import run

    record = finished.record
    spec = record.spec
    if finished.scores_file is None:
        raise DataError(f"{finished.path}: its scores are not here, so there is nothing to compare a new run with")
    init = None
    if spec.init is not None:
        near = finished.folder.parent
        found = find_initial(spec.init.reference, registry, [near, Path("runs")])
        init = replace(found, checkpoint=spec.init)  # what is stated of these weights does not depend on their place
    request = Request(
        detector=spec.detector,
        strategy=spec.strategy,
        benchmark=benchmark or spec.benchmark,
        preset=spec.preset,
        settings=all_settings(spec),
        seed=spec.seed,
        split=spec.split,
        device=device or record.environment.device,
        out=out,
        data_root=data_root,
        eval_every=spec.eval_every,
        eval_samples=spec.eval_samples,
        tune=",".join(spec.tuned) or None,
        # A benchmark may name further tests today that a record from before has no scores of.
        skip_tests=spec.skipped_tests if spec.further_tests or spec.skipped_tests else (EVERYTHING,),
        allow_leaks=bool(record.data.allowed_leaks),
        init=init,
    )
    now = prepare(request, registry, listener).spec
    if now.training != spec.training or now.further_tests != spec.further_tests:
        raise DataError(
            f"{finished.path}: the same run cannot be made here: {_changes(spec.document(), now.document())}"
        )
    before = torch.get_num_threads()
    torch.set_num_threads(record.environment.threads or before)
    try:
        run(request, registry, listener)
    finally:
        torch.set_num_threads(before)
    return agreement(finished, FinishedRun.open(out / now.run_id / RECORD), tolerance)


def agreement(old: FinishedRun, new: FinishedRun, tolerance: float = TOLERANCE) -> Rerun:
    """Compare a run with another of the same spec: scores or else metrics, and all that was counted.

    Raises:
        DataError: The scores of one of them are missing or damaged.
    """
    difference, largest = _off(old.record, new.record)
    before, after = old.read_scores(), new.read_scores()
    pairs = {*before.pairs}  # a run from before validation reals were scored lacks some
    if before.digest() == Scores(group for group in after if (group.trained_on, group.tested_on) in pairs).digest():
        kind: Literal["identical", "tolerance", "differs"] = "identical"
    else:
        kind = "tolerance" if abs(difference) <= tolerance and largest <= 3 * tolerance else "differs"
    counts = tuple(_other_counts(old.record, new.record, held=kind == "identical"))
    kind = "differs" if counts else kind
    changed = changes(old.record.environment, new.record.environment)
    both = {
        name: (value, new.record.metrics[name])
        for name, value in old.record.metrics.items()
        if name in METRICS and name in new.record.metrics
    }
    torch = (old.record.environment.packages.get("torch"), new.record.environment.packages.get("torch"))
    return Rerun(kind, difference, largest, tolerance, changed, new.record.environment, counts, new.path, both, torch)


def changes(a: Environment, b: Environment) -> tuple[str, ...]:
    """What differs between two environments, in words."""
    found = []
    for name in ("python", "platform", "device", "device_name", "threads"):
        old, new = getattr(a, name), getattr(b, name)
        if old != new:
            found.append(f"{name} {old} → {new}")
    if a.processor_model and b.processor_model and a.processor_model != b.processor_model:  # older ones have none
        found.append(f"processor {a.processor_model} → {b.processor_model}")
    if a.processor_flags and b.processor_flags:
        for word, flags in ("without", a), ("with", b):
            other = b if flags is a else a
            lost = [flag for flag in flags.processor_flags if flag not in other.processor_flags]
            found += [f"{word} {', '.join(lost)}"] * bool(lost)
    for name in sorted(set(a.packages) | set(b.packages)):
        if a.packages.get(name) != b.packages.get(name):
            found.append(f"{name} {a.packages.get(name)} → {b.packages.get(name)}")
    return tuple(found)


def attach(record: Record, found: Rerun | None, by: str | None) -> Record:
    """The record with the status that the finding gives it: recomputed, or reproduced after a rerun that agrees."""
    import datetime

    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    if found is None:
        status, verification = "recomputed", Verification(agreement="scores", date=date, by=by)
    elif found.agreement == "differs":
        raise ValueError("a rerun that differs gives no status")
    else:
        status = "reproduced"
        verification = Verification(
            agreement=found.agreement,
            difference=found.difference,
            tolerance=found.tolerance,
            environment=found.environment,
            date=date,
            by=by,
        )
    changed = record.model_copy(update={"status": status, "verification": verification})
    return Record.parse(changed.document(), record.run)  # what is written can be read


def _other_counts(old: Record, new: Record, held: bool) -> Iterator[str]:
    """The counted fields that differ; what the older record did not count is passed over.

    Args:
        old: The record that is verified.
        new: That of the rerun.
        held: Compare which classes were stored too; with other scores a strategy may choose other samples.
    """
    if old.steps != new.steps:
        yield "steps"
    for name in ("budget_samples", "samples", "bytes", "state_bytes", *["held"] * held):
        if (stated := getattr(old.memory, name)) is not None and stated != getattr(new.memory, name):
            yield f"memory.{name}"
    if old.compute is not None and old.compute != new.compute:
        yield "compute"


def _apart(a: float | None, b: float | None) -> float:
    return (0.0 if a is b else math.inf) if a is None or b is None else abs(b - a)


def _off(a: Record, b: Record) -> tuple[float, float]:
    if a.average is None or b.average is None:
        return (0.0, 0.0) if a.average is b.average else (float("inf"), float("inf"))
    apart = np.abs(a.R()[-1] - b.R()[-1])
    return b.average - a.average, float(np.nanmax(apart, initial=0.0))


def _changes(then: dict[str, Any], now: dict[str, Any]) -> str:
    found = []
    for key in then:
        if key == "data_fingerprint" and then[key] != now[key]:
            found.append(f"the data are others (fingerprint {then[key][:12]}… then, {now[key][:12]}… now)")
        elif isinstance(then[key], dict) and then[key] != now[key]:
            names = sorted(k for k in {*then[key], *now[key]} if then[key].get(k, ...) != now[key].get(k, ...))
            found.append(f"{key} differs in {', '.join(names)}")
        elif then[key] != now[key]:
            found.append(f"{key} was {then[key]!r}, is {now[key]!r}")
    return "; ".join(found)
