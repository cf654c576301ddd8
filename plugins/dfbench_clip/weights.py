"""OpenAI's CLIP image towers (Radford et al. 2021) in timm's form, from a file or from the Hub."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dfbench import DataError, UsageError, cache_root

log = logging.getLogger("dfbench.clip")

PACKED = "clip_vit_base_patch16_openai_int8.safetensors"
"""What ``python -m tools.clip_weights`` writes into the cache folder."""
NETWORKS = {"ViT-B/16": "vit_base_patch16_clip_quickgelu_224", "ViT-L/14": "vit_large_patch14_clip_quickgelu_224"}
"""CLIP's name of a tower: timm's."""
DIMENSIONS = {"ViT-B/16": 512, "ViT-L/14": 768}
"""Length of an image's embedding."""


def image_tower(tower: str, file: str | None) -> tuple[Any, str]:
    """A tower with its projection, and where its weights are from: a file's name, or timm's name on the Hub.

    Args:
        tower: of :data:`NETWORKS`.
        file: safetensors in timm's key names. None: those that the tool of the project writes, where they are; else
            OpenAI's from the Hub.

    Raises:
        UsageError: the file does not exist, or there are no weights.
        DataError: they do not fit.
    """
    name, dimensions = NETWORKS[tower], DIMENSIONS[tower]
    packed = cache_root() / "weights" / PACKED
    path = Path(file) if file else packed
    if file and not path.is_file():
        raise UsageError(f"--set weights={file}: there is no such file")
    if (tower == "ViT-B/16" or file) and path.is_file():
        network = timm.create_model(name, pretrained=False, num_classes=dimensions)
        try:
            network.load_state_dict(load_file(path))
        except Exception as error:  # whatever safetensors and torch raise
            raise DataError(f"{path} does not hold CLIP {tower} in timm's key names") from error
        return network, path.name
    try:
        network = timm.create_model(f"{name}.openai", pretrained=True)
    except Exception as error:
        advice = "run python -m tools.clip_weights, or " if tower == "ViT-B/16" else ""
        raise UsageError(
            f"no weights of CLIP {tower}: the Hub was not reached ({type(error).__name__}); {advice}give them with "
            "--set weights=FILE, safetensors in timm's key names"
        ) from error
    return network, f"{name}.openai"


def prepared(pixels: torch.Tensor, cfg: dict[str, Any]) -> torch.Tensor:
    """CLIP's view of pictures: 224 pixels, bicubic, CLIP's mean and deviation.

    Args:
        pixels: uint8 (N, H, W, 3).
        cfg: timm's configuration of the network: ``mean`` and ``std``.

    Returns:
        float32 (N, 3, 224, 224). Pictures that are not square are squashed.
    """
    x = pixels.movedim(-1, 1).float()
    if x.shape[-2:] != (224, 224):
        x = F.interpolate(x, (224, 224), mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
    mean, std = (torch.tensor(cfg[key], device=x.device).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (x / 255 - mean) / std
