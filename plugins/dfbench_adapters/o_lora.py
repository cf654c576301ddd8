"""O-LoRA: each experience trains low-rank matrices of its own, in a subspace orthogonal to the earlier ones.

Wang et al., "Orthogonal Subspace Learning for Language Model Continual Learning", Findings of EMNLP 2023,
arXiv:2310.14152.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Adaptation, AdaptContext, Effects, Need, Strategy, StrategyConfig, StrategyContext, Training
from dfbench_adapters.freezing import train_only
from dfbench_adapters.lora import LoRALinear, lora_layers


def overlap(layer: LoRALinear) -> torch.Tensor:
    """Σ_{i<t} Σ_{jk} O_i[j, k]² with O_i = A_i A_tᵀ, Eqs. 6 and 7 of the paper: 0 where the subspaces are orthogonal.

    The paper's A is the transpose of ours; its sum is over the norm squared, that of the authors' code over magnitudes.
    """
    earlier = torch.cat([matrix.detach() for matrix in list(layer.down)[:-1]])
    return (earlier @ layer.down[-1].T).square().sum()


class OLoRAPlugin(SupervisedPlugin):
    """Trains the last pair of each layer and the heads; the rest is frozen."""

    def __init__(self, heads: tuple[str, ...], strength: float, effects: Effects) -> None:
        super().__init__()
        self.heads, self.strength, self.effects = heads, strength, effects

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Freeze the network and the earlier pairs."""
        newest = [matrix for layer in lora_layers(training.model) for matrix in (layer.down[-1], layer.up[-1])]
        train_only(training.model, [*newest, *(training.model.get_submodule(head) for head in self.heads)])

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add λ times the overlap with the earlier pairs."""
        layers = [layer for layer in lora_layers(training.model) if len(layer.down) > 1]
        if layers:
            training.loss = training.loss + self.strength * torch.stack([overlap(layer) for layer in layers]).sum()

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Count the pairs."""
        self.effects.add("low_rank_pairs", sum(1 for _ in lora_layers(training.model)))


class OLoRAConfig(StrategyConfig):
    """Options of O-LoRA."""

    rank: int = Field(8, ge=1, le=1024, description="of the matrices")
    scale: float = Field(1.0, gt=0, le=1000, description="of their product")
    strength: float = Field(0.5, ge=0, description="λ of the orthogonality")
    layers: list[Literal["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]] = Field(
        ["attn.qkv"], min_length=1, max_length=4, description="in each block of the transformer"
    )


class OLoRA(Strategy):
    """O-LoRA (Wang et al. 2023) on vision transformers: the loss of the detector plus λ times the overlap of the new
    pair's rows with those of all earlier pairs; only the new pair and the head train.

    Our implementation. Differences from the paper: its language models answer in words, and no head is shared; here the
    head goes on training. The matrices are beside the joint projection of queries, keys and values, where the paper's
    are beside those of queries and of values.
    """

    Config: ClassVar = OLoRAConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.BLOCKS, Need.LINEAR_HEAD})
    repeated_passes: ClassVar[bool] = True
    adapts: ClassVar[tuple[str, ...]] = ("lora",)

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        return [OLoRAPlugin(context.heads, self.config.strength, self.effects)]

    def adapt(self, model: nn.Module, context: AdaptContext) -> Sequence[Adaptation]:
        """A pair more."""
        c = self.config
        return [Adaptation(adapter="lora", options={"layers": list(c.layers), "rank": c.rank, "scale": c.scale})]
