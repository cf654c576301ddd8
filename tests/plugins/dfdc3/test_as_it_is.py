"""A converted snapshot scores alike through ``dfbench eval --init … -s none`` and through ``dfbench dfdc3 score``."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dfbench_dfdc3.detector import DFDC3
from PIL import Image

from dfbench.errors import DataError, UsageError
from dfbench.files import sha256_of
from dfbench.records.finished import FinishedRun
from dfbench.records.spec import without_start
from tests.cli.harness import run_cli, the_error
from tests.plugins.dfdc3.test_scoring import face, read

Capture = pytest.CaptureFixture[str]
Trained = tuple[object, Path]
SIZE = (150, 120)
"""(height, width): no side is so long that a stream would store the pictures smaller."""
VIDEOS: dict[str, tuple[tuple[int, ...], int]] = {
    # video → (frames of each track, label)
    "real-just": ((37,), 0),
    "real-short": ((36,), 0),
    "fake-two": ((40, 64), 1),
    "fake-and-short": ((38, 20), 1),
}


def frames(video: str) -> Iterator[tuple[int, int, np.ndarray]]:
    """(track, number of the frame in the video, picture): between two tracks the face is away for a second."""
    number, seed = 0, sorted(VIDEOS).index(video)
    for track, count in enumerate(VIDEOS[video][0]):
        for _ in range(count):
            yield track, number, face(number, *SIZE, seed)
            number += 1
        number += 30


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same frames as a stream of clips, and as folders of tracks: the stream's file and the folder of videos."""
    root = tmp_path_factory.mktemp("faces")
    rows = []
    for video, (_, label) in VIDEOS.items():
        for track, number, picture in frames(video):
            path = root / "videos" / video / str(track) / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
            rows.append([path.relative_to(root), label, video, number, "test"])
    for label, number in itertools.product((0, 1), range(2)):  # a stream has training pictures; these are no clips
        path = root / f"train-{label}-{number}.png"
        Image.fromarray(face(number, *SIZE, 90 + label)).save(path)
        rows.append([path.name, label, f"train-{label}", number, "train"])
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["path", "label", "video", "frame", "split"], *rows])
    (root / "stream.yaml").write_text(
        "name: faces\nmetric: auc\nexperiences:\n  - {name: all, source: folder, root: ., manifest: manifest.csv}\n"
    )
    return root / "stream.yaml", root / "videos"


B0 = ("--preset", "paper", "--set", "body=tf_efficientnet_b0")


def evaluated(record: str) -> dict[str, float]:
    """Score of each video, from the scores of a run."""
    run = FinishedRun.open(Path(record))
    (group,) = run.scores
    return dict(zip([name.split("/")[-1] for name in group.videos.tolist()], group.scores.tolist(), strict=True))


def test_a_snapshot_scores_alike_both_ways(
    trained: Trained,
    places: tuple[Path, Path],
    tmp_path: Path,
    capsys: Capture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream, videos = places
    weights = trained[1]
    asked = ["eval", "-d", "dfdc3", *B0, "-s", "none", "-b", stream, "--device", "cpu", "--out", tmp_path, "--json"]
    done = run_cli(capsys, *asked, "--init", weights)
    assert done.code == 0, done.err
    assert "1 of 4 videos have no track of 19 sampled frames and score ½: real-short" in caplog.text
    assert done.json["spec"]["init"] == {"name": weights.name, "sha256": sha256_of(weights), "trained": None}
    assert done.json["spec"]["initial_weights"] == {}
    scored = run_cli(capsys, "dfdc3", "score", videos, "--weights", weights, "--to", tmp_path / "s.csv")
    assert scored.code == 0, scored.err
    ours, theirs = evaluated(done.json["record"]), read(tmp_path / "s.csv")
    assert ours.keys() == theirs.keys()
    for video, value in theirs.items():
        assert ours[video] == pytest.approx(value, abs=1e-6), video
    assert ours["real-short"] == 0.5
    assert len({round(value, 4) for value in theirs.values()}) == len(theirs)  # no two videos score alike
    other = run_cli(capsys, *asked, "--set", f"weights={weights}")
    assert other.code == 0, other.err
    assert evaluated(other.json["record"]) == ours
    # Where the plans differ by design, the scores do: lite looks at smaller pictures, and at shorter tracks.
    small = ["--set", "height=112", "--set", "width=96", "--set", "shortest=7"]
    lite = run_cli(capsys, *asked, *small, "--init", weights)
    assert lite.code == 0, lite.err
    assert all(abs(value - theirs[video]) > 1e-4 for video, value in evaluated(lite.json["record"]).items())


def test_another_body_and_two_sources_of_weights_are_refused(
    trained: Trained,
    places: tuple[Path, Path],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    asked = ["eval", "-d", "dfdc3", "--preset", "paper", "-s", "none", "-b", places[0], "--device", "cpu"]
    asked += ["--out", tmp_path / "runs", "--init", trained[1]]
    wrong = run_cli(capsys, *asked, "--set", "body=tinynet_e")
    line = the_error(wrong, DataError.exit_code)
    assert "b0.safetensors does not fit this network (preset paper)" in line
    assert "the file says: " in line
    assert "body=tf_efficientnet_b0" in line
    both = run_cli(capsys, *asked, *B0[2:], "--set", "weights=other.safetensors")
    assert "--set weights=other.safetensors: the weights come from --init" in the_error(both, UsageError.exit_code)
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_does_not_need_the_file_that_its_training_started_from() -> None:
    known = without_start(DFDC3, {"weights": "/nowhere/dfdc3.safetensors", "pretrained": True, "lr": 0.1})
    assert known == {"weights": None, "pretrained": False, "lr": 0.1}
