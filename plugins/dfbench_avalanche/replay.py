"""Replay: each batch of new units is followed by one of stored units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.storage_policy import ExperienceBalancedBuffer, ReservoirSamplingBuffer
from pydantic import Field

from dfbench import Memory, Need, Strategy, StrategyContext, Training, UsageError, unit_ids
from dfbench_avalanche.storage_policies import Policy, PolicyReplayPlugin, Store, make_memory


class UnitReplayPlugin(ReplayPlugin):
    """Avalanche's replay, whose loader mixes unit ids instead of pictures."""

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Append stored units to each batch."""
        stored = unit_ids(self.storage_policy.buffer)
        if len(stored):
            training.mix_in(stored, self.batch_size_mem or training.train_mb_size)

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Store some of the units that were just trained on."""
        self.storage_policy.post_adapt(training, training.experience)


class ReplayConfig(Memory):
    """Options of replay."""

    batch_size: int | None = Field(None, ge=1, description="replayed units per step (default: as many as new ones)")
    policy: Policy = Field("experience", description="which units are kept")


class Replay(Strategy):
    """Experience replay (Chaudhry et al. 2019): a random memory, equally divided over the experiences.

    A step costs up to twice a naive one. Policies other than ``experience`` are in
    :mod:`dfbench_avalanche.storage_policies`.
    """

    distributes: ClassVar[bool] = True
    Config: ClassVar = ReplayConfig

    def __init__(self, config: ReplayConfig) -> None:
        super().__init__(config)
        if config.policy in ("herding", "centre"):
            self.needs = frozenset({Need.UNIT_LOGITS})  # type: ignore[misc]
        elif config.policy == "hardest":
            self.needs = frozenset({Need.GRADIENTS})  # type: ignore[misc]

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        size = context.units_in_memory(self.config)
        if size < context.experiences:
            raise UsageError(
                f"a memory of {size} units is too small for {context.experiences} experiences: "
                "raise it with --set strategy.memory=N"
            )
        self._memory: Store | None = None
        if self.config.policy != "experience":
            self._memory = make_memory(self.config.policy, size, context.heads)
            return [PolicyReplayPlugin(self._memory, self.config.batch_size, context.targets)]
        self._policy = ExperienceBalancedBuffer(max_size=size, adaptive_size=True)
        return [UnitReplayPlugin(mem_size=size, batch_size_mem=self.config.batch_size, storage_policy=self._policy)]

    def stored_units(self) -> torch.Tensor:
        """The buffer's units."""
        if self._memory is not None:
            return self._memory.ids
        return unit_ids(self._policy.buffer)

    def state_dict(self) -> dict[str, Any]:
        """Each experience's part of the buffer, with the reservoir's weights."""
        if self._memory is not None:
            return self._memory.state_dict()
        groups = self._policy.buffer_groups
        return {
            "groups": [
                {"ids": unit_ids(b.buffer), "weights": b._buffer_weights, "size": b.max_size} for b in groups.values()
            ]
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        if self._memory is not None:
            self._memory.load_state_dict(state)
            return
        for index, saved in enumerate(state["groups"]):
            group = ReservoirSamplingBuffer(saved["size"])
            group.buffer, group._buffer_weights = rebuild(saved["ids"]), saved["weights"]
            self._policy.buffer_groups[index] = group
        self._policy._num_exps = len(state["groups"])
