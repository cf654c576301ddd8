"""Real FaceForensics++ videos, where they are next to the checkout."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.jobs import DetectorChoice
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.run import prepare
from tests.data.prepare.test_run import by_video

MTCNN = DetectorChoice("dfbench.data.prepare.faces:Mtcnn", None, "cpu")
FAKES = {
    "Deepfakes/519_515": "519",
    "FaceSwap/634_660": "634",
    "NeuralTextures/004_982": "004",
    "Face2Face/750_743": "750",
}


@pytest.fixture
def items(shared_data: Path, tmp_path: Path) -> list[Item]:
    """Three reals, three fakes that are aligned with them, and one whose real is missing."""
    archive = shared_data / "ffpp-mini.tar"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "tree", filter="data")
    root = next((tmp_path / "tree").rglob("original_sequences")).parent
    reals = [
        Item(root / f"original_sequences/youtube/c23/videos/{name}.mp4", name, 0, "train", "real", name, None, None)
        for name in ("004", "519", "634")
    ]
    fakes = [
        Item(root / f"manipulated_sequences/{method}/c23/videos/{file}.mp4", name, 1, "train", method, real, real, None)
        for name, real in FAKES.items()
        for method, file in [name.split("/")]
    ]
    return reals + fakes


def test_every_video_is_cropped_and_aligned_pairs_share_their_boxes(items: list[Item], tmp_path: Path) -> None:
    done = prepare(items, tmp_path / "set", Options(source="ffpp"), MTCNN, workers=2)
    assert [line["error"] for line in done.lines] == [""] * 7
    assert sum(line["crops"] for line in done.lines) >= 0.95 * 7 * 32
    videos = by_video(tmp_path / "set")
    for name, real in FAKES.items():
        if real in videos:
            assert [(r["frame"], r["x"], r["y"], r["side"]) for r in videos[name]] == [
                (r["frame"], r["x"], r["y"], r["side"]) for r in videos[real]
            ]
