"""The two streams of Luo et al. (CVPR 2021, arXiv:2103.12376), and what they have of each other.

The details are those of the authors' modules as DeepfakeBench has them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from dfbench_xception.body import part
from torch import nn

LIMIT = 3.0
"""Residuals are cut at ± this."""


def srm_kernels() -> torch.Tensor:
    """The three filters of the spatial rich model (Fridrich and Kodovský 2012) that are used here: (3, 5, 5).

    The square 3×3 (over 4), the square 5×5 (over 12) and the horizontal second derivative (over 2).
    """
    square_3, second = torch.zeros(5, 5), torch.zeros(5, 5)
    square_3[1:4, 1:4] = torch.tensor([[-1.0, 2, -1], [2, -4, 2], [-1, 2, -1]]) / 4
    second[2, 1:4] = torch.tensor([1.0, -2, 1]) / 2
    quarter = torch.tensor([[-1.0, 2, -2], [2, -6, 8], [-2, 8, -12]])  # of the 5×5, which is symmetric
    half = torch.cat([quarter, quarter[:, :2].flip(1)], dim=1)
    square_5 = torch.cat([half, half[:2].flip(0)]) / 12
    return torch.stack([square_3, square_5, second])


class Residuals(nn.Module):
    """The residuals of a picture: each filter over the sum of its channels, cut at ± 3."""

    kernels: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", srm_kernels()[:, None].repeat(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) to float32 (N, 3, H, W)."""
        with torch.autocast(x.device.type, enabled=False):  # residuals are small differences
            return F.conv2d(x.float(), self.kernels, padding=2).clamp(-LIMIT, LIMIT)


class FeatureResiduals(nn.Module):
    """The residuals of feature maps, three of each channel, and a 1×1 convolution back to as many channels."""

    kernels: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernels", srm_kernels()[:, None].repeat(channels, 1, 1, 1), persistent=False)
        merge = nn.Conv2d(3 * channels, channels, 1, bias=False)
        self.merge = nn.Sequential(merge, nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        residuals = F.conv2d(x, self.kernels.to(x.dtype), padding=2, groups=x.shape[1]).clamp(-LIMIT, LIMIT)
        merged: torch.Tensor = self.merge(residuals)
        return merged


class ResidualAttention(nn.Module):
    """Residual-guided spatial attention: from the picture's residuals, where the RGB stream should look.

    Two convolutions as at Xception's start; the mean and the largest of the channels; a 7×7 convolution; sigmoid.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels_out, stride in ((3, 32, 2), (32, 64, 1)):
            layers += [nn.Conv2d(channels_in, channels_out, 3, stride, bias=False), nn.BatchNorm2d(channels_out)]
            layers += [nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.map = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, residuals: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) to (N, 1, H, H) in (0, 1), H the side after Xception's ``conv2``."""
        x = self.features(residuals)
        return torch.sigmoid(self.map(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)))


class CrossAttention(nn.Module):
    """Dual cross-modality attention: every position of one stream attends to all of the other, in both directions.

    Affinities are the products of keys, an eighth of the channels, made by a convolution for each stream and one for
    both. Each direction has a linear layer over the positions before its softmax, so the side is fixed, and the weight
    of what it adds is learned and 0 at first.

    Args:
        channels: of both streams.
        side: of the maps.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.key = nn.ModuleList(nn.Conv2d(channels, channels // 8, 1) for _ in range(2))
        self.shared = nn.Conv2d(channels // 8, channels // 8, 1)
        self.value = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.positions = nn.ModuleList(nn.Linear(side**2, side**2) for _ in range(2))
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two (N, channels, side, side) to two of the same shape."""
        a, b = (self.shared(key(z)).flatten(2) for key, z in zip(self.key, (x, y), strict=True))
        affinity = a.transpose(1, 2) @ b  # (N, positions of x, positions of y)
        added = []
        for i, (table, other) in enumerate(((affinity, y), (affinity.transpose(1, 2), x))):
            attention = torch.softmax(self.positions[i](table), dim=-1)
            values = self.value[i](other).flatten(2)
            added.append((values @ attention.to(values.dtype).transpose(1, 2)).view_as(other))
        return x + self.weight[0] * added[0], y + self.weight[1] * added[1]


class Fusion(nn.Module):
    """Both streams' features in one map by a 1×1 convolution, then channel attention (mean and largest, one MLP)."""

    def __init__(self, channels: int = 2048) -> None:
        super().__init__()
        self.join = nn.Sequential(nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        narrow = channels // 16
        self.scale = nn.Sequential(
            nn.Linear(channels, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, channels, bias=False)
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Two (N, channels, H, W) to (N, channels), the mean over positions."""
        joined = self.join(torch.cat([x, y], dim=1))
        attention = torch.sigmoid(self.scale(joined.mean((2, 3))) + self.scale(joined.amax((2, 3))))
        return joined.mean((2, 3)) * attention


class TwoStreams(nn.Module):
    """Two Xceptions, of the picture and of its residuals.

    Args:
        rgb: body of the picture, three channels in, without a last layer.
        noise: body of the residuals, the same.
        side: of the pictures, in pixels.
        classes: rows of the last layer, ``head``.
    """

    def __init__(self, rgb: nn.Module, noise: nn.Module, side: int, classes: int) -> None:
        super().__init__()
        self.rgb, self.noise = rgb, noise
        self.residuals = Residuals()
        self.from_1, self.from_2 = FeatureResiduals(32), FeatureResiduals(64)
        self.attention, self.attended = ResidualAttention(), nn.Sequential(nn.BatchNorm2d(64), nn.ReLU())
        inner = (side - 3) // 2 - 1
        for _ in range(3):  # block1 to block3 halve it, rounded up
            inner = (inner + 1) // 2
        self.cross_3, self.cross_7 = CrossAttention(728, inner), CrossAttention(728, inner)
        self.fusion = Fusion()
        self.head = nn.Linear(2048, classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, side, side) in [-1, 1] to (N, classes)."""
        residuals = self.residuals(pictures)
        x = part(self.rgb, pictures, "conv1", "act1")
        y = F.relu(part(self.noise, residuals, "conv1", "act1") + self.from_1(x))
        x = part(self.rgb, x, "conv2", "act2")
        y = F.relu(part(self.noise, y, "conv2", "act2") + self.from_2(x))
        x = self.attended(x * (1 + self.attention(residuals)))
        x, y = self.cross_3(part(self.rgb, x, "block1", "block3"), part(self.noise, y, "block1", "block3"))
        x, y = self.cross_7(part(self.rgb, x, "block4", "block7"), part(self.noise, y, "block4", "block7"))
        logits: torch.Tensor = self.head(
            self.fusion(part(self.rgb, x, "block8", "bn4"), part(self.noise, y, "block8", "bn4"))
        )
        return logits
