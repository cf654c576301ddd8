"""Self-blended images: a picture blended with a changed copy of itself (Shiohara & Yamasaki 2022, section 3).

Ranges are those of the authors' code, ``mapooon/SelfBlendedImages``; the code here is our own.
"""

from __future__ import annotations

import numpy as np

from dfbench_sbi.colours import brightness_contrast, hue_saturation_value, rgb_shift
from dfbench_sbi.opencv import cv2
from dfbench_sbi.shapes import bent, face_mask, softened


def self_blended(
    picture: np.ndarray, margin: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A real picture and a fake made of it alone.

    One of two copies, source or target, is changed in colour and made less or more sharp. The source is moved and
    resized a little and blended into the target through a deformed, softened mask of the face.

    Args:
        picture: uint8 RGB (H, W, 3), a face crop.
        margin: the crop's shorter side, in face heights.
        random: decides everything.

    Returns:
        the target, uint8 (H, W, 3), which stays real; the fake, likewise; and the mask, float32 (H, W), 0 … 1.
    """
    mask = face_mask(picture.shape[:2], margin, random)
    source, target = picture, picture
    if random.random() < 0.5:
        source = changed(source, random)
    else:
        target = changed(target, random)
    source, mask = _moved(source, mask, random)
    mask = softened(bent(mask, random), random)
    blended = target + mask[..., None] * (source.astype(np.float32) - target)
    return target, np.rint(blended).clip(0, 255).astype(np.uint8), mask


def changed(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A copy with other colours that is coarser or sharper: uint8 (H, W, 3), as the picture."""
    if random.random() < 0.3:
        picture = rgb_shift(picture, 20, random)
    picture = hue_saturation_value(picture, random)
    picture = brightness_contrast(picture, 0.1, random)
    return _coarser(picture, random) if random.random() < 0.5 else _sharper(picture, random)


def _coarser(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every second or fourth pixel, and between them a linear interpolation."""
    height, width = picture.shape[:2]
    step = int(random.choice([2, 4]))
    small = cv2.resize(picture, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_NEAREST)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _sharper(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The picture mixed with itself under a 3 × 3 Laplacian kernel whose middle is 8 and a random lightness."""
    share, lightness = random.uniform(0.2, 0.5), random.uniform(0.5, 1.0)
    kernel = np.full((3, 3), -1.0, np.float32)
    kernel[1, 1] = 8 + lightness
    plain = np.zeros((3, 3), np.float32)
    plain[1, 1] = 1
    return cv2.filter2D(picture, -1, (1 - share) * plain + share * kernel, borderType=cv2.BORDER_REFLECT_101)


def _moved(source: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Source and mask, moved by up to 3 % sideways and 1.5 % up or down and resized by up to 5 % about the middle."""
    height, width = mask.shape
    scale = random.uniform(0.95, 1 / 0.95)
    x, y = random.uniform(-0.03, 0.03) * width, random.uniform(-0.015, 0.015) * height
    middle = np.array([width, height]) / 2 - 0.5
    move = np.array([[scale, 0, (1 - scale) * middle[0] + x], [0, scale, (1 - scale) * middle[1] + y]])
    size = (width, height)
    return (
        cv2.warpAffine(source, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
        cv2.warpAffine(mask, move, size, flags=cv2.INTER_NEAREST),
    )
