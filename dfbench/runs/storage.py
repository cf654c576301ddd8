"""The folder of one run: what is in it, and how a killed run is found again.

::

    runs/<run id>/
        spec.json               what was asked for
        checkpoints/01/         weights and strategy state after experience 1 (only the last is kept)
        scores/01.parquet       predictions on every test set after experience 1; 00: the untrained network
        record.json             the result; its presence says that the run is finished
        scores.parquet          all predictions, one row per sample and pair (trained on, tested on)
        model.safetensors       the final weights
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dfbench.errors import DataError, DfbenchError, StorageError
from dfbench.evaluation.scores import Scores
from dfbench.files import write_json
from dfbench.records.record import RECORD, SCORES, Record
from dfbench.records.spec import RunSpec
from dfbench.training.checkpoint import load_checkpoint, save_checkpoint

ADVICE = "free some space and run the same command again"


class RunFolder:
    """Reads and writes the folder of one run. Every file appears whole or not at all."""

    def __init__(self, out: Path, spec: RunSpec) -> None:
        self.path = out / spec.run_id
        self.spec = spec

    @contextlib.contextmanager
    def opened(self, fresh: bool) -> Iterator[None]:
        """Make the folder and hold its lock; ``fresh`` empties it first.

        Raises:
            StorageError: It cannot be written.
            DfbenchError: Another process works on this run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise DfbenchError(f"another dfbench process is working on {self.path}: wait for it or end it") from error
        except OSError as error:
            raise StorageError(
                f"cannot write to {self.path}: {error.strerror or error}; choose another folder with --out"
            ) from error
        try:
            if fresh:
                self._clear()
            write_json(self.path / "spec.json", self.spec.document(), ADVICE)
            yield
        finally:
            lock.release()

    def record(self) -> Record | None:
        """The record of a finished run, or None.

        Raises:
            StorageError: It is damaged.
        """
        path = self.path / RECORD
        if not path.exists():
            return None
        try:
            return Record.read(path)
        except DataError as error:
            raise StorageError(f"{error}: the record is damaged, start this run again with --fresh") from error

    # Experiences are numbered from 1 in file names; 0 is the untrained network.

    def finished(self) -> int:
        """How many trainings are done: the number of the last whole checkpoint, 0 if there is none."""
        whole = [p.name for p in (self.path / "checkpoints").glob("*") if (p / "state.json").exists()]
        return max((int(name) for name in whole if name.isdigit()), default=0)

    def save(self, number: int, state: dict[str, Any]) -> None:
        """The checkpoint after training ``number``; the one before it is then dropped."""
        save_checkpoint(self._checkpoint(number), state)
        for older in range(number):
            shutil.rmtree(self._checkpoint(older), ignore_errors=True)

    def load(self, number: int) -> dict[str, Any]:
        """The checkpoint after training ``number``."""
        return load_checkpoint(self._checkpoint(number))

    def save_scores(self, number: int, scores: Scores) -> None:
        """Predictions after training ``number``."""
        _write(scores, self._scores(number))

    def load_scores(self, number: int) -> Scores | None:
        """Predictions after training ``number``, or None."""
        path = self._scores(number)
        return Scores.read(path) if path.exists() else None

    def finish(self, scores: Scores, record: Record) -> Record:
        """Write all scores and then the record, whose presence says that the run is finished."""
        _write(scores, self.path / SCORES)
        written = record.write(self.path / RECORD, ADVICE)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
        shutil.rmtree(self.path / "scores", ignore_errors=True)
        return written

    def _checkpoint(self, number: int) -> Path:
        return self.path / "checkpoints" / f"{number:02d}"

    def _scores(self, number: int) -> Path:
        return self.path / "scores" / f"{number:02d}.parquet"

    def _clear(self) -> None:
        for path in self.path.iterdir():
            if path.name == ".lock":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _write(scores: Scores, path: Path) -> None:
    try:
        scores.write(path)
    except StorageError as error:
        raise StorageError(f"{error}; {ADVICE}") from error
