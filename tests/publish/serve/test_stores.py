"""The contract of a job store, held by each: SQLite in a folder, Redis as fakeredis has it, and Redis itself."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfbench.errors import StorageError, UsageError
from dfbench.publish.serve import server
from dfbench.publish.serve.settings import WorkerSettings
from dfbench.publish.serve.sqlite import SqliteStore
from dfbench.publish.serve.store import Artifact, Standing, Store, WorkerState
from dfbench.publish.serve.stores import open_store
from tests.conftest import dfbench
from tests.publish.serve.running import ask, serving

redis = pytest.importorskip("redis")
from dfbench.publish.serve.redis_store import RedisStore  # noqa: E402

DOCUMENT = {"verdict": "no face found", "score": None}
Made = Callable[[str], Store]
"""A store as a machine of this name opens it; all share what stores share."""


@contextlib.contextmanager
def fake(folder: Path) -> Iterator[str]:
    fakeredis = pytest.importorskip("fakeredis")
    found = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"redis://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
    found.server_close()


@contextlib.contextmanager
def real(folder: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if "eady to accept connections" in said:
                break
        yield f"redis://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(params=["sqlite", "fakeredis", "redis"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    if request.param == "sqlite":
        yield lambda machine: SqliteStore(tmp_path / "data")
        return
    with (fake if request.param == "fakeredis" else real)(tmp_path) as url:
        yield lambda machine: RedisStore(url, tmp_path / machine)


def queued(store: Store, content: bytes = b"upload", **more: int) -> str:
    job = store.reserve("m", True, more.get("limit", 10))
    assert job is not None
    store.upload(job.id).write_bytes(content)
    assert store.enqueue(job.id)
    return job.id


def test_a_job_from_its_upload_to_its_result(made: Made) -> None:
    page, worker = made("page"), made("worker")
    job = page.reserve("m", True, 10)
    assert job is not None
    assert (job.state, job.heat, job.model) == ("receiving", True, "m")
    assert worker.claim("w") is None
    page.upload(job.id).write_bytes(b"\x00\xffcontent")
    assert page.enqueue(job.id)
    assert not page.enqueue(job.id)
    claimed = worker.claim("w")
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.heat) == (job.id, "running", True)
    assert worker.upload(job.id).read_bytes() == b"\x00\xffcontent"
    assert worker.claim("w") is None
    assert worker.progress(job.id, 3, 8)
    found = page.get(job.id)
    assert found is not None
    assert (found.state, found.done, found.total, found.document) == ("running", 3, 8, None)
    worker.finish(job.id, DOCUMENT, {"faces/0/0.jpg": Artifact("image/jpeg", b"\x00pic\x00ture")})
    found = page.get(job.id)
    assert found is not None
    assert (found.state, found.document) == ("done", DOCUMENT)
    assert found.made <= found.started <= found.ended  # type: ignore[operator]
    assert page.artifact(job.id, "faces/0/0.jpg") == Artifact("image/jpeg", b"\x00pic\x00ture")
    assert page.artifact(job.id, "faces/0/1.jpg") is None
    for store in (page, worker):
        assert not store.upload(job.id).exists()
    worker.fail(job.id, "late", "it has ended already")
    assert page.get(job.id).state == "done"  # type: ignore[union-attr]


def test_jobs_wait_in_their_order_and_no_more_than_the_limit(made: Made) -> None:
    store = made("page")
    first, second = queued(store, limit=3), queued(store, limit=3)
    third = store.reserve("m", False, 3)
    assert third is not None
    assert store.reserve("m", False, 3) is None
    assert [store.get(job).ahead for job in (first, second)] == [0, 1]  # type: ignore[union-attr]
    assert made("another").standings([second, "nobody", third.id, first]) == {
        first: Standing("queued", 0, 0, 0),
        second: Standing("queued", 1, 0, 0),
        third.id: Standing("receiving", 0, 0, 0),
    }
    assert store.claim("w").id == first  # type: ignore[union-attr]
    assert store.get(second).ahead == 0  # type: ignore[union-attr]
    store.progress(first, 3, 8)
    assert store.standings([first, second]) == {
        first: Standing("running", 0, 3, 8),
        second: Standing("queued", 0, 0, 0),
    }
    assert all(store.get(job).standing == stands for job, stands in store.standings([first, second]).items())  # type: ignore[union-attr]
    assert store.standings([]) == {}
    assert store.reserve("m", False, 3) is not None


def test_what_is_deleted_is_gone_wherever_it_was(made: Made) -> None:
    store = made("page")
    receiving, waiting, running = store.reserve("m", False, 10), queued(store), queued(store)
    assert receiving is not None
    assert store.claim("w").id == waiting  # type: ignore[union-attr]
    for job in (receiving.id, waiting, running):
        assert store.delete(job)
        assert store.get(job) is None
        assert not store.delete(job)
        assert not store.enqueue(job)
        assert not store.progress(job, 1, 2)
        store.finish(job, DOCUMENT, {"a": Artifact("image/png", b"x")})
        assert store.artifact(job, "a") is None
    assert store.claim("w") is None
    assert dict(store.totals().jobs) == {}


def test_a_dead_worker_costs_its_running_jobs_only(made: Made) -> None:
    store = made("page")
    jobs = [queued(store) for _ in range(4)]
    for worker in ("dead", "dead", "alive"):
        store.claim(worker)
    store.beat(WorkerState("dead", time.time() - 3600))
    store.beat(WorkerState("alive", time.time(), ({"name": "m"},), ("limits",)))
    server._bury(store, time.time())
    found = [store.get(job) for job in jobs]
    assert [job.state for job in found if job] == ["failed", "failed", "running", "queued"]
    assert found[0] is not None
    assert (found[0].code, bool(found[0].message)) == ("worker_died", True)
    (left,) = store.workers()
    assert (left.name, left.models, left.protection) == ("alive", ({"name": "m"},), ("limits",))
    store.forget("alive")
    assert store.workers() == []


def test_what_ended_long_ago_is_gone_and_what_waits_stays(made: Made) -> None:
    store = made("page")
    ended, waiting, receiving = queued(store), queued(store), store.reserve("m", False, 10)
    assert receiving is not None
    assert store.claim("w").id == ended  # type: ignore[union-attr]
    store.finish(ended, DOCUMENT, {"a": Artifact("image/png", b"secret")})
    assert store.expire(time.time() - 10, time.time() - 10) == 0
    assert store.expire(time.time() + 10, time.time() + 10) == 2
    assert (store.get(ended), store.artifact(ended, "a"), store.get(receiving.id)) == (None, None, None)
    assert store.get(waiting).state == "queued"  # type: ignore[union-attr]


def test_totals_count_states_verdicts_and_seconds(made: Made) -> None:
    store = made("page")
    jobs = [queued(store) for _ in range(4)]
    for _ in range(3):
        store.claim("w")
    store.finish(jobs[0], DOCUMENT, {})
    store.finish(jobs[1], {"verdict": "likely fake"}, {})
    store.fail(jobs[2], "timeout", "too long")
    found = store.totals()
    assert dict(found.jobs) == {"done": 2, "failed": 1, "queued": 1}
    assert dict(found.ended) == {("done", "no face found"): 1, ("done", "likely fake"): 1, ("failed", "timeout"): 1}
    assert 0 <= found.seconds < 60


def test_one_job_is_claimed_by_one_worker_of_many_machines(made: Made) -> None:
    page = made("page")
    jobs = {queued(page, limit=100) for _ in range(40)}
    claimed: list[str] = []

    def work(name: str) -> None:
        own = made(name)
        while job := own.claim(name):
            claimed.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(claimed) == sorted(jobs)


def test_a_change_elsewhere_is_seen(made: Made) -> None:
    page, worker = made("page"), made("worker")
    job = queued(page)
    for change in (
        lambda: worker.claim("w"),
        lambda: worker.progress(job, 1, 2),
        lambda: worker.finish(job, DOCUMENT, {}),
        lambda: worker.delete(job),
    ):
        before = page.version()
        change()
        assert page.version() != before


def test_an_address_that_is_none_and_one_that_does_not_answer_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--store: Redis URL must specify"):
        open_store(WorkerSettings(data=tmp_path, store="localhost", models=("m",)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = WorkerSettings(data=tmp_path, store=f"redis://:secret@127.0.0.1:{port}", models=("m",))
    assert "secret" not in repr(settings)
    with pytest.raises(StorageError, match="the job store \\(Redis\\) does not answer") as caught:
        open_store(settings)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(open_store(WorkerSettings(data=tmp_path, models=("m",))), SqliteStore)


def test_a_picture_that_one_machine_receives_is_judged_by_another(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("facenet_pytorch")
    picture = Path(server.__file__).with_name("assets") / "examples" / "forged.jpg"
    with (
        (real if shutil.which("redis-server") else fake)(tmp_path) as url,
        serving("--store", url, "--workers", 0, "--data", tmp_path / "front", wait=False) as front,
        serving("--store", url, "--workers", 1, "--data", tmp_path / "back") as back,
        front.client() as here,
        back.client() as there,
    ):
        found = ask(here, picture)
        assert found["state"] == "done"
        assert len(found["result"]["faces"]) == 1
        assert there.get(f"/api/v1/jobs/{found['id']}").json() == found
        crops = [client.get(f"/api/v1/jobs/{found['id']}/faces/0/0.jpg") for client in (here, there)]
        assert crops[0].content == crops[1].content
        assert here.delete(f"/api/v1/jobs/{found['id']}").status_code == 204
        assert there.get(f"/api/v1/jobs/{found['id']}").status_code == 404
        assert list(tmp_path.rglob("*/uploads/*")) == []


def test_nobody_to_judge_is_said_at_the_start() -> None:
    found = dfbench("serve", "--workers", 0)
    assert (found.code, found.err) == (
        2,
        "error: --workers 0 needs --store: without other machines nobody would judge anything\n",
    )
