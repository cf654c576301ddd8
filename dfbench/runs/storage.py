"""The folder of one run: what is in it, and how a killed run is found again.

::

    runs/<run id>/
        spec.json               what was asked for
        code.json               the code that it is made with, see :mod:`dfbench.runs.code`
        checkpoints/01/         weights and strategy state after experience 1 (only the last is kept)
        scores/01.parquet       predictions on every test set after experience 1; 00: the untrained network; one more
                                after the last: on degraded copies of the test sets, where the benchmark has them
        record.json             the result; its presence says that the run is finished
        scores.parquet          all predictions, one row per sample and pair (trained on, tested on)
        model.safetensors       the final weights
        chosen.json             where the options were chosen on validation data: the file that says so
    runs/.set_aside/<run id>-<8 digits of its code>/
                                a run of the same spec, by plugins that have changed since; hidden, so that
                                ``runs/*`` names each run once
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dfbench.errors import DataError, DfbenchError, PluginError, StorageError
from dfbench.evaluation.scores import Scores
from dfbench.files import write_json, write_whole
from dfbench.records.choice import Chosen
from dfbench.records.record import CHOSEN, RECORD, SCORES, Record
from dfbench.records.spec import RunSpec
from dfbench.runs.code import Change, changes, short
from dfbench.training.checkpoint import load_checkpoint, save_checkpoint

CODE, SET_ASIDE = "code.json", ".set_aside"
ADVICE = "free some space and run the same command again"


class RunFolder:
    """Reads and writes the folder of one run. Every file appears whole or not at all.

    Args:
        out: The folder of runs.
        spec: Of the run.
        code: What it is to be made with (:func:`dfbench.runs.code.code_of`); empty: by whatever made what is there.
    """

    def __init__(self, out: Path, spec: RunSpec, code: Mapping[str, str] | None = None) -> None:
        self.path = out / spec.run_id
        self.spec = spec
        self.code = dict(code or {})

    @contextlib.contextmanager
    def opened(self, fresh: bool) -> Iterator[str]:
        """Make the folder and hold its lock; ``fresh`` empties it first, and what other code made is set aside.

        Yields:
            What was set aside and why; empty as a rule.

        Raises:
            StorageError: It cannot be written.
            DfbenchError: Another process works on this run.
        """
        lock = self._lock()
        try:
            moved = ""
            if fresh:
                self._clear()
            elif changed := self._changes():
                moved = self._set_aside(changed)
                lock.release()
                lock = self._lock()
            write_json(self.path / "spec.json", self.spec.document(), ADVICE)
            write_json(self.path / CODE, self.code or self._code(), ADVICE)
            yield moved
        finally:
            lock.release()

    def _lock(self) -> FileLock:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
            return lock
        except Timeout as error:
            raise DfbenchError(f"another dfbench process is working on {self.path}: wait for it or end it") from error
        except OSError as error:
            raise StorageError(
                f"cannot write to {self.path}: {error.strerror or error}; choose another folder with --out"
            ) from error

    def is_current(self) -> bool:
        """Whether this code has finished the run; its record is not read."""
        return (self.path / RECORD).exists() and not self._changes()

    def record(self) -> Record | None:
        """The record of a run that this code has finished, or None.

        Raises:
            StorageError: It is damaged.
        """
        path = self.path / RECORD
        if not self.is_current():
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
        """The checkpoint after training ``number``; the one before it is then dropped.

        Raises:
            PluginError: The state of the detector or the strategy holds what a checkpoint cannot.
        """
        try:
            save_checkpoint(self._checkpoint(number), state)
        except TypeError as error:
            names = f"detector {self.spec.detector!r} or strategy {self.spec.strategy!r}"
            raise PluginError(f"the state_dict() of {names} cannot be stored: {error}") from error
        for older in range(number):
            shutil.rmtree(self._checkpoint(older), ignore_errors=True)

    def load(self, number: int) -> dict[str, Any]:
        """The checkpoint after training ``number``."""
        return load_checkpoint(self._checkpoint(number))

    def save_scores(self, number: int, scores: Scores) -> None:
        """Predictions after training ``number``."""
        _write(scores, self._scores(number))

    def has_scores(self, number: int) -> bool:
        """Whether predictions after training ``number`` are stored."""
        return self._scores(number).exists()

    def load_scores(self, number: int) -> Scores:
        """Predictions after training ``number``.

        Raises:
            DataError: There are none, or their file is damaged.
        """
        return Scores.read(self._scores(number))

    def finish(self, scores: Scores, record: Record) -> Record:
        """Write all scores and then the record, whose presence says that the run is finished."""
        _write(scores, self.path / SCORES)
        written = record.write(self.path / RECORD, ADVICE)
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
        shutil.rmtree(self.path / "scores", ignore_errors=True)
        return written

    def name_choice(self, record: Record, chosen: Chosen | None) -> Record:
        """Put the file that chose the options next to the record, and its name and digest on it; None: nothing is done.

        It decides no weight, so a run that was finished before is not trained again for it.
        """
        if chosen is None or record.chosen_from == chosen.file:
            return record
        write_whole(self.path / CHOSEN, chosen.content, ADVICE)
        return record.model_copy(update={"chosen_from": chosen.file}).write(self.path / RECORD, ADVICE)

    def _checkpoint(self, number: int) -> Path:
        return self.path / "checkpoints" / f"{number:02d}"

    def _scores(self, number: int) -> Path:
        return self.path / "scores" / f"{number:02d}.parquet"

    def _code(self) -> dict[str, str]:
        """The code that made what is there; empty where there is nothing, or it was not stored."""
        path = self.path / CODE
        try:
            if path.exists():
                return {str(name): str(code) for name, code in json.loads(path.read_text(encoding="utf-8")).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise StorageError(f"{path} is damaged ({error}): start this run again with --fresh") from error
        with contextlib.suppress(DataError):  # a record that came alone; a damaged one is found when it is read
            return Record.read(self.path).environment.code
        return {}

    def _changes(self) -> list[Change]:
        return changes(self._code(), self.code)

    def _set_aside(self, changed: list[Change]) -> str:
        """Move the folder away as a whole; returns what to say of that."""
        place = self.path.parent / SET_ASIDE
        name = f"{self.path.name}-{changed[0].before.rpartition(':')[2][:8]}"
        free = (place / f"{name}{end}" for end in itertools.chain([""], (f"-{n}" for n in itertools.count(2))))
        to = next(path for path in free if not path.exists())
        try:
            place.mkdir(exist_ok=True)
            self.path.rename(to)
        except OSError as error:
            raise StorageError(f"cannot move {self.path} to {to}: {error.strerror or error}") from error
        which = "; ".join(f"{c.plugin} was {short(c.before)}, is {short(c.now)}" for c in changed)
        return f"the code of this run has changed ({which}): it starts from the beginning, the earlier one is now {to}"

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
