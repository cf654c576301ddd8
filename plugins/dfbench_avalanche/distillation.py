"""LFL: the features of the previous network are kept, not its logits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Need, PluginError, Strategy, StrategyConfig, StrategyContext
from dfbench_avalanche.features import HeadInputs


class LFLPlugin(SupervisedPlugin):
    """The squared distance to the previous network's features, and a head that stays.

    The features are those of the training step itself. Avalanche makes a second forward pass in eval mode,
    leaves the network in that mode, and needs a network with ``get_features``.
    """

    def __init__(self, heads: tuple[str, ...], strength: float, freeze: bool) -> None:
        super().__init__()
        self.heads, self.strength, self.freeze = heads, strength, freeze
        self.previous: nn.Module | None = None
        self._taps: HeadInputs | None = None

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        if self.previous is not None:
            self._taps = HeadInputs(strategy.model, self.heads)

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        if self._taps is not None:
            self._taps.remove()

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the distance, summed over the heads."""
        if self.previous is None:
            return
        features = self._taps.caught if self._taps is not None else {}
        if len(features) < len(self.heads):
            raise PluginError("lfl needs the input of each head, but the training loop did not pass through them all")
        with torch.no_grad(), HeadInputs(self.previous, self.heads) as before, strategy.autocast():
            self.previous(strategy.mbatch[0])
        for head in self.heads:
            distance = F.mse_loss(features[head].float(), before.caught[head].float())
            strategy.loss = strategy.loss + self.strength * distance
        self._taps = None

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the head has no gradient, so no optimizer touches it.

        It is not frozen with ``requires_grad``: a detector that warms up its head alone could not train at all.
        """
        if self.previous is not None and self.freeze:
            for head in self.heads:
                for p in strategy.model.get_submodule(head).parameters():
                    p.grad = None

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: this network is the next one's teacher."""
        self.keep(strategy.model)

    def keep(self, model: nn.Module) -> None:
        """A frozen copy in eval mode."""
        self.previous = copy.deepcopy(model).eval().requires_grad_(False)


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
        previous = self._plugin.previous
        return {} if previous is None else {"model": dict(previous.state_dict())}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        if state:
            self._plugin.keep(self._model)
            assert self._plugin.previous is not None
            self._plugin.previous.load_state_dict(state["model"])
