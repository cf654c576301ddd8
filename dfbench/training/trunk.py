"""The part of a network before its head, looked at from outside: what it depends on, and what it gives, bit by bit."""

from __future__ import annotations

import hashlib
import random
import types
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Pass(NamedTuple):
    """What a pass gave; ``features`` (rows, features) is None where they are not all that the output depends on."""

    output: Any
    features: torch.Tensor | None
    strides: tuple[int, ...]
    """Of the features as the head saw them; ``features`` is contiguous."""


class Trunk:
    """All of ``model`` but its head, a linear layer.

    Args:
        head: its name in the model.
    """

    def __init__(self, model: nn.Module, head: str) -> None:
        self.model, self.name = model, head
        self.forward = types.MethodType(type(model).forward, model)
        """The network's own forward pass."""

    @property
    def head(self) -> nn.Linear:
        """The head that the network has now."""
        return self.model.get_submodule(self.name)  # type: ignore[return-value]

    def state(self) -> bytes | None:
        """A hash of all that the features depend on besides the input; None unless the trunk is frozen and on the CPU.

        By content: every weight, buffer, mode and plain attribute, whoever changed it and how, and what else chooses
        the kernels. Frozen: no gradients, no training modes, nobody who watches its modules.
        """
        trunk = self._frozen_modules()
        if trunk is None:
            return None
        autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
        kernels = (autocast, torch.get_num_threads(), torch.get_float32_matmul_precision())
        digest = hashlib.sha256(repr(kernels).encode())
        for name, module in trunk:
            digest.update(f"{name}:{type(module).__qualname__};".encode())
            for key, value in (*module._parameters.items(), *module._buffers.items(), *vars(module).items()):
                if isinstance(value, torch.Tensor):
                    if not readable(value):
                        return None
                    digest.update(f"{key}:{value.dtype}{tuple(value.shape)}{value.stride()};".encode())
                    digest.update(_bytes(value).data)
                elif isinstance(value, (bool, int, float, str)):
                    digest.update(f"{key}={value!r};".encode())
        return digest.digest()

    def _frozen_modules(self) -> list[tuple[str, nn.Module]] | None:
        names = self.name.split(".")
        holders = {".".join(names[:i]) for i in range(len(names))}
        inside = set(self.head.modules())
        trunk = []
        for name, module in self.model.named_modules():
            if module in inside:
                continue
            if any(p is not None and p.requires_grad for p in module._parameters.values()):
                return None
            # What holds the head is in train mode with it in a phase; what it does then, its passes show.
            if module.training and name not in holders:
                return None
            if name and (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks):
                return None
            trunk.append((name, module))
        return trunk

    def watched(self, x: torch.Tensor) -> Pass:
        """An ordinary forward pass, and what came into the head.

        There are no features for networks that draw random numbers, write into their input, call the head otherwise
        than once with a row for each of theirs, or make something of its output.
        """
        head = self.head
        caught: list[tuple[torch.Tensor, tuple[int, ...], bool]] = []
        outputs: list[Any] = []

        def catch(module: nn.Module, args: tuple[Any, ...]) -> None:
            if args:  # a copy: a hook of somebody else may write into it
                h = args[0]
                caught.append((h.detach().clone(memory_format=torch.contiguous_format), h.stride(), h.requires_grad))

        handles = (
            head.register_forward_pre_hook(catch, prepend=True),
            head.register_forward_hook(lambda module, args, output: outputs.append(output)),
        )
        version, drawn = x._version, _random_states()
        try:
            output = self.forward(x)
        finally:
            for handle in handles:
                handle.remove()
        if x._version == version and len(caught) == len(outputs) == 1 and output is outputs[0]:
            features, strides, grad = caught[0]
            ordinary = features.dim() == 2 and len(features) == len(x) and features.is_floating_point() and not grad
            if ordinary and _equal(drawn, _random_states()):
                return Pass(output, features, strides)
        return Pass(output, None, ())

    def features(self, x: torch.Tensor) -> torch.Tensor | None:
        """Features alone, of rows that are nobody's batch: neither the head nor anybody's hooks on it notice."""
        head = self.head
        kept, drawn = dict(vars(head)), _random_states()
        head._forward_pre_hooks, head._forward_hooks = OrderedDict(), OrderedDict()
        vars(head)["forward"] = lambda h: h.new_zeros(len(h), head.out_features)
        try:
            return self.watched(x).features
        finally:
            vars(head).clear()
            vars(head).update(kept)
            torch.set_rng_state(drawn[0])
            random.setstate(drawn[1])
            np.random.set_state(drawn[2])


def readable(tensor: torch.Tensor) -> bool:
    """Whether its bytes can be looked at without waiting for a device."""
    return tensor.device.type == "cpu" and tensor.layout == torch.strided


def row_keys(x: torch.Tensor) -> list[bytes]:
    """A hash of each row of a batch and of how it lies in memory."""
    kind = hashlib.sha256(repr((x.dtype, x.shape[1:], x.stride()[1:])).encode())
    keys = []
    for row in _bytes(x, len(x)):
        key = kind.copy()
        key.update(row.data)
        keys.append(key.digest())
    return keys


def batch_key(x: torch.Tensor) -> bytes:
    """A hash of a whole batch."""
    key = hashlib.sha256(repr((x.dtype, x.shape, x.stride())).encode())
    key.update(_bytes(x).data)
    return key.digest()


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, and zeros of the same sign."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(_bytes(a), _bytes(b)))


def laid_out(features: torch.Tensor, strides: tuple[int, ...]) -> torch.Tensor:
    """A copy with these strides: the head's kernels see what they would have seen."""
    return features.new_empty_strided(features.shape, strides).copy_(features)


def _bytes(tensor: torch.Tensor, rows: int = 1) -> np.ndarray:
    """uint8 (rows, bytes), each row in the order in which it lies in memory, so that mostly nothing is copied."""
    order = sorted(range(tensor.dim()), key=lambda d: -tensor.stride()[d] if d else -torch.inf)
    return tensor.detach().permute(order).contiguous().reshape(rows, -1).view(torch.uint8).numpy()


def _random_states() -> tuple[torch.Tensor, Any, Any]:
    return torch.get_rng_state(), random.getstate(), np.random.get_state()


def _equal(a: tuple[torch.Tensor, Any, Any], b: tuple[torch.Tensor, Any, Any]) -> bool:
    return torch.equal(a[0], b[0]) and a[1] == b[1] and a[2][2] == b[2][2] and np.array_equal(a[2][1], b[2][1])
