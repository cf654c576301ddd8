"""Whether a record is true: its figures follow from its scores, its hashes from its files, its name from its spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dfbench.errors import DataError, DfbenchError
from dfbench.evaluation.further import Parts, figures, parts_of
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.uncertainty import data_key, decode
from dfbench.files import sha256_of
from dfbench.publish.verification.choice import choice_findings
from dfbench.publish.verification.finding import Finding
from dfbench.records.conversion import with_what_is_stated
from dfbench.records.finished import MISSING_ON_BOARD, FinishedRun
from dfbench.records.record import SCORES, WEIGHTS, Record, matrix_of

if TYPE_CHECKING:
    from dfbench.plugins import Registry

EXACT = 1e-9
"""Figures are recomputed in double precision; another order of summation may change the last digits."""
_REPLICATES = 1e-6
"""Replicates are stored as float32, intervals to six digits."""


def verify(
    run: FinishedRun, registry: Registry, samples: Callable[[Record, Scores], Finding] | None = None
) -> list[Finding]:
    """Everything that can be checked without training again, in the order of a reader's questions.

    Args:
        run: The run.
        registry: Where the metrics of plugins are looked up.
        samples: Compares the scored samples with the benchmark's data
            (:class:`~dfbench.publish.verification.samples.SampleCheck`); None: they are not compared.
    """
    record = run.record
    findings = [_identity(record), _name(record), _fingerprint(record), _weights(run), *choice_findings(run)]
    if run.scores_file is None:
        missing = None if run.on_board else False  # a leaderboard may be without its packs, a run has its scores
        detail = MISSING_ON_BOARD if run.on_board else f"{SCORES} is not next to the record"
        return [*findings, Finding("scores_sha256", missing, detail)]
    try:
        scores = run.read_scores()
    except DataError as error:
        return [*findings, Finding("scores_sha256", False, str(error))]
    findings.append(_hash("scores_sha256", record.scores_sha256, scores.digest()))
    findings += check_figures(record, scores, registry)
    # Scores that fit no figure are named above; those that do may still leave out or relabel samples.
    return [*findings, samples(record, scores)] if samples is not None and not failures(findings) else findings


def check_figures(record: Record, scores: Scores, registry: Registry) -> list[Finding]:
    """Matrix, metrics, per-experience figures and uncertainty, each recomputed from the scores."""
    key = data_key(record.data.fingerprint, record.spec.split)
    try:
        parts = parts_of(scores, record.tested)
        recomputed = figures(parts, record.tested, record.headline, len(record.data.classes), key)
    except DfbenchError as error:
        return [Finding("metrics", False, str(error))]
    further = sorted(set(record.matrix) - set(recomputed["matrix"]))
    recomputed = with_what_is_stated(recomputed, record.document())
    return [
        _same("matrix", {k: v for k, v in record.matrix.items() if k not in further}, recomputed["matrix"]),
        *(_further(name, record, parts.experiences, registry) for name in further),
        _same("metrics", record.metrics, recomputed["metrics"]),
        _same("per_experience", record.per_experience, recomputed["per_experience"]),
        _same_uncertainty(record.uncertainty.model_dump(), recomputed["uncertainty"]),
        *_further_tests(record, recomputed, parts),
    ]


def failures(findings: list[Finding]) -> list[Finding]:
    """What is wrong."""
    return [f for f in findings if f.ok is False]


def _hash(what: str, stated: str, found: str) -> Finding:
    ok = stated == found
    return Finding(what, ok, "" if ok else f"the record says {stated[:12]}…, it is {found[:12]}…")


def _identity(record: Record) -> Finding:
    found = _hash("identity", record.identity, record.spec.identity)
    return found if found.ok else Finding("identity", False, f"{found.detail}: the spec was changed")


def _name(record: Record) -> Finding:
    ok = record.run == record.spec.run_id
    return Finding(
        "run", ok, "" if ok else f"the record is called {record.run!r}, its spec gives {record.spec.run_id!r}"
    )


def _fingerprint(record: Record) -> Finding:
    ok = record.spec.data_fingerprint == record.data.fingerprint and record.spec.benchmark == record.data.benchmark
    return Finding("data", ok, "" if ok else "benchmark and data fingerprint differ between 'spec' and 'data'")


def _weights(run: FinishedRun) -> Finding:
    file = run.weights_file
    if file is None:
        return Finding("weights_sha256", None, f"{WEIGHTS} is not here")
    return _hash("weights_sha256", run.record.weights_sha256, sha256_of(file))


def _further(name: str, record: Record, scores: Scores, registry: Registry) -> Finding:
    """The matrix of a metric that a plugin brought."""
    what = f"matrix.{name}"
    try:
        metric = registry.metrics.load(name)
        return _same(what, record.matrix[name], matrix_of(name, metric, scores, len(record.names)))
    except (DfbenchError, ImportError) as error:
        return Finding(what, None, f"not checked: {error}")


def _further_tests(record: Record, recomputed: Mapping[str, Any], parts: Parts) -> list[Finding]:
    """Those on unseen sets, on degraded copies, of carried thresholds, between reals; nothing where there are none."""
    found = []
    for name in ("generalisation", "robustness", "operating"):
        part = getattr(record, name)
        if part is not None or recomputed[name] is not None:
            found.append(_same(name, part and part.model_dump(), recomputed[name], _REPLICATES))
    if record.between_reals is not None:  # earlier records do not state it
        found.append(_same("between_reals", record.between_reals.model_dump(mode="json"), recomputed["between_reals"]))
    if (stated := record.data.perturbed) is not None:
        counted = [
            {name: int((group.labels == k).sum()) for k, name in enumerate(record.data.classes)}
            for group in parts.copies
        ]
        ways = len(stated.kinds) * len(stated.levels)
        found.append(_same("data.perturbed", [each for each in stated.test for _ in range(ways)], counted))
    return found


def _same_uncertainty(stated: Mapping[str, Any], recomputed: Mapping[str, Any]) -> Finding:
    try:
        pair = [
            {**u, "replicates": None if (d := decode(u["replicates"])) is None else d.tolist()}
            for u in (stated, recomputed)
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
