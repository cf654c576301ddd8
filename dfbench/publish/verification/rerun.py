"""Rerunning the training of a record, and how far the two runs agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dfbench.errors import DataError
from dfbench.records.command import all_settings
from dfbench.records.finished import FinishedRun
from dfbench.records.record import RECORD, Environment, Record, Verification

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

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        where = f"; what differs here: {', '.join(self.changed)}" if self.changed else "; the environment is the same"
        off = f"average {self.difference:+.4f}, single experiences by up to {self.largest:.4f}"
        if self.agreement == "identical":
            return "trained again: every score is identical"
        if self.agreement == "tolerance":
            return f"trained again: other scores, metrics within {self.tolerance:g} ({off}){where}"
        if self.counts:
            return f"trained again: NOT reproduced, other {', '.join(self.counts)} than the record states{where}"
        return f"trained again: NOT reproduced ({off}; {self.tolerance:g} is allowed){where}"


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

    from dfbench.runs.prepare import Request, prepare
    from dfbench.runs.runner import run

    record = finished.record
    spec = record.spec
    if finished.scores_file is None:
        raise DataError(f"{finished.path}: its scores are not here, so there is nothing to compare a new run with")
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
    )
    now = prepare(request, registry, listener).spec
    if now.identity != spec.identity:
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
    if old.read_scores().digest() == new.read_scores().digest():
        kind: Literal["identical", "tolerance", "differs"] = "identical"
    else:
        kind = "tolerance" if abs(difference) <= tolerance and largest <= 3 * tolerance else "differs"
    counts = tuple(_other_counts(old.record, new.record, held=kind == "identical"))
    kind = "differs" if counts else kind
    changed = changes(old.record.environment, new.record.environment)
    return Rerun(kind, difference, largest, tolerance, changed, new.record.environment, counts, new.path)


def changes(a: Environment, b: Environment) -> tuple[str, ...]:
    """What differs between two environments, in words."""
    found = []
    for name in ("python", "platform", "device", "device_name", "threads"):
        old, new = getattr(a, name), getattr(b, name)
        if old != new:
            found.append(f"{name} {old} → {new}")
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
