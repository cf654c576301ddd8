"""Tensors that a detector keeps in itself, to tell which of them no checkpoint would hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from dfbench.training.detector import Detector

Kept = dict[str, list[tuple[int, int]]]
"""Attribute → (identity, number of changes in place) of its tensors."""


def kept_tensors(detector: Detector, model: nn.Module) -> Kept:
    """The tensors in each attribute of a detector: by themselves, in modules, optimizers, dicts and lists.

    Those of ``model``, which every checkpoint holds, are left out.
    """
    own = {id(tensor) for tensor in _tensors(model)}
    found = {name: [t for t in _tensors(value) if id(t) not in own] for name, value in vars(detector).items()}
    return {
        name: [(id(t), 0 if t.is_inference() else t._version) for t in held] for name, held in found.items() if held
    }


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from (*value.parameters(), *value.buffers())
    elif isinstance(value, torch.optim.Optimizer):
        yield from _tensors(list(value.state.values()))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
