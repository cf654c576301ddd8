"""Policies for what a replay memory keeps, besides Avalanche's balance by experience.

A memory consists of groups, one for each class of each experience. Units of a group are sorted once, the one to keep
longest first, by the network that has just been trained on them. When the memory has to shrink, every group loses its
last units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from avalanche.core import SupervisedPlugin

from dfbench import Training, unit_ids
from dfbench_avalanche.features import HeadInputs
from dfbench_avalanche.teacher import evaluated, predicting

Policy = Literal["experience", "class", "reservoir", "herding", "hardest", "centre", "harmonic", "decaying"]
Order = Callable[[Training, torch.Tensor], torch.Tensor]
"""(training, ids of one class of the experience) -> the same ids, the one to keep longest first."""


def shares(sizes: list[int], total: int) -> list[int]:
    """Divide places among groups as equally as possible.

    What a small group leaves goes to the others. Where the rest does not divide, the first groups get one more.

    Args:
        sizes: number of units of each group.
        total: number of places.

    Returns:
        Places of each group, none more than its size.
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
    """Groups by experience and class, each sorted by ``order``; ``size`` units in all."""

    def __init__(self, size: int, order: Order) -> None:
        self.size, self.order = size, order
        self.groups: list[torch.Tensor] = []

    @property
    def ids(self) -> torch.Tensor:
        """All stored units."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *self.groups])

    def update(self, training: Training, ids: torch.Tensor, targets: torch.Tensor) -> None:
        """Add the experience's units, ids and targets int64 (N,); then every group keeps its share."""
        for target in torch.unique(targets):
            self.groups.append(self.order(training, ids[targets == target]))
        kept = shares([len(group) for group in self.groups], self.size)
        self.groups = [group[:count] for group, count in zip(self.groups, kept, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """The groups."""
        return {"ranked": self.groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.groups = list(state["ranked"])


def harmonic(age: int) -> float:
    """Weight of an experience that ended ``age`` trainings ago, counted from 1: 1, 1/2, 1/3, …"""
    return 1 / age


def decaying(age: int) -> float:
    """Weight of an experience that ended ``age`` trainings ago, counted from 1: 1, 1/2, 1/4, …"""
    return 0.5 ** (age - 1)


def aged_shares(sizes: list[int], total: int, weight: Callable[[int], float]) -> list[int]:
    """Divide places among experiences by their age.

    Each gets the whole part of its share; what rounding and small experiences leave goes to the others a place at a
    time, the latest first.

    Args:
        sizes: number of units that each experience can give, the earliest first.
        total: number of places.
        weight: of an age, counted from 1 for the latest.

    Returns:
        Places of each experience, none more than its size.
    """
    weights = [weight(len(sizes) - place) for place in range(len(sizes))]
    # The tolerance is for shares that are whole but for the last bits: 6 · (1/2) / (3/2) is 2.
    given = [min(size, int(total * w / sum(weights) + 1e-9)) for size, w in zip(sizes, weights, strict=True)]
    left = min(total, sum(sizes)) - sum(given)
    while left:
        for place in reversed(range(len(sizes))):
            if left and given[place] < sizes[place]:
                given[place] += 1
                left -= 1
    return given


class Aged:
    """A uniform sample of each experience, the smaller the longer ago it was trained on; ``size`` units in all.

    After the paper "Generalized Design Choices for Deepfake Detectors" (Pellegrini et al. 2025, arXiv:2511.21507,
    tables 8 and 9) and the code that its repository MI-BioLab/AI-GenBench publishes. Of the paper the abstract and
    summaries were readable here, of the code the two classes whole: ``MostRecentHarmonicReplayStrategy`` keeps
    B / n samples of a window that was introduced n windows ago, ``MostRecentReplayStrategy`` B / 2ⁿ⁻¹ (called
    decaying here; whether the paper calls it so could not be read).

    Different here: the sum is a memory of a fixed size from the start, so that policies can be compared, where theirs
    grows, as B · (1 + 1/2 + … + 1/n) and towards 2 · B; the proportions are the same. An experience's places are
    divided equally over its classes, real ones too, where theirs are over its generators: here reals differ between
    experiences. A unit that was dropped does not come back, where they draw from all data anew.

    Args:
        size: in units.
        weight: of an age (:func:`harmonic`, :func:`decaying`).
    """

    def __init__(self, size: int, weight: Callable[[int], float]) -> None:
        self.size, self.weight = size, weight
        self.experiences: list[list[torch.Tensor]] = []
        """The groups of each experience, one for each class, in random order; the last ones are dropped first."""

    @property
    def ids(self) -> torch.Tensor:
        """All stored units."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *(g for groups in self.experiences for g in groups)])

    def update(self, training: Training, ids: torch.Tensor, targets: torch.Tensor) -> None:
        """Add the experience's units, ids and targets int64 (N,); then every experience keeps its share."""
        groups = [ids[targets == target] for target in torch.unique(targets)]
        self.experiences.append([group[torch.randperm(len(group))] for group in groups])
        sizes = [sum(map(len, groups)) for groups in self.experiences]
        places = aged_shares(sizes, self.size, self.weight)
        for number, groups in enumerate(self.experiences):
            kept = shares([len(group) for group in groups], places[number])
            self.experiences[number] = [group[:count].clone() for group, count in zip(groups, kept, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """The groups of each experience."""
        return {"aged": self.experiences}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.experiences = [list(groups) for groups in state["aged"]]


class Reservoir:
    """A uniform sample of all units seen, whatever their experience and class, ``size`` in all."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ids = torch.empty(0, dtype=torch.int64)
        self.keys = torch.empty(0, dtype=torch.float64)

    def update(self, training: Training, ids: torch.Tensor, targets: torch.Tensor) -> None:
        """Every unit, ids int64 (N,), draws a number once; those with the largest stay."""
        keys = torch.cat([self.keys, torch.rand(len(ids), dtype=torch.float64)])
        kept = keys.argsort(descending=True)[: self.size]
        self.ids, self.keys = torch.cat([self.ids, ids])[kept], keys[kept]

    def state_dict(self) -> dict[str, Any]:
        """The units and the numbers that they drew."""
        return {"ids": self.ids, "keys": self.keys}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.ids, self.keys = state["ids"], state["keys"]


Store = Ranked | Aged | Reservoir
"""A memory of one of these kinds."""


class PolicyReplayPlugin(SupervisedPlugin):
    """Replay of a memory that one of these policies fills."""

    def __init__(self, memory: Store, batch_size: int | None, targets: torch.Tensor) -> None:
        super().__init__()
        self.memory, self.batch_size, self.targets = memory, batch_size, targets

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Append stored units to each batch."""
        if len(self.memory.ids):
            training.mix_in(self.memory.ids, self.batch_size or training.train_mb_size)

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Store some of the units that were just trained on, chosen by the network that predicts now, in eval mode."""
        ids = unit_ids(training.experience.dataset)
        with predicting(training), evaluated(training.model), torch.no_grad():
            self.memory.update(training, ids, self.targets[ids])


def make_memory(policy: Policy, size: int, heads: tuple[str, ...]) -> Store:
    """The memory of a policy.

    Args:
        policy: any but ``experience``.
        size: in units.
        heads: names of the network's heads, whose inputs are its features.
    """
    match policy:
        case "reservoir":
            return Reservoir(size)
        case "harmonic":
            return Aged(size, harmonic)
        case "decaying":
            return Aged(size, decaying)
        case "class":
            return Ranked(size, lambda training, ids: ids[torch.randperm(len(ids))])
        case "hardest":
            return Ranked(size, lambda training, ids: ids[losses(training, ids).argsort(descending=True, stable=True)])
        case "herding":
            return Ranked(size, lambda training, ids: ids[herd(features(training, ids, heads), size)])
        case "centre":
            return Ranked(size, lambda training, ids: ids[to_centre(features(training, ids, heads))])
    raise ValueError(policy)


def losses(training: Training, ids: torch.Tensor) -> torch.Tensor:
    """The detector's own loss on each unit alone, (N,): one pass per unit, whatever a unit is."""
    return (
        torch.stack([training.reference_loss(one).detach().float() for one in training.batches_of(ids, 1)])
        .reshape(-1)
        .cpu()
    )


def features(training: Training, ids: torch.Tensor, heads: tuple[str, ...]) -> torch.Tensor:
    """The inputs of the network's head, (N, D) with rows of length 1 as in iCaRL; the logits if it has none."""
    parts = []
    for batch in training.batches_of(ids):
        with HeadInputs(training.model, heads) as inputs:
            found = training.reference_logits(batch)
        if len(heads) == 1 and heads[0] in inputs.caught and len(inputs.caught[heads[0]]) == len(batch):
            found = inputs.caught[heads[0]]
        parts.append(found.detach().float().reshape(len(batch), -1).cpu())
    return torch.nn.functional.normalize(torch.cat(parts).double(), dim=1)


def herd(points: torch.Tensor, count: int) -> torch.Tensor:
    """Herding (Welling 2009, as in iCaRL): each next point brings the mean of the chosen nearest to that of all.

    Args:
        points: (N, D).
        count: number of positions at most.

    Returns:
        Positions in the order in which they were chosen, int64 (min(count, N),).
    """
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
    """Positions int64 (N,), the nearest to the mean of all first (DFIL's centre samples)."""
    return (points - points.mean(0)).pow(2).sum(1).argsort(stable=True)
