"""A head in closed form on a random projection of the features, as RanPAC has it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from dfbench import Adapter, AdapterOptions, IncompatibleError


class RidgeHead(nn.Linear):
    """A linear head that is replaced by a ridge classifier on ``relu(x @ projection)`` once that is fitted.

    It takes over the layer's weights, which classify until then and keep their names.

    Attributes:
        projection: (D, M), fixed.
        rows: (classes, M), of the ridge classifier; a detector's loop could go on from it.
        fitted: a scalar, 1 where ``rows`` classifies.
    """

    def __init__(self, layer: nn.Linear, projection: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.projection: torch.Tensor
        self.fitted: torch.Tensor
        self.register_buffer("projection", projection)
        self.rows = nn.Parameter(torch.zeros(layer.out_features, projection.shape[1]))
        self.register_buffer("fitted", torch.zeros(()))

    def expanded(self, features: torch.Tensor) -> torch.Tensor:
        """h = φ(f·W) of the paper's Eq. 4, φ being ReLU.

        Args:
            features: (N, D).

        Returns:
            (N, M).
        """
        return F.relu(features.to(self.projection.dtype) @ self.projection)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, D) to scores (N, classes); those of the ridge classifier always in float32."""
        if not bool(self.fitted):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(self.expanded(x), self.rows)


class RidgeOptions(AdapterOptions):
    """Where it is, and how large."""

    head: str = Field(max_length=200)
    dimensions: int = Field(ge=1, le=100_000)


class Ridge(Adapter):
    """Replaces a head; its state dict then has ``projection``, ``rows`` and ``fitted`` beside weight and bias."""

    Options: ClassVar = RidgeOptions

    def add(self, model: nn.Module, options: Any, generator: torch.Generator) -> None:
        """W has elements of N(0, 1)."""
        parent, _, name = options.head.rpartition(".")
        try:
            layer = model.get_submodule(options.head)
        except AttributeError:
            layer = None
        if not isinstance(layer, nn.Linear) or isinstance(layer, RidgeHead):
            raise IncompatibleError(f"{options.head!r} is no plain linear layer that a ridge classifier could replace")
        projection = torch.randn(layer.in_features, options.dimensions, generator=generator)
        setattr(model.get_submodule(parent), name, RidgeHead(layer, projection))
