"""Random changes of a picture's colours; pictures are uint8 RGB (…, H, W, 3), and all of them get the same change."""

from __future__ import annotations

import numpy as np

from dfbench_sbi.opencv import cv2

HUE, SATURATION, VALUE = 5.0, 0.15, 0.08
"""Largest shifts: degrees of 360, and shares of the full range.

The authors' limits of .3 are read by their library on a scale to 255, which changes next to nothing; these are ours.
"""


def rgb_shift(pictures: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    """Add up to ``most`` grey levels, of either sign, to each channel."""
    return _looked_up(pictures, np.arange(256.0)[:, None] + random.uniform(-most, most, 3))


def brightness_contrast(pictures: np.ndarray, most: float, random: np.random.Generator) -> np.ndarray:
    """Multiply by 1 ± ``most`` and add ± ``most`` of the full range."""
    gain, shift = 1 + random.uniform(-most, most), 255 * random.uniform(-most, most)
    return _looked_up(pictures, np.repeat(np.arange(256.0)[:, None] * gain + shift, 3, axis=1))


def hue_saturation_value(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turn the hue, and shift saturation and value, within :data:`HUE`, :data:`SATURATION` and :data:`VALUE`."""
    turn = random.uniform(-HUE, HUE) / 2  # OpenCV counts 180 steps
    shifts = 255 * random.uniform(-1, 1, 2) * [SATURATION, VALUE]
    levels = np.arange(256.0)
    table = np.stack([np.rint(levels + turn) % 180, levels + shifts[0], levels + shifts[1]], axis=1)
    flat = pictures.reshape(-1, *pictures.shape[-2:])  # one tall picture
    hsv = cv2.LUT(cv2.cvtColor(flat, cv2.COLOR_RGB2HSV), _table(table))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(pictures.shape)


def _looked_up(pictures: np.ndarray, table: np.ndarray) -> np.ndarray:
    flat = pictures.reshape(-1, *pictures.shape[-2:])
    return cv2.LUT(np.ascontiguousarray(flat), _table(table)).reshape(pictures.shape)


def _table(values: np.ndarray) -> np.ndarray:
    """Values (256, 3) as OpenCV takes them: uint8 (1, 256, 3)."""
    return np.rint(values).clip(0, 255).astype(np.uint8)[None]
