"""UnivFD (Ojha et al. 2023, CVPR, arXiv:2302.10174): a linear layer on a frozen CLIP's embedding of the image."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from dfbench import Batch, Detector, EncoderMark, EpochConfig, FrozenEncoder, Loop
from dfbench_clip.weights import image_tower, prepared


class UnivFDConfig(EpochConfig):
    """Options of UnivFD."""

    tower: Literal["ViT-L/14", "ViT-B/16"] = Field("ViT-L/14", description="CLIP's image tower")
    weights: str | None = Field(None, description="its weights, a .safetensors file (default: packaged, or the Hub)")
    batch_size: int = Field(256, ge=1, description="training units per step, before replayed ones are added")
    epochs: int = Field(10, ge=1, description="passes over each experience")
    lr: float = Field(1e-4, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(0.0, ge=0)
    encoder_precision: Literal["fp32", "bf16"] = Field("fp32", description="of the tower alone")
    unit_length: bool = Field(False, description="embeddings of length 1, as CLIP compares them")


class Probe(nn.Module):
    """A linear layer that knows whose embeddings it reads."""

    def __init__(self, encoder: FrozenEncoder, dimensions: int, classes: int) -> None:
        super().__init__()
        self.mark = EncoderMark(encoder)
        self.head = nn.Linear(dimensions, classes)
        nn.init.normal_(self.head.weight, 0.0, 0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embeddings (N, D) to logits (N, classes)."""
        return self.head(x)


class UnivFD(Detector):
    """Embeddings are computed once per picture and kept; training takes seconds.

    The authors train with blur and JPEG at random, which would need the encoder at every step; that is left out.
    """

    Config: ClassVar = UnivFDConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "lite": {"tower": "ViT-B/16", "batch_size": 32, "epochs": 6, "lr": 1e-3},
    }
    head: ClassVar[str | None] = "head"
    start_options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """``lite`` on a CPU, ``paper`` on anything faster."""
        return "lite" if device.type == "cpu" else "paper"

    def build(self) -> nn.Module:
        """Input (N, D) embeddings, output (N, classes). ``facts`` names the encoder's weights and their hash.

        Raises:
            UsageError: there are no weights of the tower.
        """
        c = self.config
        network, origin = image_tower(c.tower, c.weights)
        cfg = dict(network.pretrained_cfg)
        recipe = "bicubic 224, CLIP's mean and std"
        self._encoder = FrozenEncoder(
            network, lambda pixels: prepared(pixels, cfg), recipe, precision=c.encoder_precision
        )
        self.facts.update(encoder=self._encoder.identity, encoder_weights=origin)
        return Probe(self._encoder, int(network.num_classes), self.task.num_classes)

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Embeddings, float32 (N, D)."""
        x = self._encoder(batch.pixels)
        return F.normalize(x, dim=-1) if self.config.unit_length else x

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam, new for each experience."""
        c = self.config
        return torch.optim.Adam(model.parameters(), lr=c.lr, weight_decay=c.weight_decay, betas=(0.9, 0.999))

    def train(self, loop: Loop) -> None:
        """Passes over the data at a constant rate."""
        loop.optimize(self.optimizer(loop.model))
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                loop.step(self.loss(loop.model, batch))
