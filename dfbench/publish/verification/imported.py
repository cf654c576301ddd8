"""Whether an imported row is true: its figures follow from its scores, its test sets are those that were scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.errors import DataError, DfbenchError
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.uncertainty import decode
from dfbench.publish.verification.checks import EXACT, Finding, difference
from dfbench.records.finished import MISSING_ON_BOARD
from dfbench.records.imported import FOLDER, ImportedRow, ImportedSeed, data_digest, seed_figures
from dfbench.records.packed_scores import read_packed

ROUNDED = 1e-6
"""Replicates are stored as float32, intervals to six digits."""
SINGLE = ("matrix", "metrics", "per_experience")
"""Figures that follow from the scores to :data:`~dfbench.publish.verification.checks.EXACT`."""


@dataclass(frozen=True)
class ImportedRowHere:
    """A row where it lies, on a leaderboard."""

    path: Path
    row: ImportedRow

    @property
    def board(self) -> Path:
        """Folder of the leaderboard."""
        return self.path.parent.parent

    @property
    def pack(self) -> Path:
        """The file of its scores, which may be missing."""
        return self.row.pack(self.board)


def is_imported(path: Path) -> bool:
    """Whether a file is a row of imported scores, by the folder that it lies in."""
    return path.suffix == ".json" and path.parent.name == FOLDER


def verify(here: ImportedRowHere) -> list[Finding]:
    """Everything that can be checked: that the scores came out of a training is not among it."""
    if not here.pack.is_file():
        return [Finding("scores_sha256", None, MISSING_ON_BOARD)]
    findings: list[Finding] = []
    for seed in here.row.seeds:
        try:
            scores = read_packed(here.pack, seed.scores_sha256)
        except DataError as error:
            return [*findings, Finding("scores_sha256", False, str(error))]
        findings.append(Finding("scores_sha256", True))
        findings += _figures(here.row, seed, scores)
        findings.append(_data(here.row, scores))
    return findings


def _figures(row: ImportedRow, seed: ImportedSeed, scores: Scores) -> list[Finding]:
    try:
        found = seed_figures(scores, row.tested, row.headline, row.data.sha256)
    except DfbenchError as error:
        return [Finding("metrics", False, str(error))]
    stated = seed.model_dump()
    return [
        *(_same(name, stated[name], found[name]) for name in SINGLE),
        _same("uncertainty", _drawn(stated["uncertainty"]), _drawn(found["uncertainty"]), ROUNDED),
        _same("generalisation", stated["generalisation"], found["generalisation"], ROUNDED),
    ]


def _data(row: ImportedRow, scores: Scores) -> Finding:
    """The test sets that the row states are those of the scores, as far as all their samples were scored."""
    groups = {group.tested_on: group for group in scores}
    whole = True
    for number, each in enumerate(row.coverage.per_set):
        whole &= each.scored == each.expected
        if number not in groups or len(groups[number]) != each.scored:
            size = len(groups[number]) if number in groups else 0
            return Finding("data", False, f"{each.set}: the row says {each.scored} samples, the scores have {size}")
    if not whole:
        return Finding("data", None, "samples without predictions were left out, so the test sets are not known here")
    samples = {
        each.set: list(zip(groups[n].samples.tolist(), groups[n].labels.tolist(), strict=True))
        for n, each in enumerate(row.coverage.per_set)
    }
    found = data_digest(samples)
    ok = found == row.data.sha256
    return Finding("data", ok, "" if ok else f"the row says {row.data.sha256[:12]}…, its samples give {found[:12]}…")


def _drawn(stated: Mapping[str, Any]) -> dict[str, Any]:
    drawn = decode(stated["replicates"])
    return {**stated, "replicates": None if drawn is None else drawn.tolist()}


def _same(what: str, stated: Any, right: Any, tolerance: float = EXACT) -> Finding:
    different = difference(stated, right, what, tolerance)
    return Finding(what, different is None, different or "")
