"""From files of scores to a row on a leaderboard: read, completed, computed, compared with the board's own data."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dfbench.errors import DataError, UsageError
from dfbench.evaluation import detection
from dfbench.evaluation.further import Tested
from dfbench.evaluation.scores import Scores
from dfbench.files import sha256_of
from dfbench.publish.board.add import locked
from dfbench.publish.board.build import pages
from dfbench.publish.board.manifest import update_manifest
from dfbench.publish.board.table import make_board, read_board
from dfbench.publish.imports import columns, formats
from dfbench.publish.imports.coverage import Expected, complete, expected_sets
from dfbench.publish.imports.order import Order, arrange
from dfbench.publish.imports.predictions import NO_SEED, Predictions
from dfbench.records.imported import (
    FOLDER,
    Headline,
    ImportedData,
    ImportedRow,
    Policy,
    data_digest,
    row_id,
    run_name,
    seed_figures,
)
from dfbench.records.packed_scores import PackedRun, pack_path, packed_runs, read_pack, read_packed, write_pack
from dfbench.records.record import Record

TIED = 5e-5
"""An AUC that float32 changes by this much is said to be changed."""


@dataclass(frozen=True)
class Request:
    """What is to be imported, and as what."""

    files: Sequence[Path]
    detector: str
    strategy: str
    benchmark: str
    form: formats.Format | None = None
    """None: found by the columns of each file."""
    called: Mapping[str, str] = field(default_factory=dict)
    """Column of the format ``columns`` → what the files call it."""
    experiences: Sequence[str] = ()
    """In order; none: as :func:`~dfbench.publish.imports.order.arrange` finds them."""
    headline: Headline = "auc"
    logits: bool = False
    missing: Policy = "error"
    samples: Path | None = None
    """A table of the samples that should have been scored."""
    source: str = ""
    by: str = ""


@dataclass(frozen=True)
class Imported:
    """A row that was put on a leaderboard, or found there."""

    path: Path
    row: ImportedRow
    new: bool
    unread: tuple[str, ...]
    """Columns that nothing was taken from."""


def import_scores(request: Request, board: Path, replace: bool = False) -> Imported:
    """Put a row on the leaderboard in ``board``, with its scores in a pack; nothing is written where anything is wrong.

    Args:
        request: What, and as what.
        board: Folder of the leaderboard; it need not exist.
        replace: Let it take the place of a row of the same name with other scores.

    Raises:
        DataError: A file is not of its format, predictions are missing under the policy ``error``, or the row is there
            with other scores.
        UsageError: An option does not fit the files.
    """
    row, scores, unread = make_row(request, board)
    with locked(board):
        return _put(row, scores, board, replace, unread)


def make_row(request: Request, board: Path) -> tuple[ImportedRow, dict[PackedRun, Scores], tuple[str, ...]]:
    """The row, the scores of its seeds as they are packed, and the columns that were not read."""
    files = formats.files_of(request.files)
    found = [request.form or formats.format_of(path) for path in files]
    if len(set(found)) > 1:
        raise UsageError(f"files of several formats ({', '.join(sorted(set(found)))}): import them one after another")
    parts = [formats.read(path, found[0], request.called, request.benchmark) for path in files]
    predictions = Predictions.concat(parts)
    order = arrange(predictions, request.experiences)
    probabilities = _probabilities(predictions, request.logits)
    sets = expected_sets(predictions, order, _listed(request))
    seeds, coverage = complete(predictions, probabilities, order, sets, request.missing)
    known = {each.name: list(zip(each.place, each.labels, strict=True)) for each in sets}
    digest = data_digest(known)
    identity = request.detector, request.strategy, request.benchmark
    digits = row_id(*identity, request.headline, digest, request.missing)
    document = {
        "schema": 1,
        "run": run_name(*identity, digits),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **dict(zip(("detector", "strategy", "benchmark"), identity, strict=True)),
        **{"source": request.source, "by": request.by, "headline": request.headline, "logits": request.logits},
        "experiences": order.experiences,
        "unseen": order.unseen,
        "trained_once": order.trained_once,
        "data": _data(request.benchmark, order, sets, digest, board).model_dump(),
        "coverage": coverage.model_dump() | {"listed": request.samples is not None},
        "format": found[0],
        "files": [{"name": path.name, "sha256": sha256_of(path)} for path in files],
        "seeds": [
            {"seed": None if seed == NO_SEED else seed, "scores_sha256": scores.digest()}
            | seed_figures(scores, Tested(order.experiences, order.unseen), request.headline, digest)
            for seed, scores in seeds.items()
        ],
        "notes": _tied(predictions, probabilities, order),
    }
    row = ImportedRow.parse(document, files[0])
    named = {row.run_of(seed): seed for seed in row.seeds}
    packed = {
        PackedRun(name, seed.scores_sha256): scores
        for (name, seed), scores in zip(named.items(), seeds.values(), strict=True)
    }
    return row, packed, predictions.unread


def _listed(request: Request) -> Predictions | None:
    """The samples that should have been scored, where there is a list."""
    if request.samples is None:
        return None
    called = {
        name: theirs for name, theirs in request.called.items() if theirs in columns.column_names(request.samples)
    }
    return columns.read(request.samples, called, request.benchmark, scored=False)


def _probabilities(predictions: Predictions, logits: bool) -> np.ndarray:
    """P(fake), float64; nan where there is no score."""
    values = predictions.scores
    if logits:
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-values)))
    if (wrong := np.flatnonzero((values < 0) | (values > 1))).size:
        row = wrong[0]
        raise DataError(
            f"the score of sample {predictions.samples[row]!r} (test set {predictions.tested_on[row]!r}) is "
            f"{values[row]:g}, no probability ({wrong.size} of {len(values)}); --logits reads logits"
        )
    return values


def _tied(predictions: Predictions, probabilities: np.ndarray, order: Order) -> list[str]:
    """A note where scores that differ in the file are one number in float32, so that an AUC changes."""
    largest = 0.0
    keys = np.stack([predictions.seeds, order.trained_on, order.tested_on])
    groups, place = np.unique(keys, axis=1, return_inverse=True)
    rounded = probabilities.astype(np.float32)
    for group in range(groups.shape[1]):
        rows = np.flatnonzero((place.ravel() == group) & ~np.isnan(probabilities))
        labels = predictions.labels[rows]
        if 0 < labels.sum() < len(labels):
            exact = np.clip(predictions.scores[rows], -1e300, 1e300)
            largest = max(largest, abs(detection.auc(labels, exact) - detection.auc(labels, rounded[rows])))
    if largest < TIED:
        return []
    return [
        f"stored as P(fake) in float32, in which some scores of the file are one number: an AUC is {largest:.4f} off"
    ]


def _data(benchmark: str, order: Order, sets: list[Expected], digest: str, board: Path) -> ImportedData:
    """The test sets, compared with those of the board's own rows on the benchmark, where their scores are here."""
    known = {path.stem: Record.read(path) for path in sorted((board / "results").glob("*.json"))}
    alike = [r for r in known.values() if r.data.benchmark == benchmark and r.names == order.experiences]
    here = {r.data.fingerprint: r for r in alike if pack_path(board, r.spec).is_file()}
    ours = [dict(zip(each.place, each.labels, strict=True)) for each in sets[: len(order.experiences)]]
    same = None
    for fingerprint, record in here.items():
        scores = read_packed(pack_path(board, record.spec), record.scores_sha256)
        groups = [scores.get(len(record.names) - 1, j) for j in range(len(record.names))]
        if [dict(zip(g.samples.tolist(), g.labels.tolist(), strict=True)) if g else {} for g in groups] == ours:
            same = fingerprint
    counts = {each.name: {"real": each.labels.count(0), "fake": each.labels.count(1)} for each in sets}
    compared = bool(here) or not any(r.data.benchmark == benchmark for r in known.values())
    return ImportedData.model_validate({"sha256": digest, "same_as": same, "compared": compared, "per_set": counts})


