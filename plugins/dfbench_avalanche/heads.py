"""CWR* and SLDA: strategies that freeze a network after its first experience and compute its head."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import CWRStarPlugin
from avalanche.training.utils import freeze_everything, unfreeze_everything
from pydantic import Field
from torch import nn

from dfbench import Effects, Need, Strategy, StrategyConfig, StrategyContext, Training, UsageError, unit_ids
from dfbench_avalanche.teacher import evaluated, measure, predicting


def freeze_trunk(model: nn.Module, heads: tuple[str, ...]) -> None:
    """Freeze everything except the heads."""
    freeze_everything(model)
    for head in heads:
        unfreeze_everything(model.get_submodule(head))


class HeadPlugin(CWRStarPlugin):
    """Avalanche's CWR* on one head of a network that may have several; counts the rows that it consolidates.

    Avalanche keeps consolidated rows as attributes of the model. Here that is a namespace per plugin, so that each head
    has its own.

    Attributes:
        biases: consolidated bias of each class; empty if the head has none, or keeps it.
    """

    def __init__(
        self, model: nn.Module, heads: tuple[str, ...], head: str, config: CWRStarConfig, effects: Effects
    ) -> None:
        super().__init__(SimpleNamespace(), cwr_layer_name=head, freeze_remaining_model=config.freeze)
        self.network, self.heads, self.effects = model, heads, effects
        self.with_bias = config.bias and self.get_cwr_layer().bias is not None
        self.biases: dict[int, float] = {}

    def get_cwr_layer(self) -> Any:
        """The head that this plugin consolidates."""
        return self.network.get_submodule(self.cwr_layer_name)

    def freeze_other_layers(self) -> None:
        """Freeze everything except the heads."""
        freeze_trunk(self.network, self.heads)

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Consolidate the rows of the network that predicts now.

        An averaged network has its head consolidated, and is what is frozen: the next experience trains no other part.
        """
        with predicting(training):
            super().after_training_exp(training, **kwargs)
            head = {name: tensor.clone() for name, tensor in self.get_cwr_layer().state_dict().items()}
        averaged = training.averaged
        if averaged is None:
            return
        averaged.get_submodule(self.cwr_layer_name).load_state_dict(head)
        if self.freeze_remaining_model:
            self.network.load_state_dict(averaged.state_dict())
        else:
            self.get_cwr_layer().load_state_dict(head)

    def consolidate_weights(self) -> None:
        """Consolidate as Avalanche does, the bias too, and count the rows."""
        if self.with_bias:
            self._consolidate_bias()  # first: it needs the number of units seen before these
        super().consolidate_weights()
        self.effects.add("consolidated_rows", len(self.cur_class))

    def _consolidate_bias(self) -> None:
        bias = self.get_cwr_layer().bias.detach().double().cpu()
        middle = float(bias[self.cur_class].mean())
        for c in self.cur_class:
            new = float(bias[c]) - middle
            past = np.sqrt(self.model.past_j[c] / self.model.cur_j[c]) if c in self.biases else 0.0
            self.biases[c] = float((self.biases.get(c, 0.0) * past + new) / (past + 1))

    @torch.no_grad()
    def set_consolidate_weights(self) -> None:
        """Give the head its consolidated rows."""
        super().set_consolidate_weights()
        for c, value in self.biases.items():
            self.get_cwr_layer().bias[c] = value

    @torch.no_grad()
    def reset_weights(self, cur_clas: Any) -> None:
        """Start from the consolidated rows of these classes, and from zeros for others."""
        super().reset_weights(cur_clas)
        if self.with_bias:
            self.get_cwr_layer().bias.zero_()
            for c in set(cur_clas) & set(self.biases):
                self.get_cwr_layer().bias[c] = self.biases[c]


class CWRStarConfig(StrategyConfig):
    """Options of CWR*."""

    freeze: bool = Field(True, description="freeze everything except the head after the first experience")
    bias: bool = Field(True, description="consolidate the bias of the head too; Avalanche leaves it as it was trained")


