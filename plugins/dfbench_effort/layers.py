"""Linear layers split by singular values (Yan et al. 2025, ICML, arXiv:2411.15633): W = W_r + Û diag(ŝ) V̂.

W_r, the part of the largest singular values, is frozen; Û, ŝ and V̂, that of the smallest ones, train.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from dfbench import transformer_blocks


class ResidualLinear(nn.Module):
    """One or several square matrices below one another, each split by itself, as one linear layer.

    Attributes:
        principal: W_r of each matrix, float32 (parts, D, D). A buffer, as all that is frozen but the bias.
        left: Û, (parts, D, rank).
        values: ŝ, (parts, rank).
        right: V̂, (parts, rank, D).
        first_left, first_values, first_right: these three as the decomposition gave them.
    """

    principal: torch.Tensor
    first_left: torch.Tensor
    first_values: torch.Tensor
    first_right: torch.Tensor
    bias: nn.Parameter | None

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        """Split a layer of D inputs and a multiple of D outputs; 1 ≤ rank < D."""
        super().__init__()
        width = layer.in_features
        weight = layer.weight.detach().float().unflatten(0, (-1, width))
        u, s, v = torch.linalg.svd(weight)
        main = width - rank
        self.register_buffer("principal", u[..., :main] * s[:, None, :main] @ v[:, :main])
        self.bias = layer.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)
        self.left = nn.Parameter(u[..., main:].clone())
        self.values = nn.Parameter(s[:, main:].clone())
        self.right = nn.Parameter(v[:, main:].clone())
        for name in ("left", "values", "right"):
            self.register_buffer(f"first_{name}", getattr(self, name).detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, D) to (…, parts · D). The residual is applied by its factors: no gradient of a whole matrix is formed."""
        inner = F.linear(x, self.right.flatten(0, 1)).unflatten(-1, self.values.shape) * self.values
        residual = torch.einsum("...pr,pdr->...pd", inner, self.left)
        return F.linear(x, self.principal.flatten(0, 1), self.bias) + residual.flatten(-2)

    def weight(self) -> torch.Tensor:
        """The matrices as they are now, (parts · D, D)."""
        return (self.principal + self.left * self.values[:, None] @ self.right).flatten(0, 1)

    def orthogonality(self) -> torch.Tensor:
        """‖UᵀU − I‖² + ‖VᵀV − I‖² of each matrix, (parts,); U and V hold all singular vectors, frozen and trained.

        The frozen vectors U_r are orthonormal and orthogonal to the first Û₀, and U is square, so that
        ‖U_rᵀÛ‖ = ‖Û − Û₀Û₀ᵀÛ‖: D · rank numbers do instead of D².
        """
        now = (self.left, self.right.mT)
        first = (self.first_left, self.first_right.mT)
        return torch.stack([_deviation(a, b) for a, b in zip(now, first, strict=True)]).sum(0)

    def energy_change(self) -> torch.Tensor:
        """| ‖W_now‖² − ‖W‖² | of each matrix, (parts,), without the difference of two large sums."""
        with_main = (self.left * (self.principal @ self.right.mT)).sum(1)  # ûᵢᵀ W_r v̂ᵢ: 0 while orthogonal
        u, v = self.left.mT @ self.left, self.right @ self.right.mT
        own = (u * v * self.values[:, :, None] * self.values[:, None]).sum((1, 2))
        before = self.first_values.square().sum(1)
        return (2 * (with_main * self.values).sum(1) + own - before).abs()


def _deviation(now: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """‖[A, B]ᵀ[A, B] − I‖² of frozen A and ``now`` B (parts, D, rank): 2‖AᵀB‖² + ‖BᵀB − I‖², (parts,)."""
    outside = now - first @ (first.mT @ now)
    own = now.mT @ now - torch.eye(now.shape[-1], device=now.device)
    return 2 * outside.square().sum((1, 2)) + own.square().sum((1, 2))


def split_attention(network: nn.Module, rank: int) -> None:
    """Split the queries', keys', values' and output matrices of each block; all else is frozen.

    timm holds the first three in one layer, ``attn.qkv``, whose thirds are split separately.
    """
    network.requires_grad_(False)
    for block in transformer_blocks(network).values():
        attention = block.get_submodule("attn")
        for name in ("qkv", "proj"):
            setattr(attention, name, ResidualLinear(getattr(attention, name), rank))


def residual_layers(network: nn.Module) -> Iterator[ResidualLinear]:
    """The split layers of a network."""
    yield from (module for module in network.modules() if isinstance(module, ResidualLinear))


def penalties(network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthogonality and change of energy, each the mean over all split matrices; float32 scalars."""
    layers = list(residual_layers(network))
    with torch.autocast(layers[0].left.device.type, enabled=False):
        orthogonality = torch.cat([layer.orthogonality() for layer in layers]).mean()
        return orthogonality, torch.cat([layer.energy_change() for layer in layers]).mean()
