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

    @property
    def evaluating(self) -> torch.optim.Optimizer | None:
        """A member that evaluates the loss several times per step; None if there is none."""
        return next((member for member in self.members if _evaluates(member)), None)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of every member's parameters and of the whole network."""
        for member in self.members:
            member.zero_grad(set_to_none)
        if self.model is not None:
            self.model.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step every member; those that evaluate the loss several times get the closure.

        Raises:
            PluginError: A member requires a closure and there is none, or there is one that no member wants.
        """
        if closure is not None and self.evaluating is None:
            raise PluginError("a step of these optimizers takes no closure, since they evaluate the loss once")
        for member in self.members:
            try:
                if closure is not None and _evaluates(member):
                    _step_again(member, closure)
                    continue
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


def check_optimizers(members: Sequence[Any], detector: str) -> None:
    """Refuse what :meth:`Optimizers.step` cannot step.

    Args:
        members: What the detector passed to ``loop.optimize``.
        detector: Name of its class.

    Raises:
        Fault: There is none, or one is not an optimizer.
    """
    if not members:
        raise Fault(detector, "", "loop.optimize() needs an optimizer")
    for member in members:
        if not isinstance(member, torch.optim.Optimizer):
            raise Fault(detector, "", f"loop.optimize() takes optimizers of torch, not a {type(member).__name__}")


def _evaluates(member: torch.optim.Optimizer) -> bool:
    """Whether an optimizer evaluates the loss several times per step: it requires a closure, or steps in two parts."""
    closure = inspect.signature(member.step).parameters.get("closure")
    required = closure is not None and closure.default is inspect.Parameter.empty
    return required or _has_two_parts(member)


def _has_two_parts(member: Any) -> bool:
    return all(callable(getattr(member, name, None)) for name in ("first_step", "second_step"))


def _step_again(member: Any, closure: Any) -> None:
    """Step an optimizer whose gradient is there, with a closure that computes it at other weights."""
    if not _has_two_parts(member):
        member.step(closure)
        return
    member.first_step()  # uphill
    closure()
    member.second_step()  # back, and a step with the gradient from there


def _needs_closure(member: torch.optim.Optimizer) -> str:
    return (
        f"{type(member).__name__} evaluates the loss several times per step: pass a function, as in "
        "loop.step(lambda: self.loss(model, batch))"
    )
