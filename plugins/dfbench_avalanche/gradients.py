"""GEM and A-GEM: gradients projected against those of stored units.

The projections are Avalanche's own; what differs is the memory (unit ids, not pictures) and the
reference gradient, which is that of the detector's own loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import AGEMPlugin, GEMPlugin
from pydantic import Field

from dfbench import Memory, Need, Strategy, StrategyContext, UsageError, endless, unit_ids


def flat_gradient(model: torch.nn.Module) -> torch.Tensor:
    """All gradients in one vector, zeros where there is none, in Avalanche's order."""
    return torch.cat([p.grad.flatten() if p.grad is not None else p.new_zeros(p.numel()) for p in model.parameters()])


def set_gradient(model: torch.nn.Module, flat: torch.Tensor) -> None:
    """The inverse of :func:`flat_gradient`; parameters without a gradient stay without."""
    start = 0
    for p in model.parameters():
        if p.grad is not None:
            p.grad.copy_(flat[start : start + p.numel()].view(p.shape))
        start += p.numel()


def draw(dataset: Any, count: int) -> torch.Tensor:
    """``count`` unit ids of an experience, at random without repetition (all if it has fewer)."""
    ids = unit_ids(dataset)
    return ids[torch.randperm(len(ids))[:count]]


class GradientMemory(Strategy):
    """A strategy that stores the same number of units of each experience, for reference gradients."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def patterns(self, context: StrategyContext) -> int:
        """Units to store of each experience."""
        count = context.units_an_experience(self.config)
        if count < 1:
            raise UsageError(
                f"the memory pays for less than one unit of each of {context.experiences} experiences: "
                "raise it with --set strategy.memory=N"
            )
        return count


class UnitGEMPlugin(GEMPlugin):
    """Avalanche's GEM on stored unit ids."""

    def __init__(self, patterns_per_experience: int, memory_strength: float, effects: Any) -> None:
        super().__init__(patterns_per_experience, memory_strength)
        self.memory: dict[int, torch.Tensor] = {}
        self.effects = effects

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the gradient of the detector's loss on each past experience's memory."""
        if not self.memory:
            return
        rows = []
        strategy.train_mode()
        for ids in self.memory.values():
            strategy.optimizer.zero_grad()
            strategy.reference_loss(ids).backward()
            rows.append(flat_gradient(strategy.model))
        self.G = torch.stack(rows)
        self.effects.add("reference_passes", len(rows))

    def solve_quadprog(self, g: torch.Tensor) -> torch.Tensor:
        """Avalanche's projection, counted."""
        self.effects.add("projections", 1)
        return super().solve_quadprog(g)

    def update_memory(self, dataset: Any, t: int, batch_size: int) -> None:
        """Store units of the experience that was just trained."""
        self.memory[t] = draw(dataset, self.patterns_per_experience)


class GEMConfig(Memory):
    """Options of GEM."""

    strength: float = Field(0.5, ge=0, description="gamma of the paper: pull towards backward transfer")


class GEM(GradientMemory):
    """Gradient Episodic Memory (Lopez-Paz & Ranzato 2017)."""

    Config: ClassVar = GEMConfig

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        self._plugin = UnitGEMPlugin(self.patterns(context), self.config.strength, self.effects)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """All experiences' memories."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *self._plugin.memory.values()])

    def state_dict(self) -> dict[str, Any]:
        """Ids of the stored units of each experience."""
        return {"memory": list(self._plugin.memory.values())}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        self._plugin.memory = dict(enumerate(state["memory"]))


class UnitAGEMPlugin(AGEMPlugin):
    """Avalanche's A-GEM on stored unit ids."""

    def __init__(self, patterns_per_experience: int, sample_size: int, effects: Any) -> None:
        super().__init__(patterns_per_experience, sample_size)
        self.buffers: list[torch.Tensor] = []
        self.effects = effects
        self._draws: list[Callable[[int], torch.Tensor]] = []

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: start drawing from the memories anew."""
        self._draws = [endless(ids, strategy.generator) for ids in self.buffers]

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the gradient of the detector's loss on a sample of the memory."""
        if not self.buffers:
            return
        strategy.train_mode()
        strategy.optimizer.zero_grad()
        strategy.reference_loss(self.sample_from_memory()).backward()
        self.reference_gradients = flat_gradient(strategy.model)
        strategy.optimizer.zero_grad()
        self.effects.add("reference_passes", 1)

    def sample_from_memory(self) -> torch.Tensor:
        """As many units of each past experience, ``sample_size`` in all."""
        share = max(self.sample_size // len(self.buffers), 1)
        return torch.cat([d(min(share, len(b))) for d, b in zip(self._draws, self.buffers, strict=True)])

    @torch.no_grad()
    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: its projection, g − r·(g·r)/(r·r) where g·r < 0, without waiting for the
        device and for gradients of any memory layout (Avalanche's own fails on channels-last weights)."""
        if not self.buffers:
            return
        gradient, reference = flat_gradient(strategy.model), self.reference_gradients
        dot = torch.dot(gradient, reference)
        against = dot < 0
        amount = torch.where(against, dot / torch.dot(reference, reference), torch.zeros_like(dot))
        set_gradient(strategy.model, gradient - reference * amount)
        self.effects.add("projections", against.float())

    def update_memory(self, dataset: Any, num_workers: int = 0, **kwargs: Any) -> None:
        """Store units of the experience that was just trained."""
        self.buffers.append(draw(dataset, self.patterns_per_experience))


class AGEMConfig(Memory):
    """Options of A-GEM."""

    sample_size: int = Field(64, ge=1, description="stored units in each reference pass")


class AGEM(GradientMemory):
    """Averaged GEM (Chaudhry et al. 2019)."""

    Config: ClassVar = AGEMConfig

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        self._plugin = UnitAGEMPlugin(self.patterns(context), self.config.sample_size, self.effects)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """All experiences' memories."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *self._plugin.buffers])

    def state_dict(self) -> dict[str, Any]:
        """Ids of the stored units of each experience."""
        return {"buffers": list(self._plugin.buffers)}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        self._plugin.buffers = list(state["buffers"])
