"""Fixtures of the streams' tests: miniature data sets and a cache of their own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.benchmarks.stream import Stream, load_stream
from dfbench.data.sources.cifar10 import Cifar10Source
from dfbench.data.sources.folder import FolderSource

SOURCES = {"folder": FolderSource, "cifar10": Cifar10Source}
Load = Callable[..., Stream]
"""Type of the fixture ``load``."""

TWO = """
name: two
description: swaps, then GANs
memory: 20
defaults: {source: folder, root: faces, manifest: manifest.csv}
experiences:
  - {name: swap, where: {source: swap}, frames: 4}
  - {name: gan, where: {source: gan}}
"""
"""A stream of two experiences on the fixture ``faces``."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no data root."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DFBENCH_CACHE", str(folder))
    monkeypatch.delenv("DFBENCH_DATA", raising=False)
    return folder


@pytest.fixture
def write_picture() -> Callable[..., Path]:
    """``write_picture(path, seed, size=(H, W))`` writes a picture whose pixels follow from the seed."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (6, 5)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def faces(tmp_path: Path, write_picture: Callable[..., Path]) -> Path:
    """A root with a manifest: sources ``swap`` and ``gan``, every split, and a pair a video.

    ``swap`` has videos of ten frames, real and fake aligned; ``gan`` has single pictures and no val.
    """
    root = tmp_path / "faces"
    rows: list[Sequence[object]] = []
    for number, split in enumerate(("train", "train", "val", "test")):
        for label, method in enumerate(("original", "Deepfakes")):
            for frame in range(10):
                path = f"swap/{method}/{number}_{frame}.png"
                pair = f"p{number}:{frame}"
                rows.append((path, label, "swap", method, f"id{number}", f"{method}{number}", frame, pair, split))
    for number in range(12):
        label, split = number % 2, "test" if number >= 8 else "train"
        path = f"gan/{number}.png"
        rows.append((path, label, "gan", ("photo", "GAN")[label], "", "", 0, "", split))
    for seed, row in enumerate(rows):
        write_picture(root / str(row[0]), seed)
    with (root / "manifest.csv").open("w", newline="") as file:
        header = ("path", "label", "source", "method", "identity", "video", "frame", "pair", "split")
        csv.writer(file).writerows([header, *rows])
    return root


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Stream]:
    """``load(text)`` loads a stream from the text of a YAML file in the test's folder."""

    def loaded(text: str, **options: object) -> Stream:
        (tmp_path / "stream.yaml").write_text(text)
        return load_stream(str(tmp_path / "stream.yaml"), **{"sources": SOURCES, **options})  # type: ignore[arg-type]

    return loaded
