"""Progress on stderr: bars with an ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

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

from dfbench.errors import printable
from dfbench.runs.events import (
    DataProgress,
    Evaluated,
    EvaluationProgress,
    EvaluationStarted,
    Event,
    ExperienceStarted,
    Listener,
    Notice,
    RunResumed,
    RunStarted,
    StrategyPass,
    TrainingStep,
)

REFRESH = 0.2
"""Seconds between updates of a bar: reading the loss waits for the device, so it is done seldom."""
LINE_EVERY = 30.0
"""Seconds between lines where there is no terminal."""
TESTING = 0.05
"""Share of a training's bar that is left for scoring the test sets after it."""


class Watcher(Listener):
    """Shows a run, or several one after another: bars (all runs, this run, what it does now), or lines.

    Args:
        progress: The bars; None where there is no terminal.
        total: How many runs there are; None: one, which needs no :meth:`begin`.
    """

    def __init__(self, progress: Progress | None, total: int | None = None) -> None:
        self.progress, self._total = progress, total
        self._bars: dict[str, TaskID] = {}
        self._notices: set[str] = set()
        self._label, self._what = "", ""
        self._run = 0
        """Number of the run, from 1; 0 where there is only one."""
        self._number, self._trainings = 0, 1
        """Which training of this run it is, from 1 (0: none yet), and of how many."""
        self._trained = 0.0
        """Share of it that was done at its last step."""
        self._started = self._shown = time.monotonic()
        self._earlier = 0.0
        """Share of all runs, 0 to 1, that was done before this process, and says nothing about its pace."""

    def begin(self, label: str, number: int | None = None, total: int | None = None) -> None:
        """The next run begins.

        Args:
            label: Which it is.
            number: Its number, from 1; the next one unless given. Runs that are left out were done before.
            total: How many runs there are; what :func:`watching` was given unless given.
        """
        self._total = total or self._total or 1
        number = number or self._run + 1
        self._earlier += (number - self._run - 1) / self._total
        self._run, self._number, self._trainings = number, 0, 1
        self._label = f"run {number}/{self._total}: {label}"
        self._remove("run", "now")
        if self.progress is None:
            self._line(self._label + self._left(0.0))
        self._show_all(0.0)

    def notice(self, text: str) -> None:
        """A line on stderr; the same one only once."""
        text = printable(text)  # it may come from a plugin
        if text in self._notices:
            return
        self._notices.add(text)
        if self.progress is not None:
            self.progress.console.print(text, style="dim", markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def follows(self, kind: type[Event]) -> bool:
        """All but the figures, which are not shown, and so need not be computed."""
        return not issubclass(kind, Evaluated)

    def due(self, done: int, total: int) -> bool:
        """When it is time for an update, and at the last step."""
        return done >= total or self._is_time()

    def event(self, event: Event) -> None:
        """Show it."""
        match event:
            case Notice(text):
                self.notice(text)
            case DataProgress(what, done, total):
                self._show(what, done, total, 0.0)
            case RunStarted():
                self._trainings = event.trainings
                if isinstance(event, RunResumed):
                    self._earlier += event.finished / event.trainings / (self._total or 1)
            case ExperienceStarted(number, names):
                self._number, self._trained = number, 0.0
                name = ", ".join(names)
                self._what = f"training {number}/{self._trainings}{f' {name}' if len(name) < 60 else ''}"
                self._remove("now")
                if self.progress is None and not self._run:
                    self._line(self._what)
            case TrainingStep(_, done, total, _, loss):
                self._trained = (1 - TESTING) * done / max(total, 1)
                self._show(f"{self._what}  loss {loss:.3f}", done, total, self._trained)
            case StrategyPass(done, total):
                if total > 1:
                    self._show(f"{self._what}  the strategy's own pass", done, total, self._trained)
            case EvaluationStarted(number, trainings, what):
                self._number, self._trainings = number, trainings
                when = f"after {number}/{trainings}" if number else "before any training"
                self._what = f"testing {f'{what}, ' if what else ''}{when}"
                self._remove("now")
            case EvaluationProgress(done, total):
                self._show(self._what, done, total, 1.0 if done >= total else 1 - TESTING)

    def _is_time(self) -> bool:
        return time.monotonic() - self._shown >= (LINE_EVERY if self.progress is None else REFRESH)

    def _show(self, what: str, done: int, total: int, of_training: float) -> None:
        """Show ``done`` of ``total`` of something, with so much (0 to 1) of this training done."""
        fraction = max(self._number - 1 + of_training, 0.0) / self._trainings
        if self.progress is None:
            if self._is_time():
                prefix = f"{self._label}: " if self._label else ""
                self._line(f"{prefix}{what}: {done}/{total}{self._left(fraction)}")
        elif done >= total or self._is_time():
            if self._number:
                self._bar("run", "all experiences", fraction * self._trainings, self._trainings)
            self._bar("now", what, done, total)
            self._show_all(fraction)
            self._shown = time.monotonic()

    def _left(self, fraction: float) -> str:
        """The time until all runs are done, at the pace so far, so much (0 to 1) of this one being done."""
        share = (max(self._run - 1, 0) + fraction) / (self._total or 1)
        if share <= self._earlier:
            return ""
        left = (time.monotonic() - self._started) * (1 - share) / (share - self._earlier)
        about = f"{left / 60:.0f} min" if left >= 90 else f"{max(round(left, -1), 10):.0f} s"
        return f", about {about} left{' in all' * bool(self._run)}"

    def _line(self, text: str) -> None:
        click.echo(text, err=True)
        self._shown = time.monotonic()

    def _show_all(self, fraction: float) -> None:
        if self.progress is not None and self._run and self._total is not None:
            self._bar("all", self._label, self._run - 1 + fraction, self._total)

    def _bar(self, name: str, what: str, done: float, total: float) -> None:
        assert self.progress is not None
        if name not in self._bars:
            self._bars[name] = self.progress.add_task(what, total=total)
        self.progress.update(self._bars[name], description=what, completed=done, total=total)

    def _remove(self, *names: str) -> None:
        if self.progress is not None:
            self._shown = 0.0  # what comes next is shown at once
            for name in names:
                if name in self._bars:
                    self.progress.remove_task(self._bars.pop(name))


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of (done, total) on this terminal; nothing where there is none."""
    console = Console(stderr=True, markup=False, emoji=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Silent(Watcher):
    """Shows nothing but notices, as ``--quiet`` wants it."""

    def event(self, event: Event) -> None:
        """Nothing."""
        match event:
            case Notice(text):
                self.notice(text)

    def due(self, done: int, total: int) -> bool:
        """Never."""
        return False


@contextlib.contextmanager
def watching(total: int | None = None, quiet: bool = False) -> Iterator[Watcher]:
    """A listener that shows a run on this terminal (or in lines, where there is none).

    Args:
        total: How many runs follow each other, each after a :meth:`Watcher.begin`; None: one.
        quiet: Show notices alone.
    """
    console = Console(stderr=True, markup=False, emoji=False)
    if quiet:
        yield Silent(None, total)
        return
    if not console.is_terminal:
        yield Watcher(None, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # names of experiences
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed", style="dim"),
        TimeElapsedColumn(),
        TextColumn("left", style="dim"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Watcher(progress, total)
