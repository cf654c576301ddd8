"""A sweep while it goes on: a live table on a terminal, a line per run elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dfbench.records.text import seconds
from dfbench.runs.sweep.driver import Result, View
from dfbench.runs.sweep.engine import Engine, Outcome
from dfbench.runs.sweep.estimate import Cost
from dfbench.runs.sweep.folders import Found
from dfbench.runs.sweep.plan import Job

SHOWN = 12
"""Running runs that are listed."""
EVERY = 60.0
"""Seconds between lines of progress where there is no terminal."""


class SweepView(View):
    """Notes what runs since when, and what that says of the time that is left.

    Args:
        jobs: All runs.
        done: How many were done before.
        costs: What each is expected to take.
        slots: How many run at once.
    """

    def __init__(self, jobs: Sequence[Job], done: int, costs: Mapping[str, Cost], slots: int) -> None:
        self.jobs = {job.key: job for job in jobs}
        self.costs, self.slots = costs, slots
        self.total, self.before = len(jobs), done
        self.running: dict[str, float] = {}
        self._elsewhere: dict[str, None] = {}
        self.took: dict[tuple[str, ...], list[float]] = {}
        """Seconds of the finished runs of each kind."""
        self._ended = 0

    def began(self, job: Job, attempt: int) -> None:
        """Note when."""
        self.running[job.key] = time.monotonic()

    def elsewhere(self, job: Job) -> None:
        """An earlier process goes on with it."""
        self._elsewhere[job.key] = None
        self.say(f"{job.label}: another process works on it; waiting for that")

    def ended(self, job: Job, outcome: Outcome, again: bool) -> None:
        """Note how long it took, and say how it ended."""
        self.running.pop(job.key, None)
        self._elsewhere.pop(job.key, None)
        if not outcome.code and outcome.seconds >= 1:  # less: it was finished elsewhere, and only fetched
            self.took.setdefault(job.kind, []).append(outcome.seconds)
        self._ended += not again
        words = "done" if not outcome.code else "cannot be" if outcome.impossible else "again" if again else "FAILED"
        place = f" on {outcome.where}" if outcome.where else ""
        reason = f": {outcome.message}" if outcome.message else ""
        count = f"[{min(self.before + self._ended, self.total)}/{self.total}]"
        self.say(f"{count} {words}: {job.label} ({seconds(outcome.seconds)}{place}){reason}{self.left_words()}")

    def say(self, text: str) -> None:
        """One line on stderr."""
        click.echo(text, err=True)

    def expected(self, job: Job) -> float:
        """Seconds of a run: the mean of those of its kind that are finished, else the estimate; 0 if not known."""
        took = self.took.get(job.kind)
        cost = self.costs[job.key]
        if took and cost.basis != "records":
            return sum(took) / len(took)
        return cost.seconds

    def left(self) -> float | None:
        """Seconds until all is done; None where nothing is known of any run."""
        now = time.monotonic()
        known = {key: self.expected(job) for key, job in self.jobs.items()}
        typical = [value for value in known.values() if value]
        if not typical:
            return None
        usual = sum(typical) / len(typical)
        work = (self.total - self.before - self._ended) * usual
        if len(self.running) <= self.slots:  # else Ray has them, and how many have begun is not known here
            for key, began in self.running.items():
                expected = known[key] or usual
                work += expected - usual - min(now - began, 0.9 * expected)
        return max(work, 1.0) / max(min(self.slots, self.total - self.before - self._ended), 1)

    def left_words(self) -> str:
        """``, about 5 min left``; empty where it is not known."""
        left = self.left()
        return "" if left is None or self.before + self._ended >= self.total else f", about {seconds(left)} left"


class LiveView(SweepView):
    """The same as a table that is drawn again and again."""

    live: Live

    def say(self, text: str) -> None:
        """One line above the table."""
        self.live.console.print(text, style="dim", markup=False, highlight=False)

    def tick(self, engine: Engine, result: Result) -> None:
        """Draw it."""
        self.live.update(self.drawn(engine.now(), result))

    def drawn(self, doing: Mapping[str, str], result: Result) -> Group:
        """Counts with a bar and the time that is left, and a line for each run."""
        done = len(result.done)
        head = Table.grid(padding=(0, 2))
        failed = f"{len(result.failed)} failed" if result.failed else ""
        head.add_row(
            Text(f"{done}/{self.total} done", style="bold"), ProgressBar(self.total, done, width=30),
            Text(f"{min(len(self.running), self.slots)} running"), Text(failed, style="red"),
            Text(self.left_words().lstrip(", ")),
        )  # fmt: skip
        runs = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
        for name in ("run", "for", "of about", "now"):
            runs.add_column(name, no_wrap=True, overflow="ellipsis")
        now = time.monotonic()
        for key in [*self.running][:SHOWN]:
            expected = self.expected(self.jobs[key])
            runs.add_row(Text(self.jobs[key].label), Text(seconds(now - self.running[key])),
                         Text(seconds(expected) if expected else ""), Text(doing.get(key, "")))  # fmt: skip
        if len(self.running) > SHOWN:
            runs.add_row(Text(f"… and {len(self.running) - SHOWN} more"))
        return Group(head, runs)


class LineView(SweepView):
    """The same in lines, with one now and then while nothing ends."""

    def __init__(self, jobs: Sequence[Job], done: int, costs: Mapping[str, Cost], slots: int) -> None:
        super().__init__(jobs, done, costs, slots)
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        """One line on stderr."""
        super().say(text)
        self._said = time.monotonic()

    def tick(self, engine: Engine, result: Result) -> None:
        """A line where none was printed for a while."""
        if time.monotonic() - self._said > EVERY:
            running = min(len(self.running), self.slots)
            self.say(f"[{len(result.done)}/{self.total}] {running} running{self.left_words()}")


@contextlib.contextmanager
def following(
    jobs: Sequence[Job], found: Mapping[str, Found], costs: Mapping[str, Cost], slots: int
) -> Iterator[SweepView]:  # fmt: skip
    """A view for this terminal, or lines where there is none.

    Args:
        jobs: All runs.
        found: What there is of them.
        costs: What each is expected to take.
        slots: How many run at once.
    """
    done = sum(each.finished for key, each in found.items())
    console = Console(stderr=True, markup=False, emoji=False)
    if not console.is_terminal:
        yield LineView(jobs, done, costs, slots)
        return
    view = LiveView(jobs, done, costs, slots)
    with Live(console=console, transient=True, refresh_per_second=4) as view.live:
        yield view
