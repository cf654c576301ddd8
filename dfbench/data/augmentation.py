"""A detector's CPU-side augmentation, done in worker processes ahead of the training that wants it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

from dfbench.data.encoded import as_it_is
from dfbench.data.pixels import Pixels
from dfbench.data.workers import Workers, cores
from dfbench.errors import UsageError

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""``augment(pixels, random)``: one unit's uint8 pixels to what the batch is to hold."""

ENVIRONMENT = "DFBENCH_WORKERS"
"""How many worker processes augment; 0: none, the training waits for it. The result is the same."""

AHEAD = 3
"""Batches that are being made while one is trained on."""


class Augmenter:
    """Fetches units and augments them, each with random numbers of its own.

    What a unit's random numbers are depends on the seed and on how many units were drawn since it was
    set, and on nothing else: neither on the number of processes nor on their speed.

    Args:
        pixels: where the pictures are; reopened in every process.
        augment: see :meth:`dfbench.Detector.augment`.
        device: training on a CPU leaves every second core to its own threads.
    """

    def __init__(self, pixels: Pixels, augment: Augment, device: torch.device) -> None:
        self._count = worker_count(device)
        self._workers = Workers(_augmented, (pixels, augment), self._count)
        self._seed, self._drawn = 0, 0

    def seed(self, value: int) -> None:
        """Start the random numbers of an experience."""
        self._seed, self._drawn = value, 0

    def fetch(self, rows: torch.Tensor) -> torch.Tensor:
        """Augmented units: rows int64 (N, …) to (N, …), waited for."""
        return self._finished(self._submitted(rows))

    def stream(self, order: Iterable[tuple[Any, torch.Tensor]]) -> Iterator[tuple[Any, torch.Tensor]]:
        """``(key, rows)`` to ``(key, units)`` in the same order, a few batches ahead of the consumer."""
        waiting: deque[tuple[Any, list[_Call]]] = deque()
        try:
            for key, rows in order:
                waiting.append((key, self._submitted(rows)))
                if len(waiting) > AHEAD:
                    key, calls = waiting.popleft()
                    yield key, self._finished(calls)
            while waiting:
                key, calls = waiting.popleft()
                yield key, self._finished(calls)
        finally:  # the pass was left early
            for _, calls in waiting:
                for future, _ in calls:
                    future.cancel()

    def close(self) -> None:
        """End the worker processes."""
        self._workers.close()

    def _submitted(self, rows: torch.Tensor) -> list[_Call]:
        calls = []
        # A part of the batch per process: a call per unit costs as much as decoding it.
        for part in np.array_split(rows.numpy(), min(max(self._count, 1), max(len(rows), 1))):
            args = (part, (self._seed, self._drawn))
            self._drawn += len(part)
            calls.append((self._workers.submit(*args), args))
        return calls

    def _finished(self, calls: list[_Call]) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([self._workers.result(future, *args) for future, args in calls]))


_Call = tuple[Future[Any], tuple[Any, ...]]


def worker_count(device: torch.device) -> int:
    """How many processes augment next to training on ``device``.

    Raises:
        UsageError: the variable ``DFBENCH_WORKERS`` is not a number.
    """
    asked = os.environ.get(ENVIRONMENT, "")
    if asked:
        if not asked.isdecimal():
            raise UsageError(
                f"{ENVIRONMENT}={asked!r} is not a number of processes; 0 augments in the training process"
            )
        return int(asked)
    free = cores() // 2 if device.type == "cpu" else cores() - 1
    return min(free, 16)


def _augmented(shared: tuple[Pixels, Augment], rows: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Units (n, …) of consecutive numbers, the first of which is the second part of the seed."""
    pixels, augment = shared
    if augment is as_it_is:
        return pixels.fetch(rows).numpy()
    value, first = seed
    return np.stack(
        [augment(pixels.fetch(unit).numpy(), np.random.default_rng((value, first + i))) for i, unit in enumerate(rows)]
    )
