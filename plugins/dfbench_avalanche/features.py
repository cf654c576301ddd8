"""Features of a network: the inputs of its final linear layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class HeadInputs:
    """Catches the input of each head while it is attached. A copy of the network catches nothing.

    Attributes:
        caught: by name of the head, (rows, features) of its last call, with the graph.
    """

    def __init__(self, model: nn.Module, heads: tuple[str, ...]) -> None:
        self.caught: dict[str, torch.Tensor] = {}
        self._handles: list[Any] = [
            model.get_submodule(head).register_forward_pre_hook(_Catch(self.caught, head)) for head in heads
        ]

    def __enter__(self) -> HeadInputs:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Stop catching."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


class _Catch:
    """A hook that a copy of the model (a teacher, an average) does not carry along."""

    def __init__(self, caught: dict[str, torch.Tensor] | None, head: str) -> None:
        self.caught, self.head = caught, head

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.caught is not None:
            self.caught[self.head] = args[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Catch:
        return _Catch(None, self.head)
