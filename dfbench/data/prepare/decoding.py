"""A video's frames by number: the packets are listed without decoding, and as little as possible is decoded.

Frames are numbered by their presentation time, so that a variable frame rate or a wrong count in the header does
not matter. To reach the wanted frames the decoder jumps to the last key frame before each, and leaves out frames
that no other frame refers to; the pixels are those of a decoder that leaves out nothing.
"""

from __future__ import annotations

import bisect
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from dfbench.data.prepare.media import Facts, Frame, MediaError

MAX_PIXELS = 16384 * 16384 // 4
"""A frame with more is refused: it would not fit into memory."""


CLOSE = 4
"""Frames up to a key frame that are decoded rather than jumped over."""

DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,ogg,asf,h264,hevc,mjpeg,mxf,nut,ivf,rm,wtv,dv"
"""FFmpeg's readers that may open files. Those of playlists (HLS, DASH, concat), which name other files, are out."""
_SAFE = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A decoded frame in the video's own pixel format."""

    raw: av.VideoFrame

    @property
    def bytes(self) -> int:
        """As :class:`~dfbench.data.prepare.media.Frame`."""
        return sum(plane.buffer_size for plane in self.raw.planes)

    @property
    def seconds(self) -> float | None:
        """As :class:`~dfbench.data.prepare.media.Frame`."""
        return None if self.raw.time is None else float(self.raw.time)

    def pixels(self, width: int | None = None, height: int | None = None) -> np.ndarray:
        """As :class:`~dfbench.data.prepare.media.Frame`."""
        turns = round(self.raw.rotation / 90) % 4
        if width is not None and height is not None and turns % 2:
            width, height = height, width
        pixels = self.raw.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


