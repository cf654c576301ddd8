"""Training a record's run again, and how far the two agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dfbench.errors import DataError
from dfbench.evaluation.scores import Scores
from dfbench.publish.verification.checks import Source
from dfbench.records.command import all_settings
from dfbench.records.record import Environment, Record, parse_record

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.runs.report import Reporter

TOLERANCE = 0.02
"""How far the headline average may be off where the environment differs; each experience thrice as far."""


@dataclass(frozen=True)
class Rerun:
    """What training again gave."""

    agreement: Literal["identical", "tolerance", "differs"]
    difference: float
    """Of the headline average, again minus recorded."""
    largest: float
    """The largest absolute difference of an experience's final value."""
    tolerance: float
    changed: tuple[str, ...]
    """What differs between the two environments."""
    environment: Environment
    path: Path
    """The new record."""

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        where = f"; what differs here: {', '.join(self.changed)}" if self.changed else "; the environment is the same"
        off = f"average {self.difference:+.4f}, an experience by up to {self.largest:.4f}"
        if self.agreement == "identical":
            return "trained again: every score is identical"
        if self.agreement == "tolerance":
            return f"trained again: other scores, metrics within {self.tolerance:g} ({off}){where}"
        return f"trained again: NOT reproduced ({off}; {self.tolerance:g} is allowed){where}"


def rerun(
    source: Source,
    registry: Registry,
    reporter: Reporter,
    out: Path,
    *,
    benchmark: str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    tolerance: float = TOLERANCE,
) -> Rerun:
    """Train the record's spec again under ``out``, and compare scores, or else metrics.

    Args:
        benchmark: the stream's YAML file, where its name is not registered. device: the record's unless given.

    Raises:
        DataError: the spec cannot be had again here (other data, an option that is new or gone): nothing is trained.
    """
    import torch

    from dfbench.runs.runner import Request, prepare, run

    record = source.record
    spec = record.spec
    if source.scores is None:
        raise DataError(f"{source.path}: its scores are not there, so there is nothing to compare a new run with")
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
        tune=",".join(spec.tuned) or None,
    )
    now = prepare(request, registry, reporter).spec
    if now.identity != spec.identity:
        raise DataError(
            f"{source.path}: the same run cannot be made here: {_changes(spec.model_dump(), now.model_dump())}"
        )
    before = torch.get_num_threads()
    torch.set_num_threads(record.environment.threads or before)
    try:
        again = run(request, registry, reporter)
    finally:
        torch.set_num_threads(before)
    return agreement(source, Path(again["path"]), tolerance)


def agreement(source: Source, again: Path, tolerance: float = TOLERANCE) -> Rerun:
    """Compare a record with another of the same spec, scores first."""
    new = Source.open(again)
    if source.scores is None or new.scores is None:
        raise DataError(f"{source.path}: the scores of both runs are needed to compare them")
    old_scores, new_scores = Scores.read(source.scores), Scores.read(new.scores)
    difference, largest = _off(source.record, new.record)
    if old_scores.digest() == new_scores.digest():
        kind: Literal["identical", "tolerance", "differs"] = "identical"
    else:
        kind = "tolerance" if abs(difference) <= tolerance and largest <= 3 * tolerance else "differs"
    changed = changes(source.record.environment, new.record.environment)
    return Rerun(kind, difference, largest, tolerance, changed, new.record.environment, again)


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


def attach(value: dict[str, Any], found: Rerun | None, by: str | None) -> dict[str, Any]:
    """The record with the status that the finding gives it: recomputed, or reproduced after a rerun that agrees."""
    import datetime

    verification: dict[str, Any] = {"agreement": "scores"}
    status = "recomputed"
    if found is not None:
        status = "reproduced"
        verification = {
            "agreement": found.agreement,
            "difference": found.difference,
            "tolerance": found.tolerance,
            "environment": found.environment.model_dump(),
        }
    verification["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    verification["by"] = by
    result = {**value, "status": status, "verification": verification}
    parse_record(result, Path(str(value["run"])))  # what is written can be read
    return result


def _off(a: Record, b: Record) -> tuple[float, float]:
    if a.average is None or b.average is None:
        return (0.0, 0.0) if a.average is b.average else (float("inf"), float("inf"))
    last = zip(a.matrix[a.headline][-1], b.matrix[b.headline][-1], strict=True)
    apart = [abs(x - y) for x, y in last if x is not None and y is not None]
    return b.average - a.average, max(apart, default=0.0)


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
