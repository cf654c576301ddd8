"""A checkpoint whose network is timm's is one that timm can load by itself, from what was pushed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dfbench.data.pictures import read_picture
from dfbench.plugins import Registry, load_plugins
from dfbench.publish.hub.push import plan, publish_run
from dfbench.publish.hub.repository import is_timm
from dfbench.publish.zoo.predictor import Predictor
from dfbench.publish.zoo.resolve import open_checkpoint
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from tests.cli.harness import install, plugins_of
from tests.publish.hub.hub_server import WRITER, Hub

PLUGIN = {
    "dfbench_timmed.py": '''
import timm
from dfbench import Detector, DetectorEntry, hookimpl, normalize

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@hookimpl
def register_detectors():
    return [DetectorEntry("timmed", "dfbench_timmed:Timmed", "a network of timm")]


class Timmed(Detector):
    """timm's smallest residual network."""

    image_size = (48, 64)

    def build(self):
        return timm.create_model("test_resnet", num_classes=self.task.num_classes)

    def inputs(self, batch, training):
        return normalize(batch.pixels, MEAN, STD)
''',
}
ALONE = """
import sys, json, timm, torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
model = timm.create_model(sys.argv[1], pretrained=True).eval()
config = resolve_model_data_config(model)
picture = create_transform(**config, is_training=False)(Image.open(sys.argv[2]).convert("RGB"))
with torch.no_grad():
    logits = model(picture[None])[0]
assert not any(name.startswith("dfbench") for name in sys.modules)
labels = model.pretrained_cfg.get("label_names")
print(json.dumps({"p": logits.softmax(0).tolist(), "shape": list(picture.shape), "labels": labels}))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("timmed"), "dfbench_timmed", PLUGIN)


@pytest.fixture
def registry(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with plugins_of(plugin, monkeypatch):
        yield load_plugins()


@pytest.fixture(scope="module")
def finished_timm(plugin: Path, tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch, plugins_of(plugin, patch):
        out = tmp_path_factory.mktemp("runs")
        request = Request("timmed", "naive", str(tiny_stream), settings=("epochs=1",), device="cpu", out=out)
        run(request, load_plugins())
    (record,) = out.glob("*/record.json")
    return record.parent


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)).save(path)
    return path


def ours(path: Path, run_folder: Path, registry: Registry) -> list[float]:
    """What dfbench says of the picture."""
    predictor = Predictor(open_checkpoint(str(run_folder), registry), torch.device("cpu"))
    assert predictor.entry.input.picture_size == (48, 64)
    return predictor.predict_proba(read_picture(path))[0].tolist()


def timms(source: str, picture: Path, **environment: str) -> dict[str, Any]:
    """What timm says of it, in a process that knows nothing of dfbench."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, source, str(picture)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_timm_loads_it_from_the_hub_and_sees_the_same(
    finished_timm: Path, registry: Registry, hub: Hub, picture: Path, tmp_path: Path
) -> None:
    publish_run(finished_timm, "me/timmed", registry)
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": WRITER,
        "HF_HOME": str(tmp_path / "h"),
    }
    said = timms("hf-hub:me/timmed", picture, **environment)
    assert said["p"] == pytest.approx(ours(picture, finished_timm, registry), abs=1e-4)
    assert said["shape"] == [3, 48, 64]
    assert said["labels"] == ["real", "fake"]
    assert hub.repos["me/timmed"].files.keys() & {"pytorch_model.bin"} == set()


def test_timm_loads_it_from_a_folder(
    finished_timm: Path, registry: Registry, hub: Hub, picture: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    for file in plan(finished_timm, "me/timmed", registry).files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
        (folder / file.path).write_bytes(content)
    said = timms(f"local-dir:{folder}", picture, HF_HUB_OFFLINE="1")
    assert said["p"] == pytest.approx(ours(picture, finished_timm, registry), abs=1e-4)


def test_the_card_says_so(finished_timm: Path, registry: Registry) -> None:
    card = next(f.content for f in plan(finished_timm, "me/timmed", registry).files if f.path == "README.md")
    assert isinstance(card, bytes)
    assert b"library_name: timm" in card
    assert b'timm.create_model("hf-hub:me/timmed", pretrained=True)' in card


def test_a_network_of_ones_own_is_not_timms(finished: Path, known: Registry) -> None:
    from dfbench import Task

    assert not is_timm(open_checkpoint(str(finished), known).model)
    xception = known.detectors.load("xception")
    assert is_timm(xception(xception.Config(pretrained=False), Task()).build())


def test_a_network_of_timms_with_blocks_taken_out_is_not_timms(known: Registry) -> None:
    """timm would build the whole one and find weights missing."""
    from dfbench import Task

    xception = known.detectors.load("xception")
    assert not is_timm(xception(xception.Config(pretrained=False, middle_blocks=2), Task()).build())
