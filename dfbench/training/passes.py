"""What an opaque detector reads, and the ids of each batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from dfbench.data.loader import Batch
from dfbench.training.host import LoopHost


class Passes:
    """What an opaque detector reads: each iteration is one pass in a new order."""

    def __init__(self, host: LoopHost) -> None:
        self._host = host

    def __len__(self) -> int:
        return len(self._host.dataloader)

    def __iter__(self) -> Iterator[Batch]:
        host = self._host
        for batch in host.loader.stream(ids_of(host.dataloader)):
            host.effects.add("replayed_units", host.replayed(batch))
            yield batch


def ids_of(order: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Unit ids of each batch, from our own order or from an Avalanche data loader over unit data sets."""
    for item in order:
        yield item if isinstance(item, torch.Tensor) else item[0]
