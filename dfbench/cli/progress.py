"""Progress on stderr: bars with an ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dfbench.runs.report import Reporter

if TYPE_CHECKING:
    import torch

REFRESH = 0.2
"""Seconds between updates of a bar: reading the loss waits for the device, so it is done seldom."""
LINE_EVERY = 30.0
"""Seconds between lines where there is no terminal."""


class Watcher(Reporter):
    """A run seen from the terminal."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._run: TaskID | None = None
        self._now: TaskID | None = None
        self._number, self._total = 0, 1
        self._shown = 0.0
        self._started = time.monotonic()

    @property
    def progress(self) -> Progress | None:
        """The bars; None where there is no terminal."""
        return self._progress

    def notice(self, text: str) -> None:
        """A line on stderr."""
        if self._progress is not None:
            self._progress.console.print(text, style="dim", markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def data(self, done: int, total: int, what: str) -> None:
        """Pictures being prepared."""
        self._show(what, done, total, done >= total)

    def training(self, number: int, total: int, name: str) -> None:
        """A training begins."""
        self._number, self._total = number, total
        self._what = f"training {number}/{total} {name}" if len(name) < 60 else f"training {number}/{total}"
        if self._progress is None:
            click.echo(self._what, err=True)
        else:
            if self._run is None:
                self._run = self._progress.add_task("all experiences", total=total)
                self._progress.update(self._run, completed=number - 1)
            self._new_task()

    def step(self, done: int, total: int, loss: torch.Tensor) -> None:
        """A training step was made."""
        if time.monotonic() - self._shown < (REFRESH if self._progress is not None else LINE_EVERY) and done < total:
            return
        self._show(f"{self._what}  loss {float(loss):.3f}", done, total, True)
        if self._progress is not None and self._run is not None:
            self._progress.update(self._run, total=self._total, completed=self._number - 1 + 0.95 * done / total)

    def evaluating(self, number: int, total: int) -> None:
        """Scoring begins."""
        self._what = f"testing after {number}/{total}" if number else "testing the untrained network"
        self._new_task()

    def tested(self, done: int, total: int) -> None:
        """A batch was scored."""
        self._show(self._what, done, total, done >= total)
        if done >= total and self._progress is not None and self._run is not None:
            self._progress.update(self._run, completed=self._number)

    def _new_task(self) -> None:
        if self._progress is not None and self._now is not None:
            self._progress.remove_task(self._now)
        self._now = None
        self._shown = 0.0

    def _show(self, what: str, done: int, total: int, force: bool) -> None:
        now = time.monotonic()
        if self._progress is not None:
            if not force and now - self._shown < REFRESH:
                return
            if self._now is None:
                self._now = self._progress.add_task(what, total=total)
            self._progress.update(self._now, description=what, completed=done, total=total)
        elif now - self._shown >= LINE_EVERY:
            if self._shown:
                fraction = (self._number - 1 + done / max(total, 1)) / self._total
                left = (now - self._started) * (1 / fraction - 1) if fraction > 0 else 0
                click.echo(f"{what}: {done}/{total}, about {left / 60:.0f} min left", err=True)
        else:
            return
        self._shown = now


@contextlib.contextmanager
def watching() -> Iterator[Watcher]:
    """A watcher for this terminal (or none)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Watcher(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Watcher(progress)
