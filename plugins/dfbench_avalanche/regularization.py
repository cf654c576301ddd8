"""EWC and SI: penalties on moving weights by their importance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EWCPlugin, SynapticIntelligencePlugin
from avalanche.training.utils import ParamData, zerolike_params_dict
from pydantic import Field

from dfbench import Need, Strategy, StrategyConfig, StrategyContext, Training, unit_ids
from dfbench_avalanche.teacher import evaluated, predicting


class UnitEWCPlugin(EWCPlugin):
    """Avalanche's EWC, whose Fisher pass uses the detector's own loss.

    Args:
        config: its options.
    """

    _training: Training | None = None

    def __init__(self, config: EWCConfig) -> None:
        super().__init__(config.strength, "separate" if config.decay is None else "online", config.decay)
        self.fisher = config.fisher

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Measure importances and keep the weights, of the network that predicts now."""
        self._training = training  # compute_importances does not receive it
        try:
            with predicting(training):
                super().after_training_exp(training, **kwargs)
        finally:
            self._training = None

    def compute_importances(
        self, model: Any, criterion: Any, optimizer: Any, dataset: Any, *args: Any, **kw: Any
    ) -> Any:
        """Mean over units, or over batches, of the squared gradient of the loss, in eval mode."""
        training = self._training
        assert training is not None
        ids = unit_ids(dataset)
        size = 1 if self.fisher == "unit" else training.train_mb_size
        order = ids if self.fisher == "unit" else self.order(training, ids)
        importances = zerolike_params_dict(model)
        with evaluated(model):
            for part in training.batches_of(order, size):
                optimizer.zero_grad()
                training.reference_loss(part).backward()
                for name, p in model.named_parameters():
                    if p.grad is not None:
                        importances[name].data += p.grad.data.clone().pow(2)
        for importance in importances.values():
            importance.data /= float(math.ceil(len(ids) / size))
        optimizer.zero_grad()
        return importances

    def order(self, training: Training, ids: torch.Tensor) -> torch.Tensor:
        """The units, shuffled: stored one class after the other, a batch would have the gradient of one class."""
        return ids[torch.randperm(len(ids), generator=training.generator)]


class EWCConfig(StrategyConfig):
    """Options of EWC."""

    strength: float = Field(100.0, ge=0, description="lambda; with fisher=batch it depends on the batch size")
    decay: float | None = Field(
        None,
        ge=0,
        le=1,
        description="online EWC: one penalty, old importances times this (default: one each experience)",
    )
    fisher: Literal["unit", "batch"] = Field(
        "batch", description="whose squared gradients are averaged: as in Avalanche each batch's mean, or each unit's"
    )


class EWC(Strategy):
    """Elastic Weight Consolidation (Kirkpatrick et al. 2017), a separate penalty for each experience.

    With ``decay`` it is online EWC (Schwarz et al. 2018): one penalty around the last weights, whose importances are
    the new ones plus ``decay`` times the old.
    """

    distributes: ClassVar[bool] = True
    Config: ClassVar = EWCConfig
    repeated_passes: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._plugin = UnitEWCPlugin(self.config)
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
        """Start the path of an experience; the penalty is around the weights that predicted after the last one."""
        anchors = {name: data.data for name, data in self.ewc_data[0].items()}
        super().before_training_exp(training, **kwargs)
        _own(self.ewc_data[0])
        for name, weights in anchors.items():
            self.ewc_data[0][name].data = weights

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
        """Turn the path into importances, negative ones into 0, and keep the weights that predict now."""
        super().after_training_exp(training, **kwargs)
        for importance in self.ewc_data[1].values():
            importance.data = importance.data.clamp(min=0)
        predicts = training.model if training.averaged is None else training.averaged
        weights = dict(predicts.named_parameters())
        for name, anchor in self.ewc_data[0].items():
            anchor.data = weights[name].detach().flatten().to(anchor.data, copy=True)


class SIConfig(StrategyConfig):
    """Options of SI."""

    strength: float = Field(1.0, ge=0, description="lambda of the penalty")


class SI(Strategy):
    """Synaptic Intelligence (Zenke et al. 2017), in the form of Maltoni & Lomonaco 2019."""

    distributes: ClassVar[bool] = True
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
