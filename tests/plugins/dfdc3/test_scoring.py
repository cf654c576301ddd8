"""``dfbench dfdc3 score`` against the submission's way, computed here with other libraries' networks and pictures."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from dfbench_dfdc3.detector import DFDC3, DFDC3Config
from dfbench_dfdc3.scoring import load_network
from dfbench_dfdc3.snapshots import convert_files
from torch import nn

from dfbench import Task
from dfbench.data.loader import Batch
from dfbench.errors import DataError, StorageError, UsageError
from tests.cli.harness import run_cli
from tests.plugins.dfdc3.test_networks import outside, snapshot

Networks = dict[str, nn.Module]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Networks, Path]:
    """Three networks of the package that the authors used, and the checkpoint converted from their snapshots."""
    folder = tmp_path_factory.mktemp("weights")
    networks = {name: outside("efficientnet-b0", name == "c", seed) for seed, name in enumerate("abc")}
    pictures = torch.from_numpy(np.stack([shown(face(number, 90, 90, 0), 224, pad=False) for number in range(7)]))
    for network in networks.values():  # logits between about −2 and 2: at ½ the pooling would weigh nothing
        with torch.no_grad():
            z = network(pictures.permute(0, 3, 1, 2))
            network._fc.weight.data /= z.std()
            network._fc.bias.data = (network._fc.bias.data - z.mean()) / z.std()
    files = [snapshot(network, folder / f"{name}.pth") for name, network in networks.items()]
    convert_files(*files, folder / "b0.safetensors", body="tf_efficientnet_b0")
    return networks, folder / "b0.safetensors"


def face(number: int, height: int, width: int, seed: int) -> np.ndarray:
    """A smooth picture that changes from frame to frame."""
    random = np.random.default_rng([seed, number])
    small = random.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def write_track(folder: Path, count: int, size: tuple[int, int], seed: int, start: int = 0) -> list[np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    frames = [face(number, *size, seed) for number in range(count)]
    for number, frame in enumerate(frames, start):
        cv2.imwrite(str(folder / f"frame{number}.png"), frame[..., ::-1])
    return frames


def submitted(networks: Networks, tracks: Sequence[Sequence[np.ndarray]], step: int) -> float:
    """The score of a video as the submission has it: ``tracks`` hold every frame, one of ``step`` is looked at."""
    probabilities: list[np.ndarray] = []
    for frames in tracks:
        kept = frames[::step]
        detections = kept[::3]
        if len(detections) < 7:
            continue
        track = kept[: 3 * (len(detections) - 1) + 1]
        for number, start in enumerate(range(0, len(track) - 6, 14)):
            window = [frame[:, ::-1] if number % 2 == 0 else frame for frame in track[start : start + 7]]
            probabilities.append(looked(networks["c"], [shown(frame, 224, pad=False) for frame in window]))
        seen: dict[str, list[np.ndarray]] = {"a": [], "b": []}
        for number, frame in enumerate(track[::2]):
            network = "a" if number % 4 in (0, 1) else "b"
            mirrored = frame[:, ::-1] if number % 2 == 0 else frame
            seen[network].append(shown(mirrored, 192 if network == "a" else 224, pad=network == "a"))
        probabilities += [looked(networks[network], pictures) for network, pictures in seen.items()]
    if not probabilities:
        return 0.5
    p = np.concatenate(probabilities).astype(np.float64)
    d = p - 0.5
    sharpened = np.clip(0.5 + np.sign(d) * np.abs(d) ** 0.65, 0.01, 0.99)
    return float((sharpened * (np.abs(d) + 1e-4)).sum() / (np.abs(d) + 1e-4).sum())


def shown(frame: np.ndarray, side: int, pad: bool) -> np.ndarray:
    """Smaller side to ``side``, padded to 224 rows, the middle 224 × 192, normalised."""
    height, width = (round(length * side / min(frame.shape[:2])) for length in frame.shape[:2])
    frame = cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=cv2.INTER_LINEAR)
    if pad and height < 224:
        above = (224 - height) // 2
        frame = cv2.copyMakeBorder(frame, above, 224 - height - above, 0, 0, cv2.BORDER_REFLECT_101)
    top, left = (frame.shape[0] - 224) // 2, (frame.shape[1] - 192) // 2
    middle = frame[top : top + 224, left : left + 192] / 255
    return ((middle - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)


@torch.no_grad()
def looked(network: nn.Module, pictures: Sequence[np.ndarray]) -> np.ndarray:
    return torch.sigmoid(network(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)).flatten()).numpy()


def read(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["filename", "label"]
    return {name: float(label) for name, label in lines[1:]}


def test_videos_score_as_they_were_submitted(
    trained: tuple[Networks, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two tracks of tall faces of two sizes, a square one at 60 frames per second, one too short, none at all."""
    networks, weights = trained
    root, rates = tmp_path / "videos", tmp_path / "rates.csv"
    tall, wide = (root / "two.mp4" / name for name in "01")
    two = [write_track(tall, 44, (260, 200), 1), write_track(wide, 40, (90, 131), 2)]
    write_track(root / "two.mp4" / "2", 30, (90, 90), 3)  # 15 sampled frames
    fast = write_track(root / "fast.mp4", 76, (150, 150), 4, start=100)  # 19 sampled frames
    write_track(root / "short.mp4", 36, (90, 90), 5)
    (root / "none.mp4").mkdir()
    (root / "notes.txt").write_text("no video")
    rates.write_text("filename,fps\ntwo.mp4,29.97\nfast.mp4,60\nshort.mp4,30\nnone.mp4,30\n")
    done = run_cli(capsys, "dfdc3", "score", root, "--weights", weights, "--fps", rates, "--to", tmp_path / "s.csv")
    assert done.code == 0, done.err
    assert "4 videos" in done.out
    assert "2 of them have no track of 19 sampled frames and score 0.5" in done.err
    got = read(tmp_path / "s.csv")
    assert list(got) == ["fast.mp4", "none.mp4", "short.mp4", "two.mp4"]
    assert got["none.mp4"] == got["short.mp4"] == 0.5
    assert got["two.mp4"] == pytest.approx(submitted(networks, two, 2), abs=1e-5)
    assert got["fast.mp4"] == pytest.approx(submitted(networks, [fast], 4), abs=1e-5)
    assert abs(got["two.mp4"] - 0.5) > 0.01
    assert abs(got["two.mp4"] - submitted(networks, two[:1], 2)) > 0.005  # one track is not enough
    assert abs(got["fast.mp4"] - submitted(networks, [fast], 2)) > 1e-4  # nor another frame rate


