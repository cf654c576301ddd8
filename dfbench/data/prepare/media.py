"""What videos, folders of frames and single pictures have in common: numbered frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dfbench.errors import DataError


class MediaError(DataError):
    """One video, folder or picture cannot be used; the message says why, without its name.

    Args:
        message: One line.
        code: The same as a stable word, for programs and translations.
    """

    def __init__(self, message: str, code: str = "damaged") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Facts:
    """What is known of a medium before a frame is decoded.

    Attributes:
        container: of a video, else ``frames`` or ``picture``.
        codec: of a video, else the suffix of the pictures.
        pixel_format: FFmpeg's name; empty for pictures.
        width: pixels as shown, after rotation.
        height: pixels as shown, after rotation.
        fps: frames per second, on average; 0 where unknown.
        bit_rate: bits per second; 0 where unknown.
        frames: how many there are.
        note: what is odd about it (a truncated file), or nothing.
        seconds: length of a video, as its container states it or as its frames need it, whichever is longer; 0 for
            pictures, and where it is unknown.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    fps: float
    bit_rate: int
    frames: int
    note: str = ""
    seconds: float = 0.0


class Frame(Protocol):
    """One frame; its pixels are made when they are asked for."""

    @property
    def bytes(self) -> int:
        """Bytes that it takes while it is kept."""
        ...

    @property
    def seconds(self) -> float | None:
        """When it is shown, from the start of the video; None where that is not known."""
        ...

    def pixels(self, width: int | None = None, height: int | None = None) -> np.ndarray:
        """Upright uint8 RGB (H, W, 3), whole or reduced to a size."""
        ...


class Media(Protocol):
    """A medium that was opened."""

    facts: Facts

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """``(number, frame)`` of these frames, which are sorted; one that cannot be decoded is missing."""
        ...
