"""What a camera and a codec do to a clip, after any forging and the same for pristine and forged.

Each experience of the benchmark has a domain of its own: noise, softness, tone and compression are drawn from its
ranges, once a clip, and applied to both versions of it. So no setting tells a fake from its original.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

from dfbench.forge import pixels


@dataclass(frozen=True)
class Domain:
    """The ranges of one experience.

    :ivar jpeg: quality of JPEG, lowest and highest
    :ivar h264: quantiser of H.264, lowest and highest (more is worse)
    :ivar video: share of clips that go through H.264; the others through JPEG
    :ivar soften: blur before compression, sigma in pixels
    :ivar noise: sensor noise, sigma in grey levels
    :ivar contrast: slope of the tone curve
    :ivar tint: largest gain or loss of a colour channel
    """

    jpeg: tuple[int, int]
    h264: tuple[int, int]
    video: float
    soften: tuple[float, float]
    noise: tuple[float, float]
    contrast: tuple[float, float] = (0.9, 1.1)
    tint: float = 0.04


def record(versions: list[np.ndarray], times: np.ndarray, domain: Domain, rng: np.random.Generator) -> list[np.ndarray]:
    """Send versions of one clip (pristine, forged) through the same camera and codec.

    :param versions: each uint8 RGB (T, H, W, 3)
    :param times: int (T,) frame numbers
    :param rng: decides the settings, alike for all versions
    :return: the recorded versions, same shapes
    """
    sigma, noise = rng.uniform(*domain.soften), rng.uniform(*domain.noise)
    slope, tint = rng.uniform(*domain.contrast), 1 + rng.uniform(-domain.tint, domain.tint, 3)
    video = rng.random() < domain.video
    quality, quantiser = (
        int(rng.integers(*domain.jpeg, endpoint=True)),
        int(rng.integers(*domain.h264, endpoint=True)),
    )
    table = pixels.clip_u8(((np.arange(256)[:, None] - 128) * slope + 128) * tint)
    grain = np.stack([_grain(own, versions[0].shape[1:], noise) for own in pixels.frame_rngs(rng, times)])
    result = []
    for frames in versions:
        seen = np.stack([cv2.LUT(pixels.blur(frame, sigma), table[None]) for frame in frames])
        seen = np.clip(seen.astype(np.int16) + grain, 0, 255).astype(np.uint8)
        result.append(h264(seen, quantiser) if video else np.stack([jpeg(frame, quality) for frame in seen]))
    return result


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    """One uint8 RGB frame through JPEG (4:2:0)."""
    code = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1]


def h264(frames: np.ndarray, quantiser: int) -> np.ndarray:
    """Frames through x264 at a constant quantiser, every frame a key frame.

    Key frames alone, so that a frame comes out the same whichever others are rendered with it.
    """
    count, height, width = frames.shape[:3]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {
        "preset": "veryfast",
        "qp": str(quantiser),
        "g": "1",
        "threads": "1",
        "x264-params": "cpu-independent=1",  # the same bits whatever vector instructions there are
    }
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets, pictures = [], []
    for number, frame in enumerate(frames):
        planes = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    for packet in packets:
        pictures += decoder.decode(packet)
    pictures += decoder.decode(None)
    if len(pictures) != count:
        raise RuntimeError(f"H.264 gave {len(pictures)} of {count} frames back")
    return np.stack([cv2.cvtColor(p.to_ndarray(), cv2.COLOR_YUV2RGB_I420) for p in pictures])


def _grain(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    return np.rint(sigma * rng.standard_normal(shape)).astype(np.int16)
