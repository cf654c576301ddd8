"""Effort (Yan et al. 2025, ICML, arXiv:2411.15633): CLIP's image tower trained in its smallest singular directions."""

from __future__ import annotations

from typing import Any, ClassVar

import timm
import torch
from dfbench_clip.weights import NETWORKS, image_tower
from pydantic import Field, field_validator
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dfbench import Batch, Detector, EpochConfig, Loop, UsageError, normalize, transformer_blocks
from dfbench_effort.layers import penalties, split_attention


class EffortConfig(EpochConfig):
    """Options of Effort; the defaults are the authors' configuration for faces in DeepfakeBench."""

    tower: str = Field("ViT-L/14", description="CLIP's: ViT-L/14 or ViT-B/16; or a vision transformer of timm")
    pretrained: bool = Field(True, description="start from the tower's weights; false: from random ones")
    weights: str | None = Field(None, description="its weights, a .safetensors file (default: packaged, or the Hub)")
    image_size: int = Field(224, ge=32, le=448, description="side in pixels; positions are interpolated")
    depth: int | None = Field(None, ge=1, le=48, description="blocks of the tower that are used (default: all)")
    rank: int = Field(1, ge=1, le=512, description="singular values of each matrix that train, the smallest ones")
    orthogonality: float = Field(1.0, ge=0, description="weight of that loss")
    energy: float = Field(1.0, ge=0, description="weight of the loss that keeps the sum of squared singular values")
    epochs: int = Field(10, ge=1, description="passes over each experience")
    lr: float = Field(2e-5, gt=0, description="learning rate of Adam")
    weight_decay: float = Field(5e-4, ge=0)
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    jitter: float = Field(0.1, ge=0, lt=1, description="largest change of brightness and of contrast")

    @field_validator("tower")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NETWORKS and not timm.is_model(name):
            raise ValueError(f"neither {' nor '.join(NETWORKS)} of CLIP, nor a network of timm {timm.__version__}")
        return name


class Effort(Detector):
    """CLIP's image tower with a linear head; of each attention matrix the smallest singular values and vectors train.

    Losses: cross-entropy, orthogonality of all singular vectors, and keeping the matrices' energy.
    """

    Config: ClassVar = EffortConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "lite": {"tower": "ViT-B/16", "image_size": 112, "epochs": 2, "lr": 1e-3},
    }
    head: ClassVar[str | None] = "head"
    start_options: ClassVar[tuple[str, ...]] = ("pretrained", "weights")

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """``lite`` on a CPU, ``paper`` on anything faster."""
        return "lite" if device.type == "cpu" else "paper"

    @property
    def image_size(self) -> tuple[int, int]:
        """Square pictures."""
        return (self.config.image_size, self.config.image_size)

    def build(self) -> nn.Module:
        """Input (N, 3, S, S), output (N, classes); ``facts`` names the weights that it starts from.

        Raises:
            UsageError: there are no weights of the tower, it is no vision transformer with one ``attn.qkv`` a block, or
                ``rank`` leaves nothing frozen.
        """
        c = self.config
        network: Any = self._tower()
        self.facts["pretrained"] = c.pretrained
        if not isinstance(network, VisionTransformer) or not transformer_blocks(network):
            raise UsageError(f"tower={c.tower} is a {type(network).__name__}, not a vision transformer like CLIP's")
        if c.rank >= network.embed_dim:
            raise UsageError(f"rank={c.rank} of matrices with {network.embed_dim} singular values leaves none frozen")
        network.set_input_size(img_size=self.image_size)
        if c.depth is not None:
            network.blocks = network.blocks[: c.depth]
        split_attention(network, c.rank)
        network.reset_classifier(self.task.num_classes)  # in place of the projection into the space of texts
        head: Any = network.head
        nn.init.normal_(head.weight, 0.0, 0.02)
        nn.init.zeros_(head.bias)
        return network

    def _tower(self) -> Any:
        c = self.config
        if not c.pretrained:
            return timm.create_model(NETWORKS.get(c.tower, c.tower), pretrained=False)
        if c.tower in NETWORKS:
            network, self.facts["encoder_weights"] = image_tower(c.tower, c.weights)
            return network
        if c.weights:
            raise UsageError(f"weights={c.weights}: a file is read for CLIP's towers alone, not for tower={c.tower}")
        try:
            return timm.create_model(c.tower, pretrained=True)
        except Exception as error:
            raise UsageError(
                f"no weights of {c.tower}: the Hub was not reached ({type(error).__name__}); "
                "--set pretrained=false starts from random ones"
            ) from error

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Normalised with the tower's mean and deviation; in training flipped and jittered on the device."""
        pixels, c = batch.pixels, self.config
        if training and c.flip:
            chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < c.flip
            pixels = torch.where(chosen, pixels.flip(2), pixels)
        cfg = timm.get_pretrained_cfg(NETWORKS.get(c.tower, c.tower))
        assert cfg is not None
        x = normalize(pixels, cfg.mean, cfg.std)
        if training and c.jitter:
            gain, shift = ((torch.rand(len(x), 1, 1, 1, device=x.device) * 2 - 1) * c.jitter for _ in range(2))
            x = x * (1 + gain) + 2 * shift
        return x

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Cross-entropy and the two penalties of the split matrices, which do not depend on the batch."""
        c, loss = self.config, super().loss(model, batch)
        if c.orthogonality or c.energy:
            orthogonality, energy = penalties(model)
            loss = loss + c.orthogonality * orthogonality + c.energy * energy
        return loss

    def train(self, loop: Loop) -> None:
        """Adam at a constant rate, new for each experience."""
        c = self.config
        loop.optimize(torch.optim.Adam(loop.model.parameters(), lr=c.lr, weight_decay=c.weight_decay))
        for _ in loop.epochs(c.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)
