"""S-Prompts: experiences that share nothing, and a network that finds which of them a picture is like.

Wang, Huang & Hong, NeurIPS 2022, arXiv:2207.12819 (S-iPrompts, Sec. 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from dfbench_avalanche.teacher import evaluated
from pydantic import Field
from sklearn.cluster import KMeans
from torch import nn

from dfbench import (
    Adaptation,
    AdaptContext,
    Effects,
    Need,
    Strategy,
    StrategyConfig,
    StrategyContext,
    Training,
    unit_ids,
)
from dfbench_adapters.freezing import train_only
from dfbench_adapters.prompts import Domain, bank_of


def centroids(features: torch.Tensor, count: int) -> torch.Tensor:
    """Centroids of K-means, float32 (count, D), of features (N, D); repeated where there are fewer rows."""
    rows = features.numpy().astype(np.float64)
    kinds = len(np.unique(rows, axis=0))
    found = KMeans(n_clusters=min(count, kinds), n_init=10, random_state=0).fit(rows).cluster_centers_
    return torch.from_numpy(found[np.arange(count) % len(found)]).float()


def plain_features(training: Training, ids: torch.Tensor) -> torch.Tensor:
    """Features of units, int64 (N,), in the network without prompts, float32 (N, D) on the CPU."""
    bank = bank_of(training.model)
    bank.probed = []
    try:
        with evaluated(training.model), torch.no_grad():
            for part in training.batches_of(ids):
                training.reference_logits(part)
        return torch.cat(bank.probed).cpu()
    finally:
        bank.probed = None


class SPromptsPlugin(SupervisedPlugin):
    """Trains the last domain's prompt and head."""

    def __init__(self, effects: Effects) -> None:
        super().__init__()
        self.effects = effects

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Find the domain's centroids, which training does not move, and freeze everything else."""
        domain = bank_of(training.model).domains[-1]
        assert isinstance(domain, Domain)
        found = centroids(plain_features(training, unit_ids(training.experience.dataset)), len(domain.centroids))
        domain.centroids.copy_(found)
        domain.known.fill_(1)
        self.effects.add("centroids", len(found))
        train_only(training.model, [domain])


class SPromptsConfig(StrategyConfig):
    """Options of S-Prompts."""

    length: int = Field(10, ge=1, le=1000, description="tokens of a prompt")
    centroids: int = Field(5, ge=1, le=1000, description="of each experience's features")


class SPrompts(Strategy):
    """S-iPrompts (Wang et al. 2022): for each experience a prompt and a linear head on a frozen vision transformer.

    A picture is scored with those of the experience whose centroid (K-means on the features of the network without
    prompts) is nearest. Nothing of an earlier experience changes, so what is forgotten is what goes to a wrong
    experience. Prompts (10 tokens) and centroids (5) are the paper's. Scoring takes two passes. Our implementation.
    Difference from the paper: an experience's head is what it adds to the head of the network as it was built.
    """

    Config: ClassVar = SPromptsConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.PROMPTS, Need.UNIT_LOGITS})
    repeated_passes: ClassVar[bool] = True
    adapts: ClassVar[tuple[str, ...]] = ("prompts",)

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        return [SPromptsPlugin(self.effects)]

    def adapt(self, model: nn.Module, context: AdaptContext) -> Sequence[Adaptation]:
        """A domain more."""
        c = self.config
        return [Adaptation(adapter="prompts", options={"length": c.length, "centroids": c.centroids})]
