"""The API of the running service, from outside: answers, pictures, errors, headers, operation."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.publish.serve.running import Service, ask


def test_a_picture_is_answered_as_predict_answers_it(client: httpx.Client, forged: Path) -> None:
    """The service batches and decodes elsewhere; what it says is what the command says."""
    from dfbench.data.prepare.faces import Mtcnn
    from dfbench.plugins import registry
    from dfbench.publish.predict.looking import Options
    from dfbench.publish.predict.run import Judge, document
    from dfbench.publish.zoo.resolve import resolve

    known = registry()
    judge = Judge(resolve("simple_cnn-replay-forge5", known), known, Mtcnn(None, "cpu"), "cpu")
    expected = document(judge.judge(forged, Options()))
    found = ask(client, forged)["result"]
    assert found["faces"][0]["looks"][0]["box"] == expected["faces"][0]["looks"][0]["box"]
    for key in ("verdict", "code", "reason", "values"):
        assert found[key] == expected[key]
    for key in ("score", "probability"):
        assert found[key] == pytest.approx(expected[key], abs=1e-5)


def test_pictures_of_a_result_are_the_faces_and_their_heat(client: httpx.Client, forged: Path) -> None:
    job = ask(client, forged, heat=True)
    assert job["result"]["heat"] == [0]
    where = f"/api/v1/jobs/{job['id']}/faces/0"
    crop = Image.open(io.BytesIO(client.get(f"{where}/0.jpg").content))
    heat = Image.open(io.BytesIO(client.get(f"{where}/heat.png").content))
    assert (crop.format, heat.format, heat.mode) == ("JPEG", "PNG", "RGBA")
    left, top, side = job["result"]["faces"][0]["looks"][0]["box"]
    own = Image.open(forged).crop((left, top, left + side, top + side)).resize(crop.size)
    assert np.abs(np.asarray(own, float) - np.asarray(crop, float)).mean() < 6
    warmth = np.asarray(heat)[..., 3]
    assert warmth.max() > 150
    assert warmth.std() > 10
    assert client.get(f"{where}/1.jpg").status_code == 404
    assert ask(client, forged)["result"]["heat"] == []


def test_a_video_has_a_time_line_and_progress(client: httpx.Client, film: Path) -> None:
    job = ask(client, film)
    looks = job["result"]["faces"][0]["looks"]
    assert [look["frame"] for look in looks] == list(range(32))
    assert job["progress"] == {"done": 32, "total": 32} or job["progress"]["done"] > 0
    first, second = (np.mean([look["probability"] for look in part]) for part in (looks[:16], looks[16:]))
    assert second - first > 0.3, "the second half is forged"


def test_a_form_and_a_raw_body_are_the_same(client: httpx.Client, forged: Path) -> None:
    with forged.open("rb") as file:
        answer = client.post("/api/v1/jobs", files={"file": ("x.jpg", file)})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/jobs/{answer.json()['id']}"
    assert len(answer.json()["id"]) >= 32


def test_a_deleted_job_is_gone_with_its_pictures(client: httpx.Client, forged: Path) -> None:
    job = ask(client, forged)["id"]
    assert client.get(f"/api/v1/jobs/{job}/faces/0/0.jpg").status_code == 200
    assert client.delete(f"/api/v1/jobs/{job}").status_code == 204
    for path in ("", "/faces/0/0.jpg"):
        answer = client.get(f"/api/v1/jobs/{job}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.delete(f"/api/v1/jobs/{job}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/jobs/nothing", 404, "not_found"),
        ("GET", "/api/v1/jobs/x?wait=nan", 422, "invalid"),
        ("GET", "/api/v1/jobs/x?wait=1000", 422, "invalid"),
        ("POST", "/api/v1/jobs?model=another", 404, "unknown_model"),
        ("POST", "/api/v1/jobs?heat=perhaps", 422, "invalid"),
        ("PUT", "/api/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/static/../app.py", 404, "not_found"),
        ("GET", "/static/%2e%2e/app.py", 404, "not_found"),
    ],
)
def test_errors_have_one_form(method: str, path: str, status: int, code: str, client: httpx.Client) -> None:
    answer = client.request(method, path, content=b"x" if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


def test_forms_that_are_none_are_refused(client: httpx.Client) -> None:
    for kind, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"nonsense"),
        (
            "multipart/form-data; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="t"\r\n\r\nno file\r\n--a--\r\n',
        ),
    ):
        answer = client.post("/api/v1/jobs", content=body, headers={"content-type": kind})
        assert answer.status_code == 400, (kind, answer.text)


def test_the_models_are_those_that_the_operator_listed(client: httpx.Client) -> None:
    answer = client.get("/api/v1/models").json()
    (model,) = answer["models"]
    assert (model["name"], model["scope"]) == ("simple_cnn-replay-forge5", "laboratory")
    assert answer["limits"]["bytes"] == 5_000_000


def test_every_answer_has_the_security_headers(client: httpx.Client) -> None:
    for path in ("/", "/static/main.js", "/api/v1/models", "/nowhere", "/healthz", "/r/x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
    assert "noindex" in client.get("/r/x").headers["x-robots-tag"]


def test_the_page_asks_for_nothing_from_elsewhere_and_has_nothing_inline(client: httpx.Client) -> None:
    html = client.get("/").text
    assert "<style" not in html
    assert " style=" not in html
    assert html.count("<script") == html.count('<script type="module" src="/static/')
    names = ["base.css", "serve.css", "main.js", "texts.js", "examples/forged.jpg", "examples/video.mp4"]
    for name in names:
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        again = client.get(f"/static/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
        if name.endswith((".js", ".css")):
            assert set(re.findall(r"https?://[^\s\"']+", answer.text)) <= {"http://www.w3.org/2000/svg"}


def test_figures_for_operators_count_what_happened(client: httpx.Client, forged: Path) -> None:
    def figure(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    before = figure('dfbench_jobs_ended_total{state="done",what="inconclusive"}'), figure("dfbench_upload_bytes_total")
    ask(client, forged)
    after = figure('dfbench_jobs_ended_total{state="done",what="inconclusive"}'), figure("dfbench_upload_bytes_total")
    assert (after[0] - before[0], after[1] - before[1]) == (1, forged.stat().st_size)
    assert figure("dfbench_workers_ready") == 1


def test_logs_are_json_and_name_nobody(service: Service, client: httpx.Client, forged: Path) -> None:
    with forged.open("rb") as file:
        answer = client.post("/api/v1/jobs", files={"file": ("secret-name.jpg", file)})
    job = answer.json()["id"]
    client.get(f"/api/v1/jobs/{job}")
    client.get("/nowhere/secret-path")
    log = "".join(service.lines)
    assert all(json.loads(line)["event"] for line in service.lines)
    assert service.events("request")
    for secret in (job, "secret", "127.0.0.1"):
        assert secret not in log


def test_the_document_of_the_api_is_whole(client: httpx.Client) -> None:
    document = client.get("/api/openapi.json").json()
    upload = document["paths"]["/api/v1/jobs"]["post"]
    assert set(upload["responses"]) == {"200", "202", "400", "404", "408", "413", "422", "429", "503"}
    assert "multipart/form-data" in upload["requestBody"]["content"]
    for path, methods in document["paths"].items():
        assert not path.startswith(("/static", "/r/"))
        for method in methods.values():
            assert method["summary"]
