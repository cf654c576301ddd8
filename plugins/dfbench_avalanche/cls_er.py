"""CLS-ER: replay with two averages of the network, a fast and a slow one, that teach it on stored units.

Arani et al., "Learning Fast, Learning Slow", ICLR 2022, arXiv:2201.12604, with the defaults of the authors' code
(``NeurAI-Lab/CLS-ER``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Memory, Need, Strategy, StrategyContext, Training, UsageError, copy_network
from dfbench_avalanche.storage_policies import PolicyReplayPlugin, Reservoir
from dfbench_avalanche.teacher import check_copy


def surer(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Of several teachers' logits for each row those of the one that gives its label the largest probability (Eq. 2).

    Args:
        logits: (N, classes) of each teacher; of equal ones the last counts, the plastic one, as in the authors' code.
        labels: int64 (N,).

    Returns:
        (N, classes).
    """
    best, sure = logits[-1], _probability(logits[-1], labels)
    for other in reversed(logits[:-1]):
        found = _probability(other, labels)
        best = torch.where((found > sure)[:, None], other, best)
        sure = torch.maximum(found, sure)
    return best


def _probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.softmax(1).gather(1, labels[:, None]).squeeze(1)


@torch.no_grad()
def move(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """One step of an exponential moving average of weights and buffers (Eq. 1).

    Args:
        average: moved in place.
        model: the network as it is now.
        step: optimizer steps made, from 1: the share of the old average is 1 − 1/(step + 1) at most.
        decay: that share later on.
    """
    share = 1 - min(1 - 1 / (step + 1), decay)
    now = model.state_dict()
    for name, old in average.state_dict().items():
        if old.is_floating_point():
            old.lerp_(now[name].to(old), share)
        else:
            old.copy_(now[name])


class CLSERPlugin(SupervisedPlugin):
    """Moves both averages after each step, and holds the network to their outputs on stored units.

    Attributes:
        stable: the slow average, which predicts.
        plastic: the fast one.
        steps: optimizer steps made.
    """

    def __init__(self, model: nn.Module, memory: Reservoir, config: CLSERConfig) -> None:
        super().__init__()
        self.memory, self.config = memory, config
        self.stable, self.plastic = (copy_network(model).eval().requires_grad_(False) for _ in range(2))
        self.steps = 0

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add the squared distance to the surer average's logits, a mean over stored units and classes."""
        stored = torch.isin(training.units, self.memory.ids)
        if not stored.any():
            return
        rows = stored.nonzero().squeeze(1).to(training.device)
        x = training.mbatch[0][rows]
        with torch.no_grad(), training.autocast():
            taught = [average(x).float() for average in (self.stable, self.plastic)]
        aim = surer(taught, training.mbatch[1][rows])
        distance = F.mse_loss(training.mb_output[rows].float(), aim)
        training.loss = training.loss + self.config.consistency * distance

    def after_update(self, training: Training, **kwargs: Any) -> None:
        """Move each average, with its probability."""
        c = self.config
        self.steps += 1
        for average, chance, decay in (
            (self.plastic, c.plastic_chance, c.plastic_decay),
            (self.stable, c.stable_chance, c.stable_decay),
        ):
            if float(torch.rand(())) < chance:
                move(average, training.model, self.steps, decay)

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """The slow average predicts; the network itself goes on from its own weights."""
        training.averaged = self.stable


class CLSERConfig(Memory):
    """Options of CLS-ER; the defaults are the authors'."""

    consistency: float = Field(0.1, ge=0, description="weight of the squared distance to the averages' logits")
    stable_chance: float = Field(0.7, gt=0, le=1, description="probability that a step moves the slow average")
    stable_decay: float = Field(0.999, ge=0, lt=1, description="share of the old slow average in the new one")
    plastic_chance: float = Field(0.9, gt=0, le=1, description="probability that a step moves the fast average")
    plastic_decay: float = Field(0.999, ge=0, lt=1, description="share of the old fast average in the new one")
    batch_size: int | None = Field(None, ge=1, description="replayed units per step (default: as many as new ones)")


class CLSER(Strategy):
    """CLS-ER (Arani et al. 2022): replay with a plastic and a stable average of the network; the stable one predicts.

    Differences from the authors' code: the detector's own loss replaces cross-entropy; units are stored after an
    experience, a uniform sample of all so far; the squared distance is of the pass that the loss is of, where theirs
    passes the stored ones once more; the averages are in eval mode and have averaged buffers (statistics of batch
    normalisation), where theirs are in train mode.
    """

    Config: ClassVar = CLSERConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.UNIT_LOGITS, Need.INPUTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        size = context.units_in_memory(self.config)
        if size < 1:
            raise UsageError("the memory pays for less than one unit: raise it with --set strategy.memory=N")
        check_copy(context.model)
        self._memory = Reservoir(size)
        self._plugin = CLSERPlugin(context.model, self._memory, self.config)
        # The slow average predicts before the memory is filled.
        return [self._plugin, PolicyReplayPlugin(self._memory, self.config.batch_size, context.targets)]

    def stored_units(self) -> torch.Tensor:
        """The memory's units."""
        return self._memory.ids

    def state_dict(self) -> dict[str, Any]:
        """The memory and both averages."""
        averages = {name: dict(getattr(self._plugin, name).state_dict()) for name in ("stable", "plastic")}
        return {"memory": self._memory.state_dict(), "steps": self._plugin.steps, **averages}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._memory.load_state_dict(state["memory"])
        self._plugin.steps = state["steps"]
        for name in ("stable", "plastic"):
            getattr(self._plugin, name).load_state_dict(state[name])
