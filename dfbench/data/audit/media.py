"""What the headers of an item's files say, a few of its frames, and perceptual hashes of these."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image, JpegImagePlugin

from dfbench.data.pictures import PictureError, read_picture
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.tree import pictures
from dfbench.errors import in_one_line

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

PLACES = (0.25, 0.5, 0.75)
"""The frames that are looked at, as shares of the length."""

EXACT = 0.5
"""Seconds before such a frame in which every frame is decoded."""

FLAT = 2.0
"""Standard deviation of grey values (0 to 255) below which a frame is too plain for a hash."""

HASH_SIZE = 16
"""Side of the hash: 256 bits."""


class Unreadable(Exception):
    """A file cannot be read; the message says why."""


@dataclass(frozen=True)
class Facts:
    """What is known of a video or picture without decoding it.

    Attributes:
        container: of a video, or the format of pictures.
        codec: of a video, or the mode of pictures.
        layout: of a video's pixels (``yuv420p``); empty for pictures.
        width: in pixels.
        height: in pixels.
        frames: how many.
        rate: frames per second; 0 for pictures.
        bytes: of all files.
        colours: how they are stored: a video's range, matrix, transfer and primaries; of pictures the name of the
            ICC profile and a JPEG's subsampling. Empty where it is not known.
        quantiser: the mean of a JPEG's table for brightness, from 1 for the finest; 0 for others.
    """

    container: str
    codec: str
    layout: str
    width: int
    height: int
    frames: int
    rate: float
    bytes: int
    colours: str = ""
    quantiser: float = 0.0


class Media(Protocol):
    """Where an audit gets facts and frames from: the files, or a prepared set's table."""

    def facts(self, item: Item) -> Facts:
        """Facts about an item; raises :class:`Unreadable`."""
        ...

    def frames(self, item: Item) -> list[np.ndarray]:
        """The frames at :data:`PLACES`, RGB, uint8 (H, W, 3); a picture once. Raises :class:`Unreadable`."""
        ...


class Files:
    """The facts and frames of the files that items name."""

    def facts(self, item: Item) -> Facts:
        """From the headers alone."""
        if item.kind == "video":
            return _video_facts(item.path)
        found = _frames(item)
        with _opened(found[0]) as first:
            size = sum(os.path.getsize(path) for path in found)
            tables = getattr(first, "quantization", None) or {}
            quantiser = float(np.mean(tables[0])) if 0 in tables else 0.0
            colours = ", ".join(part for part in (_profile(first), _subsampling(first)) if part)
            return Facts(first.format or "", first.mode, "", *first.size, len(found), 0.0, size, colours, quantiser)

    def frames(self, item: Item) -> list[np.ndarray]:
        """Decodes up to three frames."""
        if item.kind == "video":
            return _video_frames(item.path)
        found = _frames(item)
        chosen = dict.fromkeys(found[int(place * len(found))] for place in PLACES)
        try:
            return [read_picture(path) for path in chosen]
        except PictureError as error:
            raise Unreadable(str(error)) from error


def _profile(picture: Image.Image) -> str:
    """The description of its ICC profile, or a hash of one that cannot be read."""
    raw = picture.info.get("icc_profile")
    if not raw:
        return ""
    from PIL import ImageCms

    try:
        return "ICC " + ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(raw))).strip()[:80]
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "ICC " + hashlib.sha256(raw).hexdigest()[:16]


def _subsampling(picture: Image.Image) -> str:
    """Of a JPEG's colours."""
    names = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
    return names.get(JpegImagePlugin.get_sampling(picture), "") if picture.format == "JPEG" else ""


def _frames(item: Item) -> Sequence[Path]:
    found = [item.path] if item.kind == "picture" else pictures(item.path)
    if not found:
        raise Unreadable("no pictures")
    return found


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(in_one_line(error)) from error


def _open_video(path: Path) -> av.container.InputContainer:
    import av

    try:
        return av.open(str(path))
    except (OSError, ValueError) as error:  # FFmpeg's errors are kinds of these
        raise Unreadable(in_one_line(error)) from error


def _stream(container: av.container.InputContainer) -> VideoStream:
    if not container.streams.video:
        raise Unreadable("no pictures, sound only" if container.streams.audio else "no pictures")
    return container.streams.video[0]


def _video_facts(path: Path) -> Facts:
    with _open_video(path) as container:
        stream = _stream(container)
        rate = float(stream.average_rate or 0)
        frames = stream.frames or round(rate * _seconds(container, stream))
        if frames < 1 or not stream.width or not stream.height:
            raise Unreadable("no frames")
        context = stream.codec_context
        return Facts(
            container.format.name, context.name, context.pix_fmt or "", stream.width, stream.height, frames, rate,
            os.path.getsize(path), _video_colours(context),
        )  # fmt: skip


def _video_colours(context: VideoCodecContext) -> str:
    """Range, matrix, transfer and primaries, as FFmpeg numbers them; empty where none is stated."""
    parts = (context.color_range, context.colorspace, context.color_trc, context.color_primaries)
    unstated = (0, 2, 2, 2)
    return "" if parts == unstated else " ".join(map(str, parts))


def _seconds(container: av.container.InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000


def _video_frames(path: Path) -> list[np.ndarray]:
    """The frames at :data:`PLACES`; the last one where the video ends early.

    Up to :data:`EXACT` seconds before a place, frames that no other refers to are skipped, and none is deblocked, which
    takes about two thirds of the time.
    """
    found = []
    with _open_video(path) as container:
        stream = _stream(container)
        decoder = stream.codec_context
        decoder.options = {"skip_loop_filter": "all"}
        length, start, unit = _seconds(container, stream), stream.start_time or 0, float(stream.time_base or 1)
        try:
            for place in PLACES:
                target = start + int(place * length / unit)
                exact = target - int(EXACT / unit)
                decoder.skip_frame = "NONREF" if exact > start else "DEFAULT"
                container.seek(target, stream=stream)
                frame = None
                for frame in container.decode(stream):
                    if frame.pts is None or frame.pts >= target:
                        break
                    if frame.pts >= exact:
                        decoder.skip_frame = "DEFAULT"
                if frame is None:
                    raise Unreadable("no frame can be decoded")
                found.append(frame.to_ndarray(format="rgb24"))
        except (OSError, ValueError) as error:
            raise Unreadable(in_one_line(error)) from error
    return found


def hashes_of(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Perceptual hashes of what was looked at: bool (3, 256).

    A picture has its own hash three times. A frame that is too plain has the hash of nothing: all False.
    """
    found = [_hash_of(Image.fromarray(frame)) for frame in frames]
    return np.stack([found[int(place * len(found))] for place in PLACES])


def _hash_of(picture: Image.Image) -> np.ndarray:
    import imagehash

    grey = np.asarray(picture.convert("L"), np.float32)
    if grey.std() < FLAT or not math.isfinite(float(grey.std())):
        return np.zeros(HASH_SIZE**2, bool)
    bits: np.ndarray = imagehash.phash(picture, hash_size=HASH_SIZE).hash.reshape(-1)
    return bits