def _put(
    row: ImportedRow, scores: dict[PackedRun, Scores], board: Path, replace: bool, unread: tuple[str, ...]
) -> Imported:
    """As ``leaderboard add``: the pack first holds old and new scores, then the row changes, then the old scores go."""
    path, pack = board / FOLDER / f"{row.run}.json", row.pack(board)
    before = ImportedRow.read(path) if path.is_file() else None
    if before is not None and _digests(before) != _digests(row) and not replace:
        raise DataError(f"{path}: the same row with other scores is there; --replace puts this one in its place")
    there = read_board(board) if path.parent.is_dir() or (board / "results").is_dir() else make_board([])
    others = [each.row for table in there.imported for each in table.rows if each.row.run != row.run]
    records = [record for table in there.tables for each in table.rows for record in each.records]
    pages(make_board(records, there.reported, [*others, row]))  # a row that the pages cannot show is not written
    held = read_pack(pack) if before is not None and pack.is_file() else {}
    if not set(scores) <= set(held):
        write_pack(pack, held | scores)
        update_manifest(board, [pack])
    if before is None or row.model_copy(update={"created": before.created}) != before:
        row.write(path)
    else:
        row = before
    if packed_runs(pack) != set(scores):
        write_pack(pack, scores)
        update_manifest(board, [pack])
    return Imported(path, row, before is None, unread)


def _digests(row: ImportedRow) -> dict[int | None, str]:
    return {seed.seed: seed.scores_sha256 for seed in row.seeds}
