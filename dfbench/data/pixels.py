"""What the loaders need of a store of pictures."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch


class Pixels(Protocol):
    """Random access to stored pictures (:class:`dfbench.data.store.PixelStore`)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, 3)."""
        ...

    def fetch(self, rows: np.ndarray | torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """uint8 pictures of shape ``rows.shape + (H, W, 3)``."""
        ...
