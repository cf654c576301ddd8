"""MAS and RWalk: quadratic penalties on moving weights, with other importances than EWC's and SI's.

Written anew, since Avalanche's plugins measure in a mode that changes the training (``docs/strategies.md``) and
compute their gradients on (x, y); where that makes no difference, both give the same weights
(``tests/training/test_more_identity.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Need, Strategy, StrategyConfig, StrategyContext, unit_ids

Tensors = dict[str, torch.Tensor]


def weights_of(model: nn.Module) -> Tensors:
    """Copies of all weights."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def zeros_of(model: nn.Module) -> Tensors:
    """Zeros in the shape of all weights."""
    return {name: torch.zeros_like(p) for name, p in model.named_parameters()}


def distance(model: nn.Module, importance: Tensors, anchor: Tensors) -> torch.Tensor:
    """Sum over the weights of importance · (weight − anchor)²."""
    terms = [(importance[n] * (p - anchor[n]).pow(2)).sum() for n, p in model.named_parameters() if n in importance]
    return torch.stack(terms).sum()


class MASPlugin(SupervisedPlugin):
    """Importance: mean over batches of |gradient of the mean squared norm of the logits|."""

    def __init__(self, strength: float, alpha: float) -> None:
        super().__init__()
        self.strength, self.alpha = strength, alpha
        self.importance: Tensors = {}
        self.anchor: Tensors = {}

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the penalty."""
        if self.importance:
            strategy.loss = strategy.loss + self.strength * distance(strategy.model, self.importance, self.anchor)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: importances on the experience's units, averaged into the old ones."""
        new, old, a = self.measure(strategy), self.importance, self.alpha
        self.importance = {n: a * old[n] + (1 - a) * value for n, value in new.items()} if old else new
        self.anchor = weights_of(strategy.model)

    def measure(self, strategy: Any) -> Tensors:
        """In eval mode: Avalanche's pass in train mode would move the statistics of batch normalisation."""
        model, importance = strategy.model, zeros_of(strategy.model)
        batches = unit_ids(strategy.experience.dataset).split(strategy.train_mb_size)
        model.eval()
        for ids in batches:
            model.zero_grad()
            logits = strategy.reference_logits(ids).float()
            torch.linalg.vector_norm(logits, dim=1).pow(2).mean().backward()
            for name, p in model.named_parameters():
                if p.grad is not None:
                    importance[name] += p.grad.abs()
        model.zero_grad()
        model.train()
        return {name: value / float(len(batches)) for name, value in importance.items()}


class MASConfig(StrategyConfig):
    """Options of MAS."""

    strength: float = Field(1.0, ge=0, description="lambda of the penalty")
    alpha: float = Field(0.5, ge=0, le=1, description="share of the old importances when new ones come")


class MAS(Strategy):
    """Memory Aware Synapses (Aljundi et al. 2018): what the logits are sensitive to should not move."""

    Config: ClassVar = MASConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        self._device = next(context.model.parameters()).device
        self._plugin = MASPlugin(self.config.strength, self.config.alpha)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Importances and the last experience's weights."""
        return {"importance": self._plugin.importance, "anchor": self._plugin.anchor}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        self._plugin.importance = _on(state["importance"], self._device)
        self._plugin.anchor = _on(state["anchor"], self._device)


class RWalkPlugin(SupervisedPlugin):
    """Importance: a moving average of squared gradients, and the loss that a weight's way has saved.

    The gradient of the loss itself is the step's own without the penalty's, which is known: so there is
    no second pass, where Avalanche makes one in eval mode and trains on in that mode.
    """

    def __init__(self, strength: float, alpha: float, interval: int) -> None:
        super().__init__()
        self.strength, self.alpha, self.interval = strength, alpha, interval
        self.fisher: Tensors = {}
        self.scores: Tensors = {}
        self.penalties: Tensors = {}
        self.anchor: Tensors = {}
        self._gradient: Tensors = {}
        self._before: Tensors = {}
        self._saved: Tensors = {}
        self._since: Tensors = {}
        self._score: Tensors = {}

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: an experience's path starts here."""
        self._saved, self._score = zeros_of(strategy.model), zeros_of(strategy.model)
        self._since = weights_of(strategy.model)

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the penalty."""
        if self.penalties:
            strategy.loss = strategy.loss + self.strength * distance(strategy.model, self.penalties, self.anchor)

    @torch.no_grad()
    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the loss's own gradient, and its square into the average."""
        self._before = weights_of(strategy.model)
        for name, p in strategy.model.named_parameters():
            gradient = torch.zeros_like(p) if p.grad is None else p.grad.clone()
            if p.grad is not None and self.penalties:
                gradient -= 2 * self.strength * self.penalties[name] * (p - self.anchor[name])
            self._gradient[name] = gradient
            squared, old = gradient.pow(2), self.fisher.get(name)
            self.fisher[name] = squared if old is None else self.alpha * squared + (1 - self.alpha) * old

    @torch.no_grad()
    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: what the step saved; every ``interval`` steps it is set against the distance gone."""
        if not self._gradient:  # the detector passed this batch over
            return
        whole = (strategy.clock.train_iterations + 1) % self.interval == 0
        for name, p in strategy.model.named_parameters():
            self._saved[name] -= self._gradient[name] * (p - self._before[name])
            if whole:
                way = 0.5 * self.fisher[name] * (p - self._since[name]).pow(2)
                self._score[name] += self._saved[name] / (way + torch.finfo(way.dtype).eps)
                self._saved[name].zero_()
                self._since[name] = p.detach().clone()
        self._gradient = {}

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the penalties of the experiences to come, both parts at most 1."""
        old = self.scores
        self.scores = {n: 0.5 * (old[n] + s) for n, s in self._score.items()} if old else self._score
        self.anchor = weights_of(strategy.model)
        # The largest may be 0, after fewer steps than an interval: Avalanche's penalty is then not a number.
        fisher, score = _largest(self.fisher), _largest(self.scores)
        self.penalties = {n: self.fisher[n] / fisher + self.scores[n].relu() / score for n in self.fisher}


class RWalkConfig(StrategyConfig):
    """Options of RWalk."""

    strength: float = Field(0.1, ge=0, description="lambda of the penalty")
    alpha: float = Field(0.9, ge=0, le=1, description="share of the newest squared gradient in the moving average")
    interval: int = Field(10, ge=1, description="steps between two scores")


class RWalk(Strategy):
    """Riemannian Walk (Chaudhry et al. 2018): Fisher information as a moving average, and a path score."""

    Config: ClassVar = RWalkConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        self._device = next(context.model.parameters()).device
        self._plugin = RWalkPlugin(self.config.strength, self.config.alpha, self.config.interval)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """Averages, scores, penalties, and the last experience's weights."""
        plugin = self._plugin
        return {name: getattr(plugin, name) for name in ("fisher", "scores", "penalties", "anchor")}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        for name, tensors in state.items():
            setattr(self._plugin, name, _on(tensors, self._device))


def _largest(tensors: Tensors) -> torch.Tensor:
    """The largest of all values, 1 where none is above 0."""
    largest = torch.stack([t.max() for t in tensors.values()]).max()
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def _on(tensors: Tensors, device: torch.device) -> Tensors:
    return {name: tensor.to(device) for name, tensor in tensors.items()}
