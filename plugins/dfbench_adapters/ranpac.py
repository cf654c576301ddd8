"""RanPAC: random projections and a classifier in closed form on the features of a network that no longer changes.

McDonnell et al., "RanPAC: Random Projections and Pre-trained Models for Continual Learning", NeurIPS 2023,
arXiv:2307.02251.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from dfbench_avalanche.heads import freeze_trunk
from dfbench_avalanche.teacher import evaluated, measure
from pydantic import Field
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
    UsageError,
    unit_ids,
)
from dfbench_adapters.ridge import RidgeHead

RIDGES = [10.0**power for power in range(-8, 9)]
"""Where λ is looked for."""
SHARE = 0.8
"""Of an experience's units, on which classifiers are fitted to choose λ; the rest judges them."""


def ridge(products: torch.Tensor, sums: torch.Tensor, penalty: float) -> torch.Tensor:
    """(G + λI)⁻¹ C, Eq. 5 of the paper.

    Args:
        products: G = Σ h hᵀ, float64 (M, M).
        sums: C = Σ h yᵀ, float64 (M, classes), y being one-hot.
        penalty: λ.

    Returns:
        float64 (M, classes).
    """
    return torch.linalg.solve(products + penalty * torch.eye(len(products), dtype=products.dtype), sums)


def choose_ridge(expanded: torch.Tensor, targets: torch.Tensor, order: torch.Tensor) -> float:
    """The λ whose classifier has the smallest squared error on a fifth of the units, fitted on the others.

    Args:
        expanded: h of the present experience, float64 (N, M).
        targets: one-hot, float64 (N, classes).
        order: a permutation of N; its first :data:`SHARE` fits.
    """
    fit, judge = order.tensor_split([int(SHARE * len(order))])
    if not len(fit) or not len(judge):
        return 1.0
    h, y = expanded[fit], targets[fit]
    # One decomposition, H = U S Vᵀ, serves every λ: the classifier is V (S² + λ)⁻¹ S Uᵀ Y.
    left, values, right = torch.linalg.svd(h, full_matrices=False)
    turned, tested = values[:, None] * (left.T @ y), expanded[judge] @ right.T
    errors = [
        float(F.mse_loss(tested @ (turned / (values.square() + penalty)[:, None]), targets[judge]))
        for penalty in RIDGES
    ]
    return RIDGES[errors.index(min(errors))]


class RanPACPlugin(SupervisedPlugin):
    """Sums over all units so far, and the classifier that they give.

    Attributes:
        products: G, float64 (M, M).
        sums: C, float64 (M, classes).
    """

    def __init__(self, head: str, config: RanPACConfig, targets: torch.Tensor, effects: Effects) -> None:
        super().__init__()
        self.head, self.config, self.targets, self.effects = head, config, targets, effects
        classes = int(targets.max()) + 1
        self.products = torch.zeros(config.dimensions, config.dimensions, dtype=torch.float64)
        self.sums = torch.zeros(config.dimensions, classes, dtype=torch.float64)

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Freeze everything but the head from the second experience on."""
        if training.clock.train_exp_counter > 0 or not self.config.base:
            freeze_trunk(training.model, (self.head,))

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Add the experience's units, and compute the classifier."""
        if training.averaged is not None:  # what predicts is what is frozen
            training.model.load_state_dict(training.averaged.state_dict())
        ids = unit_ids(training.experience.dataset)
        with evaluated(training.model):
            features = measure(training, ids, (self.head,)).features
        self.effects.add("fitted_units", len(ids))
        layer = training.model.get_submodule(self.head)
        assert isinstance(layer, RidgeHead)
        expanded = layer.expanded(features.to(layer.projection)).cpu().double()
        self.fit(layer, expanded, self.targets[ids])
        if training.averaged is not None:
            training.averaged.load_state_dict(training.model.state_dict())

    @torch.no_grad()
    def fit(self, layer: RidgeHead, expanded: torch.Tensor, targets: torch.Tensor) -> None:
        """Add units, h float64 (N, M) of classes int64 (N,), and give the head its classifier."""
        y = F.one_hot(targets, self.sums.shape[1]).double()
        penalty = self.config.ridge
        if penalty is None:
            order = torch.randperm(len(y), generator=torch.Generator().manual_seed(len(y)))
            penalty = choose_ridge(expanded, y, order)
        self.products += expanded.T @ expanded
        self.sums += expanded.T @ y
        layer.rows.copy_(ridge(self.products, self.sums, penalty).T)
        layer.fitted.fill_(1)


class RanPACConfig(StrategyConfig):
    """Options of RanPAC."""

    dimensions: int = Field(2000, ge=1, le=100_000, description="M, of the projection; the paper's 10000 needs .8 GB")
    ridge: float | None = Field(None, gt=0, description="λ (default: chosen on a fifth of each experience)")
    base: bool = Field(False, description="let the detector train on the first experience; false: freeze it as built")


class RanPAC(Strategy):
    """RanPAC (McDonnell et al. 2023): features f of a frozen network, h = relu(f·W) with a fixed random W, and a ridge
    classifier on h of all units so far.

    The classifier is the one that all units at once would give, in any order of experiences. λ is chosen as the
    authors' code does. Our implementation. Differences from the paper: M is 2000 unless set, since G is part of each
    checkpoint; the first experience trains nothing (``base=true``: the whole network by the detector's own loop, where
    the paper trains an adapter). With ``base=false`` the detector's loop never runs. Scores approximate 0 and 1, so
    P(fake), their softmax, lies between .27 and .73 for units like those of training.
    """

    Config: ClassVar = RanPACConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.UNIT_LOGITS})
    adapts: ClassVar[tuple[str, ...]] = ("ridge",)

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        if len(context.heads) != 1:
            raise UsageError(f"ranpac computes one head, and this network has {len(context.heads)}")
        self._plugin = RanPACPlugin(context.heads[0], self.config, context.targets, self.effects)
        return [self._plugin]

    def adapt(self, model: nn.Module, context: AdaptContext) -> Sequence[Adaptation]:
        """The projection, before the first experience."""
        if context.experience > 0:
            return ()
        options = {"head": context.heads[0], "dimensions": self.config.dimensions}
        return [Adaptation(adapter="ridge", options=options)]

    def trains_detector(self, experience: int) -> bool:
        """In the first experience with ``base=true``, else never."""
        return self.config.base and experience == 0

    def state_dict(self) -> dict[str, Any]:
        """G and C."""
        return {"products": self._plugin.products, "sums": self._plugin.sums}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.products, self._plugin.sums = state["products"], state["sums"]
