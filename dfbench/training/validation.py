"""Validation data in a detector's loop: how good the network is now, and the best weights so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from dfbench.data.loader import Batch


@dataclass(frozen=True)
class Validation:
    """How well a network does on the validation sets of what is trained.

    Attributes:
        auc: of units, 0 to 1; None where there are more than two classes, or one of two is missing.
        accuracy: share of units whose most probable class is theirs, 0 to 1.
        log_loss: mean of −log p of the true class, p at least 10⁻⁷.
        count: number of units.
    """

    auc: float | None
    accuracy: float
    log_loss: float
    count: int


class ValidationSet(Protocol):
    """The validation units of the experiences that are trained."""

    def batches(self) -> Iterator[Batch]:
        """All units once, as units to predict, in batches on the device."""
        ...

    def score(self, model: nn.Module) -> Validation:
        """What the detector's ``predict`` makes of them with this network; nothing else notices it."""
        ...


class BestWeights:
    """The weights with the best value so far; they stay on the device.

    Attributes:
        value: the best one; None before the first.
        since: values that were not better since then.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self.since = 0
        self._kept: list[dict[str, torch.Tensor]] = []

    def offer(self, value: float, larger: bool, networks: list[nn.Module]) -> bool:
        """Keep the networks' weights and buffers if the value is the best so far.

        Args:
            value: not NaN; one that is counts as worse than all.
            larger: whether larger values are better.
            networks: the one that is trained and, if there is one, its average; the same at each call.
        """
        better = self.value is None or (value > self.value if larger else value < self.value)
        if value != value or not better:
            self.since += 1
            return False
        self.value, self.since = value, 0
        self._kept = [{k: v.detach().clone() for k, v in network.state_dict().items()} for network in networks]
        return True

    def restore(self, networks: list[nn.Module]) -> None:
        """Put the kept weights back; nothing where none were kept."""
        for network, kept in zip(networks, self._kept, strict=False):
            network.load_state_dict(kept)
