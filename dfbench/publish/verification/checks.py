"""Whether a record is true: its figures follow from its scores, its hashes from its files, its scores from its spec."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfbench.errors import DataError, DfbenchError
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import evaluate
from dfbench.evaluation.uncertainty import data_key, decode, uncertainty
from dfbench.records.record import Record, parse_record, read_json

if TYPE_CHECKING:
    from dfbench.plugins import Registry

SCORES, WEIGHTS, RECORD = "scores.parquet", "model.safetensors", "record.json"
EXACT = 1e-9
"""Figures are recomputed in double precision; another order of summation may change the last digits."""
_REPLICATES = 1e-6
"""Replicates are stored as float32, intervals to six digits."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    what: str
    ok: bool | None
    """None: could not be checked, and why is in ``detail``."""
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """A record where it lies: in the folder of its run, or on a leaderboard."""

    path: Path
    value: dict[str, Any]
    record: Record

    @classmethod
    def open(cls, path: Path) -> Source:
        """The record of a run's folder, or the file itself.

        Raises:
            DataError: there is none, or it breaks the schema.
        """
        file = path / RECORD if path.is_dir() else path
        value = read_json(file)
        return cls(file, value, parse_record(value, file))

    @property
    def scores(self) -> Path | None:
        """The scores beside the record (a run's folder) or in ``../scores`` (a leaderboard)."""
        beside = self.path.with_name(SCORES)
        on_board = self.path.parent.parent / "scores" / f"{self.path.stem}.parquet"
        return next((p for p in (beside, on_board) if p.is_file()), None)

    @property
    def weights(self) -> Path | None:
        """The weights, if they are there."""
        beside = self.path.with_name(WEIGHTS)
        return beside if beside.is_file() else None


def verify(source: Source, registry: Registry) -> list[Finding]:
    """Everything that can be checked without training again, in the order of a reader's questions."""
    record = source.record
    findings = [_identity(record), _name(record), _fingerprint(record)]
    findings += [_file(source.scores, SCORES, record), _file(source.weights, WEIGHTS, record)]
    if source.scores is None:
        missing = "cannot be computed: scores.parquet is neither beside the record nor in ../scores"
        return [*findings, Finding("metrics", False, missing)]
    try:
        scores = Scores.read(source.scores)
    except DataError as error:
        return [*findings, Finding("metrics", False, str(error))]
    return findings + check_figures(source.value, record, scores, registry)


def check_figures(value: Mapping[str, Any], record: Record, scores: Scores, registry: Registry) -> list[Finding]:
    """Matrix, metrics, per-experience figures and uncertainty, each computed again from the scores."""
    names, classes = [e.name for e in record.data.experiences], len(record.data.classes)
    try:
        again = evaluate(scores, names, record.headline, classes)
        drawn = uncertainty(
            scores, names, record.headline, classes, data_key(record.data.fingerprint, record.spec.split)
        )
    except DfbenchError as error:
        return [Finding("metrics", False, str(error))]
    further = sorted(set(record.matrix) - set(again["matrix"]))
    findings = [
        _same("matrix", {k: v for k, v in value["matrix"].items() if k not in further}, again["matrix"]),
        *(_further(name, record, scores, registry) for name in further),
        _same("metrics", value["metrics"], again["metrics"]),
        _same("per_experience", value["per_experience"], again["per_experience"]),
    ]
    if record.uncertainty is None:
        return [*findings, Finding("uncertainty", None, "the record has none; 'leaderboard add' computes it")]
    return [*findings, _same_uncertainty(value["uncertainty"], drawn)]


def failures(findings: list[Finding]) -> list[Finding]:
    """What is wrong."""
    return [f for f in findings if f.ok is False]


def _identity(record: Record) -> Finding:
    right = record.spec.identity
    ok = record.identity == right
    detail = (
        "" if ok else f"the record says {record.identity[:12]}…, its spec gives {right[:12]}…: the spec was changed"
    )
    return Finding("identity", ok, detail)


def _name(record: Record) -> Finding:
    ok = record.run == record.spec.run_id
    return Finding(
        "run", ok, "" if ok else f"the record is called {record.run!r}, its spec gives {record.spec.run_id!r}"
    )


def _fingerprint(record: Record) -> Finding:
    ok = record.spec.data_fingerprint == record.data.fingerprint and record.spec.benchmark == record.data.benchmark
    return Finding("data", ok, "" if ok else "benchmark and data fingerprint differ between 'spec' and 'data'")


def _file(path: Path | None, name: str, record: Record) -> Finding:
    from dfbench.files import sha256_of

    what = f"sha256 of {name}"
    if path is None:
        return Finding(what, None, f"{name} is not there")
    if name not in record.files:
        return Finding(what, False, f"the record has no hash of {name}")
    found = sha256_of(path)
    stated = {record.files[name]}
    if name == WEIGHTS and isinstance(record.detector.get("weights_sha256"), str):
        stated.add(record.detector["weights_sha256"])
    wrong = sorted(stated - {found})
    return Finding(what, not wrong, f"{path} has {found[:12]}…, the record says {wrong[0][:12]}…" if wrong else "")


def _further(name: str, record: Record, scores: Scores, registry: Registry) -> Finding:
    """The matrix of a metric that a plugin brought."""
    from dfbench.runs.record import matrix_of

    what = f"matrix.{name}"
    try:
        metric = registry.metrics.load(name)
        return _same(what, record.matrix[name], matrix_of(name, metric, scores, len(record.data.experiences)))
    except (DfbenchError, ImportError) as error:
        return Finding(what, None, f"not checked: {error}")


def _same_uncertainty(stated: Mapping[str, Any], again: Mapping[str, Any]) -> Finding:
    try:
        pair = [
            {**u, "replicates": None if (d := decode(u["replicates"])) is None else d.tolist()} for u in (stated, again)
        ]
    except DataError as error:
        return Finding("uncertainty", False, str(error))
    return _same("uncertainty", pair[0], pair[1], _REPLICATES)


def _same(what: str, stated: Any, right: Any, tolerance: float = EXACT) -> Finding:
    different = difference(stated, right, what, tolerance)
    return Finding(what, different is None, different or "")


def difference(stated: Any, right: Any, where: str, tolerance: float = EXACT) -> str | None:
    """The first place where two JSON values differ by more than ``tolerance``, in words; None where there is none."""
    if isinstance(stated, Mapping) and isinstance(right, Mapping):
        if set(stated) != set(right):
            return f"{where}: has {sorted(set(stated) ^ set(right))} too much or too little"
        pairs = [(stated[key], right[key], f"{where}.{key}") for key in right]
    elif isinstance(stated, list | tuple) and isinstance(right, list | tuple):
        if len(stated) != len(right):
            return f"{where}: {len(stated)} entries, not {len(right)}"
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(stated, right, strict=True))]
    elif _is_number(stated) and _is_number(right):
        close = math.isclose(stated, right, rel_tol=tolerance, abs_tol=tolerance)
        return None if close else f"{where}: the record says {stated:.6g}, the scores give {right:.6g}"
    else:
        return (
            None
            if type(stated) is type(right) and stated == right
            else f"{where}: the record says {_short(stated)}, the scores give {_short(right)}"
        )
    return next((found for a, b, place in pairs if (found := difference(a, b, place, tolerance))), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
