"""The two networks of Afchar et al. 2018 (WIFS, arXiv:1809.00888), figures 4 and 5, with one logit."""

from __future__ import annotations

import torch
from torch import nn


def convolution(channels_in: int, channels_out: int, side: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the resolution, and ReLU."""
    padding = dilation * (side // 2)
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, side, padding=padding, dilation=dilation), nn.ReLU())


class Inception(nn.Module):
    """Four branches side by side: 1×1, and 3×3 with dilations of 1, 2 and 3 after 1×1."""

    def __init__(self, channels_in: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        a, *others = widths
        self.branches = nn.ModuleList([convolution(channels_in, a, 1)])
        for dilation, width in enumerate(others, start=1):
            branch = nn.Sequential(convolution(channels_in, width, 1), convolution(width, width, 3, dilation))
            self.branches.append(branch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels_in, H, W) to (N, sum of the widths, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Meso(nn.Module):
    """Four blocks of convolution, batch normalisation and pooling; a hidden layer of 16; one logit.

    Args:
        inception: MesoInception-4, whose first two blocks are Inception modules; else Meso-4.
        side: of the pictures, in pixels, a multiple of 32.
    """

    def __init__(self, inception: bool, side: int) -> None:
        super().__init__()
        if inception:
            first: list[nn.Module] = [Inception(3, (1, 4, 4, 2)), Inception(11, (2, 4, 4, 2))]
            widths = [11, 12]
        else:
            first, widths = [convolution(3, 8, 3), convolution(8, 8, 5)], [8, 8]
        blocks: list[nn.Module] = []
        layers = [*first, convolution(widths[1], 16, 5), convolution(16, 16, 5)]
        for layer, width, pool in zip(layers, [*widths, 16, 16], (2, 2, 2, 4), strict=True):
            blocks += [layer, nn.BatchNorm2d(width), nn.MaxPool2d(pool)]
        self.features = nn.Sequential(*blocks, nn.Flatten(), nn.Dropout(0.5))
        self.hidden = nn.Sequential(nn.Linear(16 * (side // 32) ** 2, 16), nn.LeakyReLU(0.1), nn.Dropout(0.5))
        self.head = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, S, S) in [0, 1] to logits (N, 1)."""
        return self.head(self.hidden(self.features(x)))
