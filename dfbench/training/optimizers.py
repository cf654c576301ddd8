"""A detector's optimizers as one, and what cannot be stepped through :meth:`dfbench.Loop.step`."""

from __future__ import annotations

import copy
import inspect
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dfbench.errors import PluginError
from dfbench.plugin_faults import Fault


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


class Followers(Optimizers):
    """Steps other parameters as a detector's optimizers step its own: of the same kind, with the same settings.

    Settings are those of the leading group at each step, so that its schedule counts. State (moments) is their own.

    Args:
        leaders: The detector's optimizers.
        pairs: A parameter of the network, and one that is to be stepped like it. Parameters that no leader steps stay.

    Raises:
        PluginError: An optimizer cannot be copied.
    """

    def __init__(self, leaders: Optimizers, pairs: Sequence[tuple[torch.Tensor, nn.Parameter]]) -> None:
        self._followed: list[tuple[dict[str, Any], dict[str, Any]]] = []
        members = []
        for leader in leaders.members:
            groups = []
            for group in leader.param_groups:
                held = {id(p) for p in group["params"]}
                params = [follower for p, follower in pairs if id(p) in held]
                if params:
                    groups.append({**group, "params": params})
                    self._followed.append((group, groups[-1]))
            if groups:
                members.append(_emptied(leader, groups))
        super().__init__(members)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step with the leaders' present settings."""
        for leader, own in self._followed:
            own.update({name: value for name, value in leader.items() if name != "params"})
        super().step(closure)


def _emptied(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """An optimizer of the same kind on other parameters, without state."""
    try:
        other = copy.copy(optimizer)  # what pickles: neither hooks nor a schedule's wrapper of step()
        other.state = defaultdict(dict)
        other.param_groups = groups
    except Exception as error:
        raise PluginError(
            f"this strategy trains weights of its own as {type(optimizer).__name__} trains the head's, and cannot "
            f"make another one: {error}"
        ) from error
    return other


_INSTEAD = "use an optimizer that steps on one gradient, or declare the detector opaque"


def check_optimizers(members: Sequence[Any], detector: str) -> None:
    """Refuse what :meth:`Optimizers.step` cannot step.

    Args:
        members: What the detector passed to ``loop.optimize``.
        detector: Name of its class.

    Raises:
        Fault: There is none, one is not an optimizer, or one evaluates the loss several times per step (LBFGS,
            SAM).
    """
    if not members:
        raise Fault(detector, "", "loop.optimize() needs an optimizer")
    for member in members:
        if not isinstance(member, torch.optim.Optimizer):
            raise Fault(detector, "", f"loop.optimize() takes optimizers of torch, not a {type(member).__name__}")
        closure = inspect.signature(member.step).parameters.get("closure")
        required = closure is not None and closure.default is inspect.Parameter.empty
        if required or all(hasattr(member, name) for name in ("first_step", "second_step")):
            raise Fault(detector, "", _needs_closure(member))


def _needs_closure(member: torch.optim.Optimizer) -> str:
    return f"{type(member).__name__} evaluates the loss several times per step, which loop.step() cannot do: {_INSTEAD}"
