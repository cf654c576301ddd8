"""Runs as processes of this machine: cores, GPUs and memory are shared out among them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dfbench.data.workers import cores
from dfbench.errors import UsageError
from dfbench.runs.sweep.engine import Needs, Outcome
from dfbench.runs.sweep.folders import Folders
from dfbench.runs.sweep.plan import Job, places
from dfbench.runs.sweep.process import RunProcess, command, environment
from dfbench.runs.sweep.timing import measure_in

TICK = 0.1
"""Seconds between looks at the processes."""
GIGABYTE = 1e9


@dataclass
class Cards:
    """The GPUs of this machine, of which runs take whole ones or parts."""

    names: list[str]
    """As ``CUDA_VISIBLE_DEVICES`` takes them."""
    free: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = dict.fromkeys(self.names, 1.0)

    def take(self, wanted: float) -> list[str]:
        """The cards for one run: a part of the fullest one that has room, or whole ones.

        Args:
            wanted: More than 0; above 1 a whole number.
        """
        if wanted < 1:
            able = [name for name in self.names if self.free[name] >= wanted - 1e-9]
            chosen = [min(able, key=lambda name: self.free[name])]
        else:
            chosen = [name for name in self.names if self.free[name] >= 1 - 1e-9][: round(wanted)]
        for name in chosen:
            self.free[name] -= min(wanted, 1.0)
        return chosen

    def give_back(self, taken: list[str], wanted: float) -> None:
        """What a run no longer needs."""
        for name in taken:
            self.free[name] = min(self.free[name] + min(wanted, 1.0), 1.0)


class LocalEngine:
    """Processes of this machine.

    Args:
        folders: Of the sweep.
        needs: Of one run.
        data_root: Folder that holds the data sets.
        workers: How many runs at once; None: as many as cores, GPUs and memory allow.
        cards: Names of the GPUs.

    Raises:
        UsageError: Not even one run fits.
    """

    def __init__(
        self, folders: Folders, needs: Needs, data_root: Path | None, workers: int | None, cards: list[str]
    ) -> None:
        self.folders, self.needs, self.data_root = folders, needs, data_root
        self.slots = capacity(needs, workers, len(cards))
        self.cards = Cards(cards)
        self._running: dict[str, tuple[RunProcess, list[str]]] = {}

    @property
    def room(self) -> int:
        """How many more runs fit."""
        return self.slots - len(self._running)

    def start(self, job: Job, place: Path) -> None:
        """Start its process."""
        gpus = self.needs.gpus
        taken = self.cards.take(gpus) if gpus else []
        words = [*job.words, *places(place, self.data_root)]
        shares = environment(self.needs.threads, taken if gpus else None)
        self._running[job.key] = RunProcess(command(words), self.folders.log(job), shares), taken

    def wait(self, seconds: float) -> list[Outcome]:
        """Those that ended, as soon as there is one."""
        deadline = time.monotonic() + seconds
        while True:
            ended = [key for key, (process, _) in self._running.items() if process.ended()]
            if ended or time.monotonic() >= deadline:
                return [self._ended(key) for key in ended]
            time.sleep(TICK)

    def _ended(self, key: str) -> Outcome:
        process, taken = self._running.pop(key)
        self.cards.give_back(taken, self.needs.gpus)
        return process.outcome(key)

    def now(self) -> Mapping[str, str]:
        """What each run printed last."""
        return {key: process.line for key, (process, _) in self._running.items()}

    def measure(self, jobs: list[Job]) -> dict[str, dict[str, float]]:
        """Time first steps, as many at once as runs would be, since they slow each other down."""

        def one(job: Job) -> dict[str, float] | None:
            taken = self.cards.take(self.needs.gpus) if self.needs.gpus else []
            shares = environment(self.needs.threads, taken if self.needs.gpus else None)
            try:
                words = [*job.words, *places(self.folders.work, self.data_root)]
                return measure_in(words, self.folders.logs / f"{job.key[:16]}-timing.log", shares)
            finally:
                self.cards.give_back(taken, self.needs.gpus)

        with ThreadPoolExecutor(self.slots) as pool:
            found = dict(zip((job.key for job in jobs), pool.map(one, jobs), strict=True))
        return {key: seconds for key, seconds in found.items() if seconds is not None}

    def delivered(self, job: Job) -> None:
        """Its log says nothing that its record does not."""
        log = self.folders.log(job)
        for path in (log, log.with_suffix(".json")):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is left: each run was moved to its place."""

    def stop(self) -> None:
        """Interrupt all, and wait for them to come to their ends."""
        for process, _ in self._running.values():
            process.interrupt()
        for process, _ in self._running.values():
            process.end()
        self._running.clear()


def capacity(needs: Needs, workers: int | None, gpus: int) -> int:
    """How many runs at once: what cores, GPUs and memory each allow, and ``workers`` at most.

    Raises:
        UsageError: Not even one.
    """
    limits = {"cores": workers if workers is not None else max(cores() // needs.threads, 1)}
    if needs.gpus:
        per_card = int(1 / needs.gpus + 1e-9) if needs.gpus <= 1 else 0
        limits["GPUs"] = gpus * per_card if per_card else int(gpus / needs.gpus)
        if not limits["GPUs"]:
            raise UsageError(f"--gpus {needs.gpus:g}: there are {gpus} GPUs here")
    if needs.memory:
        total = total_memory() / GIGABYTE
        limits["memory"] = int(total / needs.memory)
        if not limits["memory"]:
            raise UsageError(f"--memory {needs.memory:g}: this machine has {total:.1f} GB")
    return min(limits.values())


def total_memory() -> int:
    """Bytes of memory that processes here may use: the machine's, or less where a container has less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if sys.platform == "linux" and limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        found = min(found, int(text))
    return found


def visible_cards() -> list[str]:
    """Names of the GPUs that this process may use."""
    import torch

    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    if stated is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in stated.split(",") if name.strip()][:count]
