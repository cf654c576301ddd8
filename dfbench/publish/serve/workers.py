"""Start workers, look after them, and replace one that has died or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import time

from dfbench.publish.serve import logs
from dfbench.publish.serve.metrics import Metrics
from dfbench.publish.serve.settings import WorkerSettings
from dfbench.publish.serve.store import Store

LOOK = 1.0
"""Seconds between two looks at a worker."""
SILENT = 30.0
"""Seconds without a sign of life after which a worker is killed."""
LOADING = 600.0
"""Seconds that it may take to get ready."""
PATIENCE = (0.5, 1, 2, 5, 10, 30)
"""Seconds before a worker is started once more, after one, two, … that did not get ready."""
DIED = "the process that judged the file died; try again"


class Workers:
    """The worker processes of a service.

    Args:
        settings: What they are to hold and to keep to.
        store: Of the jobs.
        count: How many.
        metrics: Where replacements are counted.

    Attributes:
        broken: The exit code of a worker that has not got ready when the service was started; nothing before.
    """

    def __init__(self, settings: WorkerSettings, store: Store, count: int, metrics: Metrics) -> None:
        self._settings, self._store, self._count, self._metrics = settings, store, count, metrics
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._ever_ready = False
        self.broken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def names(self) -> set[str]:
        """Of the workers that run."""
        return {*self._processes}

    def start(self) -> None:
        """Start all of them; they get ready in their own time."""
        self._tasks = [asyncio.create_task(self._keep(number)) for number in range(self._count)]

    async def stop(self, seconds: float) -> None:
        """End all of them: after their jobs, and at the latest after some seconds."""
        self._stopping = True
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(self._tasks, timeout=seconds) if self._tasks else (set(), set())
        for process in list(self._processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for task in late:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(task, 5)

    async def _keep(self, number: int) -> None:
        failures = 0
        while not self._stopping:
            name = f"{number}-{secrets.token_hex(4)}"
            process = await self._started(name)
            ready = await self._watched(name, process)
            lost = 0
            with contextlib.suppress(Exception):  # a store that is away: its jobs are failed once the worker is buried
                lost = self._store.fail_of(name, "worker_died", DIED)
                self._store.forget(name)
            if self._stopping:
                return
            code = process.returncode
            logs.event("worker_ended", logging.ERROR, code=code, jobs=lost)
            if not ready and not self._ever_ready:
                if not self.broken.done():
                    self.broken.set_result(code if code and code > 0 else 1)
                return
            self._metrics.restarts.inc()
            failures = 0 if ready else failures + 1
            await asyncio.sleep(PATIENCE[min(failures, len(PATIENCE) - 1)])

    async def _started(self, name: str) -> asyncio.subprocess.Process:
        threads = str(self._settings.threads)
        environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dfbench.publish.serve.worker", name,
            stdin=asyncio.subprocess.PIPE, stdout=sys.stderr, env=environment,
        )  # fmt: skip
        self._processes[name] = process
        assert process.stdin is not None  # it stays open: a worker ends with it
        with contextlib.suppress(ConnectionError):
            process.stdin.write(self._settings.model_dump_json().encode() + b"\n")
            await process.stdin.drain()
        if self._stopping:
            process.terminate()
        return process

    async def _watched(self, name: str, process: asyncio.subprocess.Process) -> bool:
        """Until it has ended; whether it was ever ready."""
        began, away, ready = time.time(), 0.0, False
        while True:
            try:
                await asyncio.wait_for(process.wait(), LOOK)
                break
            except TimeoutError:
                pass
            try:
                seen = next((worker.seen for worker in self._store.workers() if worker.name == name), None)
            except Exception as error:  # a store that is away says nothing of the worker
                logs.event("store_failed", logging.ERROR, error=type(error).__name__)
                away = time.time()  # nobody could be heard until now
                continue
            if seen is not None and not ready:
                ready = self._ever_ready = True
                logs.event("worker_ready", seconds=round(time.time() - began, 1))
            silent = time.time() - max(began if seen is None else seen, away)
            if silent > (LOADING if seen is None else SILENT):
                logs.event("worker_silent", logging.ERROR, seconds=round(silent))
                process.send_signal(signal.SIGKILL)
        del self._processes[name]
        return ready
