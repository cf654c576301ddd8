"""Run the service: the page's process, its workers, the clock that deletes what has expired, and a stop with grace."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from dfbench.errors import UsageError
from dfbench.publish.serve import logs
from dfbench.publish.serve.api import Desk
from dfbench.publish.serve.app import make_app
from dfbench.publish.serve.connection import Connection
from dfbench.publish.serve.metrics import Metrics, alive
from dfbench.publish.serve.settings import PageSettings
from dfbench.publish.serve.store import Store, WorkerState
from dfbench.publish.serve.stores import open_store
from dfbench.publish.serve.workers import DIED, SILENT, Workers

CONNECTIONS = 1000
"""At a time; more are answered with 503."""
TIDY = 5.0
"""Seconds between two deletions of what has expired."""
LAST_ANSWERS = 3.0
"""Seconds after the last job in which its visitor may fetch the result."""

Say = Callable[[str], None]


def run(settings: PageSettings, say: Say) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code.

    Args:
        settings: What the operator chose.
        say: Receives a line when the service listens and when it is ready.

    Raises:
        UsageError: The address cannot be listened on.
        StorageError: The job store does not answer, or its folder cannot be written to.
    """
    logs.set_up()
    return asyncio.run(_run(settings, say))


class _Server(uvicorn.Server):
    """uvicorn's, which goes on answering while the last jobs are finished."""

    stop_asked = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks, the second one ends."""
        if self.stop_asked:
            self.should_exit = self.force_exit = True
        self.stop_asked = True


async def _run(settings: PageSettings, say: Say) -> int:
    store = open_store(settings.worker)
    metrics = Metrics(store)
    desk = Desk(settings, store, metrics)
    config = uvicorn.Config(
        make_app(desk), host=settings.host, port=settings.port, http=Connection, ws="none", lifespan="off",
        log_config=None, access_log=False, server_header=False, limit_concurrency=CONNECTIONS,
        proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_keep_alive=20, timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = _Server(config)
    listening = _listening(settings)
    host, port = listening.getsockname()[:2]
    say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")
    workers = Workers(settings.worker, store, settings.workers, metrics)
    workers.start()
    jobs = [asyncio.create_task(_tidy(desk)), asyncio.create_task(_announce(desk, say))]
    stopping = asyncio.create_task(_stop_when_asked(server, desk, workers))
    await server.serve(sockets=[listening])
    for task in (*jobs, stopping):
        task.cancel()
    await workers.stop(5)
    logs.event("stopped")
    return workers.broken.result() if workers.broken.done() else 0


def _bury(store: Store, now: float) -> None:
    """Fail the jobs of workers that nobody looked after when they died, with their page's process."""
    for worker in store.workers():
        if now - worker.seen > 2 * SILENT:
            store.fail_of(worker.name, "worker_died", DIED)  # first: a worker that is forgotten is not buried again
            store.forget(worker.name)


def _listening(settings: PageSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=512)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot listen on {settings.host}:{settings.port} ({reason}); choose another --port"
        ) from None


async def _announce(desk: Desk, say: Say) -> None:
    """Say once what the service can do."""
    ready: list[WorkerState] = []
    while not ready:
        with contextlib.suppress(Exception):  # a store that is away; requests and tidying say so
            ready = alive(desk.store)
        await asyncio.sleep(0 if ready else 0.1)
    names = ", ".join(str(model["name"]) for model in ready[0].models)
    held = ready[0].protection
    say(f"ready: {names}; decoding processes are confined by {', '.join(held)}")
    if missing := [name for name in ("files", "calls") if name not in held]:
        logs.event("less_protection", logging.WARNING, missing=missing)


async def _tidy(desk: Desk) -> None:
    settings = desk.settings
    while True:
        now = time.time()
        received = now - settings.upload_seconds - 30
        try:
            await asyncio.to_thread(desk.store.expire, now - settings.keep, received)
            await asyncio.to_thread(_bury, desk.store, now)
        except Exception as error:  # a store that is away for a while: what is old is deleted when it is back
            logs.event("store_failed", logging.ERROR, error=type(error).__name__)
        await asyncio.sleep(min(TIDY, max(settings.keep / 4, 0.2)))


async def _stop_when_asked(server: _Server, desk: Desk, workers: Workers) -> None:
    """Refuse new files, let jobs end, give their visitors time to read, and stop."""
    while not server.stop_asked and not workers.broken.done():
        await asyncio.sleep(0.05)
    desk.stopping = True
    logs.event("stopping")
    stop, busy = time.monotonic() + desk.settings.grace, False
    while not workers.broken.done():
        if any(each.name not in workers.names for each in await asyncio.to_thread(alive, desk.store)):
            await workers.stop(max(stop - time.monotonic(), 0))  # what waits is for the workers of other machines
            break
        jobs = (await asyncio.to_thread(desk.store.totals)).jobs
        if not any(jobs.get(state) for state in ("receiving", "queued", "running")):
            break
        if time.monotonic() > stop:
            logs.event("jobs_given_up", logging.WARNING)
            break
        busy = True
        await asyncio.sleep(0.05)
    if busy:
        await asyncio.sleep(LAST_ANSWERS)
    server.should_exit = True
