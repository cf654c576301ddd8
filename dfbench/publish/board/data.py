"""Rows and tables as JSON: what ``leaderboard show --json`` prints, and what the page loads of a row that is opened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from dfbench.publish.board.row import BoardRow
from dfbench.publish.board.table import BoardTable
from dfbench.records.command import command
from dfbench.records.record import Record
from dfbench.records.verdict import NAMES, QUESTIONS

DIGITS = 4
HEX = 16
"""Digits of a SHA-256; the record has all of them."""
_PER_EXPERIENCE = ("frame_auc", "video_auc", "eer", "accuracy", "accuracy_real", "accuracy_fake", "log_loss", "ece")
SCALARS = ("forgetting", "af", "bwt", "fwt", "learning_accuracy", "next", "average_incremental", "whole",
           "average_tpr_at_1_fpr", "fpr_drift", "carried_tpr")  # fmt: skip


def details(table: BoardTable) -> dict[str, dict[str, Any]]:
    """First two digits of a row's id → ``rows``: id → the row with all its runs; ``environments``: those of the runs.

    A row has what its page says, so that the page needs nothing of other rows: ``best`` is the ★ that it was compared
    with (that of its group, else the table's first), and how many there are.
    """
    stars = [row for row in table.rows if row.mark == "best"]
    by_group = {row.group: row for row in reversed(stars)}
    found: dict[str, tuple[dict[str, Any], dict[str, int]]] = {}
    for row in table.rows:
        rows, environments = found.setdefault(row.id[:2], ({}, {}))
        star = by_group.get(row.group, stars[0] if stars else None)
        best = star and [star.first.spec.strategy, star.first.spec.detector, len(stars)]
        rows[row.id] = row_data(row, environments) | _cost(table, row) | _checks(table, row) | {"best": best}
    return {
        part: {"rows": rows, "environments": [json.loads(text) for text in environments]}
        for part, (rows, environments) in sorted(found.items())
    }


def table_data(
    table: BoardTable, rows: Sequence[BoardRow], environments: dict[str, int] | None = None
) -> dict[str, Any]:
    """A benchmark and its rows. Environments stand in their runs, or in ``environments`` (JSON → number) if given."""
    return {
        "key": table.key,
        "checks": [[name, QUESTIONS[name]] for name in NAMES],
        "benchmark": table.benchmark,
        "fingerprint": table.fingerprint,
        "headline": table.headline,
        "experiences": list(table.experiences),
        "rows": [row_data(row, environments) | _cost(table, row) | _checks(table, row) for row in rows],
    }


def row_data(row: BoardRow, environments: dict[str, int] | None = None) -> dict[str, Any]:
    """A row with each of its runs, numbers to four digits."""
    spec, average = row.first.spec, row.average
    samples, sample_bytes, state_bytes = row.stored
    return {
        "id": row.id,
        "detector": spec.detector,
        "preset": spec.preset,
        "strategy": spec.strategy,
        "options": list(row.options),
        "budget": spec.memory,
        "bound": row.bound,
        **({"baseline": True} if row.baseline else {}),
        "mark": row.mark,
        "p": _short(row.p),
        "against_best": None if row.against_best is None else [
            _short(row.against_best.difference), _short(row.against_best.low), _short(row.against_best.high)
        ],
        "status": row.status,
        "notes": [*row.notes, *(f"allowed: {line}" for line in row.allowed_leaks)],
        "average": None if average is None else {
            "mean": _short(average.mean), "spread": _short(average.spread), "n": average.n,
            "low": _short(average.low), "high": _short(average.high),
        },
        **{name: [_short(value) for value in row.metric(name)] for name in SCALARS},
        **_further(row),
        "stored": [round(samples), round(sample_bytes), round(state_bytes)],
        "seconds": None if row.seconds is None else round(row.seconds, 1),
        "times": {where: round(seconds, 1) for where, seconds in row.times.items()},
        "group": row.group._asdict(),
        "unit": row.unit,
        "steps": round(row.steps),
        "devices": row.devices,
        "detector_config": spec.shown["detector_config"],
        "strategy_config": spec.strategy_config,
        "tuned": list(spec.tuned),
        "runs": [run_data(record, environments) for record in row.records],
    }  # fmt: skip


def _further(row: BoardRow) -> dict[str, Any]:
    """Figures on unseen sets and on degraded copies, with what they are read against; only what the row has."""
    values: dict[str, Any] = {}
    if (new := row.generalisation) is not None:
        values |= {"unseen": row.unseen, "generalisation": [_short(v) for v in (new.mean, new.spread, new.before)]}
    if (new := row.robustness) is not None:
        values |= {"robustness": [_short(v) for v in (new.mean, new.spread, new.before)]}
    return values


def _further_of(record: Record) -> dict[str, Any]:
    """The same of a run: after each training, and by kind and level."""
    values: dict[str, Any] = {}
    if (new := record.generalisation) is not None:
        lines = [new.untrained[record.headline], *new.matrix[record.headline]]
        values["unseen"] = [[_short(v) for v in line] for line in lines]  # the first is the untrained network's
    if (found := record.robustness) is not None:
        clean, kinds = found.clean[record.headline], found.by_kind[record.headline]
        values["degraded"] = {k: [_short(clean), *(_short(v) for v in row.values())] for k, row in kinds.items()}
        values["levels"] = list(next(iter(kinds.values())))
    return values


def _cost(table: BoardTable, row: BoardRow) -> dict[str, Any]:
    """Compute, and what it bought in learning; without those that a row does not have."""
    missed, relative = table.intransigence(row), table.relative_compute(row)
    values = {
        "passes": None if row.passes is None else round(row.passes),
        "relative_compute": _short(relative),
        "bound_words": table.bound_words(row) if row.bound else None,
        "intransigence": None if missed is None else [_short(missed[0]), missed[1]],
        "stability": row.first.stability,
    }
    return {name: value for name, value in values.items() if value is not None}


def _checks(table: BoardTable, row: BoardRow) -> dict[str, Any]:
    """What was checked of a row, in the order of the table's ``checks``: results and details."""
    return {"checks": [[each.status, each.detail] for each in table.verdicts(row)]}


def run_data(record: Record, environments: dict[str, int] | None) -> dict[str, Any]:
    """One run: its matrix, its figures on each test set with intervals, where and how it was made."""
    sure = record.uncertainty
    late = ("code", "processor_model", "processor_flags")  # older records have none of these
    environment = record.environment.model_dump(exclude={n for n in late if not getattr(record.environment, n)})
    return {
        "run": record.run,
        "seed": record.spec.seed,
        "average": _short(record.average),
        "interval": _interval(sure.average),
        "forgetting": _short(record.metrics.get("forgetting")),
        "forgetting_interval": _interval(sure.forgetting),
        "matrix": [[_short(value) for value in line] for line in record.matrix[record.headline]],
        "intervals": [_interval(i) for i in sure.per_experience],
        "unit": sure.unit,
        **_further_of(record),
        "per_experience": [
            {k: _short(v) for k in _PER_EXPERIENCE if isinstance(v := e.get(k), int | float)}
            | {k: v for k in ("n", "n_videos") if isinstance(v := e.get(k), int)}
            for e in record.per_experience
        ],
        "seconds": {
            "train": round(sum(record.seconds.train), 1),
            "evaluate": round(sum(record.seconds.evaluate), 1),
            "total": round(record.seconds.total, 1),
        },
        "steps": sum(record.steps),
        "stored": record.memory.samples,
        "peak": [record.peak_memory.host_bytes, record.peak_memory.device_bytes],
        "resumed": record.resumed,
        "parameters": record.detector.parameters,
        "effects": {k: _significant(v) for k, v in sorted(record.effects.items())},
        "created": record.created[:10],
        "status": record.status,
        "verification": _verification(record),
        "weights": record.weights_sha256[:HEX],
        "scores": record.scores_sha256[:HEX],
        "checkpoint": record.checkpoint.model_dump() if record.checkpoint else None,
        "git": record.git.model_dump() if record.git else None,
        "environment": environment if environments is None else _number(environment, environments),
        "command": command(record),
    }


def _verification(record: Record) -> dict[str, Any] | None:
    if record.verification is None:
        return None
    found = record.verification.model_dump(exclude={"environment"})
    environment = record.verification.environment
    return found | {"device": environment.device_name or environment.device if environment else None}


def _number(environment: dict[str, Any], environments: dict[str, int]) -> int:
    return environments.setdefault(json.dumps(environment, sort_keys=True), len(environments))


def _interval(values: Iterable[float] | None) -> list[float | None] | None:
    return None if values is None else [_short(v) for v in values]


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), DIGITS)


def _significant(value: float) -> float:
    return float(f"{value:.4g}")
