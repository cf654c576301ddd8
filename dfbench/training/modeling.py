"""Small helpers that detectors share: pictures to network input, one logit to two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(
    pixels: torch.Tensor, mean: Sequence[float] = (0.5, 0.5, 0.5), std: Sequence[float] = (0.5, 0.5, 0.5)
) -> torch.Tensor:
    """uint8 pictures (N, …, H, W, 3), 0…255, to float32 (N, …, 3, H, W), ``(x/255 − mean) / std``.

    The result of (N, H, W, 3) is a channels-last tensor without a copy, the layout in which
    convolutions run fastest on CPUs and on GPUs.
    """
    if len(set(mean)) == len(set(std)) == 1:
        x = pixels.float().mul_(1 / (255 * std[0])).sub_(mean[0] / std[0])
    else:
        # One row of W·3 values at a time: broadcasting over the 3 channels alone is not vectorised.
        width = pixels.shape[-2]
        scale = torch.tensor([1 / (255 * s) for s in std], device=pixels.device).repeat(width)
        shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=pixels.device).repeat(width)
        x = pixels.flatten(-2).float().mul_(scale).sub_(shift).view(pixels.shape)
    return x.movedim(-1, -3)


class LiftedLogit(nn.Module):
    """A one-logit network with two: (0, z), so that softmax cross-entropy equals its BCE with logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x as the network takes it; returns (N, 2) logits (real, fake)."""
        z = self.network(x)
        z = z.reshape(len(z), 1)
        return torch.cat([torch.zeros_like(z), z], dim=1)


def lift_one_logit(network: nn.Module, head: str | None = None) -> nn.Module:
    """The same detector with two logits (real, fake); methods that work a class at a time need them.

    With ``head`` (the name of the network's final one-row ``nn.Linear``), that layer is replaced by a
    two-row one with weights (−w/2, +w/2) and bias (−b/2, +b/2): the same P(fake), and every
    per-class method, CWR* too, can work on it. Without, the network is wrapped: logits (0, z).
    """
    if head is None:
        return LiftedLogit(network)
    parent_name, _, attribute = head.rpartition(".")
    parent = network.get_submodule(parent_name)
    old = getattr(parent, attribute)
    if not isinstance(old, nn.Linear) or old.out_features != 1:
        raise ValueError(f"{head!r} is not a linear layer with one output")
    new = nn.Linear(old.in_features, 2, bias=old.bias is not None, device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(torch.cat([-old.weight / 2, old.weight / 2]))
        if old.bias is not None:
            new.bias.copy_(torch.cat([-old.bias / 2, old.bias / 2]))
    setattr(parent, attribute, new)
    return network
