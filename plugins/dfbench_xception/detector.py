"""Xception as the field trains it (Rössler et al. 2019; recipe of DeepfakeBench, Yan et al. 2023)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from dfbench import Batch, Detector, EpochConfig, Loop, normalize
from dfbench_xception.body import xception_body


class XceptionConfig(EpochConfig):
    """Options of Xception; the defaults are DeepfakeBench's."""

    image_size: int = Field(256, ge=71, le=1024, description="side in pixels")
    epochs: int = Field(10, ge=1, description="passes over each experience")
    lr: float = Field(2e-4, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(5e-4, ge=0)
    pretrained: bool = Field(True, description="start from ImageNet weights where they can be fetched")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    rotate: float = Field(10.0, ge=0, le=45, description="largest rotation, degrees")
    blur: float = Field(0.5, ge=0, le=1, description="probability that a batch is blurred (Gaussian, 3 to 7 px)")
    jitter: float = Field(0.1, ge=0, lt=1, description="largest change of brightness and of contrast")
    middle_blocks: int = Field(8, ge=0, le=8, description="blocks of the middle flow (Chollet 2017, Fig. 5: 8)")
    schedule: Literal["constant", "one_cycle"] = Field(
        "constant", description="learning rate within an experience; one_cycle: rises to lr and falls to 0"
    )


class Xception(Detector):
    """timm's ``legacy_xception`` (20.8 M parameters; ``lite`` 11.1 M), mean and standard deviation .5.

    DeepfakeBench also recompresses pictures as JPEG in training; that one augmentation is left out.
    """

    Config: ClassVar[type[XceptionConfig]] = XceptionConfig
    distributes: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "lite": {
            "image_size": 112,
            "epochs": 2,
            "batch_size": 32,
            "lr": 1e-3,
            "rotate": 0.0,
            "blur": 0.0,
            "middle_blocks": 2,
            "schedule": "one_cycle",
        },  # six of eight middle blocks are a third of a step's time on a CPU
    }
    head: ClassVar[str | None] = "fc"

    def build(self) -> nn.Module:
        """Input (N, 3, S, S); output (N, classes). ``facts`` says whether ImageNet weights were available."""
        c = self.config
        model, self.facts["pretrained"] = xception_body(
            self.task.num_classes, middle_blocks=c.middle_blocks, pretrained=c.pretrained
        )
        return model

    @property
    def image_size(self) -> tuple[int, int]:
        """Square pictures."""
        return (self.config.image_size, self.config.image_size)

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """[-1, 1]; in training flipped, rotated, blurred and jittered on the device."""
        x = normalize(batch.pixels)
        return self._augment(x) if training else x

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam, new for each experience; fused, since unfused its 20.8 M numbers take a sixth of a small step."""
        lr, decay = self.config.lr, self.config.weight_decay
        return torch.optim.Adam(model.parameters(), lr=lr, weight_decay=decay, fused=True)

    def train(self, loop: Loop) -> None:
        """The ordinary loop, with the configured schedule."""
        optimizer = self.optimizer(loop.model)
        schedulers = []
        if self.config.schedule == "one_cycle":
            total = max(self.config.epochs * loop.batches_per_epoch, 2)
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.config.lr, total_steps=total + 1)
            schedulers.append(cycle)
        loop.optimize(optimizer, schedulers=schedulers)
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)

    def _augment(self, x: torch.Tensor) -> torch.Tensor:
        config, n, device = self.config, len(x), x.device
        per_picture = (n, 1, 1, 1)
        x = torch.where(torch.rand(per_picture, device=device) < config.flip, x.flip(3), x)
        if config.rotate:
            angle = torch.deg2rad((torch.rand(n, device=device) * 2 - 1) * config.rotate)
            cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
            turn = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(n, 2, 3)
            grid = F.affine_grid(turn, list(x.shape), align_corners=False)
            x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
        if config.blur and float(torch.rand(())) < config.blur:
            x = _blur(x, 2 * int(torch.randint(1, 4, ())) + 1)
        if config.jitter:
            gain = 1 + (torch.rand(per_picture, device=device) * 2 - 1) * config.jitter
            shift = (torch.rand(per_picture, device=device) * 2 - 1) * 2 * config.jitter
            x = (x * gain + shift).clamp(-1, 1)
        return x


def _blur(x: torch.Tensor, size: int) -> torch.Tensor:
    """Gaussian blur with a ``size`` × ``size`` kernel, sigma = 0.3·((size − 1)/2 − 1) + 0.8 as in OpenCV."""
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
    at = torch.arange(size, device=x.device, dtype=x.dtype) - size // 2
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    x = F.pad(x, [size // 2] * 4, mode="reflect")
    x = F.conv2d(x, kernel.unsqueeze(2), groups=x.shape[1])
    return F.conv2d(x, kernel.unsqueeze(3), groups=x.shape[1])
