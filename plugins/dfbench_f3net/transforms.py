"""The two views of F3-Net (Qian et al., ECCV 2020, arXiv:2007.09355): DCT bands, and DCT energies of windows."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


def dct_matrix(side: int) -> torch.Tensor:
    """The orthonormal DCT-II as a (side, side) matrix D: the DCT of a square x is D x Dᵀ, its inverse Dᵀ X D."""
    at = torch.arange(side, dtype=torch.float64)
    matrix = torch.cos(math.pi / side * at[:, None] * (at + 0.5)) * math.sqrt(2 / side)
    matrix[0] = math.sqrt(1 / side)
    return matrix.float()


def band(side: int, start: float, end: float) -> torch.Tensor:
    """1 at the coefficients (u, v) of ``start`` ≤ u + v < ``end``, else 0: (side, side)."""
    at = torch.arange(side)
    total = at[:, None] + at
    return ((total >= start) & (total < end)).float()


class Filters(nn.Module):
    """Bands that are learned around a base: base + 2·sigmoid(w) − 1, w drawn with a standard deviation of .1.

    Args:
        base: (bands, side, side) of zeros and ones.
    """

    base: torch.Tensor

    def __init__(self, base: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("base", base, persistent=False)
        self.learned = nn.Parameter(torch.randn_like(base) * 0.1)

    def forward(self) -> torch.Tensor:
        """(bands, side, side); 2·sigmoid(w) − 1 is tanh(w / 2)."""
        return self.base + torch.tanh(self.learned / 2)


class Decomposition(nn.Module):
    """Frequency-aware decomposition (FAD): the picture's low, middle, high and all frequencies, as pictures.

    A band has the coefficients of equal u + v: the first sixteenth of the spectrum's area, up to an eighth, the rest.

    Args:
        side: of the pictures, in pixels.
    """

    dct: torch.Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.register_buffer("dct", dct_matrix(side), persistent=False)
        low, middle = side / math.sqrt(8), side / 2  # a triangle of legs t has t² / 2 of side² coefficients
        edges = [(0, low), (low, middle), (middle, 2 * side), (0, 2 * side)]
        self.filters = Filters(torch.stack([band(side, *ends) for ends in edges]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, side, side) to float32 (N, 12, side, side): three channels of each band, one band after another."""
        with torch.autocast(x.device.type, enabled=False):
            spectrum = self.dct @ x.float() @ self.dct.T
            parts = self.dct.T @ (spectrum[:, None] * self.filters()[:, None]) @ self.dct
            return parts.flatten(1, 2)


class LocalStatistics(nn.Module):
    """Local frequency statistics (LFS): log10 of each band's energy in each window, as a picture of windows.

    A window of 10 pixels moves by 2; its energy in a band is the sum of the filtered coefficients' amounts. Windows are
    centred where Xception's first convolution is (3 pixels, moves by 2), so the result has the size of its output: 149
    for 299 pixels, as public code has it. The padding that this takes (reflected) is ours.

    Args:
        bands: of equal width in u + v (M in the paper).
        window: in pixels.
    """

    dct: torch.Tensor

    def __init__(self, bands: int = 6, window: int = 10) -> None:
        super().__init__()
        self.window = window
        matrix = dct_matrix(window)
        self.register_buffer("dct", torch.kron(matrix, matrix), persistent=False)  # of a window as one vector
        edges = [2 * window * i / bands for i in range(bands + 1)]
        self.filters = Filters(torch.stack([band(window, *ends) for ends in pairwise(edges)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) in [-1, 1] to float32 (N, bands, L, L), L = (S − 3) // 2 + 1.

        Amounts are those of the luma (ITU-R BT.601) in levels of 0 to 255, plus 1, so that a flat window has 0.
        """
        with torch.autocast(x.device.type, enabled=False):
            red, green, blue = ((x.float() + 1) * 127.5).unbind(1)
            luma = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
            size = (luma.shape[-1] - 3) // 2 + 1
            extra = 2 * (size - 1) + self.window - luma.shape[-1]
            luma = F.pad(luma, [extra // 2, extra - extra // 2] * 2, mode="reflect")
            spectrum = self.dct @ F.unfold(luma, self.window, stride=2)  # a matrix product: a convolution would be TF32
            energy = self.filters().abs().flatten(1) @ spectrum.abs()
            return torch.log10(1 + energy).unflatten(2, (size, size))
