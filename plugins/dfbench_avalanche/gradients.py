"""GEM and A-GEM: gradients projected against those of stored units.

Both are Avalanche's methods; what differs is the memory (unit ids, not pictures), the reference
gradient, which is that of the detector's own loss, and that no gradient is copied more than it must.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field

from dfbench import Memory, Need, Strategy, StrategyContext, UsageError, endless, later, unit_ids
from dfbench_avalanche.projection import ReferenceGradients, multipliers, reference_backward

CHUNK = "stored units a reference pass at most (default: all at once); batch normalisation sees each pass alone"
STORED = {"fp32": torch.float32, "bf16": torch.bfloat16}


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


class UnitGEMPlugin(SupervisedPlugin):
    """GEM as Avalanche's ``GEMPlugin`` computes it, on stored unit ids."""

    def __init__(
        self, patterns: int, strength: float, effects: Any, chunk: int | None = None, store: str = "fp32"
    ) -> None:
        super().__init__()
        self.patterns, self.strength, self.effects = patterns, strength, effects
        self.chunk, self.store = chunk, STORED[store]
        self.memory: dict[int, torch.Tensor] = {}
        self.references: ReferenceGradients | None = None

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: the gradient of the detector's loss on each past experience's memory."""
        if not self.memory:
            return
        if self.references is None:
            self.references = ReferenceGradients(strategy.model, len(self.memory), self.store)
        strategy.train_mode()
        for index, ids in enumerate(self.memory.values()):
            strategy.optimizer.zero_grad()
            reference_backward(strategy, ids, self.chunk)
            self.references.keep(index)
        self.effects.add("reference_passes", len(self.memory))

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: change the gradient where it opposes a past experience's."""
        if self.references is None:
            return
        inner = self.references.inner_products()
        gram, products = inner[:-1, :-1], inner[:-1, -1]
        if (products < 0).any():
            self.references.add(multipliers(gram, products, self.strength))
            self.effects.add("projections", 1)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: store units of the experience that was just trained."""
        self.references = None  # the next experience has one more, and evaluation needs none
        self.memory[strategy.clock.train_exp_counter] = draw(strategy.experience.dataset, self.patterns)


class GEMConfig(Memory):
    """Options of GEM."""

    strength: float = Field(0.5, ge=0, description="gamma of the paper: pull towards backward transfer")
    chunk: int | None = later(None, ge=1, description=CHUNK)
    store: Literal["fp32", "bf16"] = later(
        "fp32", description="precision in which reference gradients are held; bf16 takes half the memory"
    )


class GEM(GradientMemory):
    """Gradient Episodic Memory (Lopez-Paz & Ranzato 2017)."""

    Config: ClassVar = GEMConfig

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        c = self.config
        self._plugin = UnitGEMPlugin(self.patterns(context), c.strength, self.effects, c.chunk, c.store)
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


class UnitAGEMPlugin(SupervisedPlugin):
    """A-GEM as Avalanche's ``AGEMPlugin`` computes it, on stored unit ids."""

    def __init__(self, patterns: int, sample_size: int, effects: Any, chunk: int | None = None) -> None:
        super().__init__()
        self.patterns, self.sample_size, self.effects, self.chunk = patterns, sample_size, effects, chunk
        self.buffers: list[torch.Tensor] = []
        self.reference: list[torch.Tensor | None] = []
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
        reference_backward(strategy, self.sample_from_memory(), self.chunk)
        self.reference = [p.grad for p in strategy.model.parameters()]
        for p in strategy.model.parameters():
            p.grad = None  # the next pass makes its own; this one's are kept without a copy
        self.effects.add("reference_passes", 1)

    def sample_from_memory(self) -> torch.Tensor:
        """As many units of each past experience, ``sample_size`` in all."""
        share = max(self.sample_size // len(self.buffers), 1)
        return torch.cat([d(min(share, len(b))) for d, b in zip(self._draws, self.buffers, strict=True)])

    @torch.no_grad()
    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: its projection, g − r·(g·r)/(r·r) where g·r < 0, without waiting for the
        device, parameter by parameter, and for gradients of any memory layout."""
        if not self.buffers:
            return
        parameters = zip(strategy.model.parameters(), self.reference, strict=True)
        pairs = [(p.grad, r) for p, r in parameters if p.grad is not None and r is not None]
        dot = _inner(pairs)
        against = dot < 0
        self.effects.add("projections", against.float())
        if dot.device.type != "cpu" or bool(against):
            # r·r also counts parameters that the step gave no gradient.
            norm = _inner([(r, r) for r in self.reference if r is not None])
            amount = torch.where(against, dot / norm, torch.zeros_like(dot))
            for gradient, r in pairs:
                gradient.addcmul_(r, amount.to(r.dtype), value=-1)
        self.reference = []

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: store units of the experience that was just trained."""
        self.buffers.append(draw(strategy.experience.dataset, self.patterns))


def _inner(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The inner product of two gradients given parameter by parameter: float64, on their device."""
    with torch.autocast(pairs[0][0].device.type, enabled=False):
        return torch.stack([torch.dot(a.reshape(-1), b.reshape(-1)).double() for a, b in pairs]).sum()


class AGEMConfig(Memory):
    """Options of A-GEM."""

    sample_size: int = Field(64, ge=1, description="stored units in each reference pass")
    chunk: int | None = later(None, ge=1, description=CHUNK)


class AGEM(GradientMemory):
    """Averaged GEM (Chaudhry et al. 2019)."""

    Config: ClassVar = AGEMConfig

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        c = self.config
        self._plugin = UnitAGEMPlugin(self.patterns(context), c.sample_size, self.effects, c.chunk)
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
