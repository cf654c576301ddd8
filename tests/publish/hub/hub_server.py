"""A small Hugging Face Hub on 127.0.0.1: the routes that huggingface_hub calls for models and data sets, in memory.

A data set is kept under ``datasets/user/repo``.

What it does not cover: the Xet upload and download path (tests turn Xet off, so the client speaks LFS),
multipart uploads, redirects to a CDN, rate limits, the Hub's own rules about cards, names, sizes and
moderation, and tokens that expire. ``test_hub_live.py`` speaks to the real one where a token is set.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any

from tests.publish.hub.hub_routes import READER, WRITER, Files, Handler, Repo, sha256

__all__ = ["READER", "WRITER", "Files", "Hub", "Repo", "serving", "sha256"]


class Hub(ThreadingHTTPServer):
    """The server, what it holds, what it was asked, and what it is told to do wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.before_commit: Callable[[], None] | None = None
        """Called once, when a commit arrives."""
        self.hold: threading.Event | None = None
        """A commit waits for it; ``held`` says that one is waiting."""
        self.held = threading.Event()
        self.cut: set[str] = set()
        """Files whose next download breaks off half-way."""
        self.instead: Files = {}
        """Contents that are served for a file, whatever was said of it."""
        self.named: str | None = None
        """What it calls the commit, whatever the commit is."""
        self.sizes = True
        """Whether it states sizes and hashes."""
        self.portal = False
        """A login page of the network answers everything."""
        self.endless: set[str] = set()
        """Files that go on for 300 MB, without a stated length."""
        self.sent = 0
        """Bytes of them that were sent."""
        self.lock = threading.RLock()
        self.connections: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def vanish(self) -> None:
        """Be gone from the network, open connections too."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def paths(self, method: str, part: str) -> list[str]:
        """What was asked by this method, with ``part`` in the path."""
        return [path for m, path in self.asked if m == method and part in path]


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A running Hub."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
