"""Token: the inner face is rebuilt from the nearest entries of a codebook of patches.

So decode the generators that work on discrete codes: VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937, section 3) and
VQGAN (Esser et al. 2021, arXiv:2012.09841, section 3.1) replace each vector of a small grid by the nearest of a learned
codebook. Here a vector is a patch of detail, and the codebook holds patches of other faces: what comes back is as crisp
as before, made of parts that repeat, and chosen anew in every frame.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dfbench.forge import pack, pixels
from dfbench.forge.clips import make_clip

PATCH, STRIDE = 6, 4
"""Side of a patch and distance of their centres, in pixels."""
ENTRIES = 1024
"""Patches in the codebook; a generator uses some of them."""
BASE = 2.0
"""Blur that parts a frame into what is kept and the detail that is coded, sigma in pixels."""


def token(
    frames: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, times: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rebuild the inner face of every frame from a codebook.

    Args:
        frames: uint8 RGB (T, H, W, 3).
        landmarks: float64 (T, K, 2), x first, in pixels.
        rng: decides the codebook's size and entries, the energy of the detail, the mask and the flicker.
        times: int (T,) frame numbers; 0 … T−1 by default.

    Returns:
        the forged frames, and their blending masks, uint8 (T, H, W).
    """
    times = np.arange(len(frames)) if times is None else times
    shape = frames.shape[1:3]
    own_codes = codebook()[rng.permutation(ENTRIES)[: rng.integers(128, 512)]]
    energy = rng.uniform(0.7, 1.15)  # of the detail, as a share of what it was
    shrink, feather = rng.uniform(0.9, 1.02), rng.uniform(1.5, 4.0)

    forged, masks = np.empty_like(frames), np.empty(frames.shape[:3], np.uint8)
    for row, (frame, points, own) in enumerate(zip(frames, landmarks, pixels.frame_rngs(rng, times), strict=True)):
        smooth = pixels.blur(frame, BASE).astype(np.int64)
        detail = frame - smooth
        origin = np.rint(points.min(axis=0)).astype(int) - own.integers(0, STRIDE, 2)
        rebuilt = _decode(detail, own_codes, origin)
        centre = points.mean(axis=0)
        inside = pixels.hull(centre + shrink * (points - centre), shape)
        before, after = ((part[inside > 0] ** 2).sum() for part in (detail, rebuilt))
        gain = np.sqrt(energy * before / max(after, 1))
        masks[row] = pixels.feather(inside, feather)
        forged[row] = pixels.blend(frame, pixels.clip_u8(smooth + min(gain, 2.0) * rebuilt), masks[row])
    return forged, masks


@lru_cache(maxsize=1)
def codebook() -> np.ndarray:
    """Patches of detail from the faces of training identities, int64 (ENTRIES, PATCH² · 3)."""
    rng = np.random.default_rng(6)
    people = pack.identities("train")[::30]
    patches = []
    for number, name in enumerate(people):
        clip = make_clip(pack.portrait(name), np.random.default_rng([6, number]), np.array([0]), motion=0.0)
        frame, points = clip.frames[0], clip.landmarks[0]
        detail = frame.astype(np.int64) - pixels.blur(frame, BASE)
        y, x = np.nonzero(pixels.hull(points, frame.shape[:2])[: 1 - PATCH, : 1 - PATCH])
        for place in rng.choice(len(y), ENTRIES // len(people), replace=False):
            patches.append(detail[y[place] : y[place] + PATCH, x[place] : x[place] + PATCH].reshape(-1))
    return np.stack(patches)


def _decode(detail: np.ndarray, codes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Replace the patches of a grid through `origin` by their nearest codes and lay these over each other.

    Args:
        detail: int64 (H, W, 3).
        codes: int64 (n, PATCH² · 3).
        origin: int (2,), x first.

    Returns:
        int64 (H, W, 3): the mean of the codes that cover a pixel, the middle of a code counting most.
    """
    height, width = detail.shape[:2]
    before = -origin[::-1] % STRIDE  # rows and columns to add, so that the grid starts in the corner
    after = PATCH + STRIDE - (np.array([height, width]) + before) % STRIDE
    padded = np.pad(detail, ((before[0], after[0]), (before[1], after[1]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))[::STRIDE, ::STRIDE]
    patches = windows.transpose(0, 1, 3, 4, 2).reshape(-1, PATCH * PATCH * 3)
    # Whole numbers below 2⁵³ in float64: the same sums in whatever order a processor adds them.
    product = patches.astype(np.float64) @ codes.T.astype(np.float64)
    nearest = ((codes * codes).sum(axis=1) - 2 * product).argmin(axis=1)
    chosen = codes[nearest].reshape(*windows.shape[:2], PATCH, PATCH, 3)

    ramp = np.minimum(np.arange(PATCH), np.arange(PATCH)[::-1]) + 1
    total, weight = np.zeros_like(padded), np.zeros(padded.shape[:2], np.int64)
    rows, columns = chosen.shape[0] * STRIDE, chosen.shape[1] * STRIDE
    for y in range(PATCH):
        for x in range(PATCH):
            share = ramp[y] * ramp[x]
            total[y : y + rows : STRIDE, x : x + columns : STRIDE] += share * chosen[:, :, y, x]
            weight[y : y + rows : STRIDE, x : x + columns : STRIDE] += share
    mean = total // np.maximum(weight, 1)[..., None]
    return mean[before[0] : before[0] + height, before[1] : before[1] + width]
