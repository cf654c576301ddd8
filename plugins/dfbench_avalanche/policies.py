"""What a replay memory keeps: policies beside Avalanche's balance by experience.

A memory is made of groups, one for each class of each experience, in which units stand in the order in
which they are to be kept. When it has to shrink, every group loses its last ones, so an order is made
once, by the network that has just been trained on those units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from avalanche.core import SupervisedPlugin

from dfbench import unit_ids
from dfbench_avalanche.features import HeadInputs

Policy = Literal["experience", "class", "reservoir", "herding", "hardest", "centre"]
Order = Callable[[Any, torch.Tensor], torch.Tensor]
"""(strategy, ids of one class of the experience) -> the same ids, the one to be kept longest first."""


def shares(sizes: list[int], total: int) -> list[int]:
    """``total`` places for groups of these sizes: as equal as can be, none more than its size.

    What a small group leaves goes to the others; of what does not divide the first get one more.
    """
    given = [0] * len(sizes)
    left = total
    while left and (open_ := [i for i, size in enumerate(sizes) if given[i] < size]):
        each = max(left // len(open_), 1)
        for i in open_[:left]:
            more = min(each, sizes[i] - given[i])
            given[i] += more
            left -= more
    return given


class Ranked:
    """Groups by experience and class, each in an order of its own."""

    def __init__(self, size: int, order: Order) -> None:
        self.size, self.order = size, order
        self.groups: list[torch.Tensor] = []

    @property
    def ids(self) -> torch.Tensor:
        """All stored units."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *self.groups])

    def update(self, strategy: Any, ids: torch.Tensor, targets: torch.Tensor) -> None:
        """Take the experience's units; every group keeps its share."""
        for target in torch.unique(targets):
            self.groups.append(self.order(strategy, ids[targets == target]))
        kept = shares([len(group) for group in self.groups], self.size)
        self.groups = [group[:count] for group, count in zip(self.groups, kept, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """The groups."""
        return {"ranked": self.groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.groups = list(state["ranked"])


class Reservoir:
    """A uniform sample of all units seen, whatever their experience and class."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ids = torch.empty(0, dtype=torch.int64)
        self.keys = torch.empty(0, dtype=torch.float64)

    def update(self, strategy: Any, ids: torch.Tensor, targets: torch.Tensor) -> None:
        """Every unit draws a number once; the largest stay."""
        keys = torch.cat([self.keys, torch.rand(len(ids), dtype=torch.float64)])
        kept = keys.argsort(descending=True)[: self.size]
        self.ids, self.keys = torch.cat([self.ids, ids])[kept], keys[kept]

    def state_dict(self) -> dict[str, Any]:
        """Units and their numbers."""
        return {"ids": self.ids, "keys": self.keys}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.ids, self.keys = state["ids"], state["keys"]


class PolicyReplayPlugin(SupervisedPlugin):
    """Replay of a memory that one of these policies fills."""

    def __init__(self, memory: Ranked | Reservoir, batch_size: int | None, targets: torch.Tensor) -> None:
        super().__init__()
        self.memory, self.batch_size, self.targets = memory, batch_size, targets

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: memory batches beside the data's."""
        if len(self.memory.ids):
            strategy.mix_in(self.memory.ids, self.batch_size or strategy.train_mb_size)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: store some of what was just trained."""
        ids = unit_ids(strategy.experience.dataset)
        training = strategy.model.training
        strategy.model.eval()
        with torch.no_grad():
            self.memory.update(strategy, ids, self.targets[ids])
        strategy.model.train(training)


def make_memory(policy: Policy, size: int, heads: tuple[str, ...]) -> Ranked | Reservoir:
    """The memory of a policy; ``size`` in units, ``heads``: where the network's features come in."""
    match policy:
        case "reservoir":
            return Reservoir(size)
        case "class":
            return Ranked(size, lambda strategy, ids: ids[torch.randperm(len(ids))])
        case "hardest":
            return Ranked(size, lambda strategy, ids: ids[losses(strategy, ids).argsort(descending=True, stable=True)])
        case "herding":
            return Ranked(size, lambda strategy, ids: ids[herd(features(strategy, ids, heads), size)])
        case "centre":
            return Ranked(size, lambda strategy, ids: ids[to_centre(features(strategy, ids, heads))])
    raise ValueError(policy)


def losses(strategy: Any, ids: torch.Tensor) -> torch.Tensor:
    """The detector's own loss on each unit alone, (N,): one pass a unit, whatever a unit is."""
    return torch.stack([strategy.reference_loss(one).detach().float() for one in ids.split(1)]).reshape(-1).cpu()


def features(strategy: Any, ids: torch.Tensor, heads: tuple[str, ...]) -> torch.Tensor:
    """What comes into the network's head, (N, D) with rows of length 1 as in iCaRL; the logits where there is none."""
    parts = []
    for batch in ids.split(strategy.train_mb_size):
        with HeadInputs(strategy.model, heads) as inputs:
            found = strategy.reference_logits(batch)
        if len(heads) == 1 and heads[0] in inputs.caught and len(inputs.caught[heads[0]]) == len(batch):
            found = inputs.caught[heads[0]]
        parts.append(found.detach().float().reshape(len(batch), -1).cpu())
    return torch.nn.functional.normalize(torch.cat(parts).double(), dim=1)


def herd(points: torch.Tensor, count: int) -> torch.Tensor:
    """Herding (Welling 2009, as in iCaRL): positions in the order in which their mean comes nearest to that of all."""
    mean, chosen, total = points.mean(0), [], torch.zeros_like(points[0])
    free = torch.ones(len(points), dtype=torch.bool)
    for k in range(1, min(count, len(points)) + 1):
        away = (mean - (total + points) / k).pow(2).sum(1)
        best = int(away.masked_fill(~free, torch.inf).argmin())
        chosen.append(best)
        free[best] = False
        total = total + points[best]
    return torch.tensor(chosen, dtype=torch.int64)


def to_centre(points: torch.Tensor) -> torch.Tensor:
    """Positions, the nearest to the mean of all first (DFIL's centre samples)."""
    return (points - points.mean(0)).pow(2).sum(1).argsort(stable=True)
