"""Low-rank matrices beside linear layers (Hu et al. 2022, arXiv:2106.09685): y = W x + b + Σ_t s·B_t A_t x.

Twenty lines, where peft would bring transformers and accelerate with it; ``tests`` compare both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from dfbench import Adapter, AdapterOptions, IncompatibleError, transformer_blocks


class LoRALinear(nn.Linear):
    """A linear layer with low-rank matrices beside it. Its own weights keep their names.

    Attributes:
        down: A of each pair, (rank, in).
        up: B of each pair, (out, rank); zeros at first, so that a new pair changes nothing.
        scales: s of each pair.
    """

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        self.scales: list[float] = []

    def add_pair(self, rank: int, scale: float, generator: torch.Generator) -> None:
        """One more pair: A as ``nn.Linear`` draws its weights, B zero."""
        bound = 1 / math.sqrt(self.in_features)
        down = torch.empty(rank, self.in_features).uniform_(-bound, bound, generator=generator)
        self.down.append(nn.Parameter(down))
        self.up.append(nn.Parameter(torch.zeros(self.out_features, rank)))
        self.scales.append(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As ``nn.Linear``, with the pairs' parts."""
        down = torch.cat(list(self.down))
        up = torch.cat([scale * matrix for scale, matrix in zip(self.scales, self.up, strict=True)], dim=1)
        return super().forward(x) + F.linear(F.linear(x, down), up)


def lora_layers(model: nn.Module) -> Iterator[LoRALinear]:
    """The layers of a network that have low-rank matrices beside them."""
    yield from (module for module in model.modules() if isinstance(module, LoRALinear))


class LoRAOptions(AdapterOptions):
    """Which layers, and how many numbers."""

    layers: tuple[str, ...] = Field(("attn.qkv",), min_length=1, max_length=4, description="in each block")
    rank: int = Field(8, ge=1, le=1024)
    scale: float = Field(1.0, gt=0, le=1000, description="of the product, α / rank in the paper")


class LoRA(Adapter):
    """One more pair of matrices beside linear layers of each block of a vision transformer."""

    Options: ClassVar = LoRAOptions

    def add(self, model: nn.Module, options: Any, generator: torch.Generator) -> None:
        """Layers are replaced once, and then get a pair more each time."""
        blocks = transformer_blocks(model)
        if not blocks:
            raise IncompatibleError(f"a {type(model).__name__} has no block of a vision transformer")
        for block in blocks.values():
            for name in options.layers:
                parent, _, last = name.rpartition(".")
                holder = block.get_submodule(parent)
                layer = getattr(holder, last, None)
                if not isinstance(layer, nn.Linear):
                    raise IncompatibleError(f"a {type(block).__name__} has no linear layer {name!r}")
                if not isinstance(layer, LoRALinear):
                    layer = LoRALinear(layer)
                    setattr(holder, last, layer)
                layer.add_pair(options.rank, options.scale, generator)
