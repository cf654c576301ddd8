"""MAS and RWalk: quadratic penalties on moving weights, with importances other than EWC's and SI's.

They are not Avalanche's plugins, which measure in a mode that changes the training (``docs/strategies.md``) and compute
their gradients on (x, y). Where that makes no difference, both end in the same weights
(``tests/training/test_more_identity.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from dfbench import Need, Strategy, StrategyConfig, StrategyContext, Training, unit_ids
from dfbench_avalanche.teacher import evaluated, predicting

Tensors = dict[str, torch.Tensor]


def weights_of(model: nn.Module) -> Tensors:
    """Copies of all weights, by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def zeros_of(model: nn.Module) -> Tensors:
    """Zeros in the shape of all weights, by name."""
    return {name: torch.zeros_like(p) for name, p in model.named_parameters()}


def distance(model: nn.Module, importance: Tensors, anchor: Tensors) -> torch.Tensor:
    """Sum over the weights of importance · (weight − anchor)², a scalar with its graph."""
    terms = [(importance[n] * (p - anchor[n]).pow(2)).sum() for n, p in model.named_parameters() if n in importance]
    return torch.stack(terms).sum()


class MASPlugin(SupervisedPlugin):
    """MAS. Importance is the mean over units, or over batches, of |gradient of the squared norm of the logits|.

    Args:
        config: its options.
    """

    def __init__(self, config: MASConfig) -> None:
        super().__init__()
        self.config = config
        self.importance: Tensors = {}
        self.anchor: Tensors = {}

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add the penalty."""
        if self.importance:
            away = distance(training.model, self.importance, self.anchor)
            training.loss = training.loss + self.config.strength * away

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Measure importances of the network that predicts now, and add or average them into the old ones."""
        c, old = self.config, self.importance
        with predicting(training):
            new = self.measure(training)
            self.anchor = weights_of(training.model)
        kept, added = (1.0, 1.0) if c.accumulate == "sum" else (c.alpha, 1 - c.alpha)
        self.importance = {n: kept * old[n] + added * value for n, value in new.items()} if old else new

    def measure(self, training: Training) -> Tensors:
        """Importances by name, measured in eval mode: in train mode batch normalisation would move its statistics."""
        model, importance = training.model, zeros_of(training.model)
        units = unit_ids(training.experience.dataset)
        size = 1 if self.config.gradient == "unit" else training.train_mb_size
        with evaluated(model):
            for ids in training.batches_of(units, size):
                model.zero_grad()
                logits = training.reference_logits(ids).float()
                torch.linalg.vector_norm(logits, dim=1).pow(2).mean().backward()
                for name, p in model.named_parameters():
                    if p.grad is not None:
                        importance[name] += p.grad.abs()
        model.zero_grad()
        return {name: value / float(math.ceil(len(units) / size)) for name, value in importance.items()}


class MASConfig(StrategyConfig):
    """Options of MAS. Avalanche has ``gradient=batch accumulate=mean``."""

    strength: float = Field(1.0, ge=0, description="lambda of the penalty")
    gradient: Literal["unit", "batch"] = Field(
        "unit", description="whose gradients' absolute values are averaged: each unit's, or each batch's mean"
    )
    accumulate: Literal["sum", "mean"] = Field(
        "sum", description="importances of all experiences are added, or averaged with the share alpha of the old"
    )
    alpha: float = Field(0.5, ge=0, le=1, description="with accumulate=mean: share of the old importances")


