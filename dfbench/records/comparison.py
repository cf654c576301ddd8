"""Several runs side by side: what each reached, what each forgot, at what cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.errors import DataError
from dfbench.evaluation import continual


@dataclass(frozen=True)
class Loss:
    """The experience that a run forgot most of."""

    experience: str
    best: float
    after: str
    """The experience after which it was best."""
    final: float


def read_record(path: Path) -> dict[str, Any]:
    """The record of a run, given its folder or the file itself.

    Raises:
        DataError: there is none, or it is not a record.
    """
    file = path / "record.json" if path.is_dir() else path
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        for key in ("run", "spec", "metrics", "matrix", "headline", "data"):
            record[key]
    except FileNotFoundError as error:
        raise DataError(f"{file}: there is no record; the run may not be finished") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: not a record of a run ({error})") from error
    return record


def check_comparable(records: Sequence[dict[str, Any]]) -> None:
    """Refuse to compare runs on different data.

    Raises:
        DataError: naming the two runs.
    """
    first = records[0]
    for other in records[1:]:
        same = first["data"]["fingerprint"] == other["data"]["fingerprint"]
        if not same or first["spec"]["split"] != other["spec"]["split"]:
            raise DataError(f"{first['run']} and {other['run']} are not comparable: their data or scored splits differ")


def largest_loss(record: dict[str, Any]) -> Loss | None:
    """The experience whose headline metric fell furthest from its best to the end; None where none is defined."""
    names = [e["name"] for e in record["data"]["experiences"]]
    rows = record["matrix"][record["headline"]]
    losses = []
    for j, name in enumerate(names[:-1]):
        seen = [(row[j], i) for i, row in enumerate(rows[:-1]) if i >= j and row[j] is not None]
        if seen and rows[-1][j] is not None:
            best, after = max(seen)
            losses.append(Loss(name, best, names[after], rows[-1][j]))
    return max(losses, key=lambda loss: loss.best - loss.final, default=None)


def sentence(records: Sequence[dict[str, Any]]) -> str:
    """What was forgotten, in words: the greatest loss of any run, and what the others kept of it."""
    found = [(loss, r) for r in records if (loss := largest_loss(r)) is not None]
    if not found:
        return "Nothing can be said about forgetting: it takes two experiences trained one after the other."
    loss, worst = max(found, key=lambda pair: pair[0].best - pair[0].final)
    names = [e["name"] for e in worst["data"]["experiences"]]
    metric = worst["headline"]
    several_seeds = len({r["spec"]["seed"] for r in records}) > 1

    def label(record: dict[str, Any]) -> str:
        seed = f" (seed {record['spec']['seed']})" if several_seeds else ""
        return f"{record['spec']['strategy']}{seed}"

    if loss.final >= loss.best:
        return f"No run forgot: every {metric} is at its best after the last experience."
    text = (
        f"{worst['spec']['detector']} under {label(worst)} forgot most of {loss.experience}: "
        f"{metric} {loss.best:.3f} after {loss.after}, {loss.final:.3f} after {names[-1]}"
    )
    column = names.index(loss.experience)
    kept = [
        f"{label(r)} ended at {r['matrix'][metric][-1][column]:.3f}"
        for r in records
        if r is not worst and r["matrix"][metric][-1][column] is not None
    ]
    return f"{text}; {', '.join(kept)}." if kept else f"{text}."


@dataclass(frozen=True)
class Intransigence:
    """What a run did not learn that training on everything so far at once would have taught it."""

    each: list[float | None]
    """I_k, one an experience (:func:`dfbench.evaluation.continual.intransigence`)."""
    mean: float | None
    against: str
    """The run that is the bound."""
    exact: bool
    """False: the bound is a joint run's last row, which has also seen what came after experience k."""


def intransigence(record: dict[str, Any], others: Sequence[dict[str, Any]]) -> Intransigence | None:
    """Against a run on all data among ``others`` of the same detector, settings, data and seed; None without one.

    A run that held all training data and was tested after each experience (cumulative) goes before one that was trained
    once on all of them (joint). A run on all data has none itself.
    """
    if _bound(record) is not None:
        return None
    found = [(bound, other) for other in others if _key(other) == _key(record) and (bound := _bound(other)) is not None]
    if not found:
        return None
    (values, exact), bound_run = max(found, key=lambda pair: pair[0][1])
    each = continual.intransigence(_matrix(record), values)
    mean = continual.defined(float(each.mean()))
    return Intransigence([continual.defined(v) for v in each.tolist()], mean, bound_run["run"], exact)


@dataclass(frozen=True)
class Unequal:
    """A run that is left out of a comparison at equal compute."""

    run: dict[str, Any]
    relative: float
    """Its counted passes as a share of the costliest run's, 0 to 1."""
    length: dict[str, int]
    """The detector's option that sets how long it trains, for about equal compute; empty where none is known."""


def equal_compute(records: Sequence[dict[str, Any]], tolerance: float) -> tuple[list[dict[str, Any]], list[Unequal]]:
    """The runs whose counted passes lie within ``tolerance`` (0 to 1) of the costliest run's, and the others.

    Runs on all data (joint, cumulative) are bounds, not rivals: they stay, and do not count as the costliest.

    Raises:
        DataError: a run's compute was not counted.
    """
    for record in records:
        if "compute" not in record:
            raise DataError(f"{record['run']}: its compute was not counted (a record from before); run it again")
    most = max((_passes(r) for r in records if _bound(r) is None), default=0)
    kept, left = [], []
    for record in records:
        share = _passes(record) / most if _bound(record) is None else 1.0
        if share >= 1 - tolerance:
            kept.append(record)
            continue
        options = record["spec"]["detector_config"]
        length = {
            name: round(options[name] / share) for name in ("epochs", "steps") if isinstance(options.get(name), int)
        }
        left.append(Unequal(record, share, length))
    return kept, left


def _passes(record: dict[str, Any]) -> float:
    return float(record["compute"]["passes"])


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    spec = record["spec"]
    names = ("detector", "preset", "detector_config", "data_fingerprint", "split", "seed")
    return (record["headline"], *(spec[name] for name in names))


def _matrix(record: dict[str, Any]) -> np.ndarray:
    return np.array(record["matrix"][record["headline"]], dtype=float)


def _bound(record: dict[str, Any]) -> tuple[np.ndarray, bool] | None:
    """(value of each experience, exact) of a run on all data, by what it did; None of any other."""
    R = _matrix(record)
    if len(R) > 1 and np.isnan(R[:-1]).all():
        return R[-1], False
    everything = sum(sum(e["train"].values()) for e in record["data"]["experiences"] if "train" in e)
    return (np.diag(R), True) if record["memory"]["samples"][-1] >= everything > 0 else None
