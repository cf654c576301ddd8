"""Video compression as augmentation: a clip through H.264 and back, in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

STORED_FPS = 30
PIXEL_FORMAT = "yuv444p"
TUNES = ("film", "animation", "grain", "stillimage", "fastdecode", "zerolatency")


@dataclass(frozen=True)
class Codec:
    """One drawn setting of the encoder, the same for the real and the fake of a pair.

    Attributes:
        crf: constant rate factor, 17 … 39; more is worse.
        tune: one of :data:`TUNES`.
        fps: frames per second that are left of 30.
        scale: factor of height and width.
    """

    crf: int
    tune: str
    fps: int = STORED_FPS
    scale: float = 1.0

    @classmethod
    def draw(cls, random: np.random.Generator) -> Codec:
        """Rate with p ½ from {15 … 29}, scale with p ½ from U(¼, 1), CRF from {17 … 39}, a tune."""
        fps = int(random.integers(15, 30)) if random.random() < 0.5 else STORED_FPS
        scale = float(random.uniform(0.25, 1.0)) if random.random() < 0.5 else 1.0
        return cls(int(random.integers(17, 40)), str(random.choice(TUNES)), fps, scale)


def thinned(length: int, fps: int) -> np.ndarray:
    """Which of ``length`` frames are left when 30 per second become ``fps``, as ffmpeg's filter ``fps`` has it.

    Its ticks take the last frame whose time, rounded to whole ticks, is not later.

    Returns:
        int64 (L,).
    """
    left = max(1, (2 * length * fps + STORED_FPS) // (2 * STORED_FPS))
    return np.minimum(-(-(2 * np.arange(left) + 1) * STORED_FPS // (2 * fps)) - 1, length - 1)


def rescaled(index: np.ndarray, length: int, left: int) -> np.ndarray:
    """Indices, in a thinned clip of ``left`` frames, of frames ``index`` of the original ``length``.

    Rounded as the solution does, half to even: at half the rate, frames that are two apart can become one.
    """
    return np.minimum(np.round(index.astype(np.float32) / length * left).astype(np.int64), left - 1)


def compress(clip: np.ndarray, codec: Codec) -> np.ndarray:
    """Encode a clip and decode it.

    Colour is not subsampled: given RGB pictures and no pixel format, ffmpeg encodes YUV 4:4:4.

    Args:
        clip: uint8 (T, H, W, 3), RGB, at 30 frames per second.
        codec: settings of the encoder.

    Returns:
        uint8 (T', H', W', 3): thinned to ``codec.fps``, scaled by ``codec.scale`` (bicubic), sides even, rounded down.
    """
    clip = clip[thinned(len(clip), codec.fps)]
    height, width = (max(2, round(side * codec.scale) // 2 * 2) for side in clip.shape[1:3])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        # With AVX-512, x264's macroblock tree encodes one clip differently unless cpu-independent is set.
        options = {"crf": str(codec.crf), "tune": codec.tune, "threads": "1", "x264-params": "cpu-independent=1"}
        stream = container.add_stream("libx264", rate=Fraction(codec.fps), options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, PIXEL_FORMAT
        for frame in clip:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(width, height, PIXEL_FORMAT, interpolation="BICUBIC")))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as coded:
        coded.streams.video[0].codec_context.thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in coded.decode(video=0)])