class Video:
    """A video file, opened anew for every pass.

    Args:
        path: the file.
        threads: of the decoder.

    Raises:
        MediaError: no video can be read from it.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._path, self._threads = path, threads
        with _reading():
            with self._open() as (container, stream):
                self._times, self._keys, self._regular = _listed(container, stream)
            if not self._times:
                raise MediaError("no frames", "no_frames")
            with self._open() as (container, stream):
                span = self._times[-1] - self._times[0] if self._regular else 0
                self.facts, self._size = _facts(container, stream, len(self._times), span)

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """As :class:`~dfbench.data.prepare.media.Media`."""
        with _reading(), self._open() as (container, stream):
            if self._regular:
                found = self._sought(container, stream, numbers)
            else:
                found = _in_order(container, stream, set(numbers))
            for number, raw in found:
                if (raw.width, raw.height) == self._size:  # a stream may change its size on the way
                    yield number, VideoFrame(raw)

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        # "file:" keeps a name with a colon from being read as that of a protocol.
        with av.open(f"file:{self._path}", metadata_errors="replace", options=_SAFE) as container:
            streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
            if not streams:
                if container.streams.audio:
                    raise MediaError("no video stream (audio only)", "audio_only")
                raise MediaError("no video stream", "no_frames")
            if streams[0].codec_context is None:
                raise MediaError("a video of a kind that FFmpeg cannot decode", "no_frames")
            streams[0].codec_context.thread_count = self._threads
            yield container, streams[0]

    def _sought(self, container: Any, stream: Any, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """The frames, by jumps to key frames: one pass for each stretch of wanted frames without a jump."""
        number_of = {self._times[number]: number for number in numbers}
        wanted = deque(sorted(number_of))
        moved = False
        while wanted:
            key = self._keys[max(bisect.bisect_right(self._keys, wanted[0]) - 1, 0)]
            if moved or key > self._keys[0]:
                container.seek(key, stream=stream, backward=True)
                moved = True
            before = len(wanted)
            for frame in self._up_to(container, stream, wanted, jumped=moved):
                yield number_of[frame.pts], frame
                if wanted and self._worth_a_jump(frame.pts, wanted[0]):
                    break
            moved = True
            if len(wanted) == before:  # the container's index is wrong, or the file is damaged from here on
                with self._open() as (again, same):
                    yield from ((number_of[frame.pts], frame) for frame in self._up_to(again, same, wanted))
                return

    @staticmethod
    def _up_to(container: Any, stream: Any, wanted: deque[int], jumped: bool = False) -> Iterator[Any]:
        """Frames at the wanted times, which are removed one by one, decoded from where the container stands.

        Args:
            container: positioned at a key frame.
            stream: of the container.
            wanted: times, ascending; those that cannot be decoded are removed too.
            jumped: end without a frame if the first one comes after what is wanted.
        """
        chosen = frozenset(wanted)
        for frame in _decoded(container, stream, lambda packet: "DEFAULT" if packet.pts in chosen else "NONREF"):
            if frame.pts is None:
                continue
            if jumped and frame.pts > wanted[0]:
                return
            jumped = False
            while wanted and wanted[0] < frame.pts:
                wanted.popleft()
            if wanted and frame.pts == wanted[0]:
                wanted.popleft()
                yield frame
            if not wanted:
                return

    def _worth_a_jump(self, now: int, then: int) -> bool:
        """Whether a key frame lies between two wanted frames, and not right after the first."""
        nearest = bisect.bisect_right(self._keys, then) - 1
        return nearest >= 0 and (
            bisect.bisect_left(self._times, self._keys[nearest]) - bisect.bisect_left(self._times, now) > CLOSE
        )


def _listed(container: Any, stream: Any) -> tuple[list[int], list[int], bool]:
    """Presentation times of all frames and of the key frames, ascending, and whether frames have distinct times."""
    times, keys, count = [], [], 0
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                count += 1
                if packet.pts is not None:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
    except av.error.FFmpegError:
        pass  # the end of a truncated file: what came before is used
    regular = len(set(times)) == count and bool(keys)
    return (sorted(times) if regular else list(range(count))), sorted(keys), regular


def _facts(container: Any, stream: Any, count: int, span: int) -> tuple[Facts, tuple[int, int]]:
    """The facts, and the (width, height) of frames before they are turned.

    Args:
        container: Just opened.
        stream: Its video.
        count: Frames that it has.
        span: From the first frame to the last, in the stream's time base; 0 where that is not known.
    """
    context = stream.codec_context
    first = next(_decoded(container, stream, lambda packet: "DEFAULT"), None)
    if first is None:
        raise MediaError("no frame can be decoded", "no_frames")
    width, height = size = first.width, first.height
    if width * height > MAX_PIXELS:
        raise MediaError(f"frames of {width}×{height} pixels are too large", "too_many_pixels")
    if round(first.rotation / 90) % 2:
        width, height = height, width
    claimed = stream.frames
    note = f"truncated: {count} of {claimed} frames" if count < claimed - 1 else ""
    facts = Facts(
        container.format.name.split(",")[0], context.name, context.pix_fmt or "", width, height,
        round(float(stream.average_rate or 0), 3), int(container.bit_rate or 0), count, note,
        round(max((container.duration or 0) / av.time_base, float(span * stream.time_base), 0.0), 3),
    )  # fmt: skip
    return facts, size


def _decoded(container: Any, stream: Any, skip: Any) -> Iterator[Any]:
    """Decoded frames in the order of their presentation; damaged packets are left out.

    Args:
        container: positioned at a key frame.
        stream: of the container.
        skip: packet → FFmpeg's ``skip_frame`` for it.
    """
    context = stream.codec_context
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):  # the end, or that of a truncated file
            break
        if packet.size:
            context.skip_frame = skip(packet)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        yield from frames
    with contextlib.suppress(av.error.FFmpegError):
        yield from context.decode(None)


def _in_order(container: Any, stream: Any, wanted: set[int]) -> Iterator[tuple[int, Any]]:
    """The frames of a container without usable times (AVI, raw streams): everything is decoded and counted."""
    last = max(wanted, default=-1)
    for number, frame in enumerate(_decoded(container, stream, lambda packet: "DEFAULT")):
        if number in wanted:
            yield number, frame
        if number >= last:
            return


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise MediaError(f"not a readable video ({error.strerror or error})") from None
    except OSError as error:
        raise MediaError(f"cannot be read ({error.strerror or error})") from None
