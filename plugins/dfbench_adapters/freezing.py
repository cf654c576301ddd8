"""Freezing for strategies that train only what they have added."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def train_only(model: nn.Module, trained: Iterable[nn.Module | nn.Parameter]) -> None:
    """Freeze a network but for these parts: no gradients, and eval mode, in which dropout and statistics rest.

    The network itself stays in its mode, which says whether it is trained.
    """
    for module in model.modules():
        if module is not model:
            module.training = False
    model.requires_grad_(False)
    for part in trained:
        part.requires_grad_(True)
        if isinstance(part, nn.Module):
            part.train()
