"""How fast ``dfbench serve`` answers under load: ``python -m perf.serve``.

* ``pictures``: requests per second and the 95th percentile of the time to an answer, for pictures asked about by
  clients of another process on loopback, against a naive server (FastAPI, the same judge, one request one inference, no
  batches, no separate decoding). Both run in turns with as many worker processes and threads. Goal: at least 2 times.
* ``memory``: resident memory of the service's processes after some and after all of its requests.
* ``killed``: a worker is killed in the middle of its jobs; how many of all jobs that cost, and the seconds to its
  replacement.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

import dfbench.publish.serve
from dfbench.forge.pack import identities, portrait
from perf import results

MODEL = "simple_cnn-replay-forge5"
VIDEO = Path(dfbench.publish.serve.__file__).with_name("assets") / "examples" / "video.mp4"
GOALS = {"times_as_many": 2.0}
NAIVE = """
import io, sys, tempfile
from pathlib import Path
import uvicorn
from fastapi import FastAPI, Request
from dfbench.data.prepare.faces import Mtcnn
from dfbench.plugins import registry
from dfbench.publish.predict.looking import Options
from dfbench.publish.predict.run import Judge, document
from dfbench.publish.zoo.resolve import resolve
import torch
torch.set_num_threads(1)
judge = Judge(resolve(sys.argv[1], registry()), registry(), Mtcnn(None, "cpu"), "cpu")
app = FastAPI()
folder = Path(tempfile.mkdtemp())

@app.post("/judge")
async def answer(request: Request):
    path = folder / "upload"
    path.write_bytes(await request.body())
    return document(judge.judge(path, Options()))

uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""


def main() -> None:
    """Print all figures next to their goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=320, help="per turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory-requests", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    results.add_json(parser)
    arguments, began = parser.parse_args(), results.load()
    pictures = _pictures(arguments.side)
    with _service() as (url, process), _naive() as naive:
        compared = _compared(url, naive, pictures, arguments)
        memory = _memory(url, process, pictures, arguments)
        killed = _killed(url, process, pictures, arguments)
    result = {"name": "serve", "clients": arguments.clients, "requests": arguments.requests, "side": arguments.side,
              **compared, "memory": memory, "killed": killed, "goals": GOALS}  # fmt: skip
    results.report(result, arguments.json, began)


def _pictures(side: int) -> list[bytes]:
    found = []
    for name in identities()[:16]:
        buffer = io.BytesIO()
        Image.fromarray(portrait(name).image).resize((side, side)).save(buffer, "JPEG", quality=92)
        found.append(buffer.getvalue())
    return found


def _compared(url: str, naive: str, pictures: list[bytes], arguments: Any) -> dict[str, Any]:
    kinds = {"serve": lambda client, content: _asked(client, url, content),
             "naive": lambda client, content: _judged(client, naive, content)}  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(arguments.turns):
        for name, ask in kinds.items():
            spent, wall = _load(ask, pictures, arguments.clients, arguments.requests)
            rates[name].append(len(spent) / wall)
            times[name] += spent
    found: dict[str, Any] = {}
    for name in kinds:
        found[name] = {
            "per_second": round(statistics.median(rates[name]), 2),
            "turns": [round(rate, 2) for rate in rates[name]],
            "p95_seconds": round(statistics.quantiles(times[name], n=20)[-1], 3),
        }
    found["times_as_many"] = round(found["serve"]["per_second"] / found["naive"]["per_second"], 2)
    return found


def _load(
    ask: Callable[[httpx.Client, bytes], None], pictures: list[bytes], clients: int, requests: int
) -> tuple[list[float], float]:
    """Seconds of each request, and in all, of clients that ask one after another."""
    spent: list[float] = []
    left = iter(range(requests))

    def client() -> None:
        with httpx.Client(timeout=300) as own:
            for number in left:
                start = time.perf_counter()
                ask(own, pictures[number % len(pictures)])
                spent.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spent, time.perf_counter() - start


def _asked(client: httpx.Client, url: str, content: bytes) -> None:
    job = client.post(f"{url}/api/v1/jobs", content=content, params={"wait": 30}).raise_for_status().json()
    while job["state"] in ("queued", "running"):
        job = client.get(f"{url}/api/v1/jobs/{job['id']}", params={"wait": 30}).raise_for_status().json()
    assert job["state"] == "done", job


def _judged(client: httpx.Client, url: str, content: bytes) -> None:
    assert client.post(f"{url}/judge", content=content).raise_for_status().json()["faces"]


def _memory(url: str, process: int, pictures: list[bytes], arguments: Any) -> dict[str, Any]:
    """Megabytes of each process, summed by kind, in equal stretches of the requests."""
    stretches = 4
    seen = []
    for _ in range(stretches):
        _load(lambda client, content: _asked(client, url, content), pictures, arguments.clients,
              arguments.memory_requests // stretches)  # fmt: skip
        seen.append(round(sum(map(_resident, _family(process))), 1))
    return {"requests": arguments.memory_requests, "megabytes": seen, "grown": round(seen[-1] / seen[0], 3)}


def _killed(url: str, process: int, pictures: list[bytes], arguments: Any) -> dict[str, Any]:
    """How many jobs a killed worker costs; videos among them, so that some are running when it is killed."""
    with httpx.Client(timeout=300) as client:
        worker = next(pid for pid in _children(process) if b"serve.worker" in _command(pid))
        contents = [VIDEO.read_bytes()] * 4 + pictures * 3
        jobs = [client.post(f"{url}/api/v1/jobs", content=content).json()["id"] for content in contents]
        videos = jobs[:4]
        while not any(_job(client, url, job)["state"] == "running" for job in videos):
            time.sleep(0.002)
        os.kill(worker, signal.SIGSTOP)  # so that what is counted is what is running when it is killed
        running = sum(_job(client, url, job)["state"] == "running" for job in jobs)
        os.kill(worker, signal.SIGKILL)
        start = time.perf_counter()
        states = []
        for job in jobs:
            while (found := _job(client, url, job))["state"] in ("queued", "running"):
                time.sleep(0.05)
            states.append(found["state"])
    return {"jobs": len(jobs), "running_when_killed": running, "failed": states.count("failed"),
            "done": states.count("done"), "seconds_to_the_end": round(time.perf_counter() - start, 1)}  # fmt: skip


def _job(client: httpx.Client, url: str, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"{url}/api/v1/jobs/{job}").json()
    return found


def _children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def _family(process: int) -> list[int]:
    return [process, *(each for child in _children(process) for each in _family(child))]


def _command(process: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _resident(process: int) -> float:
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6
    return 0.0


@contextlib.contextmanager
def _service() -> Iterator[tuple[str, int]]:
    line = [sys.executable, "-m", "dfbench", "serve", "--port", "0", "--rate", "0", "--queue", "500", "--device", "cpu",
            "--model", MODEL]  # fmt: skip
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("listening on ")
        assert process.stdout.readline().startswith("ready: ")
        yield url, process.pid
        process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def _naive() -> Iterator[str]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-c", NAIVE, MODEL, str(port)]) as process:
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url)
                break
            time.sleep(0.2)
        yield url
        process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
