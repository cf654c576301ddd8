"""LFL: distillation of the previous network's features instead of its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field

from dfbench import Need, Strategy, StrategyConfig, StrategyContext, Training
from dfbench_avalanche.features import HeadInputs
from dfbench_avalanche.teacher import FeaturePlugin


class LFLPlugin(FeaturePlugin):
    """Adds the squared distance to the previous network's features, and keeps the head as it is.

    The features are those of the training step itself. Avalanche makes a second forward pass in eval mode, leaves the
    network in that mode, and needs a network with ``get_features``.
    """

    def __init__(self, heads: tuple[str, ...], strength: float, freeze: bool) -> None:
        super().__init__(heads)
        self.strength, self.freeze = strength, freeze

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add the distance, summed over the heads."""
        if self.previous is None:
            return
        features = self.caught()
        with torch.no_grad(), HeadInputs(self.previous, self.heads) as before, training.autocast():
            self.previous(training.mbatch[0])
        for head in self.heads:
            distance = F.mse_loss(features[head].float(), before.caught[head].float())
            training.loss = training.loss + self.strength * distance

    def after_backward(self, training: Training, **kwargs: Any) -> None:
        """Take the head's gradient away, so that no optimizer changes it.

        It is not frozen with ``requires_grad``, because a detector that warms up its head alone could not train then.
        """
        if self.previous is not None and self.freeze:
            for head in self.heads:
                for p in training.model.get_submodule(head).parameters():
                    p.grad = None


class LFLConfig(StrategyConfig):
    """Options of LFL."""

    strength: float = Field(1.0, ge=0, description="weight of the mean squared distance between features")
    freeze: bool = Field(True, description="the head stays as the first experience left it")


class LFL(Strategy):
    """Less-forgetting learning (Jung et al. 2016): penalises changes of the features, the input of the final layer."""

    Config: ClassVar = LFLConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._model = context.model
        self._plugin = LFLPlugin(context.heads, self.config.strength, self.config.freeze)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The previous network."""
        return self._plugin.state_dict()

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.load_state_dict(state, self._model)
