"""What a training computes: rows that went through the network, forward and backward, whoever asked for it.

Hooks on the network count, not the strategies. Copies of it (a teacher, a snapshot) carry the same hooks, so
distillation, reference gradients, Fisher information and selection passes are included, for a third party's strategy
too. Shapes are read on the host, so counting never waits for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

BACKWARD = 2.0
"""Cost of a backward pass in forward passes: the gradients of the activations and those of the weights."""


class ComputeCounter:
    """Counts rows of network input while it is switched on. It is off at first.

    A frozen part makes a backward pass cheaper; that is not considered.

    Attributes:
        forward: rows that went through the network or a copy of it.
        backward: rows that a gradient came back through.
    """

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0
        self._on = False

    def watch(self, model: nn.Module) -> None:
        """Count the passes of this network and of the copies that are made of it."""
        model.register_forward_hook(_ForwardHook(self))

    @contextlib.contextmanager
    def counting(self, on: bool = True) -> Iterator[None]:
        """A context in which passes are counted, or with ``on=False`` not counted."""
        before, self._on = self._on, on
        try:
            yield
        finally:
            self._on = before

    def add(self, rows: int) -> None:
        """Count a training step on ``rows`` rows whose loss called parts of the network instead of the network."""
        if self._on:
            self.forward += rows
            self.backward += rows

    @property
    def cost(self) -> float:
        """Passes of training: a forward and a backward pass of one row are 1."""
        return cost(self.forward, self.backward)

    def on_forward(self, output: Any) -> None:
        """Count a forward pass, and the backward pass through it if one follows.

        Args:
            output: what the network returned; the length of its first tensor is the number of rows.
        """
        if not self._on:
            return
        tensor = _first_tensor(output)
        if tensor is None:
            return
        rows = len(tensor) if tensor.dim() else 1
        self.forward += rows
        if tensor.requires_grad:
            tensor.register_hook(_BackwardHook(self, rows))


def cost(forward: float, backward: float) -> float:
    """Passes of training that these rows cost: a backward pass is :data:`BACKWARD` forward passes.

    >>> cost(30, 30), cost(30, 0)
    (30.0, 10.0)
    """
    return (forward + BACKWARD * backward) / (1 + BACKWARD)


class _ForwardHook:
    def __init__(self, counter: ComputeCounter) -> None:
        self._counter = counter

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._counter.on_forward(output)

    def __deepcopy__(self, memo: dict[int, Any]) -> _ForwardHook:
        return self  # a copy of the network counts in the same place


class _BackwardHook:
    def __init__(self, counter: ComputeCounter, rows: int) -> None:
        self._counter, self._rows = counter, rows

    def __call__(self, gradient: torch.Tensor) -> None:
        if self._counter._on:
            self._counter.backward += self._rows


def _first_tensor(output: Any) -> torch.Tensor | None:
    if isinstance(output, torch.Tensor):
        return output
    children = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    return next((found for child in children if (found := _first_tensor(child)) is not None), None)
