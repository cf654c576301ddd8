"""Miniature trees of public data sets: the files have the true names, the videos are one encoded clip."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from dfbench.data.prepare.item import Item

Grow = Callable[..., Path]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Four frames of 64×64, H.264 in MP4."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for shade in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 50 * shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A PNG file."""
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.new("RGB", (16, 16), (90, 120, 150)).save(path)
    return path.read_bytes()


@pytest.fixture
def grow(tmp_path: Path, clip: bytes, picture: bytes) -> Grow:
    """``grow("a/b.mp4", "c/0.png", listing=..., root=...)`` writes the clip, the picture, and texts or JSON by path."""

    def write(*paths: str, texts: Mapping[str, Any] | None = None, root: Path = tmp_path / "set") -> Path:
        contents: dict[str, bytes] = {path: clip if path.endswith("mp4") else picture for path in paths}
        for path, content in (texts or {}).items():
            contents[path] = (content if isinstance(content, str) else json.dumps(content)).encode()
        for path, content in contents.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return root

    return write


def by_name(items: Iterable[Item]) -> dict[str, Item]:
    """Last component of an item's path, without suffix → the item."""
    return {item.path.stem: item for item in items}


def splits(items: Iterable[Item]) -> dict[str, str]:
    """Last component of an item's path, without suffix → its split."""
    return {item.path.stem: item.split for item in items}
