"""The contract of a job store: all that the page's process and the workers share. ``docs/serve.md`` describes it.

A job is ``receiving`` while its upload arrives, ``queued``, ``running`` once a worker has claimed it, and ends as
``done`` or ``failed``. Its upload is gone when it ends; the job and its pictures are gone when it expires.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

State = Literal["receiving", "queued", "running", "done", "failed"]


@dataclass(frozen=True)
class Job:
    """One file that somebody asked about.

    Attributes:
        id: Unguessable; who knows it may read the result.
        model: Name of the checkpoint.
        heat: Whether heat maps are wanted.
        state: See the module's docstring.
        made: When it was made, in seconds since 1970.
        started: When a worker claimed it; None before.
        ended: When it ended; None before.
        ahead: How many jobs are before it in the queue.
        done: Frames looked at.
        total: Frames to look at; 0 where that is not known yet.
        document: The result, as ``dfbench predict --json`` gives it for a file; None before and after a failure.
        code: Why it failed, as a stable word.
        message: The same as a line.
    """

    id: str
    model: str
    heat: bool
    state: State
    made: float
    started: float | None = None
    ended: float | None = None
    ahead: int = 0
    done: int = 0
    total: int = 0
    document: Mapping[str, Any] | None = None
    code: str = ""
    message: str = ""

    @property
    def standing(self) -> Standing:
        """What changes before it ends."""
        return Standing(self.state, self.ahead, self.done, self.total)


@dataclass(frozen=True)
class Standing:
    """What changes of a job before it ends; fields as in :class:`Job`."""

    state: State
    ahead: int
    done: int
    total: int


@dataclass(frozen=True)
class Artifact:
    """A small picture that belongs to a result: its media type and its bytes."""

    type: str
    content: bytes


@dataclass(frozen=True)
class WorkerState:
    """A worker as it last described itself.

    Attributes:
        name: Of its process.
        seen: When, in seconds since 1970.
        models: What it can judge with: their identities (``dfbench.publish.predict.run.identity``), the default first.
        protection: What its decoding processes have given up, see :mod:`dfbench.publish.serve.confine`.
    """

    name: str
    seen: float
    models: tuple[Mapping[str, Any], ...] = ()
    protection: tuple[str, ...] = ()


@dataclass(frozen=True)
class Totals:
    """Figures since the store was made.

    Attributes:
        jobs: Number of jobs by state, now.
        ended: Number of ended jobs by (state, verdict or code of the failure).
        seconds: Sum of the seconds from a job's start to its end.
    """

    jobs: Mapping[str, int] = field(default_factory=dict)
    ended: Mapping[tuple[str, str], int] = field(default_factory=dict)
    seconds: float = 0.0


class Store(Protocol):
    """What a job store does. Every method is one transaction and may be called from any thread or process."""

    def reserve(self, model: str, heat: bool, limit: int) -> Job | None:
        """A new job in state ``receiving``; None where ``limit`` jobs are received or queued already."""
        ...

    def upload(self, job: str) -> Path:
        """Where the upload of a job is written, and read by the worker that claims it."""
        ...

    def enqueue(self, job: str) -> bool:
        """The upload is complete. False where the job is gone."""
        ...

    def claim(self, worker: str) -> Job | None:
        """Take the oldest queued job; None where there is none."""
        ...

    def progress(self, job: str, done: int, total: int) -> bool:
        """Note how far a job is. False where it was deleted, and is to be given up."""
        ...

    def finish(self, job: str, document: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> None:
        """End a job with its result and delete its upload. A job that was deleted stays so."""
        ...

    def fail(self, job: str, code: str, message: str) -> None:
        """End a job without a result and delete its upload."""
        ...

    def fail_of(self, worker: str, code: str, message: str) -> int:
        """Fail what a worker that is gone had claimed; how many jobs that were."""
        ...

    def get(self, job: str) -> Job | None:
        """A job; None where there is none, or not any more."""
        ...

    def standings(self, jobs: Sequence[str]) -> dict[str, Standing]:
        """How several jobs stand, without those that are gone: one question for all who wait."""
        ...

    def artifact(self, job: str, name: str) -> Artifact | None:
        """A picture of a job."""
        ...

    def delete(self, job: str) -> bool:
        """Delete a job with everything that belongs to it. False where there is none."""
        ...

    def expire(self, ended_before: float, received_before: float) -> int:
        """Delete jobs that ended, or whose upload began, before these times; how many."""
        ...

    def beat(self, worker: WorkerState) -> None:
        """A worker is ready, and alive."""
        ...

    def forget(self, worker: str) -> None:
        """A worker is gone."""
        ...

    def workers(self) -> list[WorkerState]:
        """The workers that were not forgotten."""
        ...

    def totals(self) -> Totals:
        """Figures for operators."""
        ...

    def version(self) -> int:
        """Changes when another process or thread has changed anything."""
        ...
