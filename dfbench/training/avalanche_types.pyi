# What is used of Avalanche's SupervisedTemplate, with types. Avalanche ships none, and a class with an untyped base
# passes for an implementation of every protocol; with these, mypy checks that LoopTemplate is one of Training.
# ``experience``, ``mbatch`` and ``mb_output`` are None outside of a training.

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dfbench.training.protocol import Clock, Experience

class SupervisedTemplate:
    model: nn.Module
    device: torch.device
    optimizer: torch.optim.Optimizer
    train_mb_size: int
    plugins: list[Any]
    clock: Clock
    experience: Experience
    adapted_dataset: Any
    dataloader: Any
    mbatch: list[torch.Tensor]
    mb_output: Any
    loss: torch.Tensor

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: nn.Module,
        train_mb_size: int,
        device: torch.device | str,
        plugins: Sequence[Any],
        evaluator: Any,
    ) -> None: ...
    def train(self, experiences: Any, eval_streams: Any = None, **kwargs: Any) -> Any: ...
    def backward(self) -> None: ...
    def optimizer_step(self, closure: Any = None) -> None: ...
    def _make_empty_loss(self) -> torch.Tensor: ...
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
