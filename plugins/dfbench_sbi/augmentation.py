"""Augmentation that a real picture and the fake made of it share, so that it says nothing about the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfbench_sbi.colours import brightness_contrast, hue_saturation_value, rgb_shift
from dfbench_sbi.opencv import cv2

ENLARGING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@dataclass(frozen=True)
class Augmentation:
    """Probabilities and ranges.

    Attributes:
        side: height and width of the result, in pixels.
        crop: smallest share of the side that a random crop keeps.
        jpeg: probability of JPEG.
        quality: its lowest quality.
        shrink: probability of a reduction of the resolution.
        smallest: its smallest scale.
    """

    side: int
    crop: float
    jpeg: float
    quality: int
    shrink: float
    smallest: float

    def __call__(self, pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Augment pictures alike: colours, a random crop, resolution, JPEG.

        Args:
            pictures: uint8 RGB (n, H, W, 3).
            random: decides everything.

        Returns:
            uint8 (n, side, side, 3).
        """
        if random.random() < 0.3:
            pictures = rgb_shift(pictures, 20, random)
        if random.random() < 0.3:
            pictures = hue_saturation_value(pictures, random)
        if random.random() < 0.3:
            pictures = brightness_contrast(pictures, 0.3, random)
        pictures = cropped(pictures, random.uniform(self.crop, 1), self.side, random)
        if random.random() < self.shrink:
            pictures = reduced(pictures, random.uniform(self.smallest, 1), random)
        if random.random() < self.jpeg:
            pictures = compressed(pictures, int(random.integers(self.quality, 101)))
        return pictures


def cropped(pictures: np.ndarray, share: float, side: int, random: np.random.Generator) -> np.ndarray:
    """One random crop of all pictures, resized.

    Args:
        pictures: uint8 (n, H, W, 3).
        share: of the sides that is kept.
        side: height and width of the result, in pixels.
        random: decides the place.
    """
    height, width = pictures.shape[1:3]
    h, w = max(1, round(share * height)), max(1, round(share * width))
    y, x = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
    part = pictures[:, y : y + h, x : x + w]
    if (h, w) == (side, side):
        return part
    how = cv2.INTER_AREA if h > side else cv2.INTER_LINEAR
    return np.stack([cv2.resize(one, (side, side), interpolation=how) for one in part])


def reduced(pictures: np.ndarray, scale: float, random: np.random.Generator) -> np.ndarray:
    """Pictures (n, H, W, 3) made smaller by area averaging and enlarged again, by one of three interpolations."""
    height, width = pictures.shape[1:3]
    small = max(1, round(width * scale)), max(1, round(height * scale))
    back = ENLARGING[int(random.integers(len(ENLARGING)))]
    return np.stack(
        [
            cv2.resize(cv2.resize(one, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=back)
            for one in pictures
        ]
    )


def compressed(pictures: np.ndarray, quality: int) -> np.ndarray:
    """Pictures (n, H, W, 3) through JPEG of one quality, with OpenCV's 4:2:0 subsampling."""
    result = np.empty_like(pictures)
    for number, one in enumerate(pictures):
        _, data = cv2.imencode(".jpg", cv2.cvtColor(one, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded a line above
        result[number] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return result
