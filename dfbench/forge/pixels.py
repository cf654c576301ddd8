"""Pixel operations that give the same bits on every machine.

Positions and weights are computed in float64 and rounded to a fixed-point grid before they are applied to a
picture; pictures are uint8 and blended with integers. So the last bit of a float, which differs between
processors, does not reach a pixel. OpenCV runs on one thread here, without Intel's library.
"""

from __future__ import annotations

import cv2
import numpy as np

CLIP_FRAMES = 16
"""Frames in a clip of the embedded benchmark."""

cv2.setNumThreads(1)
if hasattr(cv2, "ipp"):
    cv2.ipp.setUseIPP(False)


def sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Read a picture at (h, w) fractional positions: bilinear, mirrored at the border.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        x: float64 (h, w) columns, in pixels of `image`; they are rounded to 1/32.
        y: float64 (h, w) rows, likewise.
    """
    fx = np.rint(x * 32).astype(np.int32)
    fy = np.rint(y * 32).astype(np.int32)
    whole = np.stack([fx >> 5, fy >> 5], axis=-1).astype(np.int16)
    part = ((fy & 31) * 32 + (fx & 31)).astype(np.uint16)
    return cv2.remap(image, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a uint8 picture by OpenCV's fixed-point Gaussian; sigma is in pixels, 0 leaves the picture as it is."""
    if sigma <= 0.05:
        return image
    size = 2 * int(np.ceil(2.5 * sigma)) + 1
    return cv2.GaussianBlur(image, (size, size), round(sigma, 3))


def blend(below: np.ndarray, above: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mix two uint8 pictures (H, W, 3): `above` where the uint8 mask (H, W) is 255, `below` where it is 0.

    Mask values in between give the weighted mean, computed in integers.
    """
    weight = mask[..., None].astype(np.int32)
    low = below.astype(np.int32)
    return (low + ((above.astype(np.int32) - low) * weight + 127) // 255).astype(np.uint8)


def clip_u8(values: np.ndarray) -> np.ndarray:
    """Round integers or floats and clip them to uint8."""
    return np.clip(np.rint(np.round(values, 3)), 0, 255).astype(np.uint8)


def hull(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A uint8 mask (H, W): 255 inside the convex hull of the points (N, 2), x first."""
    mask = np.zeros(shape, np.uint8)
    fixed = np.rint(points * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(fixed), 255, lineType=cv2.LINE_8, shift=4)
    return mask


def feather(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Soften the edge of a uint8 mask inwards: it stays 0 wherever it was 0."""
    size = 2 * int(np.ceil(2 * sigma)) + 1
    inner = cv2.erode(mask, np.ones((size, size), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.minimum(blur(inner, sigma), mask)


def sharpen(image: np.ndarray, amount: float) -> np.ndarray:
    """Sharpen a uint8 picture by an unsharp mask with sigma 1 pixel; amount 0 leaves it as it is."""
    weight = round(256 * amount)
    values = image.astype(np.int32)
    return np.clip(values + ((values - blur(image, 1.0)) * weight >> 8), 0, 255).astype(np.uint8)


def field(grid: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Stretch a small grid of values (n, m) over a picture, corner to corner: float64 (H, W), bilinear."""
    rows = np.linspace(0, grid.shape[0] - 1, shape[0])
    columns = np.linspace(0, grid.shape[1] - 1, shape[1])
    r, c = np.minimum(rows.astype(int), grid.shape[0] - 2), np.minimum(columns.astype(int), grid.shape[1] - 2)
    v, u = (rows - r)[:, None], columns - c
    upper = grid[r][:, c] * (1 - u) + grid[r][:, c + 1] * u
    lower = grid[r + 1][:, c] * (1 - u) + grid[r + 1][:, c + 1] * u
    return upper * (1 - v) + lower * v


def bend(image: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Warp a uint8 picture by a smooth field; `moves` (2, n, m) are shifts in pixels, x first."""
    shape = image.shape[:2]
    y, x = np.indices(shape, dtype=np.float64)
    return sample(image, x + field(moves[0], shape), y + field(moves[1], shape))


def displace(values: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Warp signed values as :func:`bend` does; they are clipped to ±127 and come back as int32 (H, W, 3)."""
    return bend((np.clip(values, -127, 127) + 128).astype(np.uint8), moves).astype(np.int32) - 128


def flicker(rng: np.random.Generator, times: np.ndarray, smooth: int = 3) -> np.ndarray:
    """Noise that wanders over a clip: float64 (T,), of unit variance.

    The value of a frame does not depend on which other frames are asked for.

    Args:
        times: int (T,) frame numbers.
        smooth: width of the moving average, in frames; 1 gives white noise.
    """
    length = max(CLIP_FRAMES, int(times.max()) + 1)
    white = rng.standard_normal(length + smooth)
    total = np.zeros(length)
    for shift in range(smooth):
        total += white[shift : shift + length]
    return (total / np.sqrt(smooth))[times]


def frame_rngs(rng: np.random.Generator, times: np.ndarray) -> list[np.random.Generator]:
    """One generator per frame, seeded by its number, for draws that must not depend on the other frames."""
    base = int(rng.integers(2**62))
    return [np.random.default_rng([base, int(t)]) for t in times]
