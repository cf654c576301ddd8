"""``dfbench.load``: the recorded scores from plain arrays, whatever their size, and clear words for what is not one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dfbench
from dfbench import FinishedRun
from dfbench.data.pictures import read_picture, resize
from dfbench.errors import UsageError
from dfbench.evaluation.scores import Group, Scores
from dfbench.forge import pack, render
from dfbench.plugins import Registry, load_plugins
from dfbench.publish.zoo import predictor as module
from dfbench.publish.zoo.checkpoint import LoadedCheckpoint, detector_of
from dfbench.publish.zoo.places import packaged
from dfbench.publish.zoo.predictor import Predictor
from dfbench.records.record import SCORES
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from tests.cli.harness import install, plugins_of

BOARD = Path(__file__).parents[3] / "leaderboard"
CLIPS = """
import torch
from dfbench import Detector, DetectorEntry, clips, hookimpl, normalize


@hookimpl
def register_detectors():
    return [DetectorEntry("clipped", "dfbench_clipped:Clipped", "clips of eight frames")]


class Clipped(Detector):
    image_size = (16, 24)

    def build(self):
        conv, pool = torch.nn.Conv2d(3, 4, 5, 3), torch.nn.AdaptiveAvgPool2d(2)
        return torch.nn.Sequential(conv, torch.nn.ReLU(), pool, torch.nn.Flatten(), torch.nn.Linear(16, 2))

    def units(self, samples, rows, training):
        return clips(samples, rows, 8)

    def inputs(self, batch, training):
        return normalize(batch.pixels.flatten(0, 1)).unflatten(0, batch.pixels.shape[:2]).mean(1)
