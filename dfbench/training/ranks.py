"""The processes that share the training of one run: this one's number, and what they exchange.

``torchrun`` starts them. Each holds the whole network and the whole stream and takes its share of every batch. The
gradients of a step are averaged before a strategy sees them, so every process makes the same steps. What a strategy
computes on stored units, each process computes in full.

A run of one process has :data:`ALONE`, which exchanges nothing.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from dfbench.errors import DfbenchError, UsageError
from dfbench.processes import FirstFailed, started_by_torchrun

BUCKET = 2**24
"""Numbers that are exchanged at once."""


class Ranks:
    """The processes of a run.

    Args:
        rank: number of this one, from 0. The first one writes and reports.
        size: their number.

    Attributes:
        rank: number of this one.
        size: their number.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._seen: set[tuple[int, int]] = set()  # numbers of gradients that all processes had at once
        self._host: Any = None  # a group that exchanges tensors on the CPU; None: the default one does

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, ids: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch's units, int64 (N,): every ``size``-th.

        A batch of fewer units than processes is not divided, and all processes compute the whole of it.
        """
        return ids if len(ids) < self.size else ids[self.rank :: self.size]

    def weight(self, units: int) -> float:
        """What the mean loss of this process's part of a batch is multiplied by before gradients are averaged.

        Args:
            units: of the whole batch.
        """
        if units < self.size:
            return 1.0
        return len(range(self.rank, units, self.size)) * self.size / units

    def divided(self, units: int) -> bool:
        """Whether a batch of so many units is divided."""
        return not self.alone and units >= self.size

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of these parameters by their means over the processes, in place.

        Raises:
            DfbenchError: the processes have gradients of different parameters.
        """
        if self.alone:
            return
        import torch.distributed as dist

        gradients = [p.grad for p in parameters if p.grad is not None]
        shape = (len(gradients), sum(g.numel() for g in gradients))
        if shape not in self._seen:  # not at every step: it would wait for all processes once more
            self._same("gradients", *shape)
            self._seen.add(shape)
        for bucket in _buckets(gradients):
            flat = torch.cat([g.reshape(-1) for g in bucket])
            dist.all_reduce(flat)
            flat /= self.size
            for gradient, mean in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    def sums(self, *values: float) -> list[float]:
        """The sums of numbers over the processes."""
        if self.alone:
            return list(values)
        import torch.distributed as dist

        found = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(found, group=self._host)
        return found.tolist()

    def gathered(self, value: Any) -> list[Any]:
        """What every process has (any object that can be pickled), in their order, in all of them."""
        if self.alone:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self._host)
        return found

    def of_first(self, make: Callable[[], Any]) -> Any:
        """What the first process makes, in all of them; nobody else calls ``make``.

        Raises:
            DfbenchError: in the other processes, if it raised an error in the first.
        """
        if self.alone:
            return make()
        import torch.distributed as dist

        if not self.first:
            message: list[Any] = [None, None]
            dist.broadcast_object_list(message, 0, group=self._host)
            if message[1] is not None:
                raise FirstFailed(message[1])
            return message[0]
        try:
            made = make()
        except BaseException as error:
            dist.broadcast_object_list([None, f"{type(error).__name__}: {error}"], 0, group=self._host)
            raise
        dist.broadcast_object_list([made, None], 0, group=self._host)
        return made

    def same_random(self) -> None:
        """Give all processes the first one's random numbers on the CPU: what a strategy draws must be the same."""
        if self.alone:
            return
        import random

        import numpy as np

        torch_state, numpy_state, python_state = self.of_first(
            lambda: (torch.get_rng_state(), np.random.get_state(), random.getstate())
        )
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)

    def same_weights(self, model: nn.Module) -> None:
        """Give all processes the first one's weights and buffers."""
        if self.alone:
            return
        import torch.distributed as dist

        for tensor in model.state_dict().values():
            if isinstance(tensor, torch.Tensor):
                contiguous = tensor.detach().contiguous()
                dist.broadcast(contiguous, 0)
                tensor.detach().copy_(contiguous)

    def _same(self, what: str, *values: int) -> None:
        if len(set(self.gathered(values))) > 1:
            raise DfbenchError(
                f"the processes have different {what}: this detector's loss depends on which units a process holds, "
                "and cannot be trained by several"
            )


ALONE = Ranks()
"""One process, as a rule."""


def joined(device: torch.device) -> Ranks:
    """Join the processes that ``torchrun`` has started; they stay connected until they end.

    Args:
        device: of this process: gloo connects CPUs, nccl GPUs.

    Returns:
        All of them; this one alone where torchrun has started no other.

    Raises:
        UsageError: they cannot be connected.
    """
    return _joined(device.type) if started_by_torchrun() else ALONE


@functools.cache
def _joined(device: str) -> Ranks:
    import avalanche.training  # noqa: F401 - it makes loggers when it is imported, and refuses to once they are joined
    import torch.distributed as dist

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    ranks = Ranks(rank, size)
    try:
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"the {size} processes of torchrun cannot be connected: {error}") from error
    atexit.register(dist.destroy_process_group)
    if device == "cuda":
        ranks._host = dist.new_group(backend="gloo")
    return ranks


def _buckets(tensors: list[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    """Tensors of one type in groups of up to :data:`BUCKET` numbers, in their order."""
    group: list[torch.Tensor] = []
    for tensor in tensors:
        full = sum(t.numel() for t in group) + tensor.numel() > BUCKET
        if group and (full or tensor.dtype != group[0].dtype):
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group
