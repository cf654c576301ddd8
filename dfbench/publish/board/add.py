"""Putting runs on a leaderboard: checked first, then copied; nothing is written where anything is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from dfbench.errors import DataError
from dfbench.files import cache_root, write_whole, writing
from dfbench.publish.board.build import pages
from dfbench.publish.board.imported import read_imported
from dfbench.publish.board.manifest import update_manifest
from dfbench.publish.board.reported import read_reported
from dfbench.publish.board.table import make_board
from dfbench.publish.verification.checks import failures, verify
from dfbench.records.choice import chosen_path
from dfbench.records.command import needed_settings
from dfbench.records.finished import MISSING_ON_BOARD, FinishedRun
from dfbench.records.packed_scores import PackedRun, pack_path, packed_runs, read_pack, write_pack
from dfbench.records.record import CHOSEN, STATUSES, Record
from dfbench.records.seeds import by_seed

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.publish.verification.samples import SampleCheck


@dataclass(frozen=True)
class Added:
    """One run, put on the board or found there."""

    run: str
    path: Path
    new: bool
    notes: tuple[str, ...]
    """What a reader should know of its data: leaks, pictures left out."""


def add(
    runs: Sequence[Path],
    board: Path,
    registry: Registry,
    replace: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    samples: SampleCheck | None = None,
) -> list[Added]:
    """Check all runs, then put each record (as *recomputed*) and its scores on the leaderboard in ``board``.

    Args:
        runs: Folders of runs, or their ``record.json``.
        board: Folder of the leaderboard; it need not exist.
        registry: Where detectors and strategies are looked up.
        replace: Let a run take the place of one with the same spec but other scores.
        progress: Called with the number of runs that were checked.
        samples: Compares the scored samples with the benchmark's data; None: they are not compared.

    Raises:
        DataError: The first thing that is wrong, with the file.
    """
    with locked(board):
        return _add(runs, board, registry, replace, progress, samples)


def _add(
    runs: Sequence[Path],
    board: Path,
    registry: Registry,
    replace: bool,
    progress: Callable[[int], None],
    samples: SampleCheck | None,
) -> list[Added]:
    there = {path.stem: Record.read(path) for path in sorted((board / "results").glob("*.json"))}
    known: dict[str, Record] = {}
    for record in there.values():
        known.setdefault(record.data.benchmark, record)
    finished: dict[str, FinishedRun] = {}
    for path in runs:
        run = FinishedRun.open(path)
        if twin := next((each for each in finished.values() if _is_one_training(run, each)), None):
            raise DataError(f"{run.path} and {twin.path} are of one row and one seed: name the one that is to be added")
        check(run, registry, known, samples)
        _check_place(run, there, board, replace)
        finished[run.record.run] = run
        progress(len(finished))
    rows = by_seed(finished.values(), lambda run: run.record.spec)
    for row in rows:
        _check_pack(row, there, board)
    _check_pages([attached(run.record, registry) for run in finished.values()], there, board)
    added = {one.run: one for row in rows for one in _put(row, there, board, registry)}
    return [added[run] for run in finished]


def check(
    run: FinishedRun,
    registry: Registry,
    known: dict[str, Record] | None = None,
    samples: SampleCheck | None = None,
) -> None:
    """Refuse a run that may not stand on a public leaderboard.

    Args:
        run: The run.
        registry: Where the metrics of plugins are looked up.
        known: Benchmark → a record on its data; it grows by this run's.
        samples: As :func:`add`.

    Raises:
        DataError: The file and what is wrong.
    """
    record, where = run.record, run.path
    if record.spec.split != "test":
        raise DataError(
            f"{where}: scored on the {record.spec.split} split, which is for choosing hyperparameters; "
            "run the same command without --split to score the test sets"
        )
    if run.scores_file is None:
        raise DataError(
            f"{where}: scores.parquet is not next to it; every figure on the board is computed from the scores"
        )
    if record.chosen_from is not None and run.chosen_file is None:
        raise DataError(f"{where}: {CHOSEN} is not next to it, which its options come from")
    wrong = failures(verify(run, registry, samples))
    if wrong:
        more = f" (and {len(wrong) - 1} more; dfbench verify lists them)" if len(wrong) > 1 else ""
        raise DataError(f"{where}: {wrong[0].what}: {wrong[0].detail}{more}")
    if record.average is None:
        raise DataError(f"{where}: its headline average is undefined, so it cannot be ranked")
    if known is not None:
        _check_data(record, known.setdefault(record.data.benchmark, record), where)


def _check_data(record: Record, other: Record, where: Path) -> None:
    """Refuse a record of other data than those of the board's rows of its benchmark."""
    mine, theirs = record.data, other.data
    if mine.fingerprint != theirs.fingerprint:
        raise DataError(
            f"{where}: its data are not those of the other rows of {mine.benchmark!r} "
            f"(fingerprint {mine.fingerprint[:12]}…, {other.run} has {theirs.fingerprint[:12]}…): another version "
            "of the data, whose old rows must be removed first, or another stream, which needs a name of its own"
        )
    same = {
        "headline metrics": record.headline == other.headline,
        "classes": mine.classes == theirs.classes,
        "names or order of experiences": record.names == other.names,
        "numbers of samples": mine.experiences == theirs.experiences,
    }
    if wrong := [what for what, equal in same.items() if not equal]:
        raise DataError(
            f"{where}: it states the data of {other.run} (fingerprint {mine.fingerprint[:12]}…) and other {wrong[0]}: "
            "one of the two was changed"
        )


