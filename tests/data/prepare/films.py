"""Small real videos: portraits of the embedded pack that move over a grey background."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from dfbench.forge.pack import identities, portrait

GREY = 128
WIDTH, HEIGHT = 192, 144


def face(number: int, side: int = 80) -> np.ndarray:
    """A portrait of the pack, uint8 (side, side, 3)."""
    return cv2.resize(portrait(identities()[number]).image, (side, side), interpolation=cv2.INTER_AREA)


def scene(*faces: tuple[np.ndarray, int, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """One frame: pictures at (x, y) on grey."""
    frame = np.full((size[1], size[0], 3), GREY, np.uint8)
    for picture, x, y in faces:
        frame[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return frame


def moving(number: int, count: int = 24, side: int = 80, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[np.ndarray]:
    """Frames in which one face moves from left to right."""
    picture = face(number, side)
    room = size[0] - side - 8
    return [scene((picture, 4 + room * i // max(count - 1, 1), 8 + i % 5), size=size) for i in range(count)]


def forged(frames: Sequence[np.ndarray], amount: int = 60) -> list[np.ndarray]:
    """The same frames with the middle of the face darkened: aligned frame by frame, another picture."""
    result = []
    for frame in frames:
        changed = frame.copy()
        rows, columns = np.nonzero(np.abs(frame.astype(int) - GREY).max(axis=2) > 30)
        y, x = int(rows.mean()), int(columns.mean())
        part = changed[y - 16 : y + 16, x - 16 : x + 16]
        part[:] = np.clip(part.astype(int) - amount, 0, 255)
        result.append(changed)
    return result


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    gop: int = 12,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode frames; ``times`` are presentation times in 1/1000 s, else 25 frames per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = list(frames)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.gop_size = gop
        own = {"preset": "veryfast", "crf": "18", "bf": "2", "threads": "1"} if codec == "libx264" else {}
        stream.options = own | (options or {})
        if rotation:
            stream.set_display_rotation(rotation)
        base = Fraction(1, 1000) if times is not None else Fraction(1, 25)
        stream.codec_context.time_base = base
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A file with an audio stream only."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


class Finder:
    """A face detector for these films: everything that is not grey is a face. It needs no weights and no torch."""

    sizes = (192,)
    version = "1"

    def __init__(self, model: Path | None = None, device: str = "cpu") -> None:
        pass

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """Boxes (k, 5)."""
        return [self._boxes(frame) for frame in frames]

    @staticmethod
    def _boxes(frame: np.ndarray) -> np.ndarray:
        other = (np.abs(frame.astype(int) - GREY).max(axis=2) > 24).astype(np.uint8)
        other = cv2.morphologyEx(other, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(other)
        boxes = [[x, y, x + w, y + h, 1.0] for x, y, w, h, area in stats[1:].tolist() if area > 300]
        return np.array(boxes, np.float64).reshape(-1, 5)
