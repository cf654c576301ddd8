"""Strategies that only choose what is trained on: naive, replay, cumulative, joint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from avalanche.benchmarks.utils.utils import concat_datasets
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.storage_policy import ExperienceBalancedBuffer, ReservoirSamplingBuffer
from pydantic import Field

from dfbench import Memory, Need, Strategy, StrategyContext, UsageError, later, unit_ids
from dfbench_avalanche.policies import Policy, PolicyReplayPlugin, Ranked, Reservoir, make_memory


class Naive(Strategy):
    """Fine-tuning: each experience in turn, nothing kept."""


class Joint(Strategy):
    """One training on the whole stream: the upper bound, not a continual strategy."""

    whole_stream: ClassVar[bool] = True


class CumulativePlugin(SupervisedPlugin):
    """Trains on the data of all experiences so far (Avalanche has it as a template, not as a plugin)."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def after_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        self.seen.append(strategy.experience.dataset)
        strategy.adapted_dataset = concat_datasets(self.seen)


class Cumulative(Strategy):
    """All experiences so far, again at each new one; stores everything."""

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        self._plugin = CumulativePlugin()
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """Everything seen so far."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *map(unit_ids, self._plugin.seen)])

    def state_dict(self) -> dict[str, Any]:
        """Ids of the units of each experience."""
        return {"seen": [unit_ids(d) for d in self._plugin.seen]}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        self._plugin.seen = [rebuild(ids) for ids in state["seen"]]


class UnitReplayPlugin(ReplayPlugin):
    """Avalanche's replay; only the loader differs: it mixes unit ids, not pictures."""

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: memory batches beside the data's."""
        stored = unit_ids(self.storage_policy.buffer)
        if len(stored):
            strategy.mix_in(stored, self.batch_size_mem or strategy.train_mb_size)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: store some of what was just trained."""
        self.storage_policy.post_adapt(strategy, strategy.experience)


class ReplayConfig(Memory):
    """Options of replay."""

    batch_size: int | None = Field(None, ge=1, description="replayed units a step (default: as many as new ones)")
    policy: Policy = later("experience", description="which units are kept")


class Replay(Strategy):
    """Experience replay (Chaudhry et al. 2019): a random memory, equally divided over the experiences.

    Each batch of new units is followed by one of stored units, so a step costs up to twice a naive one.
    Other policies than ``experience`` are in :mod:`dfbench_avalanche.policies`.
    """

    Config: ClassVar = ReplayConfig

    def __init__(self, config: ReplayConfig) -> None:
        super().__init__(config)
        if config.policy in ("herding", "centre"):
            self.needs = frozenset({Need.UNIT_LOGITS})  # type: ignore[misc]
        elif config.policy == "hardest":
            self.needs = frozenset({Need.GRADIENTS})  # type: ignore[misc]

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        size = context.units_in_memory(self.config)
        if size < context.experiences:
            raise UsageError(
                f"a memory of {size} units is too small for {context.experiences} experiences: "
                "raise it with --set strategy.memory=N"
            )
        self._memory: Ranked | Reservoir | None = None
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
        """See :class:`Strategy`."""
        if self._memory is not None:
            self._memory.load_state_dict(state)
            return
        for index, saved in enumerate(state["groups"]):
            group = ReservoirSamplingBuffer(saved["size"])
            group.buffer, group._buffer_weights = rebuild(saved["ids"]), saved["weights"]
            self._policy.buffer_groups[index] = group
        self._policy._num_exps = len(state["groups"])