def attached(record: Record, registry: Registry) -> Record:
    """The record with all that the pages need: settings of its command, the status."""
    settings = needed_settings(record.spec, registry) if record.settings is None else record.settings
    # A contributor's own claim to more is not taken over: 'dfbench verify --write' on the board gives it.
    changed = record.model_copy(update={"settings": settings, "status": STATUSES[1], "verification": None})
    return Record.parse(changed.document(), record.run)


def _check_pages(new: Sequence[Record], there: dict[str, Record], board: Path) -> None:
    """Refuse records with which the board could not be shown any more: everybody's rows are on its pages."""
    records = {**there, **{record.run: record for record in new}}
    try:
        reported = [read_reported(p) for p in sorted(board.glob("reported/*.yaml"))]
        pages(make_board(list(records.values()), reported, read_imported(board)))
    except DataError:
        raise
    except Exception as error:  # whatever a page may stumble over, in front of the record and not after it
        raise DataError(
            f"{board}: with {new[0].run}{' and others' * (len(new) > 1)} its pages cannot be made "
            f"({type(error).__name__}: {error}); nothing was added"
        ) from error


def locked(board: Path) -> FileLock:
    """Held while a board is changed: seeds that are added at one time would each write the pack without the other."""
    name = hashlib.sha256(str(board.resolve()).encode()).hexdigest()
    path = cache_root() / "locks" / f"{name}.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def _is_one_training(run: FinishedRun, other: FinishedRun) -> bool:
    spec, theirs = run.record.spec, other.record.spec
    return (spec.row_id, spec.seed) == (theirs.row_id, theirs.seed)


def _check_place(run: FinishedRun, there: dict[str, Record], board: Path, replace: bool) -> None:
    before = there.get(run.record.run)
    if replace or before is None or before.scores_sha256 == run.record.scores_sha256:
        return
    raise DataError(
        f"{run.path}: {_place(board, run.record.run)} has the same spec but other scores; "
        "'dfbench verify --rerun' says which is right, --replace puts this one in its place"
    )


def _check_pack(row: Sequence[FinishedRun], there: dict[str, Record], board: Path) -> None:
    """Refuse to write a pack anew without the scores of the seeds that are on the board already."""
    new = {run.record.run for run in row}
    pack = pack_path(board, row[0].record.spec)
    kept = {packed for packed in _claimed(row, there) if packed.run not in new}
    if missing := kept - (packed_runs(pack) if pack.is_file() else set()):
        run = min(missing).run
        raise DataError(f"{_place(board, run)}: {MISSING_ON_BOARD}; they belong into one file with those of {min(new)}")


def _claimed(row: Sequence[FinishedRun], there: dict[str, Record]) -> set[PackedRun]:
    """The scores that the row's records on the board are computed from."""
    row_id = row[0].record.spec.row_id
    return {PackedRun(r.run, r.scores_sha256) for r in there.values() if r.spec.row_id == row_id}


def _put(row: Sequence[FinishedRun], there: dict[str, Record], board: Path, registry: Registry) -> list[Added]:
    """Write the runs of one row.

    The pack first holds old and new scores, then the records change, then the old scores go: whenever this is
    interrupted, each record has its scores, and the same command goes on.
    """
    pack = pack_path(board, row[0].record.spec)
    new = {PackedRun(run.record.run, run.record.scores_sha256): run.scores for run in row}
    before = _claimed(row, there)
    after = {packed for packed in before if packed.run not in {run.record.run for run in row}} | set(new)
    held = packed_runs(pack) if pack.is_file() else set()
    if not held >= after:
        write_pack(pack, (read_pack(pack) if held else {}) | new)
    update_manifest(board, [pack])
    for run in row:
        _keep_choice(run, board)
    added = [_copy(run.record, there.get(run.record.run), board, registry) for run in row]
    if packed_runs(pack) != after:
        write_pack(pack, {packed: scores for packed, scores in read_pack(pack).items() if packed in after})
        update_manifest(board, [pack])
    return added


def _keep_choice(run: FinishedRun, board: Path) -> None:
    """Put the file that chose a run's options on the board, before the record that names it."""
    about, file = run.record.chosen_from, run.chosen_file
    if about is not None and file is not None and not (place := chosen_path(board, about)).is_file():
        write_whole(place, file.read_bytes())


def _copy(record: Record, before: Record | None, board: Path, registry: Registry) -> Added:
    place, after = _place(board, record.run), attached(record, registry)
    if before is not None and before.scores_sha256 == after.scores_sha256 and _rank(before) > _rank(after):
        after = after.model_copy(update={"status": before.status, "verification": before.verification})
    if before is None or after.document() != before.document():
        after.write(place)
    return Added(record.run, place, before is None, tuple(record.notes))


def _rank(record: Record) -> int:
    return STATUSES.index(record.status)


def _place(board: Path, run: str) -> Path:
    return board / "results" / f"{run}.json"
