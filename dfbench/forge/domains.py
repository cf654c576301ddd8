"""What a camera and a codec do to a clip after forging, alike for the pristine and the forged version.

Each experience of the benchmark has a domain of its own: noise, softness, tone and compression are drawn from its
ranges once per clip and applied to both versions of the clip. So no setting distinguishes a fake from its original.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dfbench.data import codecs
from dfbench.data.codecs import jpeg
from dfbench.forge import pixels


@dataclass(frozen=True)
class Domain:
    """The camera and codec of one experience; a pair is the lowest and the highest value.

    Attributes:
        jpeg: quality of JPEG.
        h264: quantiser of H.264; a higher one gives a worse picture.
        video: share of clips that go through H.264; the others go through JPEG.
        soften: blur before compression, sigma in pixels.
        noise: sensor noise, sigma in grey levels.
        contrast: slope of the tone curve.
        tint: largest gain or loss of a colour channel, as a share.
    """

    jpeg: tuple[int, int]
    h264: tuple[int, int]
    video: float
    soften: tuple[float, float]
    noise: tuple[float, float]
    contrast: tuple[float, float] = (0.9, 1.1)
    tint: float = 0.04


def record(versions: list[np.ndarray], times: np.ndarray, domain: Domain, rng: np.random.Generator) -> list[np.ndarray]:
    """Send the versions of one clip (pristine, forged) through the same camera and codec; shapes stay the same.

    Args:
        versions: uint8 RGB (T, H, W, 3) each.
        times: int (T,) frame numbers.
        domain: the ranges that the settings are drawn from.
        rng: decides the settings, which all versions share.
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


def h264(frames: np.ndarray, quantiser: int) -> np.ndarray:
    """Send frames through x264 at a constant quantiser.

    Every frame is a key frame, so a frame comes out the same whichever other frames are rendered with it.
    """
    return codecs.h264(frames, preset="veryfast", qp=str(quantiser), g="1")


def _grain(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    return np.rint(sigma * rng.standard_normal(shape)).astype(np.int16)
