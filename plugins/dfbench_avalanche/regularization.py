"""EWC, SI, LwF and CWR*: strategies that store weights or networks instead of data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import CWRStarPlugin, EWCPlugin, LwFPlugin, SynapticIntelligencePlugin
from avalanche.training.utils import ParamData, freeze_everything, unfreeze_everything, zerolike_params_dict
from pydantic import Field

from dfbench import Effects, Need, Strategy, StrategyConfig, StrategyContext, Training, unit_ids


class UnitEWCPlugin(EWCPlugin):
    """Avalanche's EWC, whose Fisher pass uses the detector's own loss."""

    _training: Training | None = None

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Measure importances and keep the weights."""
        self._training = training  # compute_importances does not receive it
        try:
            super().after_training_exp(training, **kwargs)
        finally:
            self._training = None

    def compute_importances(
        self, model: Any, criterion: Any, optimizer: Any, dataset: Any, *args: Any, **kw: Any
    ) -> Any:
        """Mean over batches of the squared gradient of the batch's loss, as Avalanche computes it."""
        training = self._training
        assert training is not None
        batches = unit_ids(dataset).split(training.train_mb_size)
        importances = zerolike_params_dict(model)
        model.eval()
        for ids in batches:
            optimizer.zero_grad()
            training.reference_loss(ids).backward()
            for name, p in model.named_parameters():
                if p.grad is not None:
                    importances[name].data += p.grad.data.clone().pow(2)
        for importance in importances.values():
            importance.data /= float(len(batches))
        optimizer.zero_grad()
        model.train()
        return importances


class EWCConfig(StrategyConfig):
    """Options of EWC."""

    strength: float = Field(100.0, ge=0, description="lambda; depends on the batch size (gradients of batch means)")
    decay: float | None = Field(
        None,
        ge=0,
        le=1,
        description="online EWC: one penalty, old importances times this (default: one each experience)",
    )


