"""Folders of frames and single pictures as numbered frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dfbench.data.pictures import SUFFIXES, read_picture
from dfbench.data.prepare.media import Facts, Frame, MediaError
from dfbench.errors import DataError


class Pictures:
    """A folder of frame pictures in natural order (10 comes after 9), or one picture.

    Raises:
        MediaError: there is no picture, or the first cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._files = [path]
        if path.is_dir():
            names = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
            self._files = sorted(names, key=lambda p: _natural(p.name))
        if not self._files:
            raise MediaError("no pictures in this folder")
        self._first = StillFrame(_read(self._files[0]))
        first = self._first.pixels()
        self.facts = Facts(
            "frames" if path.is_dir() else "picture", self._files[0].suffix.lower().lstrip("."), "",
            first.shape[1], first.shape[0], 0.0, 0, len(self._files),
        )  # fmt: skip

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """As :class:`Media`."""
        for number in numbers:
            try:  # a large picture takes a second to decode: the first one is not read twice
                frame = StillFrame(_read(self._files[number])) if number else self._first
            except MediaError:
                continue
            if frame.pixels().shape[:2] == (self.facts.height, self.facts.width):
                yield number, frame


@dataclass(frozen=True, eq=False)
class StillFrame:
    """A decoded picture: uint8 RGB (H, W, 3)."""

    whole: np.ndarray

    @property
    def bytes(self) -> int:
        """As :class:`Frame`."""
        return self.whole.nbytes

    @property
    def seconds(self) -> float | None:
        """As :class:`Frame`: a picture has no time."""
        return None

    def pixels(self, width: int | None = None, height: int | None = None) -> np.ndarray:
        """As :class:`Frame`."""
        if width is None or height is None or self.whole.shape[:2] == (height, width):
            return self.whole
        return np.asarray(Image.fromarray(self.whole).resize((width, height), Image.Resampling.BOX))


def _read(path: Path) -> np.ndarray:
    try:
        return read_picture(path, path.name)
    except DataError as error:
        raise MediaError(str(error)) from None


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
