"""What happens when something dies or hangs: a decoding process, a worker, the page's process. One job pays for it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.data.prepare.films import moving, write_video
from tests.publish.serve.running import Service, ask, ended, serving, until

DECODING = "multiprocessing.forkserver"


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """It takes a while to judge."""
    frames = moving(0, 40, side=300, size=(800, 450))
    return write_video(tmp_path_factory.mktemp("film") / "long.mp4", frames).read_bytes()


@pytest.fixture(scope="module")
def fragile() -> Iterator[Service]:
    """A service that takes a job at a time and gives it 15 seconds."""
    pytest.importorskip("fastapi")
    pytest.importorskip("facenet_pytorch")
    with serving("--rate", 0, "--parallel", 1, "--timeout", "15s", "--frames", 40) as running:
        yield running


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def command(process: int) -> str:
    """Its command line."""
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def worker_of(service: Service) -> int:
    """The process of its worker."""
    return next(pid for pid in children(service.process.pid) if "serve.worker" in command(pid))


def decoding(service: Service) -> int:
    """The process that decodes at the moment; 0 where none does."""
    servers = [pid for pid in children(worker_of(service)) if DECODING in command(pid)]
    return next((pid for server in servers for pid in children(server)), 0)


def start(client: httpx.Client, content: bytes) -> str:
    """Upload; the id of the job."""
    return str(client.post("/api/v1/jobs", content=content).json()["id"])


def state(client: httpx.Client, job: str) -> str:
    """Of a job."""
    return str(client.get(f"/api/v1/jobs/{job}").json()["state"])


def test_a_decoding_process_that_is_killed_costs_its_job_only(fragile: Service, long_film: bytes, forged: Path) -> None:
    with fragile.client() as client:
        first, second = start(client, long_film), start(client, forged.read_bytes())
        os.kill(until(lambda: decoding(fragile), "something is decoded"), signal.SIGSEGV)
        job = ended(client, first)
        assert (job["state"], job["error"]["code"]) == ("failed", "crashed")
        assert ended(client, second)["result"]["verdict"] == "inconclusive"
        assert "restarts_total 0.0" in client.get("/metrics").text


def test_a_decoding_process_that_hangs_is_ended_in_time(fragile: Service, long_film: bytes, forged: Path) -> None:
    with fragile.client() as client:
        first = start(client, long_film)
        hanging = until(lambda: decoding(fragile), "something is decoded")
        os.kill(hanging, signal.SIGSTOP)
        job = ended(client, first)
        assert (job["state"], job["error"]["code"]) == ("failed", "timeout")
        until(lambda: not Path(f"/proc/{hanging}").exists(), "it is gone")
        assert ask(client, forged)["result"]["verdict"] == "inconclusive"


def test_a_job_that_is_deleted_is_given_up(fragile: Service, long_film: bytes) -> None:
    with fragile.client() as client:
        job = start(client, long_film)
        process = until(lambda: decoding(fragile), "something is decoded")
        assert client.delete(f"/api/v1/jobs/{job}").status_code == 204
        until(lambda: not Path(f"/proc/{process}").exists(), "it is gone")


def test_a_worker_that_is_killed_costs_its_job_only_and_is_replaced(
    fragile: Service, long_film: bytes, forged: Path
) -> None:
    with fragile.client() as client:
        first, second = start(client, long_film), start(client, forged.read_bytes())
        until(lambda: state(client, first) == "running", "the job runs")
        worker = worker_of(fragile)
        os.kill(worker, signal.SIGKILL)
        job = ended(client, first)
        assert (job["state"], job["error"]["code"]) == ("failed", "worker_died")
        assert ended(client, second)["result"]["verdict"] == "inconclusive"
        assert worker_of(fragile) != worker
        assert "restarts_total 1.0" in client.get("/metrics").text
        assert fragile.events("worker_ended")[-1]["jobs"] == 1


def test_a_worker_outlives_a_job_store_that_is_away(forged: Path, tmp_path: Path) -> None:
    """Somebody else's transaction is longer than a worker waits: it cannot say that it lives, nor look for jobs."""
    with serving("--rate", 0, "--data", tmp_path / "data") as service, service.client() as client:
        worker = worker_of(service)
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / "jobs.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            until(lambda: "the job store is away (OperationalError)" in "".join(service.lines), "it is away")
            other.execute("ROLLBACK")
        until(lambda: client.get("/readyz").status_code == 200, "it is heard again")
        assert ask(client, forged)["state"] == "done"
        assert worker_of(service) == worker
        assert "Traceback" not in "".join(service.lines)


def test_sigterm_finishes_what_runs_and_leaves_nothing(long_film: bytes, tmp_path: Path) -> None:
    with serving("--rate", 0, "--data", tmp_path / "data", "--grace", "200s") as service, service.client() as client:
        workers = children(service.process.pid)
        job = start(client, long_film)
        until(lambda: state(client, job) == "running", "the job runs")
        service.process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/readyz").status_code == 503, "it stops")
        assert client.post("/api/v1/jobs", content=b"x").status_code == 503
        assert ended(client, job)["result"]["verdict"] == "inconclusive"
        assert service.process.wait(100) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        assert list((tmp_path / "data" / "uploads").iterdir()) == []


def test_workers_do_not_outlive_a_page_that_was_killed() -> None:
    with serving() as service:
        worker = worker_of(service)
        everything = [worker, *children(worker)]
        service.process.kill()
        until(lambda: not any(running(pid) for pid in everything), "all are gone")


def running(process: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--model", "nothing"], 2, "unknown checkpoint 'nothing'"),
        (["--faces", "nothing"], 2, "unknown face detector 'nothing'"),
        (["--device", "nonsense"], 2, "nonsense"),
        (["--keep", "soon"], 2, "write a number and s, m, h or d"),
        (["--host", "192.0.2.1"], 2, "cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_be_served_is_one_line(options: list[str], code: int, said: str) -> None:
    line = [sys.executable, "-m", "dfbench", "serve", "--port", "0", *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)
    errors = [each for each in done.stderr.splitlines() if each.startswith("error:")]
    assert done.returncode == code, done.stderr
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in done.stderr


def test_a_result_expires(forged: Path) -> None:
    with serving("--keep", "1s") as service, service.client() as client:
        job = ask(client, forged)["id"]
        until(lambda: client.get(f"/api/v1/jobs/{job}").status_code == 404, "it has expired")