class EWC(Strategy):
    """Elastic Weight Consolidation (Kirkpatrick et al. 2017), a separate penalty for each experience.

    With ``decay`` it is online EWC (Schwarz et al. 2018): one penalty around the last weights, whose importances are
    the new ones plus ``decay`` times the old.
    """

    Config: ClassVar = EWCConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        decay = self.config.decay
        self._plugin = UnitEWCPlugin(self.config.strength, "separate" if decay is None else "online", decay)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Importances and weights of each experience."""
        return {"importances": _dump(self._plugin.importances), "params": _dump(self._plugin.saved_params)}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.importances.update(_params(state["importances"]))
        self._plugin.saved_params.update(_params(state["params"]))


class MendedSIPlugin(SynapticIntelligencePlugin):
    """Avalanche's Synaptic Intelligence with three defects corrected.

    * Its snapshots of the weights are views of them wherever ``Tensor.cpu()`` copies nothing. On a CPU the path
      integral is then always 0 and the method does nothing. Here they are copies.
    * Importances are clipped from above only. The few below 0 reward moving away without limit, and the loss goes to
      minus infinity. Here they are 0, since an importance is a share of a decrease in loss.
    * Weights that are frozen for a while (a detector's warm-up) kept adding the product of their last step.
    """

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Start the path of an experience."""
        super().before_training_exp(training, **kwargs)
        _own(self.ewc_data[0])

    def before_training_iteration(self, training: Training, **kwargs: Any) -> None:
        """Keep the weights before the step."""
        super().before_training_iteration(training, **kwargs)
        _own(self.syn_data["old_theta"])

    def after_training_iteration(self, training: Training, **kwargs: Any) -> None:
        """Add the step to the path; weights that are frozen or have no gradient count with a gradient of 0."""
        for p in training.model.parameters():
            if p.requires_grad and p.grad is None:
                p.grad = torch.zeros_like(p)
        allowed = {name for name, _ in self.allowed_parameters(training.model, self.excluded_parameters)}
        for name, gradient in self.syn_data["grad"].items():
            if name not in allowed:
                gradient.data = torch.zeros_like(gradient.data)
        super().after_training_iteration(training, **kwargs)

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Turn the path into importances, negative ones into 0."""
        super().after_training_exp(training, **kwargs)
        for importance in self.ewc_data[1].values():
            importance.data = importance.data.clamp(min=0)


class SIConfig(StrategyConfig):
    """Options of SI."""

    strength: float = Field(1.0, ge=0, description="lambda of the penalty")


class SI(Strategy):
    """Synaptic Intelligence (Zenke et al. 2017), in the form of Maltoni & Lomonaco 2019."""

    Config: ClassVar = SIConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._plugin = MendedSIPlugin(self.config.strength)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Weights, importances and path integrals."""
        return {
            "ewc": [{k: v.data for k, v in part.items()} for part in self._plugin.ewc_data],
            "syn": {key: {k: v.data for k, v in part.items()} for key, part in self._plugin.syn_data.items()},
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        for part, saved in zip(self._plugin.ewc_data, state["ewc"], strict=True):
            part.update({k: _param(k, v) for k, v in saved.items()})
        for key, saved in state["syn"].items():
            self._plugin.syn_data[key].update({k: _param(k, v) for k, v in saved.items()})


class LwFConfig(StrategyConfig):
    """Options of LwF."""

    alpha: float = Field(1.0, ge=0, description="weight of the distillation loss")
    temperature: float = Field(2.0, gt=0, description="softmax temperature")


class LwF(Strategy):
    """Learning without Forgetting (Li & Hoiem 2016), Avalanche's plugin unchanged."""

    Config: ClassVar = LwFConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._model = context.model
        self._plugin = LwFPlugin(self.config.alpha, self.config.temperature)
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
            lwf.prev_model = copy.deepcopy(self._model)
            lwf.prev_model.load_state_dict(state["model"])
            lwf.prev_classes_by_task[0] = set(state["classes"])
            lwf.expcount = state["count"]


class HeadPlugin(CWRStarPlugin):
    """Avalanche's CWR* on one head of a network that may have several; counts the rows that it consolidates.

    Avalanche keeps consolidated rows as attributes of the model. Here that is a namespace per plugin, so that each head
    has its own.
    """

    def __init__(self, model: Any, heads: tuple[str, ...], head: str, freeze: bool, effects: Effects) -> None:
        super().__init__(SimpleNamespace(), cwr_layer_name=head, freeze_remaining_model=freeze)
        self.network, self.heads = model, heads
        self.effects = effects

    def get_cwr_layer(self) -> Any:
        """The head that this plugin consolidates."""
        return self.network.get_submodule(self.cwr_layer_name)

    def freeze_other_layers(self) -> None:
        """Freeze everything except the heads."""
        freeze_everything(self.network)
        for head in self.heads:
            unfreeze_everything(self.network.get_submodule(head))

    def consolidate_weights(self) -> None:
        """Consolidate as Avalanche does, and count the rows."""
        super().consolidate_weights()
        self.effects.add("consolidated_rows", len(self.cur_class))


class CWRStarConfig(StrategyConfig):
    """Options of CWR*."""

    freeze: bool = Field(True, description="freeze everything except the head after the first experience")


class CWRStar(Strategy):
    """CWR* (Lomonaco et al. 2019): averages the head's rows over experiences and freezes the rest."""

    Config: ClassVar = CWRStarConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LINEAR_HEAD})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        heads, freeze = context.heads, self.config.freeze
        self._plugins = [HeadPlugin(context.model, heads, head, freeze, self.effects) for head in heads]
        return list(self._plugins)

    def state_dict(self) -> dict[str, Any]:
        """Consolidated rows of each head, and the number of units seen of each class."""
        return {
            plugin.cwr_layer_name: {
                "weights": {str(c): torch.from_numpy(np.asarray(w)) for c, w in plugin.model.saved_weights.items()},
                "past": {str(c): int(n) for c, n in plugin.model.past_j.items()},
            }
            for plugin in self._plugins
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        for plugin in self._plugins:
            saved = state[plugin.cwr_layer_name]
            plugin.model.saved_weights.update({int(c): w.numpy() for c, w in saved["weights"].items()})
            plugin.model.past_j.update({int(c): n for c, n in saved["past"].items()})


def _own(params: dict[str, Any]) -> None:
    """Replace each snapshot by a copy."""
    for data in params.values():
        data.data = data.data.clone()


def _param(name: str, tensor: torch.Tensor) -> ParamData:
    return ParamData(name, init_tensor=tensor, device=tensor.device)


def _dump(params: dict[int, dict[str, Any]]) -> dict[str, dict[str, torch.Tensor]]:
    return {str(t): {name: data.data for name, data in part.items()} for t, part in params.items()}


def _params(saved: dict[str, dict[str, torch.Tensor]]) -> dict[int, dict[str, ParamData]]:
    return {int(t): {name: _param(name, tensor) for name, tensor in part.items()} for t, part in saved.items()}
