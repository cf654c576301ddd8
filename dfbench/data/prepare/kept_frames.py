"""What an item names, opened, and its wanted frames, kept in memory where they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dfbench.data.prepare.decoding import Video
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.media import Frame, Media, MediaError
from dfbench.data.prepare.stills import Pictures

KEEP = 256 << 20
"""Bytes of decoded frames that are kept between the search for faces and the cropping; more are decoded twice."""


def opened(item: Item, threads: int) -> Media | str:
    """What an item names, or why it cannot be opened."""
    if not item.path.exists():
        return "the link leads nowhere" if item.path.is_symlink() else "there is no such file"
    try:
        return Video(item.path, threads) if item.kind == "video" else Pictures(item.path)
    except MediaError as error:
        return str(error)


class KeptFrames:
    """The wanted frames of a medium: kept where they fit into :data:`KEEP`, else decoded for every pass."""

    def __init__(self, medium: Media, numbers: list[int]) -> None:
        self.facts = medium.facts
        self.numbers = numbers
        self._medium = medium
        self._kept: dict[int, Frame] | None = {}

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """As :meth:`Media.frames`."""
        if self._kept is not None and all(number in self._kept for number in numbers):
            yield from ((number, self._kept[number]) for number in numbers)
            return
        size = 0
        for number, frame in self._medium.frames(numbers):
            size += frame.bytes
            if size > KEEP:
                self._kept = None
            elif self._kept is not None:
                self._kept[number] = frame
            yield number, frame
