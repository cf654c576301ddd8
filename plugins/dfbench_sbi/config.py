"""Options of SBI and its two presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dfbench import EpochConfig


class SBIConfig(EpochConfig):
    """Options of SBI; the defaults are the authors', where their paper or code gives them."""

    batch_size: int = Field(16, ge=1, description="pictures per step; each real one brings a fake of its own")
    epochs: int = Field(100, ge=1, description="passes over each experience")
    image_size: int = Field(380, ge=64, le=1024, description="side in pixels")
    train_size: int | None = Field(
        None, ge=32, le=1024, description="side of the pictures in training, where smaller ones are to save time"
    )
    body: str = Field("tf_efficientnet_b4.ap_in1k", description="network of timm that ends in a linear `classifier`")
    pretrained: bool = Field(True, description="start from ImageNet weights where they can be had")
    fakes: Literal["blended", "own", "both"] = Field(
        "blended", description="what is learned as fake: self-blended reals, the stream's own fakes, or both"
    )
    optimizer: Literal["sam", "sgd", "adamw"] = Field("sam", description="sam: SGD after a step uphill (two passes)")
    lr: float = Field(1e-3, gt=0, description="learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(0.0, ge=0)
    rho: float = Field(0.05, gt=0, description="length of SAM's step uphill")
    decay_from: float = Field(0.75, ge=0, lt=1, description="share of the steps after which the rate falls to 0")
    warm_up: float = Field(0.0, ge=0, lt=1, description="share of the steps in which the rate rises from 0")
    margin: float = Field(1.3, ge=1, le=3, description="side of the stream's crops, in face heights (forehead to chin)")
    crop: float = Field(0.9, gt=0.3, le=1, description="smallest share of a picture's side that a random crop keeps")
    jpeg: float = Field(0.5, ge=0, le=1, description="probability of JPEG")
    quality: int = Field(40, ge=1, le=100, description="lowest quality of JPEG; the highest is 100")
    shrink: float = Field(0.0, ge=0, le=1, description="probability of a reduction of the resolution")
    smallest: float = Field(0.3, gt=0.05, le=1, description="smallest scale of that reduction")


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "lite": {
        "body": "tf_efficientnet_lite0",
        "image_size": 224,
        "train_size": 160,
        "epochs": 6,
        "optimizer": "adamw",
        "lr": 5e-4,
        "weight_decay": 0.01,
        "decay_from": 0.1,
        "warm_up": 0.05,
        "crop": 0.65,
        "jpeg": 0.7,
        "quality": 30,
        "shrink": 0.5,
    },
}
