"""The tutorials do what they say: their scripts run, their plugins keep the contract and are what the scripts were."""

from __future__ import annotations

import csv
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from dfbench import Batch, Task, lift_one_logit
from dfbench.plugins import load_plugins
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.scaffold import new_plugin
from dfbench.testing import Subject, check_detector, write_stream
from tests.cli.harness import install, plugins_of
from tests.test_docs import blocks, files

STRATEGIES = ("naive", "replay", "gem", "lwf", "cwr_star", "dfil")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders as the tutorial has them: data/{swaps,gans}/{train,val,test}/{real,fake}."""
    written = write_stream(tmp_path_factory.mktemp("pictures"), experiences=2, pairs=16, tests=8, size=64)
    folder = tmp_path_factory.mktemp("work")
    with (written.parent / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = {"s0": "swaps", "s1": "gans"}[row["source"]]
            place = folder / "data" / name / row["split"] / ("fake" if row["label"] == "1" else "real")
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(written.parent / row["path"], place)
    return folder


def failures(name: str, strategies: tuple[str, ...], **options: object) -> dict[str, str]:
    subject = Subject(name, strategies=strategies, **options)  # type: ignore[arg-type]
    return {each.check: each.detail for each in check_detector(subject, load_plugins()) if each.status == "failed"}


def test_a_training_script_becomes_a_plugin(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = files("tutorial-script.md")
    assert list(shown) == ["train.py", "dfbench_mine/detector.py"]
    (pictures / "train.py").write_text(shown["train.py"])
    done = subprocess.run(
        [sys.executable, "train.py", "data/swaps"], cwd=pictures, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert float(done.stdout.removeprefix("test AUC ")) > 0.7, done.stdout

    new_plugin("mine", tmp_path / "dfbench-mine", load_plugins())  # before it is installed
    source = tmp_path / "dfbench-mine" / "src" / "dfbench_mine"
    (source / "detector.py").write_text(shown["dfbench_mine/detector.py"])
    registration = {"dfbench_mine/__init__.py": (source / "__init__.py").read_text()}
    detector_file = {"dfbench_mine/detector.py": shown["dfbench_mine/detector.py"]}
    folder = install(tmp_path / "installed", "dfbench_mine", registration | detector_file, entry="mine")
    (block,) = (text for text in blocks("tutorial-script.md", "yaml") if text.startswith("# my-stream.yaml"))
    (pictures / "my-stream.yaml").write_text(block)
    assert [each["root"] for each in yaml.safe_load(block)["experiences"]] == ["data/swaps", "data/gans"]
    with plugins_of(folder, monkeypatch):
        known = load_plugins()
        assert failures("mine", STRATEGIES, frames=1) == {}
        learned = []
        for strategy in ("naive", "replay"):
            request = Request("mine", strategy, str(pictures / "my-stream.yaml"), device="cpu", out=tmp_path / "runs")
            record = run(request, known)
            assert record.detector.facts["validations"] > 2
            learned.append(record.metrics["learning_accuracy"])
        assert min(learned) > 0.7  # type: ignore[type-var]

        # The same network: the script's weights, lifted, give the script's probabilities.
        net = runpy.run_path(str(pictures / "train.py"), run_name="shown")["Net"]().eval()
        net.load_state_dict(torch.load(pictures / "net.pth", weights_only=True))
        images = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
        with torch.no_grad():
            expected = torch.sigmoid(net(images.movedim(-1, 1) / 127.5 - 1))
        kind = known.detectors.load("mine")
        detector = kind(kind.Config(), Task())
        model = detector.build().eval()
        model.load_state_dict(lift_one_logit(net, head="fc").state_dict())
        batch = Batch(images, torch.zeros(4, dtype=torch.int64), torch.arange(4), torch.zeros(4, dtype=torch.int64))
        with torch.no_grad():
            found = detector.predict(model, batch)[:, 1]
        assert (found - expected).abs().max() < 1e-5


def test_a_detector_of_deepfakebenchs_shape_becomes_a_plugin(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = files("tutorial-deepfakebench.md")
    assert list(shown) == ["dfbench_shaped/theirs.py", "dfbench_shaped/detector.py", "dfbench_shaped/__init__.py"]
    with plugins_of(install(tmp_path, "dfbench_shaped", shown), monkeypatch):
        assert failures("shaped", STRATEGIES, frames=1, preset="lite", settings={"batch_size": 8}) == {}
        from dfbench_shaped.detector import Logits  # type: ignore[import-not-found]
        from dfbench_shaped.theirs import CentreDetector  # type: ignore[import-not-found]

        theirs = CentreDetector({"width": 8, "weight": 0.1}).eval()
        x = torch.randn(4, 3, 64, 64)
        assert torch.equal(Logits(theirs)(x), theirs({"image": x})["cls"])
