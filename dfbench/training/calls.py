"""What a detector's own code returns, and how it calls its network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from dfbench.plugin_faults import Fault

NOT_ONE_TENSOR = "the network is called with something other than one tensor: call model(x)"
CHANGED_IN_PLACE = "model(x) changes x in place: the earlier network would get the changed x"


def check_loss(loss: Any, detector: Any, method: str, did: str, end: str = "") -> None:
    """Check that a loss can be trained on.

    Args:
        loss: What the detector made.
        detector: The detector, or the name of its class.
        method: Of the detector.
        did: What the method did with the loss: ``"returned"``.
        end: The end of that sentence.

    Raises:
        Fault: It is not a scalar tensor with a gradient.
    """
    end = f" {end}" if end else ""
    if not isinstance(loss, torch.Tensor):
        raise Fault(detector, method, f"{did} a {type(loss).__name__}{end}: a scalar loss is needed")
    if loss.dim() != 0:
        wrong = f"it must be a scalar loss, not one of shape {tuple(loss.shape)}"
        raise Fault(detector, method, f"{did} a wrong loss{end}: {wrong}")
    if not loss.requires_grad:
        why = "it was detached, or computed under torch.no_grad() or on frozen weights alone"
        raise Fault(detector, method, f"{did} a loss without a gradient{end}: {why}")


def is_one_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether these arguments of a network are one tensor, so that another network can be called with it."""
    return len(args) == 1 and isinstance(args[0], torch.Tensor) and not kwargs


@contextlib.contextmanager
def graded_outputs(model: nn.Module) -> Iterator[list[Any]]:
    """A context in which the outputs of passes with gradients are collected; others are the detector's own affair."""
    outputs: list[Any] = []

    def collect(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if torch.is_grad_enabled():
            outputs.append(output)

    hook = model.register_forward_hook(collect)
    try:
        yield outputs
    finally:
        hook.remove()
