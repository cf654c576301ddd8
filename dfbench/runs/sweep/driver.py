"""The loop that drives a sweep: starts what is left, tries again what may go better, moves results to their place.

The driver keeps no state of its own. What is done it reads from the runs' folders, what is being made by processes that
an earlier driver started it reads from their locks; so it may be killed at any moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfbench.errors import StorageError
from dfbench.runs.sweep.engine import Engine, Outcome
from dfbench.runs.sweep.folders import Folders, Found
from dfbench.runs.sweep.plan import Job

TICK = 0.5
"""Seconds between two looks at what runs."""


@dataclass
class Result:
    """What became of the runs of a sweep, by their keys."""

    done: dict[str, Path] = field(default_factory=dict)
    """Their folders."""
    failed: dict[str, Outcome] = field(default_factory=dict)
    impossible: dict[str, Outcome] = field(default_factory=dict)
    """Pairs that cannot be, as their networks showed."""
    new: int = 0
    """How many of the finished ones were finished by this process."""


class View:
    """Follows a sweep. This one shows nothing."""

    def began(self, job: Job, attempt: int) -> None:
        """A run was started; ``attempt`` counts from 1."""

    def ended(self, job: Job, outcome: Outcome, again: bool) -> None:
        """A run ended; ``again``: it is tried once more."""

    def elsewhere(self, job: Job) -> None:
        """A process that this one did not start works on a run."""

    def tick(self, engine: Engine, result: Result) -> None:
        """Time has passed."""


class Driver:
    """Drives jobs to their ends.

    Args:
        jobs: All runs of the sweep, those that are wanted first in front.
        found: What there is of them already, by key.
        folders: Where they lie.
        engine: What runs them.
        retries: How often a run is tried again that was killed or failed unexpectedly.
        view: Follows it.
    """

    def __init__(
        self, jobs: Sequence[Job], found: dict[str, Found], folders: Folders, engine: Engine, retries: int, view: View
    ) -> None:
        self.jobs = {job.key: job for job in jobs}
        self.found, self.folders, self.engine, self.retries, self.view = found, folders, engine, retries, view
        self.result = Result({key: each.path for key, each in found.items() if each.finished})
        self._elsewhere: dict[str, Found] = {}
        """Runs that a process of an earlier driver, or of somebody else, works on."""
        self._tries: dict[str, int] = {}
        self._waiting = deque(key for key in self.jobs if key not in self.result.done)

    def run(self) -> Result:
        """Until every run is done or given up.

        Raises:
            KeyboardInterrupt: After everything that runs has come to an end.
            StorageError: Results cannot be written.
        """
        try:
            self._find_busy()
            while self._waiting or self._tries.keys() - self._ended() or self._elsewhere:
                self._fill()
                for outcome in self.engine.wait(TICK):
                    self._take(outcome)
                self._look_elsewhere()
                self.view.tick(self.engine, self.result)
        except BaseException:
            self.engine.stop()
            self._collect()
            raise
        if not self.result.failed:
            self.engine.close()
        else:
            self.engine.stop()
        return self.result

    def _ended(self) -> set[str]:
        return {*self.result.done, *self.result.failed, *self.result.impossible, *self._waiting}

    def _find_busy(self) -> None:
        """Runs whose folders somebody works in; they are waited for, and take a place meanwhile."""
        for key in list(self._waiting):
            each = self.found.get(key)
            if each is not None and each.busy:
                self._waiting.remove(key)
                self._elsewhere[key] = each
                self.view.elsewhere(self.jobs[key])

    def _fill(self) -> None:
        while self._waiting and self.engine.room > len(self._elsewhere):
            job = self.jobs[self._waiting.popleft()]
            self._tries[job.key] = self._tries.get(job.key, 0) + 1
            self.engine.start(job, self.folders.place(job, self.found.get(job.key)))
            self.view.began(job, self._tries[job.key])

    def _take(self, outcome: Outcome) -> None:
        job = self.jobs[outcome.key]
        if not outcome.code and outcome.folder is not None:
            self.result.done[job.key] = self.folders.deliver(outcome.folder)
            self.result.new += 1
            self.engine.delivered(job)
            self.view.ended(job, outcome, False)
            return
        again = outcome.worth_another_try and self._tries.get(job.key, 1) <= self.retries
        if again:
            self._waiting.append(job.key)
        elif outcome.impossible:
            for key in [k for k, other in self.jobs.items() if other.row == job.row and self._is_open(k, job)]:
                self.result.impossible[key] = outcome
        else:
            self.result.failed[job.key] = outcome
        self.view.ended(job, outcome, again)

    def _is_open(self, key: str, job: Job) -> bool:
        """Whether a run has not begun, so that it need not; it is then taken from the queue."""
        if key in self._waiting:
            self._waiting.remove(key)
            return True
        return key == job.key

    def _look_elsewhere(self) -> None:
        for key, each in list(self._elsewhere.items()):
            if each.busy:
                continue
            del self._elsewhere[key]
            job = self.jobs[key]
            now = self.folders.settle({key: job}).get(key)
            if now is not None and now.finished:
                self.result.done[key] = now.path
                self.view.ended(job, Outcome(key, 0, folder=now.path), False)
            else:
                self._waiting.appendleft(key)

    def _collect(self) -> None:
        """Move what was finished to its place, before this process ends."""
        try:
            self.folders.settle(self.jobs)
        except (OSError, StorageError):  # the reason to end may be a full disk; the next sweep moves them
            return
