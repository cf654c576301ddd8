"""Sharpness-aware minimisation (Foret et al. 2021, arXiv:2010.01412) with one backward pass left to the loop."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call


class Uphill(nn.Module):
    """A network as it is one step uphill: weights w + ρ·g/‖g‖, g being the gradient of a loss at w.

    The step is a constant to autograd, so that the gradient of a loss of this network, which arrives at the weights w
    of the network itself, is SAM's. The weights are never changed and need not be put back.

    Args:
        network: its modes and its buffers (statistics of batch normalisation) are shared.
        loss: computed from it, with its graph, which is used up.
        rho: ρ.
    """

    def __init__(self, network: nn.Module, loss: torch.Tensor, rho: float) -> None:
        super().__init__()
        self.training = network.training
        self._network = [network]  # in a list: not a part of this module
        named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        known = [g for g in gradients if g is not None]
        scale = rho / (torch.stack([g.norm() for g in known]).norm() + 1e-12)
        self._moved = {
            name: p if g is None else p + scale * g for (name, p), g in zip(named.items(), gradients, strict=True)
        }

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the network gives uphill."""
        return functional_call(self._network[0], self._moved, (x,))
