"""The contract of a strategy: which Avalanche plugins it is made of, what it needs, what it did.

A strategy never touches pictures. It works on ids of training units and, where it needs a gradient
on stored data, asks for ``strategy.reference_loss(ids)``: the detector's own loss on those units.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from dfbench.options import later

if TYPE_CHECKING:
    from avalanche.core import SupervisedPlugin


class Need(enum.Enum):
    """What a strategy needs of a detector; an impossible pair is refused before training."""

    GRADIENTS = "sees every training step, to change its loss or its gradients"
    LOGITS = "reads the logits that model(x) gives, one column a class"
    LINEAR_HEAD = "works on the rows of a final linear layer with one row a class"
    UNIT_LOGITS = "keeps the outputs of single training units, one row of logits each"


class StrategyConfig(BaseModel):
    """Options of a strategy; ``--set strategy.key=value`` sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Memory(StrategyConfig):
    """Options of a strategy that stores samples."""

    memory: int | None = Field(None, ge=1, description="samples stored in all (default: the benchmark's budget)")
    memory_bytes: int | None = later(None, ge=1, description="the same in bytes of stored pictures, instead of memory")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.memory is not None and self.memory_bytes is not None:
            raise ValueError("memory and memory_bytes are two budgets: give one of them")
        return self


@dataclass(frozen=True)
class StrategyContext:
    """What a strategy is told when it sets itself up.

    Attributes:
        model: the network. heads: names of its final linear layers, one in all but ensembles; may be empty.
        experiences: number of experiences. memory: the benchmark's budget, in samples, in all.
        samples_per_unit: what one unit is charged. batch_size: units a step.
        targets: int64 (U,), the class each unit is counted under, by unit id.
        sample_bytes: of one stored picture.
    """

    model: nn.Module
    heads: tuple[str, ...]
    experiences: int
    memory: int
    samples_per_unit: int
    batch_size: int
    targets: torch.Tensor
    sample_bytes: int = 1

    def units_in_memory(self, config: Memory) -> int:
        """How many whole units the budget pays for, in all."""
        if config.memory_bytes is not None:
            return config.memory_bytes // (self.sample_bytes * self.samples_per_unit)
        return (config.memory or self.memory) // self.samples_per_unit

    def units_an_experience(self, config: Memory) -> int:
        """How many whole units of each experience the budget pays for when it is divided in advance."""
        return self.units_in_memory(config) // self.experiences


@dataclass
class Effects:
    """Counters of what a strategy did. Tensors are added on the device and read once an experience."""

    counts: dict[str, float | torch.Tensor] = field(default_factory=dict)

    def add(self, name: str, amount: float | torch.Tensor) -> None:
        """Add to a counter; no host synchronisation."""
        self.counts[name] = self.counts.get(name, 0.0) + amount

    def values(self) -> dict[str, float]:
        """The counters as numbers."""
        return {name: float(value) for name, value in self.counts.items()}


class Strategy:
    """A continual-learning strategy, made of Avalanche plugins."""

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    needs: ClassVar[frozenset[Need]] = frozenset()
    whole_stream: ClassVar[bool] = False
    """True: it sees all experiences at once, as one (an upper bound, not a continual strategy)."""

    def __init__(self, config: StrategyConfig) -> None:
        self.config: Any = config
        self.effects = Effects()

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """The Avalanche plugins that do the work, freshly made for one run."""
        return []

    def stored_units(self) -> torch.Tensor:
        """Ids of all units held for later, int64 (M,), in any order; empty if none."""
        return torch.empty(0, dtype=torch.int64)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs: nested dicts and lists of tensors, numbers and strings."""
        return {}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """Restore :meth:`state_dict`. ``rebuild`` turns unit ids into an Avalanche data set."""
