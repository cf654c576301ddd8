"""Reenactment: another expression is put on the same face by warping mouth, eyes and brows.

It follows Face2Face (Thies et al. 2016, CVPR, sections 4–6) as used for FaceForensics++: the expression is
transferred, the inside of the mouth comes from elsewhere (here: it is darkened and softened), and the face is
re-rendered under estimated light (here: smoothly shaded) and laid over the original.
"""

from __future__ import annotations

import numpy as np

from dfbench.forge import pixels
from dfbench.forge.clips import expression_basis
from dfbench.forge.mesh import triangle_map
from dfbench.forge.pack import mesh


def reenactment(
    frames: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, times: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Put another expression on the face in every frame.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float64 (T, K, 2), x first, in pixels.
        rng: decides the expression, how it changes over the clip, and the shading.
        times: int (T,) frame numbers; 0 … T−1 by default.

    Returns:
        the forged frames, and their blending masks, uint8 (T, H, W).
    """
    times = np.arange(len(frames)) if times is None else times
    shape = frames.shape[1:3]
    part = mesh().groups
    course = np.stack([pixels.flicker(rng, times, 6) for _ in range(4)], axis=1)
    strength = np.array([rng.uniform(0, 0.4), rng.uniform(-0.5, 0.6), *rng.uniform(-1.1, 1.1, 2)])
    strength = strength + 0.3 * course * [0.3, 0.8, 1, 1]
    jitter = 0.3 * np.stack([pixels.flicker(rng, times, 1) for _ in range(2)], axis=1)
    softness = rng.uniform(0.25, 0.6)
    slope, tint = rng.uniform(-0.25, 0.25, 2), 1 + rng.uniform(-0.05, 0.05, 3)
    feather = rng.uniform(1.0, 3.5)
    inner = np.setdiff1d(np.arange(landmarks.shape[1]), part["oval"])

    forged, masks = np.empty_like(frames), np.empty(frames.shape[:3], np.uint8)
    for row, (frame, points) in enumerate(zip(frames, landmarks, strict=True)):
        amount = np.clip(strength[row], [0, -0.6, -1.4, -1.4], [0.6, 0.9, 1.4, 1.4])
        wanted = points + np.tensordot(amount, expression_basis(points), 1)
        wanted[part["oval"]] = points[part["oval"]]
        wanted[inner] += jitter[row]
        x, y, _ = triangle_map(wanted, points, mesh().face, shape)
        face = pixels.blur(pixels.sample(frame, x, y), softness)
        if amount[1] > 0:
            opening = pixels.feather(pixels.hull(wanted[part["lips_inner"]], shape), 0.7)
            cavity = pixels.clip_u8(pixels.blur(face, 1.0) * [0.45, 0.3, 0.3])
            face = pixels.blend(face, cavity, pixels.clip_u8(opening * min(1.0, 1.3 * amount[1])))

        low, high = points.min(axis=0), points.max(axis=0)
        v, u = np.indices(shape, dtype=np.float64)
        ramp = slope[0] * ((u - low[0]) / (high[0] - low[0]) - 0.5) + slope[1] * (
            (v - low[1]) / (high[1] - low[1]) - 0.5
        )
        face = pixels.clip_u8(face * ((1 + ramp)[..., None] * tint))

        centre = points.mean(axis=0)
        masks[row] = pixels.feather(pixels.hull(centre + 0.93 * (points - centre), shape), feather)
        forged[row] = pixels.blend(frame, face, masks[row])
    return forged, masks