class MAS(Strategy):
    """Memory Aware Synapses (Aljundi et al. 2018): penalises moving weights to which the logits are sensitive."""

    distributes: ClassVar[bool] = True
    Config: ClassVar = MASConfig
    repeated_passes: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._device = next(context.model.parameters()).device
        self._plugin = MASPlugin(self.config)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Importances, and the weights that the last experience left."""
        return {"importance": self._plugin.importance, "anchor": self._plugin.anchor}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.importance = _on(state["importance"], self._device)
        self._plugin.anchor = _on(state["anchor"], self._device)


class RWalkPlugin(SupervisedPlugin):
    """RWalk. Importance is a moving average of squared gradients plus the decrease in loss along a weight's path.

    The gradient of the loss alone is the step's gradient minus the penalty's, which is known in closed form. So
    there is no second pass; Avalanche makes one in eval mode and then trains in that mode.

    Attributes:
        fisher: moving average of squared gradients.
        scores: of the paths of past experiences, their decrease in loss per distance.
        penalties: importances of the penalty; empty in the first experience.
        anchor: weights that the last experience left.
    """

    def __init__(self, config: RWalkConfig) -> None:
        super().__init__()
        self.strength, self.alpha, self.interval = config.strength, config.alpha, config.interval
        self.by_step = config.fisher == "step"
        self.by_interval = config.rectify == "interval"
        self.fisher: Tensors = {}
        self.scores: Tensors = {}
        self.penalties: Tensors = {}
        self.anchor: Tensors = {}
        self._gradient: Tensors = {}  # of the loss without the penalty, in this step
        self._before: Tensors = {}  # weights before this step
        self._saved: Tensors = {}  # decrease in loss since the last score, to first order
        self._since: Tensors = {}  # weights at the last score
        self._score: Tensors = {}  # of this experience so far
        self._squares: Tensors = {}  # sum of squared gradients since the last score
        self._steps = 0  # of this experience
        self._folded = False  # whether this experience has a share in the moving average

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Start the path of an experience."""
        self._saved, self._score = zeros_of(training.model), zeros_of(training.model)
        self._since = weights_of(training.model)
        self._squares, self._steps, self._folded = zeros_of(training.model), 0, False

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add the penalty."""
        if self.penalties:
            training.loss = training.loss + self.strength * distance(training.model, self.penalties, self.anchor)

    @torch.no_grad()
    def after_backward(self, training: Training, **kwargs: Any) -> None:
        """Separate the loss's own gradient, and average its square."""
        self._before = weights_of(training.model)
        for name, p in training.model.named_parameters():
            gradient = torch.zeros_like(p) if p.grad is None else p.grad.clone()
            if p.grad is not None and self.penalties:  # d/dw of λ·Ω·(w − w*)²
                gradient -= 2 * self.strength * self.penalties[name] * (p - self.anchor[name])
            self._gradient[name] = gradient
            self._squares[name] += gradient.pow(2)
        self._steps += 1
        if self.by_step or self._steps % self.interval == 0:
            self._fold(1 if self.by_step else self.interval)

    def _fold(self, steps: int) -> None:
        """Give the mean square of the last ``steps`` gradients its share in the moving average."""
        for name, total in self._squares.items():
            squared, old = total / steps, self.fisher.get(name)
            self.fisher[name] = squared if old is None else self.alpha * squared + (1 - self.alpha) * old
            total.zero_()
        self._folded = True

    @torch.no_grad()
    def after_training_iteration(self, training: Training, **kwargs: Any) -> None:
        """Add what the step saved; every ``interval`` steps divide it by the distance that the weight has moved."""
        if not self._gradient:  # the detector passed this batch over
            return
        steps = training.clock.train_iterations + 1 if self.by_step else self._steps
        due = steps % self.interval == 0
        for name, p in training.model.named_parameters():
            self._saved[name] -= self._gradient[name] * (p - self._before[name])
            if due:
                # The distance is measured by the Fisher metric: approximately the KL divergence of the outputs.
                moved = 0.5 * self.fisher[name] * (p - self._since[name]).pow(2)
                score = self._saved[name] / (moved + torch.finfo(moved.dtype).eps)
                self._score[name] += score.relu() if self.by_interval else score
                self._saved[name].zero_()
                self._since[name] = p.detach().clone()
        self._gradient = {}

    @torch.no_grad()
    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Fix the penalties of later experiences around what predicts now, both parts scaled to at most 1."""
        if not self._folded and self._steps:  # fewer steps than an interval
            self._fold(self._steps)
        old = self.scores
        self.scores = {n: 0.5 * (old[n] + s) for n, s in self._score.items()} if old else self._score
        self.anchor = weights_of(training.model if training.averaged is None else training.averaged)
        # After fewer steps than an interval all scores are 0. Avalanche divides by their maximum, which gives NaN.
        fisher, score = _largest(self.fisher), _largest(self.scores)
        self.penalties = {n: self.fisher[n] / fisher + self.scores[n].relu() / score for n in self.fisher}


class RWalkConfig(StrategyConfig):
    """Options of RWalk."""

    strength: float = Field(0.1, ge=0, description="lambda of the penalty")
    alpha: float = Field(0.9, ge=0, le=1, description="share of the newest mean square in the moving average")
    interval: int = Field(10, ge=1, description="steps between two scores")
    fisher: Literal["interval", "step"] = Field(
        "interval",
        description="what enters the moving average: the mean square of an interval, or as in Avalanche of a step",
    )
    rectify: Literal["interval", "sum"] | None = Field(
        None,
        validate_default=True,
        description="which scores below 0 become 0: each interval's, or as in Avalanche their sum "
        "(default: interval, with fisher=step the sum)",
    )

    @field_validator("rectify")
    @classmethod
    def _as_fisher(cls, value: str | None, info: ValidationInfo) -> str:
        return value or ("sum" if info.data.get("fisher") == "step" else "interval")


class RWalk(Strategy):
    """Riemannian Walk (Chaudhry et al. 2018): Fisher information as a moving average, and a path score."""

    distributes: ClassVar[bool] = True
    Config: ClassVar = RWalkConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._device = next(context.model.parameters()).device
        self._plugin = RWalkPlugin(self.config)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Averages, scores, penalties, and the weights that the last experience left."""
        plugin = self._plugin
        return {name: getattr(plugin, name) for name in ("fisher", "scores", "penalties", "anchor")}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        for name, tensors in state.items():
            setattr(self._plugin, name, _on(tensors, self._device))


def _largest(tensors: Tensors) -> torch.Tensor:
    """The largest of all values, or 1 if none is positive."""
    largest = torch.stack([t.max() for t in tensors.values()]).max()
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def _on(tensors: Tensors, device: torch.device) -> Tensors:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
