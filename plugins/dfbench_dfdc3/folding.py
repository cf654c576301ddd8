"""Batch normalisation folded into the convolutions before it, for predictions."""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d
from torch import nn

from dfbench import copy_network
from dfbench_dfdc3.networks import TemporalExpansion


def folded(model: nn.Module) -> nn.Module:
    """A copy of the networks that predicts the same in eval mode, with fewer passes over the activations.

    In an EfficientNet every convolution that is normalised is followed by its normalisation, in the order in which
    the modules are defined.
    """
    copied = copy_network(model).eval()
    for parent in copied.modules():
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            if isinstance(before, nn.Conv2d | TemporalExpansion) and isinstance(child, BatchNormAct2d):
                _fold(before, child)
                setattr(parent, name, child.act)
            before = child
    return copied


@torch.no_grad()
def _fold(convolution: nn.Conv2d | TemporalExpansion, norm: BatchNormAct2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = convolution.weight
    weight.mul_(scale.view(-1, *[1] * (weight.dim() - 1)))
    shift = norm.bias - norm.running_mean * scale
    convolution.bias = nn.Parameter(shift if convolution.bias is None else shift + convolution.bias * scale)
