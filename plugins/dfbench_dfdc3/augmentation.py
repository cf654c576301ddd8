"""Augmentation of a pair of aligned clips.

Real and fake of a pair get the same augmentation, and so do all frames of C's clip.
"""

from __future__ import annotations

import contextlib
import random as python_random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN
from timm.data.auto_augment import auto_augment_transform

from dfbench_dfdc3.compression import Codec, compress, rescaled

POLICY = "original-mstd0.5"


@dataclass(frozen=True)
class View:
    """What the three networks see of a clip.

    Attributes:
        height: of the networks' input, pixels.
        width: of the networks' input, pixels.
        frames: frames that A and B see of a clip, each.
        sequence: frames that C sees of a clip.
        compress: probability of H.264 compression.
        flip: probability of a horizontal flip.
        auto_augment: probability of AutoAugment.
    """

    height: int
    width: int
    frames: int
    sequence: int
    compress: float
    flip: float
    auto_augment: float


def spread(count: int, step: int, length: int) -> np.ndarray:
    """``count`` frame indices around the middle of a clip of ``length`` ≥ ``count``, at most ``step`` apart.

    For 50 frames: 8 at step 4 are 9, 13, …, 37; 7 at step 2 are 19, 21, …, 31.
    """
    while step > 1 and not 0 <= length // 2 - step * (count // 2) <= length - 1 - step * (count - 1):
        step -= 1
    start = max(0, min(length // 2 - step * (count // 2), length - 1 - step * (count - 1)))
    return start + step * np.arange(count)


def augment_pair(pair: np.ndarray, view: View, random: np.random.Generator) -> np.ndarray:
    """Turn a pair of aligned clips into the networks' frames.

    Args:
        pair: uint8 (2, T, H, W, 3), the real clip first.
        view: what the networks see.
        random: source of all random numbers.

    Returns:
        uint8 (2, frames + frames + sequence, height, width, 3): A's, B's, C's.
    """
    length = pair.shape[1]
    if random.random() < view.compress:
        codec = Codec.draw(random)
        pair = np.stack([compress(clip, codec) for clip in pair])
    left = pair.shape[1]
    seen = rescaled(spread(view.frames, 4, length), length, left)
    clip = rescaled(spread(view.sequence, 2, length), length, left)
    groups = [(True, seen[i : i + 1]) for i in range(len(seen))]
    groups += [(False, seen[i : i + 1]) for i in range(len(seen))]
    groups += [(False, clip)]
    return np.concatenate([_augmented(pair[:, index], view, whole, random) for whole, index in groups], axis=1)


def fitted(frames: np.ndarray, height: int, width: int, whole: bool) -> np.ndarray:
    """Resize frames for a random crop.

    Args:
        frames: uint8 (…, H, W, 3).
        height: of the crop.
        width: of the crop.
        whole: True for network A: the smaller side becomes ``width``, and a height that is too small is padded by
            reflection. False for B and C: the smaller side becomes ``height``.
    """
    old = frames.shape[-3:-1]
    new = scaled(old, height, width, whole)
    flat = frames.reshape(-1, *frames.shape[-3:])
    if new != old:
        flat = np.stack([cv2.resize(frame, new[::-1], interpolation=cv2.INTER_LINEAR) for frame in flat])
    return flat[:, padded_rows(new[0], height)].reshape(*frames.shape[:-3], max(height, new[0]), new[1], 3)


def scaled(old: tuple[int, int], height: int, width: int, whole: bool) -> tuple[int, int]:
    """(height, width) of pictures of size ``old`` after resizing for a crop; see :func:`fitted`."""
    ratio = (width if whole else height) / min(old)
    return max(1, round(old[0] * ratio)), max(width, round(old[1] * ratio))


def padded_rows(rows: int, height: int) -> np.ndarray:
    """Row numbers of a picture of ``rows`` rows reflected at its edges (101: the edge itself once) up to ``height``."""
    missing = max(0, height - rows)
    return np.pad(np.arange(rows), (missing // 2, missing - missing // 2), mode="reflect")


def _augmented(frames: np.ndarray, view: View, whole: bool, random: np.random.Generator) -> np.ndarray:
    """Frames (2, T, H, W, 3) after one draw of flip, crop and AutoAugment for all of them."""
    frames = fitted(frames, view.height, view.width, whole)
    if random.random() < view.flip:
        frames = frames[..., ::-1, :]
    top = int(random.integers(frames.shape[-3] - view.height + 1))
    left = int(random.integers(frames.shape[-2] - view.width + 1))
    frames = frames[..., top : top + view.height, left : left + view.width, :]
    if random.random() >= view.auto_augment:
        return frames
    policy, seed = _policy(view.height, view.width), int(random.integers(2**32))
    flat = frames.reshape(-1, *frames.shape[-3:])
    changed = []
    for frame in flat:
        with _seeded(seed):
            changed.append(np.asarray(policy(Image.fromarray(np.ascontiguousarray(frame)))))
    return np.stack(changed).reshape(frames.shape)


@lru_cache
def _policy(height: int, width: int) -> Any:
    fill = tuple(round(255 * value) for value in IMAGENET_DEFAULT_MEAN)
    return auto_augment_transform(POLICY, {"translate_const": int(0.45 * min(height, width)), "img_mean": fill})


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A context with seeded global generators of Python and NumPy, from which timm draws; restored after it."""
    python_state, numpy_state = python_random.getstate(), np.random.get_state()
    python_random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        python_random.setstate(python_state)
        np.random.set_state(numpy_state)