class CWRStar(Strategy):
    """CWR* (Lomonaco et al. 2019): averages the head's rows over experiences and freezes the rest."""

    distributes: ClassVar[bool] = True
    Config: ClassVar = CWRStarConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LINEAR_HEAD})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        heads, c = context.heads, self.config
        self._plugins = [HeadPlugin(context.model, heads, head, c, self.effects) for head in heads]
        return list(self._plugins)

    def state_dict(self) -> dict[str, Any]:
        """Consolidated rows of each head, and the number of units seen of each class."""
        return {
            plugin.cwr_layer_name: {
                "weights": {str(c): torch.from_numpy(np.asarray(w)) for c, w in plugin.model.saved_weights.items()},
                "biases": {str(c): value for c, value in plugin.biases.items()},
                "past": {str(c): int(n) for c, n in plugin.model.past_j.items()},
            }
            for plugin in self._plugins
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        for plugin in self._plugins:
            saved = state[plugin.cwr_layer_name]
            plugin.model.saved_weights.update({int(c): w.numpy() for c, w in saved["weights"].items()})
            plugin.biases.update({int(c): float(value) for c, value in saved["biases"].items()})
            plugin.model.past_j.update({int(c): n for c, n in saved["past"].items()})


class SLDAPlugin(SupervisedPlugin):
    """Counts, sums and outer products of the head's inputs, and the linear discriminant that they give.

    Attributes:
        counts: units of each class, float64 (classes,).
        sums: of their features, float64 (classes, D).
        products: sum over all units of the outer product of their features, float64 (D, D).
    """

    def __init__(
        self, model: nn.Module, head: str, config: SLDAConfig, targets: torch.Tensor, effects: Effects
    ) -> None:
        super().__init__()
        self.head, self.config, self.targets, self.effects = head, config, targets, effects
        layer = model.get_submodule(head)
        assert isinstance(layer, nn.Linear)
        classes, width = layer.weight.shape
        self.counts = torch.zeros(classes, dtype=torch.float64)
        self.sums = torch.zeros(classes, width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Freeze the trunk, in the first experience only if it is used as it was built."""
        if training.clock.train_exp_counter > 0 or not self.config.base:
            freeze_trunk(training.model, (self.head,))

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Add the experience's features, and compute the head."""
        if training.averaged is not None:  # what predicts is what is frozen
            training.model.load_state_dict(training.averaged.state_dict())
        ids = unit_ids(training.experience.dataset)
        with evaluated(training.model):
            features = measure(training, ids, (self.head,)).features.double()
        self.update(features, self.targets[ids])
        self.effects.add("fitted_units", len(ids))
        for model in (training.model, training.averaged):
            if model is not None:
                self.set_head(model)

    def update(self, features: torch.Tensor, targets: torch.Tensor) -> None:
        """Add features, float64 (N, D), of units of these classes, int64 (N,)."""
        self.counts += torch.bincount(targets, minlength=len(self.counts))
        self.sums.index_add_(0, targets, features)
        self.products += features.T @ features

    @torch.no_grad()
    def set_head(self, model: nn.Module) -> None:
        """Rows Λ·μ and biases −½ μ·Λ·μ for the classes seen, Λ being the inverse of the shared covariance.

        A class that was not seen keeps the row it has.
        """
        seen = self.counts > 0
        means = self.sums[seen] / self.counts[seen, None]
        scatter = self.products - (means.T * self.counts[seen]) @ means
        e = self.config.shrinkage
        covariance = (1 - e) * scatter / self.counts.sum() + e * torch.eye(len(scatter), dtype=torch.float64)
        rows = torch.linalg.solve(covariance, means.T).T
        layer = model.get_submodule(self.head)
        assert isinstance(layer, nn.Linear)
        where = seen.nonzero()[:, 0].to(layer.weight.device)
        layer.weight[where] = rows.to(layer.weight)
        layer.bias[where] = (-0.5 * (rows * means).sum(1)).to(layer.bias)


class SLDAConfig(StrategyConfig):
    """Options of SLDA."""

    shrinkage: float = Field(1e-4, gt=0, le=1, description="share of the identity in the covariance")
    base: bool = Field(True, description="train the network on the first experience; false: freeze it as it was built")


class SLDA(Strategy):
    """Streaming linear discriminant analysis (Hayes & Kanan 2020): a frozen trunk, and a head in closed form.

    The means of the classes and their shared covariance run over all experiences, so that the head is the one that
    all units at once would give. Our implementation. Differences from the paper: its update of the covariance
    weights units by how many came before; here it is exactly the covariance within classes. Units are added after
    an experience, not one by one, and in eval mode. The detector's loop still runs, and trains the head that is
    replaced afterwards.
    """

    Config: ClassVar = SLDAConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.UNIT_LOGITS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        if len(context.heads) != 1:
            raise UsageError(f"slda computes one head, and this network has {len(context.heads)}")
        layer = context.model.get_submodule(context.heads[0])
        if getattr(layer, "bias", None) is None:
            raise UsageError(f"slda computes a head with a bias, and {context.heads[0]!r} has none")
        self._plugin = SLDAPlugin(context.model, context.heads[0], self.config, context.targets, self.effects)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Counts, sums and products."""
        return {name: getattr(self._plugin, name) for name in ("counts", "sums", "products")}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        for name, tensor in state.items():
            setattr(self._plugin, name, tensor)
