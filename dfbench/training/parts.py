"""This process's parts of the batches, where several processes share a training."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator

import torch

from dfbench.data.loader import Batch
from dfbench.training.host import LoopHost
from dfbench.training.synced_norm import SyncedNorm

PENALTY = "penalty"
"""The counter of what strategies add to the loss."""


class Parts:
    """Cuts this process's part out of each batch, and keeps the whole batch in mind.

    Args:
        host: the training.
    """

    def __init__(self, host: LoopHost) -> None:
        self._host = host
        self._ahead: deque[torch.Tensor] = deque()  # whole batches that are fetched, and not dealt out yet
        self._whole = torch.empty(0, dtype=torch.int64)
        self._norm: SyncedNorm | None = None
        self._penalty = host.effects.counts.get(PENALTY, 0.0)

    def of(self, order: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """This process's part of each batch's ids."""
        self._ahead.clear()
        if self._host.ranks.alone:
            yield from order
            return
        for ids in order:
            self._ahead.append(ids)
            yield self._host.ranks.share(ids)

    def next(self) -> None:
        """The next batch is dealt out."""
        if self._ahead:
            self._whole = self._ahead.popleft()

    def replayed(self, batch: Batch) -> int:
        """Number of stored units in the whole batch."""
        if self._host.ranks.alone:
            return self._host.replayed(batch)
        return self._host.replayed_in(self._whole)

    def finish(self) -> None:
        """Make the counters those of all processes; the penalty is the only one that each has of its own part."""
        ranks, counts = self._host.ranks, self._host.effects.counts
        if not ranks.alone and PENALTY in counts:
            (total,) = ranks.sums(float(counts[PENALTY]) - float(self._penalty))
            counts[PENALTY] = float(self._penalty) + total / ranks.size

    def weighted(self, loss: torch.Tensor) -> torch.Tensor:
        """A mean loss over this part, with its weight: the mean over the processes is then that of the batch.

        The weights have the mean 1, so a penalty that is the same in all processes keeps its own.
        """
        ranks = self._host.ranks
        return loss if ranks.alone else loss * ranks.weight(len(self._whole))

    def enter(self) -> None:
        """From here on batch normalisation is over the parts of all processes, until :meth:`leave`."""
        self.leave()
        if self._host.ranks.divided(len(self._whole)):
            self._norm = SyncedNorm()
            self._norm.__enter__()

    def leave(self) -> None:
        """From here on it is over this process's data alone."""
        if self._norm is not None:
            self._norm.__exit__(None, None, None)
            self._norm = None

    def close(self) -> None:
        """As :meth:`leave`, however the training ends."""
        self.leave()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """A context between :meth:`enter` and :meth:`leave`."""
        self.enter()
        try:
            yield
        finally:
            self.leave()
