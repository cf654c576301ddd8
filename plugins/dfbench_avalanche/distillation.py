"""LFL: the features of the previous network are kept, not its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field

from dfbench import Need, Strategy, StrategyConfig, StrategyContext
from dfbench_avalanche.features import HeadInputs
from dfbench_avalanche.teacher import FeaturePlugin


class LFLPlugin(FeaturePlugin):
    """The squared distance to the previous network's features, and a head that stays.

    The features are those of the training step itself. Avalanche makes a second forward pass in eval mode,
    leaves the network in that mode, and needs a network with ``get_features``.
    """

    def __init__(self, heads: tuple[str, ...], strength: float, freeze: bool) -> None:
        super().__init__(heads)
        self.strength, self.freeze = strength, freeze

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the distance, summed over the heads."""
        if self.previous is None:
            return
        features = self.caught()
        with torch.no_grad(), HeadInputs(self.previous, self.heads) as before, strategy.autocast():
            self.previous(strategy.mbatch[0])
        for head in self.heads:
            distance = F.mse_loss(features[head].float(), before.caught[head].float())
            strategy.loss = strategy.loss + self.strength * distance

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the head has no gradient, so no optimizer touches it.

        It is not frozen with ``requires_grad``: a detector that warms up its head alone could not train at all.
        """
        if self.previous is not None and self.freeze:
            for head in self.heads:
                for p in strategy.model.get_submodule(head).parameters():
                    p.grad = None


class LFLConfig(StrategyConfig):
    """Options of LFL."""

    strength: float = Field(1.0, ge=0, description="weight of the mean squared distance between features")
    freeze: bool = Field(True, description="the head stays as the first experience left it")


class LFL(Strategy):
    """Less-forgetting learning (Jung et al. 2016): features, the input of the final linear layer, should stay."""

    Config: ClassVar = LFLConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        self._model = context.model
        self._plugin = LFLPlugin(context.heads, self.config.strength, self.config.freeze)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The previous network."""
        return self._plugin.state_dict()

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        self._plugin.load_state_dict(state, self._model)