"""


@pytest.fixture(scope="module")
def small(finished: Path) -> Predictor:
    return dfbench.load(finished, device="cpu")


@pytest.fixture(scope="module")
def recorded(finished: Path) -> Group:
    """The scores of the final network on the second experience."""
    group = Scores.read(finished / SCORES).get(2, 1)
    assert group is not None
    return group


def pictures_of(group: Group, stream: Path) -> list[np.ndarray]:
    files = {path.name: path for path in stream.parent.rglob("*.png")}
    return [read_picture(files[Path(sample).name]) for sample in group.samples]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_the_checkpoint_that_ships_predicts_the_published_scores() -> None:
    """Two people of the test split under two families, rendered and shown as arrays."""
    predictor = dfbench.load("simple_cnn-replay-forge5", device="cpu")
    (record,) = predictor.entry.records
    published = FinishedRun.open(BOARD / "results" / f"{record}.json").scores
    experiences = predictor.entry.training.experiences
    compared = 0
    for family in experiences[:2]:
        group = published.get(len(experiences) - 1, experiences.index(family))
        assert group is not None
        expected = dict(zip(group.samples, group.scores, strict=True))
        for person in pack.identities("test")[:2]:
            rows = render.render(person, family)
            found = predictor.predict([picture for _, picture in rows])
            assert found == pytest.approx([expected[row["sample"]] for row, _ in rows], abs=1e-5)
            compared += len(rows)
    assert compared == 24


def test_the_python_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (BOARD.parent / "docs" / "zoo.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(noise(90, 70, 3)).save("face.png")
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert 0 <= float(capsys.readouterr().out) <= 1


def test_a_run_s_folder_predicts_what_the_run_recorded(small: Predictor, recorded: Group, tiny_stream: Path) -> None:
    pictures = pictures_of(recorded, tiny_stream)
    fake = small.predict(np.stack(pictures))
    assert isinstance(fake, np.ndarray)
    assert (fake.dtype, fake.shape) == (np.float32, (len(pictures),))
    assert fake == pytest.approx(recorded.scores, abs=1e-5)
    assert small.predict(pictures) == pytest.approx(recorded.scores, abs=1e-5)
    one = small.predict(pictures[0])
    assert isinstance(one, float)
    assert one == pytest.approx(recorded.scores[0], abs=1e-5)


def test_probabilities_are_in_the_order_of_the_classes(small: Predictor) -> None:
    pictures = noise(3, 32, 32, 3)
    p = small.predict_proba(pictures)
    assert (small.classes, p.shape, p.dtype) == (("real", "fake"), (3, 2), np.float32)
    assert p.sum(1) == pytest.approx(1)
    assert (p[:, 1] == small.predict(pictures)).all()
    assert small.predict_proba(pictures[0]).shape == (1, 2)


def test_pictures_of_any_size_are_resized_as_training_pictures_were(small: Predictor) -> None:
    shown = [noise(70, 50, 3), noise(32, 32, 3), noise(20, 90, 3)]
    found = small.predict(shown)
    assert found == pytest.approx(small.predict([resize(picture, 32, 32) for picture in shown]))
    assert small.predict(np.asarray(shown[0][:, ::-1])) == pytest.approx(
        small.predict(np.ascontiguousarray(shown[0][:, ::-1]))
    )


def test_batches_are_bounded_and_the_network_neither_trains_nor_writes(
    small: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = noise(10, 32, 32, 3)
    whole, before, seen = small.predict(shown), shown.copy(), []

    def watched(model: torch.nn.Module, batch: dfbench.Batch) -> torch.Tensor:
        seen.append((len(batch), model.training, torch.is_grad_enabled()))
        batch.pixels.zero_()
        return torch.full((len(batch), 2), 0.5)

    monkeypatch.setattr(module, "EVAL_BATCH", 4)
    assert small.predict(shown) == pytest.approx(whole, abs=1e-6)
    monkeypatch.setattr(small.detector, "predict", watched)
    small.predict(shown)
    assert seen == [(4, False, False), (4, False, False), (2, False, False)]
    assert (shown == before).all()


def test_the_precision_is_the_detector_s_own(small: Predictor) -> None:
    half = small.detector.config.model_copy(update={"precision": "bf16"})
    detector = type(small.detector)(half, small.detector.task)
    other = Predictor(LoadedCheckpoint(detector, small.model, small.entry), torch.device("cpu"))
    shown = noise(8, 32, 32, 3)
    assert not np.array_equal(other.predict(shown), small.predict(shown))
    assert other.predict(shown) == pytest.approx(small.predict(shown), abs=0.05)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((32, 32, 3)), r"not float64 \(32, 32, 3\)"),
        (np.zeros((32, 32), np.uint8), r"not uint8 \(32, 32\)"),
        (np.zeros((32, 32, 4), np.uint8), r"not uint8 \(32, 32, 4\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), r"not uint8 \(2, 3, 32, 32\)"),
        (np.zeros((2, 8, 32, 32, 3), np.uint8), r"not uint8 \(2, 8, 32, 32, 3\)"),
        (np.zeros((0, 32, 3), np.uint8), r"not uint8 \(0, 32, 3\)"),
        (np.zeros((0, 32, 32, 3), np.uint8), "not an empty one"),
        ([], "not an empty one"),
        ([np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 1), np.uint8)], r"not uint8 \(9, 9, 1\)"),
        (["face.png"], "not str"),
        ("face.png", "not str"),
        (torch.zeros(32, 32, 3, dtype=torch.uint8), "not Tensor"),
    ],
)
def test_what_is_not_a_picture_is_an_error_that_says_what_is_needed(wrong: Any, said: str, small: Predictor) -> None:
    for method in (small.predict, small.predict_proba):
        with pytest.raises(UsageError, match=rf"needs uint8 RGB arrays: \(H, W, 3\), a batch .*{said}") as error:
            method(wrong)
        assert "\n" not in str(error.value)


def test_a_checkpoint_of_many_classes_has_probabilities_alone(small: Predictor, known: Registry) -> None:
    entry = small.entry.model_copy(update={"classes": ("cat", "dog", "frog")})
    detector = detector_of(entry, known)
    many = Predictor(LoadedCheckpoint(detector, detector.build().eval(), entry), torch.device("cpu"))
    assert many.predict_proba(noise(2, 32, 32, 3)).shape == (2, 3)
    with pytest.raises(UsageError, match=r"tells 3 classes apart and has no P\(fake\): use predict_proba"):
        many.predict(noise(2, 32, 32, 3))


def test_pictures_without_a_size_of_training_are_not_mixed(small: Predictor) -> None:
    recipe = small.entry.input.model_copy(update={"native_size": None, "size": None})
    loaded = LoadedCheckpoint(small.detector, small.model, small.entry.model_copy(update={"input": recipe}))
    anything = Predictor(loaded, torch.device("cpu"))
    assert anything.predict(noise(2, 40, 40, 3)).shape == (2,)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="predict those of each size on their own"):
        anything.predict([noise(40, 40, 3), noise(50, 40, 3)])


def test_a_device_that_is_not_there(finished: Path) -> None:
    with pytest.raises(UsageError, match="not available here"):
        dfbench.load(finished, device="cuda:77")


@pytest.mark.parametrize("name", packaged())
def test_neither_loading_nor_predicting_imports_avalanche(name: str) -> None:
    script = (
        "import json, sys, numpy, dfbench\n"
        f"p = dfbench.load({name!r}, device='cpu').predict(numpy.zeros((3, 50, 60, 3), numpy.uint8))\n"
        "print(json.dumps([p.tolist(), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    fake, imported = json.loads(done.stdout)
    assert len(fake) == 3
    assert {each.partition(".")[0] for each in imported}.isdisjoint(
        {"avalanche", "torchvision"} if "timm" not in imported else {"avalanche"}  # timm imports torchvision
    )


# --- Clips ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clipped(clip_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of a detector of clips, while its plugin is installed."""
    folder = install(tmp_path_factory.mktemp("plugin"), "dfbench_clipped", {"dfbench_clipped.py": CLIPS})
    out = tmp_path_factory.mktemp("clips")
    with pytest.MonkeyPatch.context() as patch, plugins_of(folder, patch):
        request = Request("clipped", "naive", str(clip_stream), settings=("epochs=1",), device="cpu", out=out)
        run(request, load_plugins())
        (record,) = out.glob("*/record.json")
        yield record.parent


def test_clips_are_predicted_as_recorded(clipped: Path, clip_stream: Path) -> None:
    predictor = dfbench.load(clipped, device="cpu")
    assert predictor.entry.input.unit == (8,)
    group = Scores.read(clipped / SCORES).get(2, 0)
    assert group is not None
    files = {path.name: path for path in clip_stream.parent.rglob("*.png")}
    firsts = [Path(sample).name for sample in group.samples]
    shown = [np.stack([read_picture(files[f"{name[:-6]}-{n}.png"]) for n in range(8)]) for name in firsts]
    found = predictor.predict(np.stack(shown))
    assert isinstance(found, np.ndarray)
    assert found == pytest.approx(group.scores, abs=1e-5)
    one = predictor.predict(shown[0])
    assert isinstance(one, float)
    assert one == pytest.approx(found[0], abs=1e-6)
    with pytest.raises(UsageError, match=r"\(8, H, W, 3\), a batch \(N, 8, H, W, 3\), or a list, not uint8 \(7, 32"):
        predictor.predict(shown[0][:7])
    with pytest.raises(UsageError, match=r"not uint8 \(32, 32, 3\)"):
        predictor.predict(list(shown[0]))
