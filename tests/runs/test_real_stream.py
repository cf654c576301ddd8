"""The real deepfake stream: missing validation set, few videos, names shared by real and fake."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, dfbench

SOURCES = ("photoshop", "ffpp_c23", "stylegan2_1024", "stylegan2_256")


@pytest.fixture(scope="module")
def real_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stream's YAML file beside its extracted pictures."""
    shared = Path(os.environ.get("DFBENCH_SHARED_DATA") or ROOT.parent / "shared" / "data")
    archive = shared / "real-stream.tar"
    if not archive.exists():
        pytest.skip(f"no shared data: {shared} (set DFBENCH_SHARED_DATA)")
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    lines = ["name: real-stream", "memory: 200", "defaults: {source: folder, root: ., manifest: manifest.csv}"]
    lines += ["experiences:", *(f"  - {{name: {name}, where: {{source: {name}}}}}" for name in SOURCES)]
    path = folder / "real-stream.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        (["-d", "simple_cnn", "-s", "replay", "--set", "image_size=48", "--set", "epochs=1"], 130_000),
        pytest.param(["-d", "xception", "--preset", "lite", "-s", "naive"], 20_000_000, marks=pytest.mark.slow),
    ],
    ids=["simple_cnn", "xception"],
)
def test_it_ends_in_a_table_a_record_and_scores(
    real_stream: Path, tmp_path: Path, command: list[str], parameters: int
) -> None:
    done = dfbench("eval", *command, "-b", real_stream, "--device", "cpu", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "no validation set in ffpp_c23" in done.err
    assert all(name in done.out for name in (*SOURCES, "average AUC", "forgetting"))
    again = dfbench("eval", *command, "-b", real_stream, "--device", "cpu", "--json", cwd=tmp_path).json
    record = Path(tmp_path / again["record"])
    assert record.exists()
    assert record.with_name("scores.parquet").exists()
    assert all(0 <= value <= 1 for row in again["matrix"]["auc"] for value in row)
    assert again["metrics"]["average_video_auc"] is not None
    assert again["detector"]["parameters"] > parameters
