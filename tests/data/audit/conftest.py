"""A clean set of small encoded videos, each with pictures of its own: twenty-four people, a real and a fake of each."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dfbench.data.prepare.item import Item

PEOPLE = 24


def film(seed: int, fake: bool, frames: int = 6, size: int = 96) -> list[np.ndarray]:
    """Frames of a moving pattern; a fake is upside down, which costs as many bytes."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        cv2.resize(rng.integers(0, 256, (side, side, 3), dtype=np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
        for side in (7, 20)
    )
    base = cv2.addWeighted(coarse, 0.5, fine, 0.5, 0)
    return [np.roll(base[::-1] if fake else base, frame, axis=1) for frame in range(frames)]


def write_video(
    path: Path, frames: list[np.ndarray], codec: str = "libx264", size: int = 96, rate: int = 25, **options: str
) -> Path:
    """Encode a video; ``options`` are the codec's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame.reformat(size, size)))
        container.mux(stream.encode())
    return path


def split_of(person: int) -> str:
    """Half of the people train, a quarter validates, a quarter tests."""
    return "train" if person < PEOPLE // 2 else "val" if person < 3 * PEOPLE // 4 else "test"


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Items of a set without any fault."""
    root, items = tmp_path_factory.mktemp("clean"), []
    for person in range(PEOPLE):
        for label, kind in enumerate(("real", "fake")):
            video = f"{kind}/{person:02d}"
            path = write_video(root / f"{video}.mp4", film(person, bool(label)))
            partner = f"real/{person:02d}" if label else None
            method = "Deepfakes" if label else "real"
            items.append(Item(path, video, label, split_of(person), method, f"p{person}", partner, None))
    return items
