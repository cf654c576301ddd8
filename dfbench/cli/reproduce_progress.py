"""Progress of several runs: which one it is, and how long all of them will take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from rich.progress import Progress, TaskID

from dfbench.cli.progress import LINE_EVERY, REFRESH, Watcher, watching
from dfbench.runs.report import Reporter

if TYPE_CHECKING:
    import torch

    from dfbench.publish.reproduction.runs import Plan


class WatcherOfAll(Reporter):
    """Told of every run in turn; passes it on to the run's own watcher and shows the whole above it."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._all: TaskID | None = None
        self._watcher = Watcher(progress)
        self._told: set[str] = set()
        self._plan: Plan | None = None
        self._number = 0
        self._began = self._shown = 0.0
        self._training, self._trainings = 0, 1
        self._first: int | None = None
        """Trainings of this run that an earlier process did."""

    def begin(self, plan: Plan, number: int) -> Reporter:
        """A run begins."""
        self._plan, self._number, self._began = plan, number, time.monotonic()
        self._training, self._trainings, self._first = 0, 1, None
        job, total = plan.jobs[number], len(plan.jobs)
        what = f"run {len(plan.seconds) + 1}/{total}: {job.label}, seed {job.seed}"
        if self._progress is None:
            click.echo(f"{what}{self._left(0)}", err=True)
        else:
            for task in list(self._progress.task_ids):  # those of the run before
                if task != self._all:
                    self._progress.remove_task(task)
            if self._all is None:
                self._all = self._progress.add_task(what, total=total)
            self._progress.update(self._all, description=f"{what}{self._left(0)}", completed=len(plan.seconds))
        self._what, self._shown = what, time.monotonic()
        self._watcher = Watcher(self._progress)
        return self

    def notice(self, text: str) -> None:
        """A line on stderr, once: runs on the same data have the same to say."""
        if text not in self._told:
            self._told.add(text)
            self._watcher.notice(text)

    def data(self, done: int, total: int, what: str) -> None:
        """See :class:`Reporter`."""
        self._watcher.data(done, total, what)

    def training(self, number: int, total: int, name: str) -> None:
        """See :class:`Reporter`."""
        self._training, self._trainings = number - 1, total
        if self._first is None:
            self._first = number - 1
        if self._progress is not None:
            self._watcher.training(number, total, name)

    def step(self, done: int, total: int, loss: torch.Tensor) -> None:
        """See :class:`Reporter`."""
        if self._progress is not None:
            self._watcher.step(done, total, loss)
        self._show((self._training + 0.95 * done / max(total, 1)) / self._trainings)

    def evaluating(self, number: int, total: int) -> None:
        """See :class:`Reporter`."""
        if self._progress is not None:
            self._watcher.evaluating(number, total)

    def tested(self, done: int, total: int) -> None:
        """See :class:`Reporter`."""
        if self._progress is not None:
            self._watcher.tested(done, total)

    def _show(self, fraction: float) -> None:
        now = time.monotonic()
        if self._plan is None or now - self._shown < (LINE_EVERY if self._progress is None else REFRESH):
            return
        self._shown = now
        if self._progress is None:
            where = f"training {self._training + 1}/{self._trainings}"
            click.echo(f"{self._what}: {where}{self._left(fraction)}", err=True)
        elif self._all is not None:
            done = len(self._plan.seconds) + fraction
            self._progress.update(self._all, description=f"{self._what}{self._left(fraction)}", completed=done)

    def _left(self, fraction: float) -> str:
        if self._plan is None:
            return ""
        before = (self._first or 0) / self._trainings
        own = (fraction - before) / (1 - before) if fraction > before else 0.0
        left = self._plan.left(self._number, time.monotonic() - self._began, own)
        return "" if left is None else f", about {left / 60:.0f} min left in all"


@contextlib.contextmanager
def watching_all() -> Iterator[WatcherOfAll]:
    """A watcher of several runs for this terminal (or none)."""
    with watching() as watcher:
        yield WatcherOfAll(watcher.progress)
