"""The tables of what was never trained on, from the records on the leaderboard: ``make docs`` writes them with cog."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from dfbench.records.record import Record
from dfbench.records.seeds import mean_and_spread
from tools.tables import cell, rows_of


def unseen(detector: str, benchmark: str) -> str:
    """One line per strategy: AUC on the unseen sets before any training and after each experience, mean over sets."""
    found = _measured(detector, benchmark, lambda record: record.generalisation)
    if not found:
        return f"\nNo record of `{detector}` on `{benchmark}` has unseen sets.\n\n"
    names = next(iter(found.values()))[0].names
    head = ["strategy", "average AUC", "unseen: untrained", *(f"after {name}" for name in names), "n"]
    lines = ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for strategy, records in _by(found, "generalisation"):
        cells = [cell(*mean_and_spread([r.average for r in records])), _mean(records, _untrained)]
        cells += [_mean(records, lambda r, i=i: _after(r, i)) for i in range(len(names) - 1)]
        cells += [cell(*mean_and_spread([r.metrics.get("generalisation") for r in records])), str(len(records))]
        lines.append(f"| {strategy} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def degraded(detector: str, benchmark: str) -> str:
    """One line per strategy: AUC on degraded copies after the last training, by kind (mean over the levels)."""
    found = _measured(detector, benchmark, lambda record: record.robustness)
    if not found:
        return f"\nNo record of `{detector}` on `{benchmark}` has degraded copies.\n\n"
    first = next(iter(found.values()))[0]
    assert first.robustness is not None
    kinds = list(first.robustness.by_kind[first.headline])
    head = ["strategy", "undegraded", "degraded", *kinds, "n"]
    lines = ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for strategy, records in _by(found, "robustness"):
        cells = [_mean(records, _clean), cell(*mean_and_spread([r.metrics.get("robustness") for r in records]))]
        cells += [_mean(records, lambda r, kind=kind: _kind(r, kind)) for kind in kinds]
        lines.append(f"| {strategy} | {' | '.join([*cells, str(len(records))])} |")
    return "\n".join(lines) + "\n\n"


def _measured(detector: str, benchmark: str, part: Callable[[Record], object]) -> dict[str, list[Record]]:
    """Strategy and what was set → its records that have a part."""
    having = {name: [r for r in seeds if part(r) is not None] for name, seeds in rows_of(detector, benchmark).items()}
    return {name: records for name, records in having.items() if records}


def _by(found: dict[str, list[Record]], metric: str) -> list[tuple[str, list[Record]]]:
    return sorted(found.items(), key=lambda each: -(mean_and_spread([r.metrics.get(metric) for r in each[1]])[0] or 0))


def _mean(records: list[Record], value: Callable[[Record], float | None]) -> str:
    return cell(mean_and_spread([value(record) for record in records])[0], None)


def _untrained(record: Record) -> float | None:
    assert record.generalisation is not None
    return _average(record.generalisation.untrained[record.headline])


def _after(record: Record, row: int) -> float | None:
    assert record.generalisation is not None
    return _average(record.generalisation.matrix[record.headline][row])


def _clean(record: Record) -> float | None:
    assert record.robustness is not None
    return record.robustness.clean[record.headline]


def _kind(record: Record, kind: str) -> float | None:
    assert record.robustness is not None
    levels = record.robustness.by_kind[record.headline][kind]  # type: ignore[index]
    return _average(list(levels.values()))


def _average(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) and values else None
