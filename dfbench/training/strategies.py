"""The contract of a strategy: which Avalanche plugins it is made of, what it needs, what it did.

A strategy never touches pictures. It works on ids of training units. Where it needs a gradient on stored data, its
plugins call ``training.reference_loss(ids)``, the detector's own loss on those units
(:class:`dfbench.training.protocol.Training`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from dfbench.training.adaptation import Adaptation, AdaptContext

if TYPE_CHECKING:
    from avalanche.core import SupervisedPlugin


class Need(enum.Enum):
    """What a strategy needs of a detector; an impossible pair is refused before training."""

    GRADIENTS = "sees every training step, to change its loss or its gradients"
    LOGITS = "reads the logits that model(x) gives, one column per class"
    LINEAR_HEAD = "works on the rows of a final linear layer with one row per class"
    UNIT_LOGITS = "keeps the outputs of single training units, one row of logits each"
    UNIT_ROWS = "keeps the outputs of single training units"
    INPUTS = "passes the network's input to an earlier network"
    BLOCKS = "adds to the linear layers in the blocks of a vision transformer"
    PROMPTS = "puts prompts between the tokens of a vision transformer, which the network itself has to be"


class StrategyConfig(BaseModel):
    """Options of a strategy; ``--set strategy.key=value`` sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Memory(StrategyConfig):
    """Options of a strategy that stores samples."""

    memory: int | None = Field(None, ge=1, description="samples stored in all (default: the benchmark's budget)")
    memory_bytes: int | None = Field(None, ge=1, description="the same in bytes of stored pictures, instead of memory")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.memory is not None and self.memory_bytes is not None:
            raise ValueError("memory and memory_bytes are two budgets: give one of them")
        return self


@dataclass(frozen=True)
class StrategyContext:
    """What a strategy receives when its plugins are made.

    Attributes:
        model: the network.
        heads: names of its final linear layers, one in all but ensembles; may be empty.
        experiences: number of experiences.
        memory: the benchmark's budget, in samples, in all.
        samples_per_unit: samples that one stored unit is charged for.
        batch_size: new units per batch.
        targets: int64 (U,), the class that each unit is counted under, by unit id.
        sample_bytes: bytes of one stored picture.
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
        """Number of whole units that the budget pays for, in all."""
        if config.memory_bytes is not None:
            return config.memory_bytes // (self.sample_bytes * self.samples_per_unit)
        return (config.memory or self.memory) // self.samples_per_unit

    def units_per_experience(self, config: Memory) -> int:
        """Number of whole units of each experience that the budget pays for if it is divided in advance."""
        return self.units_in_memory(config) // self.experiences


@dataclass
class Effects:
    """Counters of what a strategy did. Tensors are added on their device and read once per experience."""

    counts: dict[str, float | torch.Tensor] = field(default_factory=dict)

    def add(self, name: str, amount: float | torch.Tensor) -> None:
        """Add to a counter, without waiting for the device."""
        self.counts[name] = self.counts.get(name, 0.0) + amount

    def values(self) -> dict[str, float]:
        """The counters as numbers, which waits for the device."""
        return {name: float(value) for name, value in self.counts.items()}


class Strategy:
    """A continual-learning strategy, made of Avalanche plugins.

    Attributes:
        Config: class of the options.
        needs: what a detector must offer.
        whole_stream: True if it sees all experiences at once, as one (an upper bound, not a continual strategy).
        trains: False if nothing is trained: the network is evaluated as it is (a baseline, not a continual strategy).
        repeated_passes: True if its callbacks from ``before_forward`` to ``after_backward`` may be called several times
            in a step, as optimizers that evaluate the loss again (SAM, L-BFGS) need; those of the last time count.
            Strategies without such callbacks need not say so.
        distributes: True if several processes may share a training: its callbacks then see the gradients of the whole
            batch, but ``mbatch``, ``mb_output`` and ``units`` of their own part. Whatever it keeps must be the same in
            all processes.
        adapts: names of the adapters that :meth:`adapt` adds to the network; empty for a network that stays as it is.
        config: the validated options, a ``Config``.
        effects: counters of what it did, for the record.
    """

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    needs: ClassVar[frozenset[Need]] = frozenset()
    whole_stream: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    repeated_passes: ClassVar[bool] = False
    distributes: ClassVar[bool] = False
    adapts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: StrategyConfig) -> None:
        self.config: Any = config
        self.effects = Effects()

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """The Avalanche plugins that do the work, new for one run.

        Their callbacks receive a :class:`dfbench.Training`.
        """
        return []

    def adapt(self, model: nn.Module, context: AdaptContext) -> Sequence[Adaptation]:
        """What is to be added to the network before an experience; it is there when the callbacks begin.

        Called once per experience, never for one that is finished. What is frozen is set in ``before_training_exp``.

        Args:
            model: the network with all that was added before; the method must not change it.
            context: the coming experience.
        """
        return ()

    def trains_detector(self, experience: int) -> bool:
        """Whether the detector's training loop runs in an experience (index from 0).

        False where the strategy computes what it needs itself: of the callbacks only ``before_training``,
        ``before_training_exp``, ``after_training_exp`` and ``after_training`` are called then.
        """
        return True

    def stored_units(self) -> torch.Tensor:
        """Ids of all units that are stored, int64 (M,), in any order; empty if none."""
        return torch.empty(0, dtype=torch.int64)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs: nested dicts and lists of tensors, numbers and strings."""
        return {}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """Restore what :meth:`state_dict` returned, tensors now on the CPU.

        Args:
            state: the same nested dicts and lists.
            rebuild: turns unit ids, int64 (N,), into an Avalanche data set.
        """