def test_a_detector_that_is_evaluated_gives_the_same_score(
    trained: tuple[Networks, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = trained[1]
    frames = write_track(tmp_path / "videos" / "a", 40, (130, 100), 7)
    done = run_cli(capsys, "dfdc3", "score", tmp_path / "videos", "--weights", weights, "--to", tmp_path / "s.csv")
    assert done.code == 0, done.err
    config = DFDC3Config(body="tf_efficientnet_b0", weights=str(weights))
    it = DFDC3(config, Task(native_size=(130, 100)))
    pixels = torch.from_numpy(np.stack(frames[:37:2]))[None]
    batch = Batch(pixels, torch.zeros(1), torch.arange(1), torch.zeros(1))
    with torch.no_grad():
        p = it.predict(it.build().eval(), batch)
        folded = DFDC3(config.model_copy(update={"fold_norms": True}), it.task).predict(load_network(weights), batch)
    assert read(tmp_path / "s.csv")["a"] == pytest.approx(float(p[0, 1]), abs=1e-5)
    assert float(folded[0, 1]) == pytest.approx(float(p[0, 1]), abs=1e-5)


def test_bad_input_is_one_line_before_anything_is_scored(
    trained: tuple[Networks, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, root = trained[1], tmp_path / "videos"
    write_track(root / "a", 40, (20, 20), 1)

    def refused(error: type[Exception], expected: str, *args: Any) -> None:
        given = args or (root, "--weights", weights)
        done = run_cli(capsys, "dfdc3", "score", *given, "--to", tmp_path / "s.csv")
        assert done.code == error.exit_code, done.err
        assert expected in done.err
        assert len(done.err.strip().splitlines()) == 1
        assert not (tmp_path / "s.csv").exists()

    def with_video(name: str, expected: str, count: int = 40, change: Any = None) -> None:
        write_track(root / "bad" / name, count, (20, 20), 1)
        change(root / "bad")
        refused(DataError, expected)
        shutil.rmtree(root / "bad")

    refused(DataError, "there is no such file", root, "--weights", tmp_path / "none")
    refused(DataError, "not a file of safetensors", root, "--weights", root / "a" / "frame0.png")
    refused(DataError, "not a folder of videos' folders", tmp_path / "none", "--weights", weights)
    refused(DataError, "holds pictures (frame0.png)", root / "a", "--weights", weights)
    (tmp_path / "empty").mkdir()
    refused(DataError, "holds no folder", tmp_path / "empty", "--weights", weights)
    refused(DataError, "two videos of one name", root, root, "--weights", weights)
    refused(UsageError, "not a frame rate from 1 to 1000", root, "--weights", weights, "--fps", "0")
    refused(DataError, "not a readable CSV file", root, "--weights", weights, "--fps", tmp_path / "rates.csv")
    with_video("", "frame 5 is missing before it", change=lambda bad: (bad / "frame5.png").unlink())
    with_video("", "two frames of one number", change=lambda bad: shutil.copy(bad / "frame5.png", bad / "x05.png"))
    with_video("", "a frame's name ends with its number", change=lambda bad: (bad / "frame5.png").rename(bad / "x.png"))
    with_video("", "not a picture", change=lambda bad: (bad / "frame4.png").write_bytes(b"?"))
    with_video("0", "holds frames and folders", change=lambda bad: shutil.copy(bad / "0" / "frame5.png", bad))
    with_video("0/1", "a track's folder holds frames", change=lambda bad: None)
    (tmp_path / "file").write_text("")
    done = run_cli(capsys, "dfdc3", "score", root, "--weights", weights, "--to", tmp_path / "file" / "s.csv")
    assert done.code == StorageError.exit_code
    assert "cannot be written" in done.err


def test_a_frame_that_cannot_be_decoded_is_named(
    trained: tuple[Networks, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_track(tmp_path / "videos" / "a", 40, (60, 60), 1)
    broken = tmp_path / "videos" / "a" / "frame8.png"
    broken.write_bytes(broken.read_bytes()[:-200])
    done = run_cli(capsys, "dfdc3", "score", tmp_path / "videos", "--weights", trained[1], "--to", tmp_path / "s.csv")
    assert done.code == DataError.exit_code
    assert "frame8.png: cannot be decoded" in done.err
    assert not (tmp_path / "s.csv").exists()
