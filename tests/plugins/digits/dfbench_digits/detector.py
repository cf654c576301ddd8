"""An MLP 2×100 under plain SGD."""

from __future__ import annotations

import torch
from torch import nn

from dfbench import Batch, Detector, EpochConfig


class MLPConfig(EpochConfig):
    """SGD .1, batches of 32, ten epochs."""

    batch_size: int = 32
    epochs: int = 10
    lr: float = 0.1


class MLP(Detector):
    """Its optimizer has no state, so it is the same anew for each experience or kept."""

    Config = MLPConfig

    def build(self) -> nn.Module:
        outputs = self.task.num_classes
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, outputs)
        )

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        return batch.pixels[..., 0].float() / 255

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=self.config.lr)
