"""What runs the jobs of a sweep: processes of this machine, or tasks of Ray."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dfbench.errors import IncompatibleError, StorageError, printable
from dfbench.runs.sweep.plan import Job

LINE = 400
"""Letters of a process's last words."""


@dataclass(frozen=True)
class Needs:
    """What one run takes of a machine."""

    threads: int = 1
    gpus: float = 0.0
    """A part of one GPU, or whole ones."""
    memory: float = 0.0
    """Gigabytes; 0: not counted."""


@dataclass(frozen=True)
class Outcome:
    """How a run's process ended."""

    key: str
    code: int
    """0: finished; below 0: killed by that signal; else the exit code of ``dfbench eval``."""
    message: str = ""
    """Why it failed, in one line."""
    folder: Path | None = None
    """Where the finished run lies, on this machine."""
    seconds: float = 0.0
    """From its start to its end."""
    where: str = ""
    """The machine, where there are several."""

    @property
    def impossible(self) -> bool:
        """The strategy cannot train the detector: no seed would change that."""
        return self.code == IncompatibleError.exit_code

    @property
    def worth_another_try(self) -> bool:
        """Whether the same command may go better: it was killed, the disk was full, or something unexpected happened.

        Bad input stays bad: it is not tried again.
        """
        return self.code < 0 or self.code in (1, StorageError.exit_code)


class Engine(Protocol):
    """Runs jobs."""

    slots: int
    """How many runs at once, as far as it is known."""

    @property
    def room(self) -> int:
        """How many more jobs it takes now."""

    def start(self, job: Job, place: Path) -> None:
        """Begin a job; ``place`` is the folder of runs on this machine that it may be made in."""

    def wait(self, seconds: float) -> list[Outcome]:
        """The jobs that ended, after so many seconds at most."""

    def now(self) -> Mapping[str, str]:
        """Key of a job that runs → what it does, or where."""

    def measure(self, jobs: list[Job]) -> dict[str, dict[str, float]]:
        """Time the first steps of jobs (:mod:`dfbench.cli.sweep_timing`): key → seconds; failed ones are left out."""

    def delivered(self, job: Job) -> None:
        """A job's result is in its place: what is left of it elsewhere may go."""

    def close(self) -> None:
        """Everything is done: nothing is left anywhere."""

    def stop(self) -> None:
        """End what runs, as Ctrl-C does: finished experiences are kept."""


def last_words(text: str) -> str:
    """The line of a process's output that says most: its error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    found = (errors or lines or [""])[-1].removeprefix("error: ")
    return printable(found)[:LINE]


def killed_by(code: int) -> str:
    """What a process died of, in words."""
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
