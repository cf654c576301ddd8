"""What a :class:`~dfbench.training.loop.Loop` needs of the training that it runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from dfbench.data.loader import Batch, UnitLoader
from dfbench.training.compute import ComputeCounter
from dfbench.training.protocol import Training
from dfbench.training.ranks import Ranks
from dfbench.training.strategies import Need
from dfbench.training.validation import ValidationSet


class Progress(Protocol):
    """Receives every training step."""

    def __call__(self, done: int, total: int, loss: torch.Tensor) -> None:
        """Called after each optimizer step.

        Args:
            done: optimizer steps made in this experience.
            total: steps planned for it, as far as the loop has said.
            loss: scalar, the mean loss of the experience so far, on the device.
        """
        ...


class LoopHost(Training, Protocol):
    """What a :class:`Loop` needs of the training that it runs in, beyond what strategies may use.

    Attributes:
        batch: the batch last dealt out.
        ranks: the processes that share the training.
        opaque: whether the detector hides its steps.
        detector_name: for error messages.
        loader: turns unit ids into batches.
        dataloader: the unit ids of each batch of a pass.
        compute: counts the passes through the network.
        progress: receives every step; may be None.
        mid_training: called with the network that would predict now and the number of steps made, before the first
            step and after each; may be None.
        needs: what the strategy needs of the detector.
        experiences_at_once: number of experiences that the training set holds.
        repeated_passes: whether the strategy allows several evaluations of the loss in a step.
        added: parameters that were put into the network before this experience.
        following: parameters of the strategy that are stepped as the network's are.
    """

    mbatch: list[torch.Tensor]
    mb_output: Any
    units: torch.Tensor
    averaged: nn.Module | None
    batch: Batch | None
    ranks: Ranks
    loader: UnitLoader
    dataloader: Any
    compute: ComputeCounter
    progress: Progress | None
    mid_training: Callable[[nn.Module, int], None] | None
    needs: frozenset[Need]
    experiences_at_once: int
    repeated_passes: bool
    added: tuple[nn.Parameter, ...]
    following: list[nn.Parameter]

    @property
    def opaque(self) -> bool: ...

    @property
    def detector_name(self) -> str: ...

    def replayed(self, batch: Batch) -> int:
        """Number of units of a batch that are not of the present experience."""
        ...

    def replayed_in(self, ids: torch.Tensor) -> int:
        """The same of unit ids, int64 (N,)."""
        ...

    def backward(self) -> None: ...

    def optimizer_step(self, closure: Callable[[], torch.Tensor] | None = None) -> None: ...

    def validation_set(self) -> ValidationSet | None:
        """The validation units of what is trained now; None where the benchmark has none."""
        ...

    def _make_empty_loss(self) -> torch.Tensor: ...

    # Avalanche's callbacks: each calls all plugins.

    def _before_training_epoch(self) -> None: ...

    def _after_training_epoch(self) -> None: ...

    def _before_training_iteration(self) -> None: ...

    def _after_training_iteration(self) -> None: ...

    def _before_forward(self) -> None: ...

    def _after_forward(self) -> None: ...

    def _before_backward(self) -> None: ...

    def _after_backward(self) -> None: ...

    def _before_update(self) -> None: ...

    def _after_update(self) -> None: ...
