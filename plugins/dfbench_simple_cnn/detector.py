"""A small convolutional network with an ordinary training loop."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from dfbench import Batch, Detector, EpochConfig, Loop, normalize


class SimpleCNNConfig(EpochConfig):
    """Options of the simple CNN."""

    image_size: int | None = Field(None, ge=16, le=512, description="side in pixels (default: as stored, 128 at most)")
    width: int = Field(24, ge=4, description="channels of the first block")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of AdamW, one cycle per experience")
    weight_decay: float = Field(1e-2, ge=0)
    flip: bool = Field(True, description="random horizontal flips")


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    """3×3 convolution, batch normalisation, ReLU, halved resolution."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


class SimpleCNN(Detector):
    """Four convolution blocks on 2×2 space-to-depth pixels and a linear head.

    Space-to-depth keeps every pixel (forgery traces are high-frequency) at a quarter of the cost.
    """

    Config: ClassVar = SimpleCNNConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}
    head: ClassVar[str | None] = "head"
    distributes: ClassVar[bool] = True

    def build(self) -> nn.Module:
        """Input (N, 3, H, W) with even H and W; output (N, classes)."""
        w = self.config.width
        features = nn.Sequential(
            block(12, w), block(w, 2 * w), block(2 * w, 4 * w), nn.Conv2d(4 * w, 4 * w, 3, padding=1)
        )
        return _Network(features, 4 * w, self.task.num_classes)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Square pictures; small ones stay as they are, but for sides made even and 16 at least."""
        if self.config.image_size:
            return (self.config.image_size, self.config.image_size)
        native = self.task.native_size
        if native is None or max(native) > 128:
            return (128, 128)
        height, width = (max(side + side % 2, 16) for side in native)
        return None if (height, width) == native else (height, width)

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """[-1, 1], each picture flipped with probability ½ in training."""
        pixels = batch.pixels
        if training and self.config.flip:
            chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
            pixels = torch.where(chosen, pixels.flip(2), pixels)
        return normalize(pixels)

    def train(self, loop: Loop) -> None:
        """AdamW with one learning-rate cycle per experience."""
        optimizer = torch.optim.AdamW(loop.model.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay)
        total = max(self.config.epochs * loop.batches_per_epoch, 2)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.config.lr, total_steps=total + 1)
        loop.optimize(optimizer, schedulers=[cycle])
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)


class _Network(nn.Module):
    def __init__(self, features: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.to_depth = nn.PixelUnshuffle(2)
        self.features = features
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, 3, H, W); returns (N, classes)."""
        x = self.norm(self.features(self.to_depth(x))).relu()
        return self.head(x.mean((2, 3)))
