"""Batches: unit ids in order, their pixels fetched a batch at a time, ready on the device.

On a CUDA device the next batch is gathered into pinned memory by one background thread and copied
without blocking, so the training step never waits for the gather. On a CPU a gather costs less than
handing it to a thread, and is done in place. Units of a detector that augments on the CPU come from
worker processes (:mod:`dfbench.data.augmentation`) on either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from dfbench.data.augmentation import Augment, Augmenter
from dfbench.data.encoded import as_it_is
from dfbench.data.pixels import Pixels
from dfbench.data.units import Units


@dataclass
class Batch:
    """One batch of units, on the training device.

    Attributes:
        pixels: uint8, shape (N, …, H, W, 3), 0…255 RGB; … is the unit's own shape (none for frames).
            In training, what the detector's ``augment`` makes of it, where it has one.
        labels: int64, shape (N,) or (N, 2): 0 real, 1 fake; the class in a stream of many classes.
        units: int64, shape (N,), on the CPU: ids of the units in the stream's training set.
        experience: int64, shape (N,), on the CPU: the experience that each unit came from.
        rows: int64, shape (N, …), on the CPU: the samples of each unit in the stream's table; None outside of a stream.
        mix: float, shape (N, …): how the detector's loss mixed what is inside each unit (real and fake of a pair). The
            loss draws it and puts it here, and uses what it finds here, so that a unit can be met again as it was. None
            until then, and where nothing is mixed.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    units: torch.Tensor
    experience: torch.Tensor
    rows: torch.Tensor | None = None
    mix: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.units)


