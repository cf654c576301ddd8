"""Networks whose trunk counts what goes through it, for tests of frozen trunks."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class Counter(nn.Module):
    """Counts the rows that go through it, in a place that no copy of the network shares."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows.append(len(x))
        return x


class Net(nn.Module):
    """A trunk with a counter, a head, and something that a test puts before the trunk."""

    def __init__(self, before: Callable[[nn.Module, torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.count = Counter()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.head = nn.Linear(96, 2)
        self._before = before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.count(x)
        if self._before is not None:
            x = self._before(self, x)
        return self.head(self.body(x))


def in_place(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return x.clamp_(-0.5, 0.5)


def dropped(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return F.dropout(x, 0.2)  # whatever the mode


def drawing(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return x if torch.rand(()) < 2 else x * 0  # moves the random numbers on, and nothing else


def python_noise(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return x * (0.9 + 0.2 * random.random())


def centred(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(0, keepdim=True)


def highest(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return x - x.amax(0, keepdim=True)


def counted(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    model.calls = getattr(model, "calls", 0) + 1
    return x * (1 + model.calls % 3)
