"""The folder of a run that several processes share: the first one reads and writes, the others hear of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dfbench.evaluation.scores import Scores
from dfbench.records.choice import Chosen
from dfbench.records.record import Record
from dfbench.runs.storage import RunFolder
from dfbench.training.ranks import Ranks


class SharedFolder:
    """A :class:`~dfbench.runs.storage.RunFolder` for each of several processes, on one machine or many.

    Every process calls the same methods in the same order.

    Args:
        folder: The folder; only the first process touches it.
        ranks: The processes.
    """

    def __init__(self, folder: RunFolder, ranks: Ranks) -> None:
        self._folder, self._ranks = folder, ranks

    @property
    def path(self) -> Path:
        """Where it is, on the first process's machine."""
        return self._folder.path

    @contextlib.contextmanager
    def opened(self, fresh: bool) -> Iterator[str]:
        """As :meth:`RunFolder.opened`; the first process holds the lock."""
        with contextlib.ExitStack() as stack:
            yield self._ranks.of_first(lambda: stack.enter_context(self._folder.opened(fresh)))

    def record(self) -> Record | None:
        """As :meth:`RunFolder.record`."""
        found: Record | None = self._ranks.of_first(self._folder.record)
        return found

    def finished(self) -> int:
        """As :meth:`RunFolder.finished`."""
        return int(self._ranks.of_first(self._folder.finished))

    def load(self, number: int) -> dict[str, Any]:
        """As :meth:`RunFolder.load`."""
        state: dict[str, Any] = self._ranks.of_first(lambda: self._folder.load(number))
        return state

    def save(self, number: int, state: dict[str, Any]) -> None:
        """As :meth:`RunFolder.save`, of the first process's state."""
        self._ranks.of_first(lambda: self._folder.save(number, state))

    def has_scores(self, number: int) -> bool:
        """As :meth:`RunFolder.has_scores`."""
        return bool(self._ranks.of_first(lambda: self._folder.has_scores(number)))

    def load_scores(self, number: int) -> Scores:
        """As :meth:`RunFolder.load_scores`."""
        found: Scores = self._ranks.of_first(lambda: self._folder.load_scores(number))
        return found

    def save_scores(self, number: int, scores: Scores) -> None:
        """As :meth:`RunFolder.save_scores`."""
        self._ranks.of_first(lambda: self._folder.save_scores(number, scores))

    def name_choice(self, record: Record, chosen: Chosen | None) -> Record:
        """As :meth:`RunFolder.name_choice`."""
        named: Record = self._ranks.of_first(lambda: self._folder.name_choice(record, chosen))
        return named

    def finish(self, scores: Scores, record: Record) -> Record:
        """As :meth:`RunFolder.finish`."""
        written: Record = self._ranks.of_first(lambda: self._folder.finish(scores, record))
        return written
