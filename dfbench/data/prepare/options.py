"""What a user may choose, and what makes two prepared sets the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

FORMAT = 1
"""Raised when the same options give other crops than before."""


class Options(BaseModel):
    """How crops are made. Two runs with equal options over equal items on one machine give equal bytes.

    Attributes:
        frames: per video, evenly spread over it.
        clip: 0, or the length of clips of consecutive frames that are spread instead of single frames.
        margin: side of a crop as a multiple of the face's longer side.
        size: width and height of a crop, in pixels.
        quality: of the JPEGs, 1 to 100.
        limit: at most so many videos of each split and method; 0: all.
        faces: name of the face detector.
        faces_version: what else its boxes depend on: versions, its file.
        source: name of the data set's reader.
        source_options: its options.
        versions: of the libraries that decode and encode.
        format: of the prepared set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    source_options: dict[str, JsonValue] = {}
    frames: Annotated[int, Field(ge=1)] = 32
    clip: Annotated[int, Field(ge=0)] = 0
    margin: Annotated[float, Field(ge=1, le=4)] = 1.3
    size: Annotated[int, Field(ge=16, le=2048)] = 256
    quality: Annotated[int, Field(ge=1, le=100)] = 95
    limit: Annotated[int, Field(ge=0)] = 0
    faces: str = "mtcnn"
    faces_version: str = ""
    versions: dict[str, str] = {}
    format: int = FORMAT


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two sets of options, as ``key old, now new``; empty if nothing does.

    >>> difference({"size": 224, "clip": 0}, {"size": 256, "clip": 0})
    'size 224, now 256'
    """
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "; ".join(f"{key} {before.get(key, 'unset')}, now {now.get(key, 'unset')}" for key in keys)


def spread(count: int, frames: int, clip: int) -> list[list[int]]:
    """Numbers of the frames to take: the middles of as many equal stretches of the video as there are clips.

    Args:
        count: frames of the video.
        frames: frames wanted.
        clip: 0, or the length of a clip; then the fewest clips that have so many frames.

    Returns:
        clips of consecutive numbers, without overlap; single frames are clips of one.

    >>> spread(100, 4, 0)
    [[12], [37], [62], [87]]
    >>> spread(100, 8, 4)
    [[23, 24, 25, 26], [73, 74, 75, 76]]
    """
    length = clip or 1
    pieces = min(-(-frames // length), count // length)
    starts = [(2 * i + 1) * count // (2 * pieces) - length // 2 for i in range(pieces)]
    return [list(range(start, start + length)) for start in starts]
