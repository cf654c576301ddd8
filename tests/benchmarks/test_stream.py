"""Streams: from a YAML file to checked rows and their pixels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dfbench.benchmarks import packaged
from dfbench.benchmarks.stream import load_stream
from dfbench.data.pictures import read_picture
from dfbench.data.store import PixelStack
from tests.benchmarks.conftest import SOURCES, TWO, Load


def test_a_stream_of_two_sources(faces: Path, load: Load) -> None:
    stream = load(TWO)
    assert (stream.name, stream.description, stream.metric) == ("two", "swaps, then GANs", "auc")
    assert stream.classes == ("real", "fake")
    assert stream.budget.memory == 20
    swap, gan = stream.experiences
    assert (swap.index, swap.name, gan.index, gan.name) == (0, "swap", 1, "gan")
    assert {split: len(rows) for split, rows in swap.rows.items()} == {"train": 16, "val": 8, "test": 8}
    assert {split: len(rows) for split, rows in gan.rows.items()} == {"train": 8, "val": 0, "test": 4}
    assert len(stream.samples) == 44
    assert stream.notes == ["no validation set in gan"]
    for experience in stream.experiences:
        for split, rows in experience.rows.items():
            assert rows.dtype == np.int64
            assert set(stream.samples.source[rows]) <= {experience.name}
            assert set(stream.samples.split[rows]) <= {split}
    train = swap.rows["train"]
    assert sorted(set(stream.samples.frame[train])) == [1, 3, 6, 8]
    pairs, counts = np.unique(stream.samples.pair[train], return_counts=True)
    assert len(pairs) == 8
    assert set(counts) == {2}  # a real and its fake keep the same frames


def test_only_a_stream_of_new_networks_has_another_fingerprint(faces: Path, load: Load) -> None:
    stream = load(TWO)
    assert not stream.fresh_model
    assert load(TWO + "fresh_model: false\n").fingerprint == stream.fingerprint
    fresh = load(TWO + "fresh_model: true\n")
    assert fresh.fresh_model
    assert fresh.fingerprint != stream.fingerprint


def test_row_i_of_the_pixels_is_row_i_of_the_samples(faces: Path, load: Load) -> None:
    stream = load(TWO)
    pixels = stream.pixels(None)
    assert pixels.shape == (44, 6, 5, 3)
    for row in (0, 20, 43):
        picture = read_picture(faces / stream.samples.sample[row])
        assert np.array_equal(pixels.fetch([row])[0].numpy(), picture)
    assert stream.pixels((3, 7)).shape == (44, 3, 7, 3)


def test_a_real_that_serves_twice_occurs_once(faces: Path, load: Load) -> None:
    stream = load(
        """
name: shared
defaults: {source: folder, root: faces, manifest: manifest.csv, where: {source: swap}}
experiences:
  - {name: first, frames: 2}
  - {name: second}
"""
    )
    first, second = stream.experiences
    assert len(stream.samples) == 80
    for split in ("train", "val", "test"):
        assert set(first.rows[split]) < set(second.rows[split])


def test_several_roots_are_stacked_and_their_names_told_apart(
    faces: Path, load: Load, write_picture: Callable[..., Path]
) -> None:
    for seed, name in enumerate(("train/real/0", "train/fake/0", "test/real/1", "test/fake/1")):
        write_picture(faces.parent / f"own/{name}.png", seed + 500)
    stream = load(TWO + "  - {name: own, root: own, manifest: null}\n")
    pixels = stream.pixels(None)
    assert isinstance(pixels, PixelStack)
    row = int(stream.experiences[2].rows["test"][0])
    assert stream.samples.sample[row] == "own:test/fake/1.png"
    assert stream.samples.source[row] == "own"
    rows = np.array([row, 0])
    expected = [faces.parent / "own/test/fake/1.png", faces / stream.samples.sample[0].removeprefix("swap:")]
    assert np.array_equal(pixels.fetch(rows).numpy(), np.stack([read_picture(file) for file in expected]))


def test_the_fingerprint_follows_the_data_and_not_the_place(
    faces: Path, load: Load, tmp_path_factory: pytest.TempPathFactory, write_picture: Callable[..., Path]
) -> None:
    before = load(TWO).fingerprint
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(faces, elsewhere / "moved")
    (elsewhere / "s.yaml").write_text(TWO.replace("root: faces", "root: moved"))
    assert load_stream(str(elsewhere / "s.yaml"), sources=SOURCES).fingerprint == before
    seen = {before}
    for old, new in [("memory: 20", "memory: 21"), ("frames: 4", "frames: 3"), ("name: gan", "name: gans")]:
        seen.add(load(TWO.replace(old, new)).fingerprint)
    write_picture(faces / "gan/0.png", seed=999)
    seen.add(load(TWO).fingerprint)
    assert len(seen) == 5


def test_a_few_corrupt_pictures_are_left_out_and_named(faces: Path, load: Load) -> None:
    whole = load(TWO.replace(", frames: 4", ""))
    picture = faces / "swap/original/0_3.png"
    picture.write_bytes(picture.read_bytes()[:-40])
    stream = load(TWO.replace(", frames: 4", ""))
    assert len(stream.samples) == len(whole.samples) - 1
    assert "swap/original/0_3.png" not in stream.samples.sample
    assert stream.notes[0].startswith("swap: 1 of 92 pictures cannot be used and are left out: swap/original/0_3.png: ")
    assert stream.fingerprint != whole.fingerprint
    assert stream.pixels(None).shape[0] == len(stream.samples)


def test_the_same_picture_under_two_names_is_told(faces: Path, load: Load) -> None:
    shutil.copy(faces / "gan/0.png", faces / "gan/8.png")
    notes = load(TWO).notes
    assert notes[-1] == (
        "pictures that occur in more than one split under different names: 1, as gan/0.png and gan/8.png"
    )


def write_cifar(root: Path, train: int = 40) -> Path:
    """A tiny CIFAR-10 of real pictures in the Hub's layout."""
    root.mkdir(parents=True)
    for part, count in (("train", train), ("test", 20)):
        rows = []
        for number in range(count):
            target = root / "one.png"
            Image.new("RGB", (32, 32), (number, len(part), 0)).save(target)
            rows.append({"img": {"bytes": target.read_bytes(), "path": "x"}, "label": number % 10})
        pq.write_table(pa.Table.from_pylist(rows), root / f"{part}-0.parquet")
    return root


