"""Batch normalisation over the whole batch where several processes hold parts of it.

PyTorch's ``SyncBatchNorm`` runs on GPUs alone and is another class of module. This works on any device: while it is on,
``torch.nn.functional.batch_norm`` takes mean and variance over the parts of all processes, as one process would
over the whole batch. The module, its buffers and the names in a checkpoint stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

_SIGNATURE = inspect.signature(F.batch_norm)


class SyncedNorm(TorchFunctionMode):
    """A context in which batch normalisation in train mode is over all processes.

    Every process must make the same calls in it, in the same order.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.batch_norm:
            given = _SIGNATURE.bind(*args, **(kwargs or {}))
            given.apply_defaults()
            if given.arguments["training"]:
                return synced_batch_norm(**given.arguments)
        return func(*args, **(kwargs or {}))


def synced_batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """As ``torch.nn.functional.batch_norm`` in train mode on the parts of all processes together.

    Args:
        input: (N, C, …), this process's part.
        running_mean: (C,), moved in place; None: there is none.
        running_var: likewise, by the unbiased variance.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        training: always True here.
        momentum: share of the batch in the running statistics.
        eps: added to the variance.

    Returns:
        Of the shape, type and memory order of ``input``.
    """
    x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    over = [d for d in range(x.dim()) if d != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    count = x.new_tensor([x.numel() // x.shape[1]])
    sums = _sum(torch.cat([x.sum(over), count]))
    total = sums[-1].detach()
    mean = sums[:-1] / total
    away = x - mean.view(shape)
    variance = _sum(away.square().sum(over)) / total
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean), momentum)
        if running_var is not None:
            running_var.lerp_((variance * (total / (total - 1).clamp(min=1))).to(running_var), momentum)
    y = away * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        y = y * weight.to(y).view(shape)
    if bias is not None:
        y = y + bias.to(y).view(shape)
    return y.to(input.dtype)


class _Sum(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _summed(gradient)


def _summed(x: torch.Tensor) -> torch.Tensor:
    import torch.distributed as dist

    total = x.contiguous().clone()
    dist.all_reduce(total)
    return total


def _sum(x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = _Sum.apply(x)
    return found
