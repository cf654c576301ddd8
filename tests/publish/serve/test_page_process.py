"""What the page's process does by itself: limits of addresses, of the queue, of time, and its memory of what expired.

The application runs with a real job store and no worker: jobs stay queued, which these tests need.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")

from dfbench.publish.serve import connection as connections
from dfbench.publish.serve import server
from dfbench.publish.serve.api import Desk
from dfbench.publish.serve.changes import Changes
from dfbench.publish.serve.metrics import Metrics
from dfbench.publish.serve.rate import Rate
from dfbench.publish.serve.settings import PageSettings, WorkerSettings
from dfbench.publish.serve.sqlite import SqliteStore
from dfbench.publish.serve.store import Artifact, Standing, WorkerState
from tests.publish.serve.pages import page
from tests.publish.serve.running import until


def test_an_address_that_asks_too_often_waits(tmp_path: Path) -> None:
    with page(tmp_path, rate=3) as (client, _, _):
        answers = [client.post("/api/v1/jobs", content=b"x") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[-1].json()["code"] == "too_many"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20


def test_behind_a_trusted_proxy_visitors_count_one_by_one(tmp_path: Path) -> None:
    def ask(client: httpx.Client, forwarded: str) -> int:
        return client.post("/api/v1/jobs", content=b"x", headers={"x-forwarded-for": forwarded}).status_code

    with page(tmp_path / "a", rate=1, trusted_proxies=("127.0.0.1",)) as (client, _, _):
        assert [ask(client, "203.0.113.1"), ask(client, "203.0.113.2"), ask(client, "203.0.113.1")] == [202, 202, 429]
        assert ask(client, "198.51.100.9, 203.0.113.2") == 429, "what a visitor puts before is not believed"
    with page(tmp_path / "b", rate=1) as (client, _, _):
        assert [ask(client, "203.0.113.1"), ask(client, "203.0.113.2")] == [202, 429], "nobody is trusted unless named"


def test_a_full_queue_refuses_and_says_when_to_come_back(tmp_path: Path) -> None:
    with page(tmp_path, rate=0, queue=2) as (client, _, _):
        answers = [client.post("/api/v1/jobs", content=b"x") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert (answers[-1].json()["code"], answers[-1].headers["retry-after"]) == ("busy", "5")
        assert [answer.json()["ahead"] for answer in answers[:2]] == [0, 1]
        assert len(list((tmp_path / "uploads").iterdir())) == 2
        client.delete(f"/api/v1/jobs/{answers[0].json()['id']}")
        assert len(list((tmp_path / "uploads").iterdir())) == 1
        assert client.post("/api/v1/jobs", content=b"x").status_code == 202


def test_a_slow_upload_is_ended(tmp_path: Path) -> None:
    with page(tmp_path, upload_seconds=0.3) as (client, store, _):
        port = client.base_url.port
        assert port
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nslow")
            assert b" 408 " in connection.recv(1000)
        assert store.totals().jobs == {}
        assert list((tmp_path / "uploads").iterdir()) == []


def test_slow_headers_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    with page(tmp_path) as (client, _, _):
        port = client.base_url.port
        assert port
        for start in (b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"):
            received = until_closed(port, start)
            assert (b"200 OK" in received) == (b"\r\n\r\n" in start)


def until_closed(port: int, start: bytes) -> bytes:
    """What a server sends until it closes the connection, after these bytes and nothing more."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(start)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1000):
                received += part
    return received


