"""Generator upsampling: the inner face is halved and rebuilt by an imperfect transposed convolution.

Transposed convolutions leave copies of the low frequencies among the high ones, and a pattern of period 2 or 4
(Odena et al. 2016; Frank et al. 2020, arXiv:2003.08685, sections 3–4; Wang et al. 2020, arXiv:1912.11035, section 5).
The copies replace part of the true high frequencies, so that the energy there stays about the same.
"""

from __future__ import annotations

import numpy as np

from dfbench.forge import pixels


def _fingerprint() -> np.ndarray:
    """What one generator's kernels make of each output phase: (4, 4, 3), with mean 0.

    Most of its power is at period 4 (from the last layer but one), less at period 2, and almost none in the corner of
    the spectrum, where a photograph has no power either and any trace would stand out.
    """
    y, x = np.indices((4, 4)) * np.pi / 2
    coarse = np.cos(x + y) + 0.7 * np.cos(x - y + 1) + 0.8 * np.cos(x + 0.6) + 0.9 * np.cos(y - 0.4)
    fine = 0.25 * np.cos(2 * x) + 0.2 * np.cos(2 * y) + 0.15 * np.cos(2 * x + y) + 0.05 * np.cos(2 * x + 2 * y)
    return (coarse + fine)[..., None] * [1.0, 1.15, 0.9]


def upsampling(
    frames: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, times: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rebuild the inner face of every frame from fewer pixels.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float64 (T, K, 2), x first, in pixels.
        rng: decides the strength of the copies, the mask and the flicker.
        times: int (T,) frame numbers; 0 … T−1 by default.

    Returns:
        the forged frames, and their blending masks, uint8 (T, H, W).
    """
    times = np.arange(len(frames)) if times is None else times
    shape = frames.shape[1:3]
    uneven = _fingerprint() * rng.uniform(0.0105, 0.023)
    grid = np.tile(uneven, (shape[0] // 4 + 1, shape[1] // 4 + 1, 1))[: shape[0], : shape[1]]
    energy = rng.uniform(0.5, 0.95)  # of the high frequencies, as a share of what it was
    shrink, feather = rng.uniform(0.9, 1.04), rng.uniform(2.0, 5.0)
    strength = 1 + 0.25 * pixels.flicker(rng, times)

    forged, masks = np.empty_like(frames), np.empty(frames.shape[:3], np.uint8)
    for row, (frame, points) in enumerate(zip(frames, landmarks, strict=True)):
        smooth = pixels.blur(frame, 0.9).astype(np.float64)
        detail = frame - smooth
        copies = smooth * grid * strength[row]
        before, added = (detail * detail).sum(), (copies * copies).sum()
        kept = np.sqrt(np.clip(energy - added / max(before, 1.0), 0.2, 1.3))
        face = pixels.clip_u8(smooth + kept * detail + copies)
        centre = points.mean(axis=0)
        masks[row] = pixels.feather(pixels.hull(centre + shrink * (points - centre), shape), feather)
        forged[row] = pixels.blend(frame, face, masks[row])
    return forged, masks
