"""Self-blended images: a frame blended with a slightly changed copy of itself.

It follows Shiohara & Yamasaki 2022 (CVPR, arXiv:2204.08376, section 3): a copy with changed colours, either softened
or sharpened, is shifted and scaled a little and blended in through a deformed, blurred face mask. There is no second
person, only the traces that blending leaves.
"""

from __future__ import annotations

import cv2
import numpy as np

from dfbench.forge import pixels


def self_blended(
    frames: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, times: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Blend every frame with a changed copy of itself.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float64 (T, K, 2), x first, in pixels.
        rng: decides the change, the mask and the flicker.
        times: int (T,) frame numbers; 0 … T−1 by default.

    Returns:
        the forged frames, and their blending masks, uint8 (T, H, W).
    """
    times = np.arange(len(frames)) if times is None else times
    shape = frames.shape[1:3]
    colour = rng.choice([-1, 1], 3) * rng.uniform(3, 10, 3) + rng.choice([-1, 1]) * rng.uniform(6, 18)
    contrast = 1 + rng.choice([-1, 1]) * rng.uniform(0.05, 0.2)
    colour_now = 2.0 * np.stack([pixels.flicker(rng, times) for _ in range(3)], axis=1)
    scale = 1 + rng.choice([-1, 1]) * rng.uniform(0.02, 0.06)
    shift = rng.uniform(-0.03, 0.03, 2) * shape[1]
    shift_now = 0.3 * np.stack([pixels.flicker(rng, times, 2), pixels.flicker(rng, times, 2)], axis=1)
    sharper, amount = rng.random() < 0.5, rng.uniform(0.8, 1.5)
    shrink, feather = rng.uniform(0.78, 0.98), rng.uniform(0.5, 2.5)
    bend = rng.uniform(-1, 1, (2, 4, 4)) * 0.05 * shape[1]

    forged, masks = np.empty_like(frames), np.empty(frames.shape[:3], np.uint8)
    for row, (frame, points) in enumerate(zip(frames, landmarks, strict=True)):
        centre = points.mean(axis=0)
        levels = (np.arange(256) - 128) * contrast + 128
        table = pixels.clip_u8(levels[:, None] + colour + colour_now[row])
        copy = cv2.LUT(frame, table[None])
        copy = pixels.sharpen(copy, amount) if sharper else pixels.blur(copy, 0.7 * amount)
        y, x = np.indices(shape, dtype=np.float64)
        moved = centre + shift + shift_now[row]
        copy = pixels.sample(copy, centre[0] + (x - moved[0]) / scale, centre[1] + (y - moved[1]) / scale)
        inside = pixels.hull(centre + shrink * (points - centre), shape)
        masks[row] = pixels.feather(pixels.bend(inside, bend), feather)
        forged[row] = pixels.blend(frame, copy, masks[row])
    return forged, masks
