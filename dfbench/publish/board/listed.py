"""What the page shows of a table's rows before one is opened: columns of small numbers and of words that stand once.

A figure is sent as a whole number of ten thousandths, of which the page writes the digits that README.md has, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from dfbench.publish.board.cells import cells
from dfbench.publish.board.data import SCALARS
from dfbench.publish.board.row import BoardRow
from dfbench.publish.board.table import BoardTable

TICKS = 10_000
"""Steps of a figure of 1."""
OUTCOMES = {"passed": "p", "failed": "f", "not checked": "-"}


def listed(table: BoardTable) -> dict[str, Any]:
    """``words``: each text once; ``columns``: name → a value per row (of texts their place among the words).

    Columns without a value in any row are left out.
    """
    words: dict[str, int] = {}
    columns: dict[str, list[int | None]] = {}
    for at, row in enumerate(table.rows):
        for name, value in _row(table, row).items():
            if value is not None:
                column = columns.setdefault(name, [None] * len(table.rows))
                column[at] = words.setdefault(value, len(words)) if isinstance(value, str) else value
    return {"words": list(words), "columns": columns}


def ticks(value: float | None, write: Callable[[float], str] = "{:.3f}".format) -> int | None:
    """Ten thousandths, rounded so that they are written as the value is: .88049 is 8804, not 8805, which reads .881."""
    if value is None:
        return None
    nearest = round(value * TICKS)
    same = [n for n in (nearest, nearest - 1, nearest + 1) if write(n / TICKS) == write(value)]
    return (same or [nearest])[0]


def _row(table: BoardTable, row: BoardRow) -> dict[str, str | int | None]:
    spec, words, average = row.first.spec, cells(table, row), row.average
    samples, sample_bytes, state_bytes = map(round, row.stored)
    new, degraded = row.generalisation, row.robustness
    return {
        "strategy": spec.strategy,
        "detector": spec.detector,
        "preset": spec.preset,
        "options": _list(row.options),
        "budget": spec.memory,
        "bound": words.mark_words if row.bound else None,
        "baseline": int(row.baseline) or None,
        "mark": row.mark,
        "status": row.status,
        "leaks": "; ".join(row.allowed_leaks) or None,
        "seen": int(row.has_seen_stream) or None,
        "notes": "; ".join(row.notes) or None,
        **_figures("average", (average.mean, average.spread, average.low, average.high) if average else ()),
        **{key: value for name in SCALARS for key, value in _figures(name, row.metric(name)).items()},
        **_figures("generalisation", (new.mean, new.spread, new.before) if new else ()),
        "unseen": _list(row.unseen) if new else None,
        "unseen_words": words.generalisation_words if new else None,
        **_figures("robustness", (degraded.mean, degraded.spread, degraded.before) if degraded else ()),
        "robustness_words": words.robustness_words or None,
        "samples": samples,
        "sample_bytes": sample_bytes,
        "state_bytes": state_bytes,
        "compute": ticks(table.relative_compute(row), "{:.1f}".format),
        "passes": None if row.passes is None else round(row.passes),
        "steps": round(row.steps),
        "seconds": None if row.seconds is None else round(row.seconds),
        "machines": ", ".join(words.times or row.devices),
        "seeds": " ".join(str(seed) for seed, _ in words.seeds),
        "checks": "".join(OUTCOMES[each.status] for each in table.verdicts(row)),
    }


def _figures(name: str, values: Iterable[float | None]) -> dict[str, int | None]:
    """``name``, ``name_1`` and so on: a mean, and what stands next to it."""
    return {f"{name}_{k}" if k else name: ticks(value) for k, value in enumerate(values)}


def _list(texts: Iterable[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False)
