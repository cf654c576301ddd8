"""What a training computes: rows that went through the network, forward and backward, whoever asked for it.

Hooks on the network count, not the strategies: copies of it (a teacher, a snapshot) carry the same hooks, so that
distillation, reference gradients, Fisher information and selection passes are in it, a third party's too. Shapes are
read on the host: nothing waits for the device. A row whose features were kept from before
(:mod:`dfbench.training.frozen`) counts like any other: what is counted is what the method asks for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

BACKWARD = 2.0
"""Cost of a backward pass in forward passes: the gradients of the activations and those of the weights."""


class Passes:
    """Counts rows of network input while it is switched on.

    ``forward``: rows that went through the network or a copy of it. ``backward``: rows that a gradient came back
    through. A frozen part makes a backward pass cheaper, and is not looked at.
    """

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0
        self._on = False

    def watch(self, model: nn.Module) -> None:
        """Count the passes of this network and of the copies that are made of it."""
        model.register_forward_hook(_Counter(self))

    @contextlib.contextmanager
    def counting(self, on: bool = True) -> Iterator[None]:
        """Count while inside, or do not."""
        before, self._on = self._on, on
        try:
            yield
        finally:
            self._on = before

    def add(self, rows: int) -> None:
        """A step whose loss did not call the network itself, but parts of it."""
        if self._on:
            self.forward += rows
            self.backward += rows

    @property
    def cost(self) -> float:
        """Passes of training: a forward and a backward pass of one row are 1."""
        return cost(self.forward, self.backward)

    def of(self, output: Any) -> None:
        """A forward pass gave ``output``."""
        if not self._on:
            return
        tensor = _first(output)
        if tensor is None:
            return
        rows = len(tensor) if tensor.dim() else 1
        self.forward += rows
        if tensor.requires_grad:
            tensor.register_hook(_Backward(self, rows))


def cost(forward: float, backward: float) -> float:
    """Passes of training that these rows cost: a backward pass is :data:`BACKWARD` forward passes.

    >>> cost(30, 30), cost(30, 0)
    (30.0, 10.0)
    """
    return (forward + BACKWARD * backward) / (1 + BACKWARD)


class _Counter:
    """The hook; copies of the network count in the same place."""

    def __init__(self, passes: Passes) -> None:
        self._passes = passes

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._passes.of(output)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Counter:
        return self


class _Backward:
    def __init__(self, passes: Passes, rows: int) -> None:
        self._passes, self._rows = passes, rows

    def __call__(self, gradient: torch.Tensor) -> None:
        if self._passes._on:
            self._passes.backward += self._rows


def _first(output: Any) -> torch.Tensor | None:
    """The first tensor of what a network gave."""
    if isinstance(output, torch.Tensor):
        return output
    children = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    return next((found for child in children if (found := _first(child)) is not None), None)
