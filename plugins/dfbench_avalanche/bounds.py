"""What strategies are compared with: naive keeps nothing, cumulative and joint keep everything, none does not train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from avalanche.benchmarks.utils.utils import concat_datasets
from avalanche.core import SupervisedPlugin

from dfbench import Strategy, StrategyContext, Training, unit_ids


class Naive(Strategy):
    """Fine-tuning: each experience in turn, nothing kept."""

    distributes: ClassVar[bool] = True


class Joint(Strategy):
    """One training on the whole stream: the upper bound, not a continual training."""

    distributes: ClassVar[bool] = True
    whole_stream: ClassVar[bool] = True


class Untrained(Strategy):
    """No training at all: the network is scored as it is, a baseline for whatever trains."""

    distributes: ClassVar[bool] = True
    trains: ClassVar[bool] = False


class CumulativePlugin(SupervisedPlugin):
    """Trains on the data of all experiences so far. Avalanche has it as a template, not as a plugin."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def after_train_dataset_adaptation(self, training: Training, **kwargs: Any) -> None:
        """Replace the training set by all that was seen."""
        self.seen.append(training.experience.dataset)
        training.adapted_dataset = concat_datasets(self.seen)


class Cumulative(Strategy):
    """Trains on all experiences so far at each new one; stores everything."""

    distributes: ClassVar[bool] = True

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._plugin = CumulativePlugin()
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """All units seen so far."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *map(unit_ids, self._plugin.seen)])

    def state_dict(self) -> dict[str, Any]:
        """Ids of the units of each experience."""
        return {"seen": [unit_ids(d) for d in self._plugin.seen]}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.seen = [rebuild(ids) for ids in state["seen"]]
