"""The real service in a process of its own, and a small client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SMALL = "simple_cnn-replay-forge5"
PATIENCE = 240.0
"""Seconds for anything that happens at its own time, on a busy machine."""


@dataclass
class Service:
    """A running service.

    Attributes:
        process: Of the page.
        url: Its address.
        lines: Of its log, so far.
    """

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self, **options: Any) -> httpx.Client:
        """A client of its own connections."""
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of the log with this event."""
        found = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [each for each in found if each["event"] == name]


@contextmanager
def serving(*options: object, wait: bool = True, default: bool = False) -> Iterator[Service]:
    """``dfbench serve`` on a free port, ready unless ``wait`` is False; it is stopped at the end.

    The small checkpoint of simple_cnn, unless the options name one or ``default`` asks for that of dfbench.
    """
    if "--model" not in options and not default:
        options = (*options, "--model", SMALL)
    process = subprocess.Popen(
        [sys.executable, "-m", "dfbench", "serve", "--port", "0", "--device", "cpu", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    service = Service(process)
    assert process.stdout is not None
    assert process.stderr is not None
    threading.Thread(target=_collect, args=(process.stderr, service.lines), daemon=True).start()
    try:
        service.url = process.stdout.readline().strip().removeprefix("listening on ")
        assert service.url, "".join(service.lines)
        if wait:
            line = process.stdout.readline()
            assert line.startswith("ready: "), "".join(service.lines)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _collect(stream: Any, lines: list[str]) -> None:
    for line in stream:
        lines.append(line)


def until(condition: Any, what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of a condition."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def ask(client: httpx.Client, content: bytes | Path, **query: Any) -> dict[str, Any]:
    """Upload a file and wait for the end of its job."""
    body = content.read_bytes() if isinstance(content, Path) else content
    answer = client.post("/api/v1/jobs", content=body, params=query)
    assert answer.status_code == 202, answer.text
    return ended(client, answer.json()["id"])


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    """Wait for the end of a job."""
    stop = time.monotonic() + PATIENCE
    while time.monotonic() < stop:
        found: dict[str, Any] = client.get(f"/api/v1/jobs/{job}", params={"wait": 20}).json()
        if found["state"] in ("done", "failed"):
            return found
    raise AssertionError("the job did not end")
