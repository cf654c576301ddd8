"""EWC, SI, LwF and CWR*: strategies that keep knowledge in the weights, not in data."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import CWRStarPlugin, EWCPlugin, LwFPlugin, SynapticIntelligencePlugin
from avalanche.training.utils import ParamData, freeze_everything, unfreeze_everything, zerolike_params_dict
from pydantic import Field

from dfbench import Need, Strategy, StrategyConfig, StrategyContext, later, unit_ids


class UnitEWCPlugin(EWCPlugin):
    """Avalanche's EWC; the Fisher pass uses the detector's own loss."""

    _strategy: Any = None

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        self._strategy = strategy
        try:
            super().after_training_exp(strategy, **kwargs)
        finally:
            self._strategy = None

    def compute_importances(
        self, model: Any, criterion: Any, optimizer: Any, dataset: Any, *args: Any, **kw: Any
    ) -> Any:
        """Mean over batches of the squared gradient of the batch's loss, as Avalanche computes it."""
        strategy = self._strategy
        batches = unit_ids(dataset).split(strategy.train_mb_size)
        importances = zerolike_params_dict(model)
        model.eval()
        for ids in batches:
            optimizer.zero_grad()
            strategy.reference_loss(ids).backward()
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
    decay: float | None = later(
        None, ge=0, le=1, description="online EWC: one penalty, old importances times this (default: one an experience)"
    )


