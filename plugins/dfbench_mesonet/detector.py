"""MesoNet (Afchar et al. 2018, WIFS, arXiv:1809.00888): two small networks for compressed faces."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import nn

from dfbench import Batch, Detector, EpochConfig, Loop, UsageError, lift_one_logit, normalize
from dfbench_mesonet.networks import Meso


class MesoNetConfig(EpochConfig):
    """Options of MesoNet; the defaults are the paper's, which states no number of passes."""

    network: Literal["meso4", "mesoinception4"] = "mesoinception4"
    image_size: int = Field(256, ge=32, le=1024, description="side in pixels, a multiple of 32")
    batch_size: int = Field(75, ge=1, description="training units per step, before replayed ones are added")
    epochs: int = Field(10, ge=1, description="passes over each experience")
    lr: float = Field(1e-3, gt=0, description="learning rate of Adam")
    loss: Literal["squared", "cross_entropy"] = Field(
        "squared", description="of P(fake) and the label, or of the logits"
    )
    schedule: Literal["steps", "one_cycle"] = Field(
        "steps",
        description="steps: a tenth of the rate after each 1000 steps, down to a thousandth; one_cycle: rises to lr",
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    zoom: float = Field(0.2, ge=0, lt=1, description="largest change of the scale")
    rotate: float = Field(15.0, ge=0, le=45, description="largest rotation, degrees")
    jitter: float = Field(0.2, ge=0, lt=1, description="largest change of brightness, and of each colour")

    @field_validator("image_size")
    @classmethod
    def _whole(cls, side: int) -> int:
        if side % 32:
            raise ValueError("must be a multiple of 32: the networks halve it five times")
        return side


class MesoNet(Detector):
    """Meso-4 (27 977 parameters) or MesoInception-4 (28 615), whose one logit is lifted to two.

    The paper's loss is the squared error of P(fake). It names slight random zoom, rotation, flips, brightness and hue,
    without sizes; those of the configuration are ours, and hue is a gain per colour.
    """

    Config: ClassVar = MesoNetConfig
    distributes: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "lite": {
            "network": "meso4",
            "image_size": 128,
            "batch_size": 32,
            "epochs": 6,
            "loss": "cross_entropy",
            "schedule": "one_cycle",
            "lr": 3e-3,
            "zoom": 0.0,
            "rotate": 0.0,
            "jitter": 0.0,
        },
    }
    head: ClassVar[str | None] = "head"

    def build(self) -> nn.Module:
        """Input (N, 3, S, S) in [0, 1], output (N, 2).

        Raises:
            UsageError: the stream has more than two classes.
        """
        if self.task.num_classes != 2:
            raise UsageError(f"mesonet has one output; this stream has {self.task.num_classes} classes")
        return lift_one_logit(Meso(self.config.network == "mesoinception4", self.config.image_size), head="head")

    @property
    def image_size(self) -> tuple[int, int]:
        """Square pictures."""
        return (self.config.image_size, self.config.image_size)

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """[0, 1]; in training flipped, zoomed, rotated, and changed in brightness and colour on the device."""
        x = normalize(batch.pixels, (0, 0, 0), (1, 1, 1)).contiguous()
        return self._augmented(x) if training else x

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The mean squared error of P(fake), or cross-entropy."""
        logits = model(self.inputs(batch, model.training)).float()
        if self.config.loss == "cross_entropy":
            return F.cross_entropy(logits, batch.labels)
        return F.mse_loss(torch.softmax(logits, 1)[:, 1], batch.labels.float())

    def train(self, loop: Loop) -> None:
        """Adam; the rate restarts with each experience."""
        c = self.config
        optimizer = torch.optim.Adam(loop.model.parameters(), lr=c.lr)
        schedule: Any
        if c.schedule == "one_cycle":
            total = max(c.epochs * loop.batches_per_epoch, 2)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=c.lr, total_steps=total + 1)
        else:
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 10.0 ** -min(step // 1000, 3))
        loop.optimize(optimizer, schedulers=[schedule])
        for _ in loop.epochs(c.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)

    def _augmented(self, x: torch.Tensor) -> torch.Tensor:
        c, n, device = self.config, len(x), x.device

        def drawn(*shape: int) -> torch.Tensor:
            return torch.rand(n, *shape, device=device) * 2 - 1

        if c.flip:
            x = torch.where(torch.rand(n, 1, 1, 1, device=device) < c.flip, x.flip(3), x)
        if c.zoom or c.rotate:
            angle, scale = torch.deg2rad(drawn() * c.rotate), 1 + drawn() * c.zoom
            cos, sin, zero = angle.cos() / scale, angle.sin() / scale, torch.zeros_like(angle)
            turn = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(n, 2, 3)
            grid = F.affine_grid(turn, list(x.shape), align_corners=False)
            x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
        if c.jitter:
            x = (x * (1 + drawn(3, 1, 1) * c.jitter / 2) + drawn(1, 1, 1) * c.jitter / 2).clamp(0, 1)
        return x
