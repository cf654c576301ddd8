"""timm's ``legacy_xception`` for detectors that stand on it: other input channels, fewer middle blocks, parts of it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

log = logging.getLogger("dfbench.xception")


def xception_body(
    classes: int, in_chans: int = 3, middle_blocks: int = 8, pretrained: bool = True, dropout: float = 0.0
) -> tuple[nn.Module, bool]:
    """The network, and whether it starts from ImageNet weights.

    Args:
        classes: rows of the last layer ``fc``; 0: none, the network gives 2048 features.
        in_chans: channels of the input. Of pretrained weights, those of the first convolution are repeated over the
            channels in the order R, G, B, and scaled by 3 / ``in_chans``.
        middle_blocks: how many of the blocks 4 to 11, which are alike, are kept; the others pass their input on.
        pretrained: try to fetch ImageNet weights; a warning says where that fails.
        dropout: probability, before ``fc``.
    """
    import timm

    options: dict[str, Any] = {"num_classes": classes, "in_chans": in_chans, "drop_rate": dropout}
    model = None
    if pretrained:
        try:
            model = timm.create_model("legacy_xception", pretrained=True, **options)
        except Exception as error:
            log.warning(
                "Xception starts from random weights: the ImageNet weights could not be fetched (%s)",
                type(error).__name__,
            )
    fetched = model is not None
    model = model or timm.create_model("legacy_xception", pretrained=False, **options)
    for number in range(4 + middle_blocks, 12):
        setattr(model, f"block{number}", nn.Identity())
    return model.to(memory_format=torch.channels_last), fetched


def part(body: nn.Module, x: torch.Tensor, first: str, last: str) -> torch.Tensor:
    """``x`` through the layers ``first`` to ``last`` of a body, in its order: conv1, bn1, act1, …, block12, …, act4."""
    names = [name for name, _ in body.named_children()]
    for name in names[names.index(first) : names.index(last) + 1]:
        x = getattr(body, name)(x)
    return x
