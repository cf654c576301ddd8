"""GEM and A-GEM: gradients projected against those of stored units.

Both are Avalanche's methods. They differ in the memory (unit ids, not pictures), in the reference gradient, which is
that of the detector's own loss, and in copying no gradient more often than necessary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import (
    Effects,
    Memory,
    Need,
    Strategy,
    StrategyContext,
    Training,
    UsageError,
    shuffled_cycle,
    unit_ids,
)
from dfbench_avalanche.projection import ReferenceGradients, multipliers, reference_backward

CHUNK = "stored units per reference pass at most (default: all at once); batch normalisation sees each pass alone"
STORED = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Unmoved:
    """Whether the weights have moved since a gradient was taken: a batch that a detector passes over moves none."""

    def __init__(self) -> None:
        self._weights: list[tuple[int, bool]] | None = None

    def holds(self, model: nn.Module) -> bool:
        """Whether the same parameters may move as then, and none has."""
        return self._weights == _versions(model)

    def take(self, model: nn.Module) -> None:
        """A gradient was taken."""
        self._weights = _versions(model)

    def reset(self) -> None:
        """The weights move."""
        self._weights = None


def _versions(model: nn.Module) -> list[tuple[int, bool]]:
    return [(p._version, p.requires_grad) for p in model.parameters()]


def draw(dataset: Any, count: int) -> torch.Tensor:
    """Unit ids of an experience, ``count`` at random without repetition, or all if it has fewer."""
    ids = unit_ids(dataset)
    return ids[torch.randperm(len(ids))[:count]]


class GradientMemory(Strategy):
    """Base of strategies that store equally many units of each experience, for reference gradients."""

    distributes: ClassVar[bool] = True
    repeated_passes: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def patterns(self, context: StrategyContext) -> int:
        """Number of units to store of each experience."""
        count = context.units_per_experience(self.config)
        if count < 1:
            raise UsageError(
                f"the memory pays for less than one unit of each of {context.experiences} experiences: "
                "raise it with --set strategy.memory=N"
            )
        return count


class UnitGEMPlugin(SupervisedPlugin):
    """GEM as Avalanche's ``GEMPlugin`` computes it, on stored unit ids."""

    def __init__(
        self, patterns: int, strength: float, effects: Effects, chunk: int | None = None, store: str = "fp32"
    ) -> None:
        super().__init__()
        self.patterns, self.strength, self.effects = patterns, strength, effects
        self.chunk, self.store = chunk, STORED[store]
        self.memory: dict[int, torch.Tensor] = {}
        self.references: ReferenceGradients | None = None
        self._unmoved = Unmoved()

    def before_training_iteration(self, training: Training, **kwargs: Any) -> None:
        """Take the gradient of the detector's loss on each past experience's memory."""
        if not self.memory:
            return
        if self.references is None:
            self.references = ReferenceGradients(training.model, len(self.memory), self.store)
        training.train_mode()
        if self._unmoved.holds(training.model):
            return
        for index, ids in enumerate(self.memory.values()):
            training.optimizer.zero_grad()
            reference_backward(training, ids, self.chunk)
            self.references.keep(index)
        self._unmoved.take(training.model)

    def after_backward(self, training: Training, **kwargs: Any) -> None:
        """Project the gradient if it opposes a past experience's."""
        if self.references is None:
            return
        self._unmoved.reset()
        self.effects.add("reference_passes", len(self.memory))
        inner = self.references.inner_products()
        gram, products = inner[:-1, :-1], inner[:-1, -1]
        if (products < 0).any():
            self.references.add(multipliers(gram, products, self.strength))
            self.effects.add("projections", 1)

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Store units of the experience that was just trained on."""
        self._unmoved.reset()
        self.references = None  # the next experience has one more; until then their memory is free
        self.memory[training.clock.train_exp_counter] = draw(training.experience.dataset, self.patterns)


class GEMConfig(Memory):
    """Options of GEM."""

    strength: float = Field(0.5, ge=0, description="gamma of the paper: pull towards backward transfer")
    chunk: int | None = Field(None, ge=1, description=CHUNK)
    store: Literal["fp32", "bf16"] = Field(
        "fp32", description="precision in which reference gradients are held; bf16 takes half the memory"
    )


class GEM(GradientMemory):
    """Gradient Episodic Memory (Lopez-Paz & Ranzato 2017)."""

    Config: ClassVar = GEMConfig

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        c = self.config
        self._plugin = UnitGEMPlugin(self.patterns(context), c.strength, self.effects, c.chunk, c.store)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The units of all experiences' memories."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *self._plugin.memory.values()])

    def state_dict(self) -> dict[str, Any]:
        """Ids of the stored units of each experience."""
        return {"memory": list(self._plugin.memory.values())}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.memory = dict(enumerate(state["memory"]))


class UnitAGEMPlugin(SupervisedPlugin):
    """A-GEM as Avalanche's ``AGEMPlugin`` computes it, on stored unit ids."""

    def __init__(self, patterns: int, sample_size: int, effects: Effects, chunk: int | None = None) -> None:
        super().__init__()
        self.patterns, self.sample_size, self.effects, self.chunk = patterns, sample_size, effects, chunk
        self.buffers: list[torch.Tensor] = []
        self.reference: list[torch.Tensor | None] = []
        self._draws: list[Callable[[int], torch.Tensor]] = []
        self._unmoved = Unmoved()

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Start new rounds through the memories."""
        self._unmoved.reset()
        self._draws = [shuffled_cycle(ids, training.generator) for ids in self.buffers]

    def before_training_iteration(self, training: Training, **kwargs: Any) -> None:
        """Take the gradient of the detector's loss on a sample of the memory."""
        if not self.buffers:
            return
        training.train_mode()
        if self._unmoved.holds(training.model):
            return
        training.optimizer.zero_grad()
        reference_backward(training, self.sample_from_memory(), self.chunk)
        self.reference = [p.grad for p in training.model.parameters()]
        for p in training.model.parameters():
            p.grad = None  # the step's pass allocates its own, so these are kept without a copy
        self._unmoved.take(training.model)

    def sample_from_memory(self) -> torch.Tensor:
        """Ids of stored units, int64 (N,): equally many of each past experience, about ``sample_size`` in all."""
        share = max(self.sample_size // len(self.buffers), 1)
        return torch.cat([d(min(share, len(b))) for d, b in zip(self._draws, self.buffers, strict=True)])

    @torch.no_grad()
    def after_backward(self, training: Training, **kwargs: Any) -> None:
        """Project the gradient: g − r·(g·r)/(r·r) where g·r < 0.

        Parameter by parameter and for gradients of any memory layout. On a device the decision is a factor of 0, so
        that the host does not wait for it.
        """
        if not self.buffers:
            return
        self._unmoved.reset()
        self.effects.add("reference_passes", 1)
        parameters = zip(training.model.parameters(), self.reference, strict=True)
        pairs = [(p.grad, r) for p, r in parameters if p.grad is not None and r is not None]
        if not pairs:  # the two passes train different weights: nothing can oppose
            return
        dot = _inner(pairs)
        against = dot < 0
        self.effects.add("projections", against.float())
        if dot.device.type != "cpu" or bool(against):
            # r·r also counts parameters that the step gave no gradient.
            norm = _inner([(r, r) for r in self.reference if r is not None])
            amount = torch.where(against, dot / norm, torch.zeros_like(dot))
            for gradient, r in pairs:
                gradient.addcmul_(r, amount.to(r.dtype), value=-1)

    def after_update(self, training: Training, **kwargs: Any) -> None:
        """Free the reference gradient: an optimizer may have asked for several projections until now."""
        self.reference = []

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Store units of the experience that was just trained on."""
        self.buffers.append(draw(training.experience.dataset, self.patterns))


def _inner(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The inner product of two gradients given parameter by parameter: float64, on their device."""
    with torch.autocast(pairs[0][0].device.type, enabled=False):
        return torch.stack([torch.dot(a.reshape(-1), b.reshape(-1)).double() for a, b in pairs]).sum()


class AGEMConfig(Memory):
    """Options of A-GEM."""

    sample_size: int = Field(64, ge=1, description="stored units per reference pass")
    chunk: int | None = Field(None, ge=1, description=CHUNK)


class AGEM(GradientMemory):
    """Averaged GEM (Chaudhry et al. 2019)."""

    Config: ClassVar = AGEMConfig

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        c = self.config
        self._plugin = UnitAGEMPlugin(self.patterns(context), c.sample_size, self.effects, c.chunk)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The units of all experiences' memories."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *self._plugin.buffers])

    def state_dict(self) -> dict[str, Any]:
        """Ids of the stored units of each experience."""
        return {"buffers": list(self._plugin.buffers)}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.buffers = list(state["buffers"])
