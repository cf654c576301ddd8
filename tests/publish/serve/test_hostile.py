"""Bad uploads against the running service: each gets its clear answer, and the service is well after it."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.publish.serve import hostile
from tests.publish.serve.running import Service, ask, ended, until

NAMES = sorted(hostile.files(Path()))


def well(client: httpx.Client) -> None:
    """The service is ready, no worker was lost, and nothing was left behind."""
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    figures = client.get("/metrics").text
    assert "dfbench_worker_restarts_total 0.0" in figures
    assert 'dfbench_jobs{state="receiving"} 0.0' in figures


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_is_answered_and_the_service_is_well(name: str, client: httpx.Client, tmp_path: Path) -> None:
    make, said = hostile.files(tmp_path)[name]
    job = ask(client, make())
    assert job["state"] == "done", job
    result = job["result"]
    known = result["code"] if result["verdict"] == "not supported" else result["verdict"]
    assert known in said.split("|"), result
    if result["verdict"] == "not supported":
        assert result["reason"]
        assert not result["faces"]
    well(client)


def test_of_forty_faces_the_largest_sixteen_are_judged(client: httpx.Client) -> None:
    result = ask(client, hostile.png(hostile.crowd()))["result"]
    assert len(result["faces"]) == 16
    assert any("more faces" in note for note in result["notes"])


def test_boxes_are_those_of_the_picture_as_it_is_shown(client: httpx.Client) -> None:
    result = ask(client, hostile.turned())["result"]
    assert (result["media"]["width"], result["media"]["height"]) == (300, 200)
    left, top, side = result["faces"][0]["looks"][0]["box"]
    assert abs(left + side / 2 - 175) < 40
    assert abs(top + side / 2 - 100) < 40


def test_times_are_those_of_the_frames_where_the_rate_varies(client: httpx.Client, tmp_path: Path) -> None:
    make, _ = hostile.files(tmp_path)["varying frame rate"]
    looks = ask(client, make())["result"]["faces"][0]["looks"]
    assert [look["seconds"] for look in looks] == pytest.approx([0, 0.04, 0.5, 2, 2.04, 2.08, 5, 5.04], abs=0.002)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "名字 🎭.jpg", "a" * 300 + ".jpg", "x.mp4", "con.png\0.html"])
def test_names_mean_nothing(name: str, client: httpx.Client, service: Service, pristine: Path) -> None:
    with pristine.open("rb") as file:
        answer = client.post("/api/v1/jobs", files={"file": (name, file, "text/html")})
    assert answer.status_code == 202
    job = ended(client, answer.json()["id"])
    assert job["result"]["verdict"] == "inconclusive"
    assert name not in "".join(service.lines)
    well(client)


def test_a_crop_of_a_polyglot_is_a_picture_and_nothing_else(client: httpx.Client, tmp_path: Path) -> None:
    make, _ = hostile.files(tmp_path)["picture and html"]
    job = ask(client, make())
    crop = client.get(f"/api/v1/jobs/{job['id']}/faces/0/0.jpg")
    assert crop.headers["content-type"] == "image/jpeg"
    assert crop.headers["x-content-type-options"] == "nosniff"
    assert b"<script>" not in crop.content


def test_a_file_beyond_the_limit_is_refused_while_it_arrives(client: httpx.Client) -> None:
    def chunks():
        for _ in range(100):
            yield bytes(100_000)

    for body in (bytes(5_000_001), chunks()):
        answer = client.post("/api/v1/jobs", content=body)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    answer = client.post("/api/v1/jobs", files={"file": ("a.png", bytes(5_000_001))})
    assert answer.status_code == 413
    well(client)


def test_an_aborted_upload_leaves_nothing(service: Service, client: httpx.Client) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + bytes(1000))
        until(lambda: 'dfbench_jobs{state="receiving"} 1.0' in client.get("/metrics").text, "the upload has begun")
    until(lambda: 'dfbench_jobs{state="receiving"} 0.0' in client.get("/metrics").text, "the upload is forgotten")
    well(client)


def test_two_hundred_at_once_all_get_their_answer(service: Service, client: httpx.Client, pristine: Path) -> None:
    start = threading.Barrier(20)

    def upload(number: int) -> int:
        if number < 20:
            start.wait(60)
        content = pristine.read_bytes() if number % 10 == 0 else b"no picture %d" % number
        with service.client() as own:
            answer = own.post("/api/v1/jobs", content=content)
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) > 0
                return 0
            assert answer.status_code == 202
            return int(ended(own, answer.json()["id"])["state"] == "done")

    with ThreadPoolExecutor(20) as pool:
        done = sum(pool.map(upload, range(200)))
    assert done == 200, "the queue of this service holds 250"
    well(client)
