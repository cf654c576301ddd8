"""Pixels that are decoded when they are fetched, for sets whose decoded pixels do not fit into the cache."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
import torch

from dfbench.data.pictures import resize
from dfbench.errors import UsageError

BUDGET_VARIABLE = "DFBENCH_CACHE_GB"
"""Environment variable: gigabytes of decoded pixels that one source may have in the cache."""
BUDGET = 50.0
"""The same without the variable, in GB."""


class Crops(Protocol):
    """A source that decodes pictures by row; it is pickled to worker processes."""

    def read_row(self, row: int) -> np.ndarray:
        """One picture: uint8 (H, W, 3), RGB; PictureError with its name where it is damaged."""
        ...


class EncodedPixels:
    """As :class:`~dfbench.data.store.PixelStore`, with the same pixels, but nothing is kept.

    Args:
        crops: where the pictures are.
        index: int64 (N,), the row in ``crops`` of each row here.
        size: (height, width) in pixels.
    """

    decoded_ahead = True
    """Loaders fetch in worker processes, ahead of the training."""

    def __init__(self, crops: Crops, index: np.ndarray, size: tuple[int, int]) -> None:
        self._crops = crops
        self._index = np.asarray(index, np.int64)
        self.shape: tuple[int, int, int, int] = (len(index), *size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self, rows: Any, out: torch.Tensor | None = None) -> torch.Tensor:
        """As :meth:`~dfbench.data.store.PixelStore.fetch`.

        Raises:
            PictureError: a picture is damaged.
        """
        rows = torch.as_tensor(rows).to(torch.int64)
        flat = rows.reshape(-1).tolist()
        if flat and (min(flat) < 0 or max(flat) >= len(self)):
            raise IndexError(f"rows {min(flat)} to {max(flat)} of {len(self)}")
        if out is None:
            out = torch.empty((*rows.shape, *self.shape[1:]), dtype=torch.uint8)
        pixels = out.view(-1, *self.shape[1:]).numpy()
        for place, row in enumerate(flat):
            pixels[place] = resize(self._crops.read_row(int(self._index[row])), *self.shape[1:3])
        return out


def cache_budget() -> int:
    """Bytes of decoded pixels that one source may have in the cache.

    Raises:
        UsageError: the variable ``DFBENCH_CACHE_GB`` is not a number from 0.
    """
    text = os.environ.get(BUDGET_VARIABLE, "").strip()
    try:
        gigabytes = float(text) if text else BUDGET
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise UsageError(f"{BUDGET_VARIABLE}={text!r} is not a number of gigabytes, such as 50 or 0.5")
    return int(gigabytes * 1e9)


def as_it_is(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An augmentation that changes nothing: worker processes only decode."""
    return pixels
