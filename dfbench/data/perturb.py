"""Degraded copies of test pictures: the seven kinds and five levels of DeeperForensics-1.0.

Jiang et al. 2020 (CVPR, arXiv:2001.03024, section 4.3) degrade the frames of a test video. The parameters here are
those of their public code (``perturbation/`` of EndlessSora/DeeperForensics-1.0), with which the results agree for a
picture whose shorter side is :data:`REFERENCE` pixels; docs/perturbations.md shows them.

Theirs are full frames of up to 1080 lines; ours are face crops of 64 to 500 pixels, which a detector resizes. A kernel
of 21 px is a third of a 64 px crop and a twenty-fifth of one of 500 px. So blocks, grain and blur are given for a crop
of 256 px (their own unit: they count blocks per 256 px of the shorter side) and scale with the shorter side. Resized
for the detector, a level then looks the same whatever size the crops were stored in. Codecs do not scale: quality and
rate factor are what a sender chooses, and a small face loses more by them.

Two things differ from their code. Its "JPEG" reduces a picture to 1/2 … 1/6 of its size and enlarges it, and has no
JPEG in it; here it is JPEG, of the five qualities of ImageNet-C (Hendrycks & Dietterich 2019, arXiv:1903.12261).
And results are rounded and clipped, where theirs are cut off and may wrap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from PIL import Image

from dfbench.data.codecs import h264, jpeg
from dfbench.data.pictures import resize
from dfbench.data.sources import read_pixels
from dfbench.errors import UsageError, unknown

if TYPE_CHECKING:
    from dfbench.data.sources import Source

VERSION = 1
"""Raised whenever a degraded picture changes; part of the fingerprint of perturbed sets."""
REFERENCE = 256
"""Shorter side, in pixels, of the picture that lengths are given for."""
BLOCK = 8
"""Side of a lost block, in pixels of the reference."""

LEVELS = (1, 2, 3, 4, 5)
"""How strong, from weak to strong."""


def perturb(pictures: np.ndarray, kind: str, level: int, seed: int) -> np.ndarray:
    """Degrade the pictures of one test unit.

    Args:
        pictures: uint8 RGB (n, H, W, 3), at their native size: a still, or the frames of a clip in order, which
            H.264 encodes as one sequence.
        kind: one of :data:`KINDS`.
        level: one of :data:`LEVELS`.
        seed: decides noise and the places of lost blocks, from 0.

    Returns:
        uint8 RGB (n, H, W, 3); the same arguments give the same bits.

    Raises:
        UsageError: there is no such kind or level.
    """
    if kind not in _KINDS:
        raise unknown("perturbation", kind, _KINDS)
    if level not in LEVELS:
        raise UsageError(f"perturbation {kind!r}: level {level} is none of {LEVELS[0]} to {LEVELS[-1]}")
    degrade, parameters = _KINDS[kind]
    return degrade(pictures, parameters[LEVELS.index(level)], np.random.default_rng(seed))


def perturbation_seed(kind: str, level: int, name: str) -> int:
    """The seed of one sample's degradation, from the kind, the level and the name that its source gave it."""
    return int.from_bytes(hashlib.sha256(f"{kind}/{level}/{name}".encode()).digest()[:8])


class PerturbedPixels:
    """Degraded test pictures as :class:`~dfbench.data.pixels.Pixels`: read, degraded and resized when fetched.

    Args:
        source: where the pictures are, at their native size.
        names: the source's name of each row.
        size: (height, width) that a detector wants, in pixels.
        kind: one of :data:`KINDS`.
        level: one of :data:`LEVELS`.
        frames: pictures per unit. The rows of a fetch are taken in groups of so many, and each group is degraded as one
            sequence, with the seed of its first picture.

    Raises:
        UsageError: there is no such kind or level.
    """

    decoded_ahead = True
    """Loaders fetch in worker processes, ahead of the detector."""

    def __init__(
        self, source: Source, names: Sequence[str], size: tuple[int, int], kind: str, level: int, frames: int = 1
    ) -> None:
        perturb(np.zeros((1, 16, 16, 3), np.uint8), kind, level, 0)  # refused now, not in a worker process
        self._source, self._names = source, list(names)
        self.kind, self.level, self.frames = kind, level, frames
        self.shape: tuple[int, int, int, int] = (len(names), *size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self, rows: Any, out: torch.Tensor | None = None) -> torch.Tensor:
        """As :meth:`~dfbench.data.store.PixelStore.fetch`; the last axis of ``rows`` are the frames of a clip.

        Raises:
            PictureError: a picture is damaged.
            ValueError: the rows are no whole units.
        """
        rows = torch.as_tensor(rows).to(torch.int64)
        flat = rows.reshape(-1).tolist()
        if flat and (min(flat) < 0 or max(flat) >= len(self)):
            raise IndexError(f"rows {min(flat)} to {max(flat)} of {len(self)}")
        if len(flat) % self.frames:
            raise ValueError(f"{len(flat)} rows are no whole units of {self.frames} pictures")
        if out is None:
            out = torch.empty((*rows.shape, *self.shape[1:]), dtype=torch.uint8)
        pixels = out.view(-1, *self.shape[1:]).numpy()
        for start in range(0, len(flat), self.frames):
            unit = [self._names[row] for row in flat[start : start + self.frames]]
            for place, picture in enumerate(self._degraded(unit), start):
                pixels[place] = resize(picture, *self.shape[1:3])
        return out

    def _degraded(self, unit: Sequence[str]) -> np.ndarray:
        pictures = [read_pixels(self._source, name) for name in unit]
        height, width = pictures[0].shape[:2]  # a face that comes nearer is cut out larger; a video has one size
        sequence = np.stack([resize(picture, height, width) for picture in pictures])
        return perturb(sequence, self.kind, self.level, perturbation_seed(self.kind, self.level, unit[0]))


