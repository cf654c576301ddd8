"""TALL (Xu et al. 2023, ICCV, arXiv:2307.07494): consecutive frames laid out as one picture for a picture's network.

Facts that the paper leaves open are those of the authors' repository, ``rainy-xu/TALL4Deepfake``; the code is our own.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from dfbench_timm.detector import Timm, TimmConfig
from pydantic import Field, model_validator
from torch import nn

from dfbench import Batch, Samples, Units, clips, normalize


class TallConfig(TimmConfig):
    """Options of TALL; the defaults are the authors'."""

    network: str = Field("swin_base_patch4_window7_224.ms_in22k", description="of timm.list_models(), with its tag")
    image_size: int = Field(224, ge=16, le=1024, description="side of the thumbnail, pixels")
    window: int | None = Field(None, ge=2, le=64, description="side of a Swin's windows in patches (default: its own)")
    clip_length: int = Field(4, ge=1, le=64, description="frames of a clip, a square number: 4 are laid out as 2 × 2")
    mask: int = Field(16, ge=0, description="side of the block that is masked in each frame in training, pixels")
    smoothing: float = Field(0.1, ge=0, lt=1, description="of the labels")
    batch_size: int = Field(4, ge=1, description="clips per step, before replayed ones are added")
    epochs: int = Field(60, ge=1, description="passes over each experience")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adamw", description="sgd: with momentum .9")
    lr: float = Field(1.5e-5, gt=0, description="learning rate")
    weight_decay: float = Field(1e-5, ge=0)
    schedule: Literal["constant", "cosine", "one_cycle"] = Field(
        "cosine", description="learning rate within an experience; cosine rises from .001 lr to lr and falls to .01 lr"
    )
    warm_up: float = Field(1 / 6, ge=0, lt=1, description="share of the steps in which the rate of cosine rises")
    drop_path: float = Field(0.1, ge=0, lt=1, description="stochastic depth, where the network has it")
    jitter: float = Field(0.0, ge=0, lt=1, description="largest change of brightness and of contrast")

    @property
    def rows(self) -> int:
        """Frames in a row of the thumbnail, and in a column."""
        return math.isqrt(self.clip_length)

    @model_validator(mode="after")
    def _fits(self) -> TallConfig:
        if self.rows**2 != self.clip_length:
            raise ValueError(f"clip_length={self.clip_length} is not a square number, such as 4 or 9")
        if self.image_size % self.rows:
            raise ValueError(f"image_size={self.image_size} is not divided by {self.rows} frames in a row")
        if self.mask > self.image_size // self.rows:
            raise ValueError(f"mask={self.mask} is larger than a frame, whose side is {self.image_size // self.rows}")
        return self


class Tall(Timm):
    """Clips of consecutive stored frames, each of them scaled down and laid out in one picture, row by row.

    In training one square block of each clip is masked, at the same place of all its frames. One unit is a clip, to
    train on and to predict.
    """

    Config: ClassVar[Any] = TallConfig
    distributes: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"window": 14},
        "lite": {
            "network": "tf_efficientnet_lite0",
            "batch_size": 16,
            "epochs": 2,
            "smoothing": 0.0,
            "lr": 1e-3,
            "weight_decay": 1e-2,
            "schedule": "one_cycle",
            "drop_path": 0.0,
        },
    }

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """``lite`` on a CPU, ``paper`` on anything faster."""
        return "lite" if device.type == "cpu" else "paper"

    @property
    def image_size(self) -> tuple[int, int]:
        """That of a frame in the thumbnail."""
        side = self.config.image_size // self.config.rows
        return (side, side)

    def network_options(self) -> dict[str, Any]:
        """With the windows."""
        window = self.config.window
        return super().network_options() | ({"window_size": window} if window else {})

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        """Clips, one after another without overlap; shorter videos are in none, which a notice says.

        Raises:
            DataError: no video has ``clip_length`` frames.
        """
        return clips(samples, rows, self.config.clip_length)

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Thumbnails (N, 3, S, S), normalised as the network expects; in training flipped, masked and jittered."""
        pixels, c = batch.pixels, self.config
        per_clip = (len(pixels), 1, 1, 1, 1)
        if training and c.flip:
            chosen = torch.rand(per_clip, device=pixels.device) < c.flip
            pixels = torch.where(chosen, pixels.flip(-2), pixels)
        x = normalize(pixels, self._cfg.mean, self._cfg.std)
        if training and c.jitter:
            gain, shift = ((torch.rand(per_clip, device=x.device) * 2 - 1) * c.jitter for _ in range(2))
            x = x * (1 + gain) + 2 * shift
        if training and c.mask:
            x = masked(x, c.mask)
        return thumbnail(x, c.rows)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Cross-entropy with smoothed labels."""
        logits = model(self.inputs(batch, model.training))
        return F.cross_entropy(logits, batch.labels, label_smoothing=self.config.smoothing)

    def schedulers(self, optimizer: torch.optim.Optimizer, total: int) -> list[Any]:
        """Cosine with a warm-up, or those of ``timm``."""
        if self.config.schedule != "cosine":
            return super().schedulers(optimizer, total)
        rising = int(total * self.config.warm_up)

        def factor(step: int) -> float:
            if step < rising:
                return 0.001 + 0.999 * step / rising
            return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2

        return [torch.optim.lr_scheduler.LambdaLR(optimizer, factor)]


def masked(x: torch.Tensor, side: int) -> torch.Tensor:
    """Clips (N, T, C, H, W) with a square block of zeros, at one place in all frames of a clip.

    The centre is uniform over the picture, so that a block may stick out of it.
    """
    inside = []
    for length in x.shape[-2:]:
        first = torch.randint(length, (len(x), 1), device=x.device) - side // 2
        place = torch.arange(length, device=x.device)
        inside.append((place >= first) & (place < first + side))
    block = inside[0][:, :, None] & inside[1][:, None]
    return x.masked_fill(block[:, None, None], 0.0)


def thumbnail(x: torch.Tensor, rows: int) -> torch.Tensor:
    """Clips (N, rows², C, H, W) as pictures (N, C, rows · H, rows · W), frames row by row."""
    grid = x.unflatten(1, (rows, rows)).permute(0, 3, 1, 4, 2, 5)
    return grid.flatten(2, 3).flatten(3, 4).contiguous(memory_format=torch.channels_last)