class UnitLoader:
    """Turns ids of units into batches.

    Args:
        units: all units; ids are positions in it.
        experience: int64, shape (U,): the experience of each unit.
        pixels: where the pictures are.
        device: where batches are wanted.
        augment: done to every unit in worker processes, or None.
    """

    def __init__(
        self,
        units: Units,
        experience: np.ndarray,
        pixels: Pixels,
        device: torch.device,
        augment: Augment | None = None,
    ) -> None:
        self.units = units
        self.pixels = pixels
        self.device = device
        self._rows = torch.from_numpy(np.ascontiguousarray(units.rows))
        self._labels = torch.from_numpy(np.ascontiguousarray(units.labels))
        self._experience = torch.from_numpy(np.ascontiguousarray(experience.astype(np.int64)))
        if augment is None and getattr(pixels, "decoded_ahead", False):
            augment = as_it_is
        self._augmenter = Augmenter(pixels, augment, device) if augment is not None else None

    @property
    def sample_bytes(self) -> int:
        """Bytes of one stored picture."""
        return int(np.prod(self.pixels.shape[1:], dtype=np.int64))

    def only(self, index: np.ndarray) -> UnitLoader:
        """A loader of these units alone (positions, int64), not augmented; their ids count from 0."""
        return UnitLoader(self.units.take(index), self._experience.numpy()[index], self.pixels, self.device)

    def seed(self, value: int) -> None:
        """Seed the augmentation, at the start of an experience."""
        if self._augmenter is not None:
            self._augmenter.seed(value)

    def close(self) -> None:
        """End the worker processes, if there are any."""
        if self._augmenter is not None:
            self._augmenter.close()

    def fetch(self, ids: torch.Tensor) -> Batch:
        """The batch of these unit ids (int64, shape (N,)), on the device."""
        if self._augmenter is not None:
            return self._to_device(self._batch(ids, self._augmenter.fetch(self._rows[ids])))
        return self._to_device(self._gather(ids))

    def stream(self, order: Iterable[torch.Tensor]) -> Iterator[Batch]:
        """Batches in the given order of ids, prefetched where that helps."""
        if self._augmenter is not None:
            pin = self.device.type == "cuda"
            for ids, pixels in self._augmenter.stream((ids, self._rows[ids]) for ids in order):
                yield self._to_device(self._batch(ids, pixels.pin_memory() if pin else pixels, pin))
            return
        if self.device.type != "cuda":
            for ids in order:
                yield self._gather(ids)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="dfbench-prefetch") as pool:
            yield from prefetch(pool, lambda ids: self._gather(ids, pin=True), order, self._to_device)

    def rows_of(self, ids: torch.Tensor | np.ndarray) -> np.ndarray:
        """The distinct samples that these units hold (sorted rows)."""
        return np.unique(self.units.rows[np.asarray(ids)])

    def experiences_in(self, ids: torch.Tensor) -> int:
        """How many experiences these units come from."""
        return len(torch.unique(self._experience[ids]))

    def outside(self, ids: torch.Tensor, experience: int) -> int:
        """How many of these units, int64 (N,), come from another experience."""
        return int((self._experience[ids] != experience).sum())

    def by_experience(self, ids: torch.Tensor, count: int) -> list[torch.Tensor]:
        """These units, parted by the experience that they came from."""
        origin = self._experience[ids]
        return [ids[origin == index] for index in range(count)]

    def _gather(self, ids: torch.Tensor, pin: bool = False) -> Batch:
        rows = self._rows[ids]
        out = torch.empty((*rows.shape, *self.pixels.shape[1:]), dtype=torch.uint8, pin_memory=True) if pin else None
        return self._batch(ids, self.pixels.fetch(rows, out=out), pin)

    def _batch(self, ids: torch.Tensor, pixels: torch.Tensor, pin: bool = False) -> Batch:
        labels = self._labels[ids]
        return Batch(pixels, labels.pin_memory() if pin else labels, ids, self._experience[ids], self._rows[ids])

    def _to_device(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch
        batch.pixels = batch.pixels.to(self.device, non_blocking=True)
        batch.labels = batch.labels.to(self.device, non_blocking=True)
        return batch


def prefetch(
    pool: ThreadPoolExecutor,
    load: Callable[[torch.Tensor], Batch],
    order: Iterable[torch.Tensor],
    then: Callable[[Batch], Batch],
) -> Iterator[Batch]:
    """``then(load(ids))`` for each ids in order, one ``load`` ahead of the consumer."""
    ahead = None
    for ids in order:
        coming = pool.submit(load, ids)
        if ahead is not None:
            yield then(ahead.result())
        ahead = coming
    if ahead is not None:
        yield then(ahead.result())


def epoch_order(ids: torch.Tensor, batch_size: int, generator: torch.Generator) -> list[torch.Tensor]:
    """``ids`` shuffled and cut into batches.

    A last batch of a single unit is left out (batch normalisation cannot train on one), unless it is
    the only one.
    """
    shuffled = ids[torch.randperm(len(ids), generator=generator)]
    batches = list(shuffled.split(batch_size))
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches.pop()
    return batches


def replay_order(
    ids: torch.Tensor,
    memory: torch.Tensor,
    batch_size: int,
    memory_batch_size: int,
    generator: torch.Generator,
) -> list[torch.Tensor]:
    """As :func:`epoch_order`, each batch followed by ``memory_batch_size`` units of the memory.

    The memory is gone through in shuffled rounds, so that every stored unit is replayed equally often.
    """
    batches = epoch_order(ids, batch_size, generator)
    drawn = shuffled_cycle(memory, generator)
    take = min(memory_batch_size, len(memory))
    return [torch.cat([batch, drawn(take)]) for batch in batches]


def shuffled_cycle(ids: torch.Tensor, generator: torch.Generator) -> Callable[[int], torch.Tensor]:
    """A function that draws the next n of ``ids``, reshuffled whenever all have been drawn."""
    pending = ids.new_empty(0)

    def draw(count: int) -> torch.Tensor:
        nonlocal pending
        while len(pending) < count:
            pending = torch.cat([pending, ids[torch.randperm(len(ids), generator=generator)]])
        taken, pending = pending[:count], pending[count:]
        return taken

    return draw