def test_without_a_worker_nothing_is_taken(tmp_path: Path) -> None:
    with page(tmp_path, ready=False) as (client, _, _):
        for path in ("/readyz", "/api/v1/models"):
            assert client.get(path).status_code == 503
        answer = client.post("/api/v1/jobs", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (503, "no_worker")
        assert client.get("/healthz").status_code == 200


def test_a_service_that_is_being_stopped_takes_nothing_more(tmp_path: Path) -> None:
    with page(tmp_path) as (client, _, desk):
        desk.stopping = True
        assert client.get("/readyz").json()["code"] == "stopping"
        assert client.post("/api/v1/jobs", content=b"x").headers["retry-after"] == "30"


def test_a_waiting_request_is_answered_when_the_job_ends(tmp_path: Path) -> None:
    with page(tmp_path) as (client, store, desk):
        job = client.post("/api/v1/jobs", content=b"x").json()["id"]
        found: list[httpx.Response] = []

        def wait() -> None:
            found.append(client.get(f"/api/v1/jobs/{job}?wait=25"))

        thread = threading.Thread(target=wait)
        start = time.monotonic()
        thread.start()
        until(lambda: desk.changes.waiting, "the request waits")
        assert store.claim("w").id == job  # type: ignore[union-attr]
        thread.join(30)
        assert (found[0].json()["state"], time.monotonic() - start < 20) == ("running", True)
        store.finish(job, DOCUMENT, {"faces/0/0.jpg": Artifact("image/jpeg", b"picture")})
        assert client.get(f"/api/v1/jobs/{job}").json()["result"]["verdict"] == "no face found"


def test_an_upload_that_waits_is_answered_with_the_result(tmp_path: Path) -> None:
    with page(tmp_path) as (client, store, desk):
        found: list[httpx.Response] = []

        def ask(wait: float) -> None:
            found.append(client.post("/api/v1/jobs", params={"wait": wait}, content=b"x"))

        ask(0.05)
        assert (found[0].status_code, found[0].json()["state"]) == (202, "queued"), "the time is over"
        store.delete(found[0].json()["id"])
        for deleted in (False, True):
            thread = threading.Thread(target=ask, args=(25,))
            start = time.monotonic()
            thread.start()
            until(lambda: desk.changes.waiting, "the request waits")
            job = store.claim("w")
            assert job is not None
            store.progress(job.id, 1, 2)
            if deleted:
                store.delete(job.id)
            else:
                store.finish(job.id, DOCUMENT, {})
            thread.join(30)
            assert time.monotonic() - start < 20
        assert [answer.status_code for answer in found] == [202, 200, 404]
        assert found[1].json()["result"]["verdict"] == "no face found"
        assert found[1].headers["location"].endswith(found[1].json()["id"])


def test_who_waits_hears_of_the_own_job_alone_and_the_store_is_asked_once_for_all(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    class Counted(SqliteStore):
        """A store that notes what it is asked."""

        def standings(self, jobs: Sequence[str]) -> dict[str, Standing]:
            asked.append(list(jobs))
            return super().standings(jobs)

    store = Counted(tmp_path)
    made = [store.reserve("m", False, 100) for _ in range(40)]
    names = [job.id for job in made if job is not None]

    async def there() -> None:
        changes = Changes(store)
        waiting = {name: asyncio.create_task(changes.wait(name, Standing("receiving", 0, 0, 0), 60)) for name in names}
        async with asyncio.timeout(60):
            while not asked:
                await asyncio.sleep(0.005)
            await asyncio.to_thread(store.enqueue, names[0])
            assert await waiting[names[0]] == Standing("queued", 0, 0, 0)
            assert changes.waiting == 39
            assert not any(task.done() for name, task in waiting.items() if name != names[0])
            late = await changes.wait(names[0], Standing("receiving", 0, 0, 0), 60)
            assert late == Standing("queued", 0, 0, 0), "it changed before the visitor came"
        for task in waiting.values():
            task.cancel()

    asyncio.run(there())
    assert sorted(asked[0]) == sorted(names)
    assert len(asked) < 10


DOCUMENT = {
    "verdict": "no face found", "reason": "no face", "code": "no_face", "values": {}, "score": None,
    "probability": None, "unfamiliar": None, "media": None, "frames_looked_at": 1, "notes": [], "faces": [], "heat": [],
    "seconds": 0.1,
}  # fmt: skip


def test_a_store_that_is_found_again_forgets_the_dead(tmp_path: Path) -> None:
    """After a power cut, say: what ran is failed, what waited is judged, and nobody else can read the folder."""
    store = SqliteStore(tmp_path / "data")
    running, waiting = (store.reserve("m", False, 10) for _ in range(2))
    assert running
    assert waiting
    for job in (running, waiting):
        store.enqueue(job.id)
    store.claim("dead")
    store.beat(WorkerState("dead", time.time() - 3600))
    found = SqliteStore(tmp_path / "data")
    server._bury(found, time.time())
    assert (found.get(running.id).code, found.get(waiting.id).state) == ("worker_died", "queued")  # type: ignore[union-attr]
    assert found.workers() == []
    for path in (tmp_path / "data", tmp_path / "data" / "uploads", tmp_path / "data" / "jobs.sqlite"):
        assert path.stat().st_mode & 0o077 == 0


class Away(SqliteStore):
    """A store that can be away for a while, as one on another machine can."""

    away = False

    def version(self) -> int:
        if self.away:
            raise ConnectionError("away")
        return super().version()

    def expire(self, ended_before: float, received_before: float) -> int:
        if self.away:
            self.refused = True
            raise ConnectionError("away")
        return super().expire(ended_before, received_before)


def test_a_store_that_was_away_is_tidied_and_watched_again(tmp_path: Path) -> None:
    store = Away(tmp_path)
    store.away, store.refused = True, False
    old = store.reserve("m", False, 10)
    assert old is not None
    store.enqueue(old.id)
    store.claim("w")
    store.fail(old.id, "crashed", "it did")

    async def there() -> None:
        settings = PageSettings(worker=WorkerSettings(data=tmp_path, models=("m",)), keep=0)
        tidying = asyncio.create_task(server._tidy(Desk(settings, store, Metrics(store))))
        changes = Changes(store)
        waiting = asyncio.create_task(changes.wait(old.id, Standing("running", 0, 0, 0), 60))
        async with asyncio.timeout(60):
            while not store.refused:
                await asyncio.sleep(0.01)
            store.away = False
            assert (await waiting).state == "failed"  # type: ignore[union-attr]
            while store.get(old.id) is not None:
                await asyncio.sleep(0.01)
        assert not tidying.done()
        tidying.cancel()

    start = time.monotonic()
    asyncio.run(there())
    assert time.monotonic() - start < 55


def test_tokens_come_back_with_time() -> None:
    now = [0.0]
    rate = Rate(60, lambda: now[0])
    assert [rate.wait("a") for _ in range(61)] == [0] * 60 + [1]
    now[0] = 1.0
    assert [rate.wait("a"), rate.wait("a"), rate.wait("b")] == [0, 1, 0]
    assert rate.wait("2001:db8::1") == 0
    for number in range(59):
        rate.wait(f"2001:db8::{number + 2:x}")
    assert rate.wait("2001:db8::ffff") == 1, "one subscriber has a whole network of addresses"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("server", ("torch", "av", "PIL", "cv2", "numpy")),
        # The process that decoders are forked from: what it holds is copied for each file.
        ("worker.decoding", ("torch", "cv2", "pyarrow", "yaml", "click", "pluggy")),
    ],
)
def test_what_strangers_files_meet_holds_as_little_as_possible(module: str, unwanted: tuple[str, ...]) -> None:
    program = (
        f"import sys, dfbench.publish.serve.{module}\nprint([name for name in {unwanted!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
