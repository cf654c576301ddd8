"""Waiting for news of a job without asking the job store once per visitor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from dfbench.publish.serve.store import Standing, Store

OFTEN = 0.02
"""Seconds between two looks, while anybody waits."""


@dataclass(eq=False)
class _Visitor:
    job: str
    known: Standing
    news: asyncio.Future[Standing | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Changes:
    """One task looks whether anything has changed; it wakes those whose own job has.

    Args:
        store: Of the jobs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._visitors: set[_Visitor] = set()
        self._arrived = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._visitors)

    async def wait(self, job: str, known: Standing, seconds: float) -> Standing | None:
        """How a job stands as soon as that is no longer ``known``, or when the time is over; None where it is gone."""
        visitor = _Visitor(job, known)
        self._visitors.add(visitor)
        self._arrived = True  # it may have changed between the visitor's look and now
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                return await visitor.news
        except TimeoutError:
            return known
        finally:
            self._visitors.discard(visitor)

    async def _look(self) -> None:
        seen: int | None = None
        idle = 0
        while self._visitors or idle < 50:
            idle = 0 if self._visitors else idle + 1
            try:
                version = self._store.version()
                if self._visitors and (self._arrived or version != seen):
                    self._arrived = False
                    await self._tell()
                seen = version
            except Exception:  # the store is away: who waits hears when it is back, or when the time is over
                seen = None
            await asyncio.sleep(OFTEN)
        self._task = None

    async def _tell(self) -> None:
        visitors = list(self._visitors)
        found = await run_in_threadpool(self._store.standings, sorted({visitor.job for visitor in visitors}))
        for visitor in visitors:
            stands = found.get(visitor.job)
            if stands != visitor.known and not visitor.news.done():
                visitor.news.set_result(stands)
