"""``dfbench serve`` as a newcomer starts it: no option names a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.plugins import registry
from dfbench.publish.zoo.resolve import resolve
from tests.publish.serve.running import serving


def test_without_a_model_the_default_checkpoint_answers_and_says_what_it_is(pristine: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("facenet_pytorch")
    (name,) = (Path(__file__).parents[3] / "zoo" / "default").read_text().split()
    entry = resolve(name, registry()).entry
    with serving(default=True) as service, service.client() as client:
        models = client.get("/api/v1/models").json()["models"]
        assert [model["name"] for model in models] == [name]
        answer = client.post("/api/v1/jobs?wait=30&heat=true", content=pristine.read_bytes())
        job = answer.json()
        while job["state"] in ("queued", "running"):  # on a busy machine
            job = client.get(f"/api/v1/jobs/{job['id']}?wait=30").json()
        assert (job["state"], job["model"]) == ("done", name)
        result = job["result"]
        assert (result["verdict"], result["code"]) == ("inconclusive", "laboratory")
        assert 0 <= result["faces"][0]["probability"] <= 1
        assert result["heat"] == [0]
        assert models[0]["weights_sha256"] == entry.weights.sha256
