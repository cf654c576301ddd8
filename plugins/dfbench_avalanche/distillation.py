"""LwF and LFL: distillation of the previous network's logits, and of its features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from avalanche.training import LearningWithoutForgetting
from avalanche.training.plugins import LwFPlugin
from pydantic import Field

from dfbench import Need, Strategy, StrategyConfig, StrategyContext, Training, copy_network
from dfbench_avalanche.features import HeadInputs
from dfbench_avalanche.teacher import FeaturePlugin, check_copy, predicting


class Distillation(LearningWithoutForgetting):
    """Avalanche's distillation loss, computed in float32, with a teacher whose mode can be chosen.

    Args:
        alpha: weight of the loss.
        temperature: of the softmax.
        teacher: ``eval``, or ``train`` as in Avalanche: batch statistics and dropout.
    """

    def __init__(self, alpha: float, temperature: float, teacher: str) -> None:
        super().__init__(alpha, temperature)
        self.teacher = teacher

    def post_adapt(self, agent: Training, exp: Any) -> None:
        """Keep the network that predicts now, and the classes it was trained on."""
        self.expcount += 1
        self.prev_classes_by_task[0] |= {int(target) for target in exp.dataset.targets}
        with predicting(agent):
            self.keep(agent.model)

    def keep(self, model: torch.nn.Module) -> None:
        """Keep a copy as the teacher."""
        self.prev_model = copy_network(model)
        if self.teacher == "eval":
            self.prev_model.eval()

    def _distillation_loss(self, out: torch.Tensor, prev_out: torch.Tensor, active_units: Any) -> torch.Tensor:
        return super()._distillation_loss(out.float(), prev_out.float(), active_units)


class LwFConfig(StrategyConfig):
    """Options of LwF."""

    alpha: float = Field(1.0, ge=0, description="weight of the distillation loss")
    temperature: float = Field(2.0, gt=0, description="softmax temperature")
    teacher: Literal["eval", "train"] = Field(
        "eval", description="mode of the previous network; train: batch statistics and dropout, as in Avalanche"
    )


class LwF(Strategy):
    """Learning without Forgetting (Li & Hoiem 2016)."""

    distributes: ClassVar[bool] = True
    Config: ClassVar = LwFConfig
    repeated_passes: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.INPUTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._model, c = context.model, self.config
        check_copy(context.model)
        self._plugin = LwFPlugin()
        self._plugin.lwf = Distillation(c.alpha, c.temperature, c.teacher)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The previous network and the classes that it was trained on."""
        lwf = self._plugin.lwf
        if lwf.prev_model is None:
            return {}
        return {
            "model": dict(lwf.prev_model.state_dict()),
            "classes": [int(c) for c in sorted(lwf.prev_classes_by_task[0])],
            "count": lwf.expcount,
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        if state:
            lwf = self._plugin.lwf
            lwf.keep(self._model)
            lwf.prev_model.load_state_dict(state["model"])
            lwf.prev_classes_by_task[0] = set(state["classes"])
            lwf.expcount = state["count"]


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

    distributes: ClassVar[bool] = True
    Config: ClassVar = LFLConfig
    repeated_passes: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.INPUTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._model = context.model
        check_copy(context.model)
        self._plugin = LFLPlugin(context.heads, self.config.strength, self.config.freeze)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The previous network."""
        return self._plugin.state_dict()

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.load_state_dict(state, self._model)
