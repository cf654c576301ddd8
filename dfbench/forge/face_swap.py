"""Face swap: a donor's face is warped onto the target's landmarks, colour-matched and blended in.

It follows FaceSwap as used for FaceForensics++ (Rössler et al. 2019, arXiv:1901.08971, section 3.1.1), with the
colour transfer of Reinhard et al. 2001. The donor's texture is resampled once from a larger picture, so the inner
face is a little crisper than its surroundings.
"""

from __future__ import annotations

import numpy as np

from dfbench.forge import pixels
from dfbench.forge.mesh import triangle_map
from dfbench.forge.pack import mesh


def face_swap(
    frames: np.ndarray,
    landmarks: np.ndarray,
    rng: np.random.Generator,
    donor: np.ndarray,
    donor_landmarks: np.ndarray,
    times: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Put the donor's face on every frame.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float64 (T, K, 2), x first, in pixels.
        rng: decides feathering, colour match and flicker.
        donor: uint8 RGB (h, w, 3), one picture of another person.
        donor_landmarks: float64 (K, 2), x first, in pixels of `donor`.
        times: int (T,) frame numbers, which decide the flicker of each frame; 0 … T−1 by default.

    Returns:
        the forged frames, and their blending masks, uint8 (T, H, W).
    """
    times = np.arange(len(frames)) if times is None else times
    shape = frames.shape[1:3]
    shrink = rng.uniform(0.98, 1.1)
    feather = rng.uniform(0.4, 1.3)
    match = rng.uniform(0.3, 0.8)  # share of the colour difference that is corrected
    crisp = rng.uniform(0.25, 0.65)
    jitter = 0.35 * np.stack([pixels.flicker(rng, times, 2), pixels.flicker(rng, times, 2)], axis=1)
    gain = 1 + 0.02 * pixels.flicker(rng, times)

    donor = pixels.blur(donor, 0.4)
    part = mesh().groups
    # From the brows down, as in FaceSwap: a forehead would bring the donor's hair with it.
    below = np.setdiff1d(np.arange(landmarks.shape[1]), [*part["forehead"], *part["oval"][:6], *part["oval"][30:]])
    forged, masks = np.empty_like(frames), np.empty(frames.shape[:3], np.uint8)
    for row, (frame, points) in enumerate(zip(frames, landmarks, strict=True)):
        x, y, covered = triangle_map(points + jitter[row], donor_landmarks, mesh().face, shape)
        swapped = pixels.sharpen(pixels.sample(donor, x, y), crisp)
        centre = points[below].mean(axis=0)
        inside = pixels.hull(centre + shrink * (points[below] - centre), shape)
        inside[~covered] = 0
        swapped = _match_colours(swapped, frame, inside > 0, match, gain[row])
        masks[row] = pixels.feather(inside, feather)
        forged[row] = pixels.blend(frame, swapped, masks[row])
    return forged, masks


def _match_colours(face: np.ndarray, frame: np.ndarray, inside: np.ndarray, share: float, gain: float) -> np.ndarray:
    """Move the mean and spread of each channel of `face` towards those of `frame`, both measured inside the mask."""
    mine, wanted = face[inside].astype(np.int64), frame[inside].astype(np.int64)
    table = np.empty((256, 3), np.uint8)
    for channel in range(3):
        a, b = mine[:, channel], wanted[:, channel]
        mean_a, mean_b = a.sum() / len(a), b.sum() / len(b)
        spread_a = np.sqrt(((a * a).sum() / len(a)) - mean_a**2)
        spread_b = np.sqrt(((b * b).sum() / len(b)) - mean_b**2)
        slope = 1 + share * (np.clip(spread_b / max(spread_a, 1.0), 0.6, 1.6) - 1)
        level = mean_a + share * (mean_b - mean_a)
        table[:, channel] = pixels.clip_u8(gain * ((np.arange(256) - mean_a) * slope + level))
    return np.stack([table[face[..., channel], channel] for channel in range(3)], axis=-1)
