"""Several runs side by side: what each reached, what each forgot, at what cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.errors import DataError


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
