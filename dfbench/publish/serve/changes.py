"""Waiting for a change in the job store without asking it once per visitor."""

from __future__ import annotations

import asyncio
import contextlib

from dfbench.publish.serve.store import Store

OFTEN = 0.02
"""Seconds between two looks, while anybody waits."""


class Changes:
    """One task looks whether anything has changed, and wakes all who wait.

    Args:
        store: Of the jobs.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._waiting = store, 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    async def wait(self, seconds: float) -> None:
        """Until something in the store changes, or the time is over."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
        finally:
            self._waiting -= 1

    async def _look(self) -> None:
        version = self._version()
        idle = 0
        while self._waiting or idle < 50:
            await asyncio.sleep(OFTEN)
            idle = 0 if self._waiting else idle + 1
            now = self._version()
            if now is not None and now != version:
                version = now
                self._changed.set()
                self._changed = asyncio.Event()
        self._task = None

    def _version(self) -> int | None:
        """That of the store; None while it is away: who waits is woken when it is back, or by the clock."""
        try:
            return self._store.version()
        except Exception:
            return None
