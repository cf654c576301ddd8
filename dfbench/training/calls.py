"""Calls of a detector's own code: what it returns is checked, and it cannot end the program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from dfbench.errors import PluginError

NOT_ONE_TENSOR = "the network is called with something other than one tensor: call model(x)"
CHANGED_IN_PLACE = "model(x) changes x in place: the earlier network would get the changed x"


@contextlib.contextmanager
def calling(detector: Any, method: str) -> Iterator[None]:
    """A context for a call of a detector's method.

    Raises:
        PluginError: The method raised ``SystemExit``, which would end the program as if it had succeeded.
    """
    try:
        yield
    except SystemExit as error:
        name = detector.__name__ if isinstance(detector, type) else type(detector).__name__
        raise PluginError(f"{name}.{method} ended the program (SystemExit: {error})") from error


def check_loss(loss: Any, sentence: str, end: str = "") -> None:
    """Check that a loss can be trained on.

    Args:
        loss: What the detector made.
        sentence: Who did what with it: ``"Mine.loss returned"``.
        end: The end of that sentence.

    Raises:
        PluginError: It is not a scalar tensor with a gradient.
    """
    end = f" {end}" if end else ""
    if not isinstance(loss, torch.Tensor):
        raise PluginError(f"{sentence} a {type(loss).__name__}{end}: a scalar loss is needed")
    if loss.dim() != 0:
        raise PluginError(
            f"{sentence} a wrong loss{end}: it must be a scalar loss, not one of shape {tuple(loss.shape)}"
        )
    if not loss.requires_grad:
        raise PluginError(
            f"{sentence} a loss without a gradient{end}: it was detached, or computed under torch.no_grad() or on "
            "frozen weights alone"
        )


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
