"""A finished run where it lies: its record, and the scores and weights that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from dfbench.errors import DataError
from dfbench.records.choice import chosen_path
from dfbench.records.record import CHOSEN, RECORD, SCORES, WEIGHTS, Record

if TYPE_CHECKING:
    from dfbench.evaluation.scores import Scores

MISSING_ON_BOARD = "its scores are not here; 'dfbench leaderboard pull --from USER/DATASET' fetches them"


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A record with what lies with it, in the folder of its run or on a leaderboard."""

    path: Path
    """Of the record."""
    record: Record

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run in a folder, or that of a record's file.

        Raises:
            DataError: There is no record, or it breaks the schema.
        """
        return cls(path / RECORD if path.is_dir() else path, Record.read(path))

    @property
    def folder(self) -> Path:
        """Where the record lies."""
        return self.path.parent

    @property
    def on_board(self) -> bool:
        """Whether the record lies on a leaderboard, where scores are packed and may be left out."""
        return self.path.name != RECORD

    @property
    def scores_file(self) -> Path | None:
        """The file that holds the scores: next to the record, or the row's pack in ``../scores`` on a leaderboard."""
        from dfbench.records.packed_scores import pack_path

        local = self.path.with_name(SCORES)
        on_board = pack_path(self.folder.parent, self.record.spec)
        return next((p for p in (local, on_board) if p.is_file()), None)

    @property
    def chosen_file(self) -> Path | None:
        """The file that chose the options: next to the record, or in ``../chosen`` on a leaderboard; None without."""
        about = self.record.chosen_from
        if about is None:
            return None
        places = (self.path.with_name(CHOSEN), chosen_path(self.folder.parent, about))
        return next((p for p in places if p.is_file()), None)

    @property
    def weights_file(self) -> Path | None:
        """The file of the weights, if it is there."""
        local = self.path.with_name(WEIGHTS)
        return local if local.is_file() else None

    @cached_property
    def scores(self) -> Scores:
        """The scores, checked to be those of the record.

        Raises:
            DataError: They are missing, damaged, or of another run.
        """
        scores = self.read_scores()
        if scores.digest() != self.record.scores_sha256:
            raise DataError(f"{self.scores_file} is damaged or of another run: its scores are not those of the record")
        return scores

    def read_scores(self) -> Scores:
        """The scores as they lie here; those of a run's folder may be others than the record's.

        Raises:
            DataError: They are missing or damaged.
        """
        from dfbench.evaluation.scores import Scores
        from dfbench.records.packed_scores import read_packed

        file = self.scores_file
        if file is None:
            raise DataError(f"{self.path}: {MISSING_ON_BOARD if self.on_board else f'{SCORES} is not next to it'}")
        return Scores.read(file) if file.name == SCORES else read_packed(file, self.record.scores_sha256)

    @cached_property
    def replicates(self) -> np.ndarray:
        """R of every bootstrap replicate, float64 (1000, T, T); replicate b of two runs on the same data is paired."""
        from dfbench.evaluation.further import parts_of
        from dfbench.evaluation.uncertainty import data_key, replicates

        record = self.record
        data = data_key(record.spec.data_fingerprint, record.spec.split)
        own = parts_of(self.scores, record.tested).experiences
        return replicates(own, record.names, record.headline, len(record.data.classes), data)
