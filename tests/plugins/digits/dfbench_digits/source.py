"""scikit-learn's 1797 digits (8×8), turned by one angle for each experience."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

from dfbench import Samples

TRAIN = 1400


class Digits:
    """1400 of them, shuffled, train; 397 test. As they come, the last 397 are by other writers and much harder."""

    classes = tuple("0123456789")
    needs_root = False

    def __init__(self, root: Path | None, *, angle: float = 0.0) -> None:
        self.angle = angle

    def samples(self) -> Samples:
        order = np.random.default_rng(0).permutation(len(self._digits.target))
        return Samples.from_rows(
            {
                "sample": f"{number:04d}",
                "label": self._digits.target[number],
                "source": "digits",
                "split": "train" if position < TRAIN else "test",
            }
            for position, number in enumerate(order)
        )

    def read(self, sample: str) -> np.ndarray:
        return self._turned[int(sample)]

    def stamp(self, sample: str) -> str:
        return str(self.angle)

    @cached_property
    def _digits(self):
        return load_digits()

    @cached_property
    def _turned(self) -> np.ndarray:
        """uint8 (1797, 8, 8, 3), turned about the middle, bilinear."""
        turned = rotate(self._digits.images / 16, self.angle, axes=(1, 2), reshape=False, order=1)
        grey = (turned.clip(0, 1) * 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=3)
