"""Features of a frozen trunk are computed once.

Where only a final linear layer trains (a strategy froze the rest, or a phase did), a picture's features stay the
same, epoch after epoch and evaluation after evaluation. :class:`Frozen` stands for ``model.forward`` and keeps them.
No result may change, not by a bit:

* Features belong to a state of the trunk, a hash of its content that is taken in every pass; another state starts
  from nothing.
* Training asks for rows, by a hash of their content, in whatever batch they come. A processor may round a row
  otherwise in a batch of another size (kernels for few rows are others), so features are computed and served only at
  sizes at which the network was seen to give rows the same bits in another order and beside others.
* Predictions, made without gradients, ask for whole batches: the same rows in the same order. The first that is found
  again of each shape is computed again and compared.
* What the output depends on besides the features is seen in the first pass, which is an ordinary one.

Networks with other than one head are left alone, and so are passes on a GPU: a hash of the content would wait for the
device and bring every batch back to the host.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from dfbench.training.trunk import Trunk, batch_key, laid_out, readable, row_keys, same_bits

ENABLED = True
"""Off: every pass is the plain one. For comparisons."""
LIMIT = 256 * 2**20
"""Bytes of features kept for training, and as many for predictions; beyond, nothing new is kept."""
OVERHEAD = 1024
"""Bytes that an entry is counted beyond its features."""
SHAPES = 4
"""How many shapes of training batches are verified; others are computed."""
CHANGES = 16
"""After so many states in a row in which nothing was found, the search is given up."""


class _Served(NamedTuple):
    """How batches of one shape are served.

    Attributes:
        strides: of their features. sizes: how many rows may be computed, from 0 to all of the batch.
    """

    strides: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass
class _Memory:
    """Features by content, in one state of the trunk."""

    known: dict[bytes, torch.Tensor] = field(default_factory=dict)
    verified: dict[Any, _Served] = field(default_factory=dict)
    """Shapes of input, with dtype and strides, that may be served."""
    base: int = 0
    """The batch size at which all was computed before anything was verified."""
    state: bytes = b""
    size: int = 0
    asked: int = 0
    found: int = 0
    passes: int = 0
    changes: int = 0
    off: bool = False

    def enter(self, state: bytes) -> None:
        """The trunk is in this state now."""
        if state != self.state:
            self.forget()
            self.verified, self.base, self.state = {}, 0, state
            self.changes += 1
            self.off = self.changes > CHANGES

    def count(self, asked: int, found: int) -> None:
        """So many were asked for, and so many of them found."""
        self.asked += asked
        self.found += found
        self.changes = 0 if found else self.changes

    def put(self, entries: dict[bytes, torch.Tensor]) -> None:
        """Keep these, if they still fit."""
        size = sum(t.numel() * t.element_size() + OVERHEAD for t in entries.values())
        if self.size + size <= LIMIT:
            self.known.update(entries)
            self.size += size

    def forget(self) -> None:
        """Free what is kept."""
        self.known = {}
        self.size = self.asked = self.found = self.passes = 0

    def close(self) -> None:
        """Give up, for good."""
        self.forget()
        self.off = True


class Frozen:
    """Stands for ``model.forward``; a copy of the network has its plain one."""

    def __init__(self, model: nn.Module, head: str) -> None:
        self.trunk = Trunk(model, head)
        self._rows, self._batches = _Memory(), _Memory()
        self._last = False
        self.served = 0
        """Rows of training whose features were not computed."""

    @classmethod
    def attach(cls, model: nn.Module, heads: Sequence[str]) -> Frozen | None:
        """Put it into a network with one head, named so; None for others."""
        if len(heads) != 1 or not heads[0] or "forward" in vars(model):
            return None
        frozen = cls(model, heads[0])
        model.forward = frozen  # type: ignore[method-assign]
        return frozen

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        model = copy.deepcopy(self.trunk.model, memo)
        return types.MethodType(type(model).forward, model)

    def next_pass(self, last: bool) -> None:
        """A pass over the training data begins, and whether it is known to be the last one."""
        rows, self._last = self._rows, last
        if rows.passes > 1 and rows.found * 8 < rows.asked:  # augmentation makes new pictures each time
            rows.close()
        rows.passes += 1

    def forget_rows(self) -> None:
        """A training ended: the next one has other pictures."""
        self._rows.forget()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The forward pass."""
        x = args[0] if len(args) == 1 and not kwargs else None
        by_row = torch.is_grad_enabled()
        memory = self._rows if by_row else self._batches
        idle = memory.off or (by_row and self._last and not memory.known)  # nothing is known, nothing comes again
        if ENABLED and not idle and isinstance(x, torch.Tensor) and _ordinary(x):
            state = self.trunk.state()
            if state is not None:
                memory.enter(state)
                return self._by_row(x) if by_row else self._by_batch(x)
        return self.trunk.forward(*args, **kwargs)

    def _by_batch(self, x: torch.Tensor) -> Any:
        memory, shape, key = self._batches, (x.dtype, x.shape, x.stride()), batch_key(x)
        known = memory.known.get(key)
        memory.count(1, int(known is not None))
        if known is not None and shape in memory.verified:
            return self.trunk.head(laid_out(known, memory.verified[shape].strides))
        output, features, strides = self.trunk.watched(x)
        if features is None or (known is not None and not same_bits(known, features)):
            memory.close()
        elif known is None:
            memory.put({key: features})
        else:
            memory.verified[shape] = _Served(strides, (0, len(x)))
        return output

    def _by_row(self, x: torch.Tensor) -> Any:
        memory, shape = self._rows, (x.dtype, x.shape, x.stride())
        keys = row_keys(x)
        hits = [i for i, key in enumerate(keys) if key in memory.known]
        memory.count(len(x), len(hits))
        served = memory.verified.get(shape)
        size = next(size for size in served.sizes if size >= len(x) - len(hits)) if served is not None else len(x)
        if served is not None and size < len(x):
            features = self._completed(x, keys, hits, size)
            if features is None:
                memory.close()
                return self.trunk.forward(x)
            self.served += len(x) - size
            return self.trunk.head(laid_out(features, served.strides))
        output, features, strides = self.trunk.watched(x)
        if features is None or not self._known(keys, hits, features[hits]):
            memory.close()
        elif served is not None:
            self._learn(keys, features)
        elif memory.verified or hits:
            if len(memory.verified) < SHAPES:
                self._verify(x, features, shape, strides)
                self._learn(keys, features)
        elif len(x) >= memory.base:  # of all sizes the largest: the others are ends of passes
            if len(x) > memory.base:
                memory.forget()
            memory.base = len(x)
            self._learn(keys, features)
        return output

    def _completed(self, x: torch.Tensor, keys: list[bytes], hits: list[int], size: int) -> torch.Tensor | None:
        """The features of all rows, of which ``size`` are computed: those not known, and known ones to fill up.

        None where the known ones came out otherwise this time.
        """
        memory, missing = self._rows, sorted(set(range(len(x))) - set(hits))
        fresh: dict[bytes, torch.Tensor] = {}
        if size:
            filler = hits[: size - len(missing)]
            features = self.trunk.features(x[missing + filler])
            if features is None or not self._known(keys, filler, features[len(missing) :]):
                return None
            fresh = {keys[i]: row for i, row in zip(missing, features, strict=False)}
            memory.put(fresh)
        return torch.stack([fresh[key] if key in fresh else memory.known[key] for key in keys])

    def _known(self, keys: list[bytes], rows: list[int], features: torch.Tensor) -> bool:
        """Whether these rows have the features that are known of them."""
        return not rows or same_bits(torch.stack([self._rows.known[keys[i]] for i in rows]), features)

    def _learn(self, keys: list[bytes], features: torch.Tensor) -> None:
        known = self._rows.known
        if not self._rows.off:
            self._rows.put({key: row for key, row in zip(keys, features, strict=True) if key not in known})

    def _verify(self, x: torch.Tensor, features: torch.Tensor, shape: Any, strides: tuple[int, ...]) -> None:
        """Find the sizes at which rows come out the same, in another order, beside others. The batch's own must be one,
        and that at which the known ones were computed."""
        memory = self._rows
        sizes = {-(-len(x) * quarter // 4) for quarter in (1, 2, 3, 4)}
        right = {size for size in sizes | {memory.base} if self._agrees(x, features, size)}
        if {len(x), memory.base} <= right:
            memory.verified[shape] = _Served(strides, (0, *sorted(right & sizes)))
        else:
            memory.close()

    def _agrees(self, x: torch.Tensor, features: torch.Tensor, size: int) -> bool:
        index = (len(x) + size - 1 - torch.arange(size) // 2) % len(x)  # each twice, in reverse
        again = self.trunk.features(x[index])
        return again is not None and same_bits(again, features[index])


def _ordinary(x: torch.Tensor) -> bool:
    return readable(x) and x.dim() > 1 and len(x) > 0 and not x.requires_grad and not x.is_inference()
