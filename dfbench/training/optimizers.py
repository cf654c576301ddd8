"""A detector's optimizers as one, and what cannot be stepped through :meth:`dfbench.Loop.step`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dfbench.errors import PluginError


class Optimizers(torch.optim.Optimizer):
    """Several optimizers that Avalanche's plugins see as one.

    Args:
        members: All are stepped together.
        model: Its gradients are reset with those of the members' parameters: another optimizer may have left some.
    """

    def __init__(self, members: Sequence[torch.optim.Optimizer], model: nn.Module | None = None) -> None:
        # Without super().__init__(): it requires parameters, and there are none before the detector's first step.
        self.members = tuple(members)
        self.model = model
        self.defaults: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """All groups of all members."""
        return [group for member in self.members for group in member.param_groups]

    @property
    def state(self) -> dict[Any, Any]:  # type: ignore[override]
        """All state of all members."""
        return {key: value for member in self.members for key, value in member.state.items()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of every member's parameters and of the whole network."""
        for member in self.members:
            member.zero_grad(set_to_none)
        if self.model is not None:
            self.model.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step every member.

        Raises:
            PluginError: There is a closure, or a member requires one.
        """
        if closure is not None:
            raise PluginError(f"a step takes no closure, since the loss is computed once: {_INSTEAD}")
        for member in self.members:
            try:
                member.step()
            except Exception as error:
                if "closure" not in str(error):
                    raise
                raise PluginError(_needs_closure(member)) from error


_INSTEAD = "use an optimizer that steps on one gradient, or declare the detector opaque"


def check_optimizers(members: Sequence[Any]) -> None:
    """Refuse what :meth:`Optimizers.step` cannot step.

    Raises:
        PluginError: There is none, one is not an optimizer, or one evaluates the loss several times per step (LBFGS,
            SAM).
    """
    if not members:
        raise PluginError("loop.optimize() needs an optimizer")
    for member in members:
        if not isinstance(member, torch.optim.Optimizer):
            raise PluginError(f"loop.optimize() takes optimizers of torch, not a {type(member).__name__}")
        closure = inspect.signature(member.step).parameters.get("closure")
        required = closure is not None and closure.default is inspect.Parameter.empty
        if required or all(hasattr(member, name) for name in ("first_step", "second_step")):
            raise PluginError(_needs_closure(member))


def _needs_closure(member: torch.optim.Optimizer) -> str:
    return f"{type(member).__name__} evaluates the loss several times per step, which loop.step() cannot do: {_INSTEAD}"
