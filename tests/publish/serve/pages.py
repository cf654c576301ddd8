"""The application in this process: a real job store, a real server, and no worker, so that jobs stay queued."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from dfbench.publish.serve import connection as connections
from dfbench.publish.serve.api import Desk
from dfbench.publish.serve.app import make_app
from dfbench.publish.serve.metrics import Metrics
from dfbench.publish.serve.settings import PageSettings, WorkerSettings
from dfbench.publish.serve.sqlite import SqliteStore
from dfbench.publish.serve.store import WorkerState
from tests.publish.serve.running import until


@contextmanager
def page(folder: Path, ready: bool = True, **choices: Any) -> Iterator[tuple[httpx.Client, SqliteStore, Desk]]:
    """The application on a free port: a client, its store, its desk."""
    worker = WorkerSettings(data=folder, models=("m",), upload_bytes=1_000_000)
    settings = PageSettings(worker=worker, **choices)
    store = SqliteStore(folder)
    if ready:
        store.beat(WorkerState("w", time.time() + 3600, ({"name": "m"},)))
    desk = Desk(settings, store, Metrics(store))
    proxies = list(settings.trusted_proxies)
    config = uvicorn.Config(
        make_app(desk), port=0, http=connections.Connection, ws="none", lifespan="off", log_config=None,
        proxy_headers=bool(proxies), forwarded_allow_ips=proxies,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the server has started")
    try:
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client, store, desk
    finally:
        server.should_exit = True
        thread.join(20)
