"""Putting runs on a leaderboard: checked first, then copied; nothing is written where anything is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfbench.errors import DataError
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.uncertainty import data_key, uncertainty
from dfbench.files import write_json, write_whole
from dfbench.publish.verification.checks import Source, failures, verify
from dfbench.records.command import needed_settings
from dfbench.records.record import STATUSES, parse_record, read_json, read_record

if TYPE_CHECKING:
    from dfbench.plugins import Registry


@dataclass(frozen=True)
class Added:
    """One run, put on the board or found there."""

    run: str
    path: Path
    new: bool
    notes: tuple[str, ...]
    """What readers are told of its data: leaks, pictures left out."""


def add(
    runs: Sequence[Path],
    board: Path,
    registry: Registry,
    replace: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Added]:
    """Check all runs, then copy each record and its scores to ``board`` with the status *recomputed*.

    Args:
        runs: folders of runs, or their ``record.json``.
        replace: let a run take the place of one with the same spec but other scores.
        progress: told how many runs were checked.

    Raises:
        DataError: the first thing that is wrong, with the file.
    """
    known = _fingerprints(board)
    sources = []
    for path in runs:
        source = Source.open(path)
        check(source, registry, known)
        _check_place(source, board, replace)
        sources.append(source)
        progress(len(sources))
    return [_copy(source, board, registry) for source in sources]


def check(source: Source, registry: Registry, known: dict[str, tuple[str, str]] | None = None) -> None:
    """Refuse a record that may not stand on a public leaderboard.

    Args:
        known: benchmark → (data fingerprint, a run that has it); it grows by this record's.

    Raises:
        DataError: naming the file and what is wrong.
    """
    record, where = source.record, source.path
    if record.spec.split != "test":
        raise DataError(
            f"{where}: scored on the {record.spec.split} split, which is for choosing hyperparameters; "
            "run the same command without --split to score the test sets"
        )
    if source.scores is None:
        raise DataError(
            f"{where}: scores.parquet is not beside it; every figure on the board is computed from the scores"
        )
    wrong = failures(verify(source, registry))
    if wrong:
        more = f" (and {len(wrong) - 1} more; dfbench verify lists them)" if len(wrong) > 1 else ""
        raise DataError(f"{where}: {wrong[0].what}: {wrong[0].detail}{more}")
    if record.average is None:
        raise DataError(f"{where}: its headline average is undefined, so it cannot be ranked")
    if known is not None:
        fingerprint, run = known.setdefault(record.data.benchmark, (record.data.fingerprint, record.run))
        if fingerprint != record.data.fingerprint:
            raise DataError(
                f"{where}: its data are not those of the other rows of {record.data.benchmark!r} "
                f"(fingerprint {record.data.fingerprint[:12]}…, {run} has {fingerprint[:12]}…): another version of the "
                "data, whose old rows must be removed first, or another stream of the same name, which needs its own"
            )


def _fingerprints(board: Path) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for path in sorted((board / "results").glob("*.json")):
        record = read_record(path)
        found.setdefault(record.data.benchmark, (record.data.fingerprint, record.run))
    return found


def _check_place(source: Source, board: Path, replace: bool) -> None:
    place = _place(board, source.record.run)
    if replace or not place.exists() or place.samefile(source.path):
        return
    if read_record(place).files != source.record.files:
        raise DataError(
            f"{source.path}: {place} has the same spec but other scores; "
            "'dfbench verify --rerun' tells which is right, --replace puts this one in its place"
        )


def _copy(source: Source, board: Path, registry: Registry) -> Added:
    record, place = source.record, _place(board, source.record.run)
    before = read_json(place) if place.exists() else {}
    value = attached(source, registry)
    if before.get("files") == value["files"] and _rank(before) > _rank(value):
        value |= {key: before[key] for key in ("status", "verification") if key in before}
    assert source.scores is not None  # check() saw to it
    scores = source.scores.read_bytes()
    beside = board / "scores" / f"{record.run}.parquet"
    if not beside.exists() or beside.read_bytes() != scores:
        write_whole(beside, scores)
    parse_record(value, place)
    if value != before:
        write_json(place, value)
    return Added(record.run, place, not before, tuple(record.data.notes))


def attached(source: Source, registry: Registry) -> dict[str, Any]:
    """The record with all that the pages need: intervals, settings of its command, the status."""
    value, record = dict(source.value), source.record
    if record.uncertainty is None and source.scores is not None:
        value["uncertainty"] = uncertainty(
            Scores.read(source.scores),
            [e.name for e in record.data.experiences],
            record.headline,
            len(record.data.classes),
            data_key(record.data.fingerprint, record.spec.split),
        )
    if record.settings is None:
        value["settings"] = needed_settings(record.spec, registry)
    # A contributor's own claim to more is not taken over: 'dfbench verify --write' on the board gives it.
    value["status"] = STATUSES[1]
    value.pop("verification", None)
    return value


def _rank(value: dict[str, Any]) -> int:
    status = value.get("status", STATUSES[0])
    return STATUSES.index(status) if status in STATUSES else 0


def _place(board: Path, run: str) -> Path:
    return board / "results" / f"{run}.json"