def test_the_packaged_cifar10_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "cifar10")
    monkeypatch.setenv("DFBENCH_DATA", str(tmp_path))
    stream = load_stream("cifar10-ni10", sources=SOURCES, benchmarks=packaged())
    assert stream.metric == "accuracy"
    assert len(stream.classes) == 10
    assert [experience.rows["train"].tolist() for experience in stream.experiences] == [
        list(range(4 * k, 4 * k + 4)) for k in range(10)
    ]
    for experience in stream.experiences:
        assert experience.rows["test"].tolist() == list(range(40, 60))
    assert stream.notes == ["no validation set in part01, part02, …, part10 (10 experiences)"]
    again = load_stream("cifar10-ni10", sources=SOURCES, benchmarks=packaged(), data_root=tmp_path)
    assert again.fingerprint == stream.fingerprint


def test_growing_data(tmp_path: Path, load: Load) -> None:
    write_cifar(tmp_path / "c10")
    stream = load(
        "name: aggregate\nmetric: accuracy\ndefaults: {source: cifar10, root: c10}\nsplit: {parts: 4, growing: true}"
    )
    assert [len(experience.rows["train"]) for experience in stream.experiences] == [10, 20, 30, 40]


REAL = """
name: real-stream
memory: 200
defaults: {source: folder, root: ROOT, manifest: manifest.csv}
experiences:
  - {name: photoshop, where: {source: photoshop}}
  - {name: ffpp_c23, where: {source: ffpp_c23}, frames: 16}
  - {name: stylegan2_1024, where: {source: stylegan2_1024}}
  - {name: stylegan2_256, where: {source: stylegan2_256}}
"""


def test_the_real_stream(shared_data: Path, tmp_path: Path, load: Load) -> None:
    with tarfile.open(shared_data / "real-stream.tar") as tar:
        tar.extractall(tmp_path / "real", filter="data")
    manifest = next((tmp_path / "real").rglob("manifest.csv"))
    stream = load(REAL.replace("ROOT", str(manifest.parent)))
    sizes = [[len(rows) for rows in experience.rows.values()] for experience in stream.experiences]
    assert sizes == [[291, 57, 52], [96, 0, 32], [226, 47, 46], [569, 117, 114]]
    assert "no validation set in ffpp_c23" in stream.notes
    assert stream.pixels((32, 32)).shape == (1647, 32, 32, 3)


def test_the_real_cifar10(shared_data: Path) -> None:
    stream = load_stream("cifar10-ni10", sources=SOURCES, benchmarks=packaged(), data_root=shared_data)
    assert [len(experience.rows["train"]) for experience in stream.experiences] == [5000] * 10
    rows = stream.experiences[3].rows["train"]
    assert (rows[0], rows[-1]) == (15_000, 19_999)


def test_loading_a_stream_imports_no_torch(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TWO)
    code = (
        "import sys\n"
        "from dfbench.benchmarks.stream import load_stream\n"
        "from dfbench.data.sources.folder import FolderSource\n"
        "from dfbench.data.sources.cifar10 import Cifar10Source\n"
        f"load_stream({str(tmp_path / 's.yaml')!r}, sources={{'folder': FolderSource}})\n"
        "print([name for name in ('torch', 'avalanche', 'timm', 'torchvision') if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    assert result.stdout == "[]\n"
