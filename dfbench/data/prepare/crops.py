"""Square crops around faces: whole pixels, inside the frame, as JPEGs of one size."""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image


class Square(NamedTuple):
    """Left, top and side in whole pixels of the frame."""

    x: int
    y: int
    side: int


def square(box: np.ndarray, margin: float, width: int, height: int) -> Square:
    """The square around a box, moved into the frame where it juts out.

    No border is added, which a detector could learn: a square larger than the frame shrinks to its shorter side.

    Args:
        box: left, top, right, bottom.
        margin: side of the square as a multiple of the box's longer side.
        width: of the frame.
        height: of the frame.
    """
    side = min(max(round(float(max(box[2] - box[0], box[3] - box[1]) * margin)), 1), width, height)
    x = round(float((box[0] + box[2]) / 2 - side / 2))
    y = round(float((box[1] + box[3]) / 2 - side / 2))
    return Square(min(max(x, 0), width - side), min(max(y, 0), height - side), side)


def around(boxes: np.ndarray) -> np.ndarray:
    """One box (4,) for the frames of a clip, from theirs (T, 4): the mean centre, and the longest sides."""
    centre = (boxes[:, :2] + boxes[:, 2:4]).mean(axis=0) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=0) / 2
    return np.concatenate([centre - half, centre + half])


def encode(pixels: np.ndarray, where: Square, size: int, quality: int) -> bytes:
    """Cut a square out of a frame, resize it (antialiased bicubic) and encode it as JPEG without chroma subsampling.

    Args:
        pixels: uint8 RGB (H, W, 3).
        where: the square.
        size: width and height of the result.
        quality: 1 to 100.
    """
    cut = Image.fromarray(pixels[where.y : where.y + where.side, where.x : where.x + where.side])
    buffer = BytesIO()
    cut.resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
