"""``clip_vit``: CLIP's image tower as a detector that trains, whole or by low-rank matrices in its blocks."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import timm
import torch
from dfbench_adapters.lora import LoRA, LoRAOptions, lora_layers
from pydantic import Field
from torch import nn

from dfbench import Batch, Detector, EpochConfig, Loop, normalize
from dfbench_clip.weights import NETWORKS, image_tower


class ClipVitConfig(EpochConfig):
    """Options of the detector ``clip_vit``."""

    tower: Literal["ViT-L/14", "ViT-B/16"] = Field("ViT-B/16", description="CLIP's image tower")
    pretrained: bool = Field(True, description="start from OpenAI's weights; false: from random ones")
    weights: str | None = Field(None, description="its weights, a .safetensors file (default: packaged, or the Hub)")
    image_size: int = Field(224, ge=32, le=448, description="side in pixels; positions are interpolated")
    depth: int | None = Field(None, ge=1, le=24, description="blocks of the tower that are used (default: all)")
    lora_rank: int | None = Field(None, ge=1, le=256, description="rank of matrices beside attn.qkv, which alone train")
    lora_scale: float = Field(1.0, gt=0, le=100, description="of their product")
    epochs: int = Field(4, ge=1, description="passes over each experience")
    lr: float = Field(1e-5, gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0)
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")


class ClipVit(Detector):
    """CLIP's image tower (Radford et al. 2021, arXiv:2103.00020) with a linear head, trained with cross-entropy.

    ``lora`` freezes the tower and trains low-rank matrices (Hu et al. 2022, arXiv:2106.09685) and the head; ``full``
    trains everything. The recipe is ours.
    """

    Config: ClassVar = ClipVitConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "lora": {"lora_rank": 8, "lr": 5e-4, "weight_decay": 0.0},
        "full": {},
    }
    head: ClassVar[str | None] = "head"
    start_options: ClassVar[tuple[str, ...]] = ("pretrained", "weights")

    @property
    def image_size(self) -> tuple[int, int]:
        """Square pictures."""
        return (self.config.image_size, self.config.image_size)

    def build(self) -> nn.Module:
        """Input (N, 3, S, S), output (N, classes); ``facts`` names the weights that it starts from.

        Raises:
            UsageError: there are no weights of the tower.
        """
        c = self.config
        if c.pretrained:
            network, origin = image_tower(c.tower, c.weights)
            self.facts["encoder_weights"] = origin
        else:
            network = timm.create_model(NETWORKS[c.tower], pretrained=False)
        self.facts["pretrained"] = c.pretrained
        network.set_input_size(img_size=self.image_size)
        if c.depth is not None:
            network.blocks = network.blocks[: c.depth]
        network.reset_classifier(self.task.num_classes)  # in place of the projection into the space of texts
        nn.init.normal_(network.head.weight, 0.0, 0.02)
        nn.init.zeros_(network.head.bias)
        if c.lora_rank:
            generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))  # of the run
            LoRA().add(network, LoRAOptions(layers=("attn.qkv",), rank=c.lora_rank, scale=c.lora_scale), generator)
            network.requires_grad_(False)
            for part in (network.head, *(p for layer in lora_layers(network) for p in (*layer.down, *layer.up))):
                part.requires_grad_(True)
        return network  # type: ignore[no-any-return]

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Normalised with CLIP's mean and deviation; in training flipped at random."""
        pixels = batch.pixels
        if training and self.config.flip:
            chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < self.config.flip
            pixels = torch.where(chosen, pixels.flip(2), pixels)
        cfg = timm.get_pretrained_cfg(NETWORKS[self.config.tower])
        assert cfg is not None
        return normalize(pixels, cfg.mean, cfg.std)

    def train(self, loop: Loop) -> None:
        """AdamW with a cosine, new for each experience."""
        c = self.config
        optimizer = torch.optim.AdamW(loop.model.parameters(), lr=c.lr, weight_decay=c.weight_decay)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(c.epochs * loop.batches_per_epoch, 1))
        loop.optimize(optimizer, schedulers=[cosine], clip_norm=1.0)
        for _ in loop.epochs(c.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)
