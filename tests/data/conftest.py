"""Fixtures of the data layer's tests: small real pictures, and a cache of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WritePicture = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DFBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def write_picture() -> WritePicture:
    """``write_picture(path, seed, size=(H, W))`` writes a picture whose pixels follow from the seed."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (12, 10)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def write_tree(write_picture: WritePicture) -> Callable[..., Path]:
    """``write_tree(root, "train/real/a.png", …)`` writes a picture for every name."""

    def write(root: Path, *names: str) -> Path:
        for seed, name in enumerate(names):
            write_picture(root / name, seed)
        return root

    return write