def _saturation(pictures: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Keep a share of the colour differences; BT.601 luma stays."""
    values = pictures.astype(np.float32)
    luma = 0.299 * values[..., :1] + 0.587 * values[..., 1:2] + 0.114 * values[..., 2:]
    return _rounded(luma + share * (values - luma))


def _contrast(pictures: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Multiply all values, so that white becomes grey and black stays."""
    return _rounded(np.arange(256) * share)[pictures]


def _block(pictures: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Lose blocks of each picture: they become grey."""
    sides = np.array(pictures.shape[1:3])
    scale = sides.min() / REFERENCE
    degraded = pictures.copy()
    for picture in degraded:
        starts = random.uniform(0, 1, (count, 2)) * (sides - BLOCK * scale)
        low = np.rint(starts).astype(int)
        high = np.maximum(np.rint(starts + BLOCK * scale).astype(int), low + 1)
        for (top, left), (bottom, right) in zip(low, high, strict=True):
            picture[top:bottom, left:right] = 128
    return degraded


_FROM_YCBCR = np.array([[1, 0, 1.403], [1, -0.344, -0.714], [1, 1.773, 0]]) * [255 / 219, 255 / 224, 255 / 224]
"""RGB from luma (219 steps) and the two colour differences (224 steps) of BT.601."""


def _noise(pictures: np.ndarray, variance: float, random: np.random.Generator) -> np.ndarray:
    """Add white noise to luma and colour differences, whose grain is one pixel of the reference."""
    height, width = pictures.shape[1:3]
    scale = min(height, width) / REFERENCE
    grid = (round(height / scale), round(width / scale), 3)
    degraded = np.empty_like(pictures)
    for place, picture in enumerate(pictures):
        white = random.standard_normal(grid, dtype=np.float32) * np.float32(255 * variance**0.5)
        grains = [_stretched(white[..., channel], (height, width)) for channel in range(3)]
        for channel, (y, cb, cr) in enumerate(_FROM_YCBCR.astype(np.float32)):
            degraded[place, ..., channel] = _rounded(
                picture[..., channel] + (y * grains[0] + cb * grains[1] + cr * grains[2])
            )
    return degraded


def _blur(pictures: np.ndarray, kernel: int, random: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian whose kernel is six standard deviations wide."""
    sigma = kernel / 6 * min(pictures.shape[1:3]) / REFERENCE
    size = 2 * int(np.ceil(3 * sigma)) + 1
    return np.stack([cv2.GaussianBlur(picture, (size, size), sigma) for picture in pictures])


def _jpeg(pictures: np.ndarray, quality: int, random: np.random.Generator) -> np.ndarray:
    return np.stack([jpeg(picture, quality) for picture in pictures])


def _h264(pictures: np.ndarray, rate_factor: int, random: np.random.Generator) -> np.ndarray:
    """One sequence through x264 with the settings that FFmpeg has without any other option."""
    return h264(pictures, preset="medium", crf=str(rate_factor))


def _stretched(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As :func:`dfbench.data.pictures.resize`, for float32 (H, W)."""
    if values.shape == size:
        return values
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.BICUBIC))


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_KINDS: dict[str, tuple[Callable[[np.ndarray, Any, np.random.Generator], np.ndarray], Sequence[float]]] = {
    "saturation": (_saturation, (0.4, 0.3, 0.2, 0.1, 0.0)),
    "contrast": (_contrast, (0.85, 0.725, 0.6, 0.475, 0.35)),
    "block": (_block, (16, 32, 48, 64, 80)),
    "noise": (_noise, (0.001, 0.002, 0.005, 0.01, 0.05)),
    "blur": (_blur, (7, 9, 13, 17, 21)),
    "jpeg": (_jpeg, (25, 18, 15, 10, 7)),
    "h264": (_h264, (30, 32, 35, 38, 40)),
}

KINDS: tuple[str, ...] = tuple(_KINDS)
"""Names of the degradations, in the order of the table above."""
