"""Autoencoder: the inner face goes through a low-resolution code and is pasted back.

It leaves the trace that FWA looks for (face-warping artefacts, Li & Lyu 2019, arXiv:1811.00656, section 3): a face
synthesised at a fixed small size and brought back to the frame by an affine warp. A decoder also invents texture:
the lost detail is put back with the right energy but in the wrong place, so the amount of detail alone does not
give the fake away.
"""

from __future__ import annotations

import numpy as np

from dfbench.forge import pixels


def autoencoder(
    frames: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, times: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Send the inner face of every frame through a bottleneck.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float64 (T, K, 2), x first, in pixels.
        rng: decides the size of the code, the invented texture and the flicker.
        times: int (T,) frame numbers; 0 … T−1 by default.

    Returns:
        the forged frames, and their blending masks, uint8 (T, H, W).
    """
    times = np.arange(len(frames)) if times is None else times
    shape = frames.shape[1:3]
    code = rng.uniform(30, 52)  # cells across the face
    texture = rng.uniform(0.55, 1.25)  # share of the lost detail that the decoder invents
    tint = rng.uniform(-5, 5, 3)
    shrink, feather = rng.uniform(0.86, 1.0), rng.uniform(1.5, 4.5)
    level = 1.5 * pixels.flicker(rng, times)

    forged, masks = np.empty_like(frames), np.empty(frames.shape[:3], np.uint8)
    for row, (frame, points, own) in enumerate(zip(frames, landmarks, pixels.frame_rngs(rng, times), strict=True)):
        low, high = points.min(axis=0), points.max(axis=0)
        cell = (high - low).max() / code
        phase = own.uniform(0, 1, 2) * cell
        smooth = _through_grid(pixels.blur(frame, 0.45 * cell), cell, low - phase)
        detail = frame.astype(np.int32) - smooth
        detail = pixels.displace(detail, 2.5 * own.uniform(-1, 1, (2, 12, 12)))
        face = pixels.clip_u8(smooth + texture * detail + tint + level[row])
        centre = points.mean(axis=0)
        masks[row] = pixels.feather(pixels.hull(centre + shrink * (points - centre), shape), feather)
        forged[row] = pixels.blend(frame, face, masks[row])
    return forged, masks


def _through_grid(frame: np.ndarray, cell: float, origin: np.ndarray) -> np.ndarray:
    """Sample a frame every `cell` pixels, on a grid through `origin`, and interpolate it back; both bilinear."""
    height, width = frame.shape[:2]
    start = origin - np.ceil(origin / cell + 1) * cell
    count = int(max(height, width) / cell) + 4
    x = start[0] + cell * np.arange(count)
    y = start[1] + cell * np.arange(count)
    code = pixels.sample(frame, *np.meshgrid(x, y))
    v, u = np.indices((height, width), dtype=np.float64)
    return pixels.sample(code, (u - start[0]) / cell, (v - start[1]) / cell)