class EWC(Strategy):
    """Elastic Weight Consolidation (Kirkpatrick et al. 2017), a separate penalty for each experience.

    With ``decay`` it is online EWC (Schwarz et al. 2018): one penalty around the last weights, whose
    importances are the new ones and ``decay`` times the old.
    """

    Config: ClassVar = EWCConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        decay = self.config.decay
        self._plugin = UnitEWCPlugin(self.config.strength, "separate" if decay is None else "online", decay)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Importances and weights of each experience."""
        return {"importances": _dump(self._plugin.importances), "params": _dump(self._plugin.saved_params)}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        self._plugin.importances.update(_params(state["importances"]))
        self._plugin.saved_params.update(_params(state["params"]))


class MendedSIPlugin(SynapticIntelligencePlugin):
    """Avalanche's Synaptic Intelligence, with three of its defects mended.

    * Its snapshots of the weights are views of them wherever ``Tensor.cpu()`` copies nothing: on a CPU
      the path integral is then always 0 and the method does nothing. Here they are copies.
    * Importances are clipped from above only; the few below 0 reward moving away without limit, and
      the loss goes to minus infinity. Here they are 0, as a share of a decrease in loss must be.
    * Weights that are frozen for a while (a detector's warm-up) kept adding the product of their last step.
    """

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        super().before_training_exp(strategy, **kwargs)
        _own(self.ewc_data[0])

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        super().before_training_iteration(strategy, **kwargs)
        _own(self.syn_data["old_theta"])

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        for p in strategy.model.parameters():
            if p.requires_grad and p.grad is None:
                p.grad = torch.zeros_like(p)
        allowed = {name for name, _ in self.allowed_parameters(strategy.model, self.excluded_parameters)}
        for name, gradient in self.syn_data["grad"].items():
            if name not in allowed:
                gradient.data = torch.zeros_like(gradient.data)
        super().after_training_iteration(strategy, **kwargs)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        super().after_training_exp(strategy, **kwargs)
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
        """See :class:`Strategy`."""
        self._plugin = MendedSIPlugin(self.config.strength)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Weights, importances and path integrals."""
        return {
            "ewc": [{k: v.data for k, v in part.items()} for part in self._plugin.ewc_data],
            "syn": {key: {k: v.data for k, v in part.items()} for key, part in self._plugin.syn_data.items()},
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        for part, saved in zip(self._plugin.ewc_data, state["ewc"], strict=True):
            part.update({k: _param(k, v) for k, v in saved.items()})
        for key, saved in state["syn"].items():
            self._plugin.syn_data[key].update({k: _param(k, v) for k, v in saved.items()})


class LwFConfig(StrategyConfig):
    """Options of LwF."""

    alpha: float = Field(1.0, ge=0, description="weight of the distillation loss")
    temperature: float = Field(2.0, gt=0, description="softmax temperature")


class LwF(Strategy):
    """Learning without Forgetting (Li & Hoiem 2016): Avalanche's plugin, unchanged."""

    Config: ClassVar = LwFConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        self._model = context.model
        self._plugin = LwFPlugin(self.config.alpha, self.config.temperature)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The previous network and the classes it knew."""
        lwf = self._plugin.lwf
        if lwf.prev_model is None:
            return {}
        return {
            "model": dict(lwf.prev_model.state_dict()),
            "classes": [int(c) for c in sorted(lwf.prev_classes_by_task[0])],
            "count": lwf.expcount,
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        import copy

        if state:
            lwf = self._plugin.lwf
            lwf.prev_model = copy.deepcopy(self._model)
            lwf.prev_model.load_state_dict(state["model"])
            lwf.prev_classes_by_task[0] = set(state["classes"])
            lwf.expcount = state["count"]


class HeadPlugin(CWRStarPlugin):
    """Avalanche's CWR* on one head of a network that may have several, counting the rows it consolidates.

    Its books are kept apart from the network, on which Avalanche keeps them, so that each head has its own.
    """

    def __init__(self, model: Any, heads: tuple[str, ...], head: str, freeze: bool, effects: Any) -> None:
        super().__init__(SimpleNamespace(), cwr_layer_name=head, freeze_remaining_model=freeze)
        self.network, self.heads = model, heads
        self.effects = effects

    def get_cwr_layer(self) -> Any:
        """This head."""
        return self.network.get_submodule(self.cwr_layer_name)

    def freeze_other_layers(self) -> None:
        """Freeze all but the heads."""
        freeze_everything(self.network)
        for head in self.heads:
            unfreeze_everything(self.network.get_submodule(head))

    def consolidate_weights(self) -> None:
        """Avalanche's consolidation."""
        super().consolidate_weights()
        self.effects.add("consolidated_rows", len(self.cur_class))


class CWRStarConfig(StrategyConfig):
    """Options of CWR*."""

    freeze: bool = Field(True, description="freeze all but the head after the first experience")


class CWRStar(Strategy):
    """CWR* (Lomonaco et al. 2019): the head's rows are averaged over experiences, the rest is frozen."""

    Config: ClassVar = CWRStarConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LINEAR_HEAD})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        heads, freeze = context.heads, self.config.freeze
        self._plugins = [HeadPlugin(context.model, heads, head, freeze, self.effects) for head in heads]
        return list(self._plugins)

    def state_dict(self) -> dict[str, Any]:
        """Consolidated rows of each head, and how often each class was seen."""
        return {
            plugin.cwr_layer_name: {
                "weights": {str(c): torch.from_numpy(np.asarray(w)) for c, w in plugin.model.saved_weights.items()},
                "past": {str(c): int(n) for c, n in plugin.model.past_j.items()},
            }
            for plugin in self._plugins
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        for plugin in self._plugins:
            saved = state[plugin.cwr_layer_name]
            plugin.model.saved_weights.update({int(c): w.numpy() for c, w in saved["weights"].items()})
            plugin.model.past_j.update({int(c): n for c, n in saved["past"].items()})


def _own(params: dict[str, Any]) -> None:
    """Make each snapshot a copy of its own."""
    for data in params.values():
        data.data = data.data.clone()


def _param(name: str, tensor: torch.Tensor) -> ParamData:
    return ParamData(name, init_tensor=tensor, device=tensor.device)


def _dump(params: dict[int, dict[str, Any]]) -> dict[str, dict[str, torch.Tensor]]:
    return {str(t): {name: data.data for name, data in part.items()} for t, part in params.items()}


def _params(saved: dict[str, dict[str, torch.Tensor]]) -> dict[int, dict[str, ParamData]]:
    return {int(t): {name: _param(name, tensor) for name, tensor in part.items()} for t, part in saved.items()}
