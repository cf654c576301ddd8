"""F3-Net's two streams and what mixes them."""

from __future__ import annotations

import torch
from dfbench_xception.body import part
from torch import nn

from dfbench_f3net.transforms import Decomposition, LocalStatistics


class MixBlock(nn.Module):
    """Cross-attention of two streams: both make one attention, with which each looks at the other.

    The attention of a channel is the softmax over the last axis of Σ Q Kᵀ, a square matrix of the feature map's side; Q
    and K are 1×1 convolutions of each stream. It weights the other stream's map pixel by pixel. After a 1×1 convolution
    per channel and batch normalisation, that is added with a learned weight, 0 at first. Ours: the weight comes after
    the normalisation, which would undo it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.key = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.into = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 1, groups=channels), nn.BatchNorm2d(channels)) for _ in range(2)
        )
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two (N, C, H, H) to two of the same shape."""
        energy = sum(
            query(x) @ key(x).transpose(2, 3) for query, key, x in zip(self.query, self.key, (a, b), strict=True)
        )
        attention = torch.softmax(energy, dim=-1)
        return a + self.weight[0] * self.into[0](b * attention), b + self.weight[1] * self.into[1](a * attention)


class F3(nn.Module):
    """Xception on twelve channels of DCT bands, and another one on six of local statistics, mixed twice.

    Args:
        bodies: the Xception of the bands (12 channels) and, unless that is to run alone, the one of the statistics (6).
            The first convolution of the latter is changed to keep the size, which the windows have halved.
        side: of the pictures, in pixels.
        classes: rows of the last layer, ``head``.
        dropout: probability, before it.
    """

    def __init__(self, bodies: list[nn.Module], side: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.decomposition, self.bands = Decomposition(side), bodies[0]
        self.both = len(bodies) == 2
        if self.both:
            self.statistics, self.local = LocalStatistics(), bodies[1]
            first = self.local.get_submodule("conv1")
            first.stride, first.padding = (1, 1), (1, 1)  # type: ignore[assignment]
            self.mix_7, self.mix_12 = MixBlock(728), MixBlock(1024)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2048 * len(bodies), classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, side, side) in [-1, 1] to (N, classes)."""
        streams = [(self.bands, self.decomposition(x))]
        if self.both:
            streams.append((self.local, self.statistics(x)))
        bodies = [body for body, _ in streams]
        maps = [part(body, _channels_last(y), "conv1", "block7") for body, y in streams]
        if self.both:
            maps = list(self.mix_7(*maps))
        maps = [part(body, y, "block8", "block12") for body, y in zip(bodies, maps, strict=True)]
        if self.both:
            maps = list(self.mix_12(*maps))
        features = [part(body, y, "conv3", "act4").mean((2, 3)) for body, y in zip(bodies, maps, strict=True)]
        logits: torch.Tensor = self.head(self.dropout(torch.cat(features, dim=1)))
        return logits


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)
