"""Options of DFDC_3 and its two presets."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from dfbench import DetectorConfig
from dfbench_dfdc3.inference import SHORTEST_TRACK, WINDOW, sampling_step


class DFDC3Config(DetectorConfig):
    """Options of DFDC_3; the defaults are the authors'."""

    batch_size: int = Field(8, ge=1, description="pairs of aligned clips per step, before replayed ones are added")
    clip_pairs: int | None = Field(None, ge=1, description="pairs of batch_size that network C sees; None: all")
    accumulate: int = Field(1, ge=1, description="batches per optimizer step, where memory is short")
    steps: int = Field(100_000, ge=2, description="optimizer steps per experience, the warm-up included")
    warm_up: int = Field(100, ge=0, description="steps at the start on the final layers alone")
    lr: float = Field(0.005, gt=0, description="learning rate at the start, falling linearly")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum")
    weight_decay: float = Field(1e-4, ge=0)
    body: str = Field("tf_efficientnet_b7.ns_jft_in1k", description="EfficientNet of timm, for all three networks")
    pretrained: bool = Field(True, description="start from the body's ImageNet weights where they can be fetched")
    weights: str | None = Field(None, description="start from a checkpoint made by `dfbench dfdc3 convert`")
    dropout: float = Field(0.5, ge=0, lt=1, description="before the final layers")
    drop_path: float = Field(0.2, ge=0, lt=1, description="stochastic depth")
    bn_momentum: float = Field(0.01, gt=0, le=1, description="share of a batch in the running statistics")
    height: int = Field(224, ge=32, description="of the networks' input, pixels")
    width: int = Field(192, ge=32, description="of the networks' input, pixels")
    aspect: float | None = Field(
        None,
        gt=0.2,
        lt=5,
        description="height over width of the stored pictures; None: as they are, if all agree",
    )
    clip_length: int = Field(50, ge=7, description="frames of a training clip (fewer where the videos have fewer)")
    frames: int = Field(8, ge=1, description="frames that A and B see of a clip, each")
    sequence: int = Field(WINDOW, ge=WINDOW, le=WINDOW, description="frames that C sees of a clip")
    fps: float | str = Field(30.0, description="frame rate of the test videos, or a CSV file with columns video, fps")
    shortest: int = Field(SHORTEST_TRACK, ge=1, description="sampled frames below which a track has no look")
    fold_norms: bool = Field(False, description="fold batch normalisation into the convolutions for predictions")
    compress: float = Field(0.5, ge=0, le=1, description="probability of H.264 compression of a pair")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    auto_augment: float = Field(0.5, ge=0, le=1, description="probability of AutoAugment")
    erase: float = Field(0.2, ge=0, le=1, description="probability of random erasing (B)")

    @model_validator(mode="after")
    def _consistent(self) -> DFDC3Config:
        if self.warm_up >= self.steps:
            raise ValueError(f"warm_up={self.warm_up} leaves none of steps={self.steps} for the whole network")
        if self.frames > self.clip_length:
            raise ValueError(f"frames={self.frames} of a clip of clip_length={self.clip_length}")
        if self.clip_pairs is not None and self.clip_pairs > self.batch_size:
            raise ValueError(f"clip_pairs={self.clip_pairs} of batch_size={self.batch_size}")
        if not isinstance(self.fps, str) and (not self.fps < float("inf") or not sampling_step(self.fps)):
            raise ValueError(f"fps={self.fps}: frames are sampled from videos of 8 per second and more")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "lite": {
        "body": "tf_efficientnet_lite0",
        "height": 112,
        "width": 96,
        "frames": 2,
        "dropout": 0.2,
        "drop_path": 0.0,
        # At .01, two thirds of ImageNet's statistics would be left after 40 steps.
        "bn_momentum": 0.1,
        "batch_size": 4,
        # The authors train C by itself; here it would take two thirds of a step's time for four labels.
        "clip_pairs": 1,
        "steps": 150,
        "warm_up": 5,
        "lr": 0.01,
        # One window of C: of the benchmark's 16 frames 8 are sampled, and 7 are looked at.
        "shortest": WINDOW,
        "compress": 0.1,
        "auto_augment": 0.1,
        "fold_norms": True,
    },
}
"""``paper``: the published configuration. ``lite``: the same procedure with a small network, for CPUs."""
