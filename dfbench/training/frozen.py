"""A frozen encoder: each picture goes through it once, and never again on this machine.

What it makes of a picture depends on the picture and on its weights, so features are kept under the hash of both, in
the cache folder. Training, replay, reference passes, tests, degraded copies and :func:`dfbench.load` find them there,
in any run, any stream and any process. The encoder is no part of the network that is trained, stored and counted.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from dfbench.errors import DataError
from dfbench.files import cache_root, writing

AT_ONCE = 16
"""Pictures that are encoded together, always so many: rounding depends on their number."""
LIMIT = 200_000
"""Features held in memory; all are in the file."""
WAIT = 60.0
"""Seconds for which another process may be writing."""


class FrozenEncoder:
    """Features of pictures by a network that never changes, kept as float16.

    Args:
        network: in eval mode from now on, without gradients. It is moved to the device of the pictures.
        prepare: uint8 pictures (N, H, W, 3) to what the network takes; it may resize and normalise, and draws nothing.
        recipe: what ``prepare`` does, in a few words with its numbers: features are kept under it, too.
        precision: bf16: the network runs under autocast; features of either precision are kept apart.

    Attributes:
        identity: sha256 of weights, recipe and precision, hex. It belongs into :attr:`dfbench.Detector.facts`.
        computed: pictures that went through the network in this process.
    """

    def __init__(
        self,
        network: nn.Module,
        prepare: Callable[[torch.Tensor], torch.Tensor],
        recipe: str,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.prepare = prepare
        self.precision = precision
        self.identity = _identity(network, f"{recipe}; {precision}")
        self.computed = 0
        self._known: dict[bytes, torch.Tensor] = {}
        self._file: Path | None = None
        self._base: sqlite3.Connection | None = None

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features of pictures.

        Args:
            pixels: uint8 (N, …, H, W, 3).

        Returns:
            float32 (N, …, D), on the device of the pictures; the same whether they were known or not.

        Raises:
            StorageError: the cache folder cannot be written.
        """
        flat = pixels.reshape(-1, *pixels.shape[-3:])
        keys = [_key(picture) for picture in flat.cpu().contiguous().numpy()]
        self._look_up([key for key in keys if key not in self._known])
        if len(self._known) > LIMIT:
            self._known = {}
            self._look_up(keys)
        missing = list({key: place for place, key in enumerate(keys) if key not in self._known}.items())
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            self._keep([key for key, _ in part], self._encoded(flat[[place for _, place in part]]))
        features = torch.stack([self._known[key] for key in keys])
        return features.to(pixels.device, non_blocking=True).float().reshape(*pixels.shape[:-3], -1)

    @torch.no_grad()
    def _encoded(self, pictures: torch.Tensor) -> torch.Tensor:
        device = pictures.device
        if next(self.network.parameters()).device != device:
            self.network.to(device)
        count = len(pictures)
        self.computed += count
        full = torch.cat([pictures, pictures.new_zeros(AT_ONCE - count, *pictures.shape[1:])])
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.network(self.prepare(full)).flatten(1)[:count].half().cpu()

    def _open(self) -> sqlite3.Connection:
        """The file of this encoder's features; opened again where the cache is another folder now."""
        file = cache_root() / "features" / f"{self.identity}.sqlite"
        if self._base is None or file != self._file:
            self._file = file
            with self._guarded():
                file.parent.mkdir(parents=True, exist_ok=True)
                # check_same_thread: loaders may read in a thread; calls do not overlap.
                base = sqlite3.connect(file, timeout=WAIT, check_same_thread=False)
                base.execute("PRAGMA journal_mode=WAL")
                base.execute("CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, value BLOB)")
            self._base = base
        return self._base

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """A context in which what the file refuses is a :class:`StorageError`."""
        file = self._file or cache_root()
        with writing(file):
            try:
                yield
            except sqlite3.Error as error:
                raise OSError(f"{file}: {error}; remove the file") from error

    def _look_up(self, keys: list[bytes]) -> None:
        for start in range(0, len(keys), 500):  # SQLite's parameters are limited
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            base = self._open()
            with self._guarded():
                found = base.execute(f"SELECT key, value FROM features WHERE key IN ({marks})", part).fetchall()
            for key, value in found:
                self._known[key] = torch.from_numpy(np.frombuffer(value, np.float16).copy())

    def _keep(self, keys: list[bytes], features: torch.Tensor) -> None:
        rows = [(key, row.numpy().tobytes()) for key, row in zip(keys, features, strict=True)]
        base = self._open()
        with self._guarded(), base:  # each part is whole, or not there
            base.executemany("INSERT OR IGNORE INTO features VALUES (?, ?)", rows)
        self._known.update(zip(keys, features, strict=True))


class EncoderMark(nn.Module):
    """Part of a network that reads a frozen encoder's features: its weights can only be loaded next to that encoder.

    Args:
        encoder: whose features the network reads.
    """

    def __init__(self, encoder: FrozenEncoder) -> None:
        super().__init__()
        self.identity: torch.Tensor
        # Floats, not bytes: an average of the network (Loop.average) averages its buffers, and bytes would be cut off.
        self.register_buffer("identity", torch.tensor(list(bytes.fromhex(encoder.identity)), dtype=torch.float32))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        given = state_dict.get(f"{prefix}identity")
        if given is not None and not torch.equal(given.cpu(), self.identity.cpu()):
            raise DataError(
                f"these weights were trained on the features of another encoder ({_hex(given)}… and not "
                f"{_hex(self.identity)}…): use the encoder's weights that the record names"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _key(picture: np.ndarray) -> bytes:
    """The hash of a picture, its shape and its type: the same bytes may be another picture."""
    digest = hashlib.blake2b(f"{picture.shape} {picture.dtype}".encode(), digest_size=16)
    digest.update(picture.data)
    return digest.digest()


def _hex(identity: torch.Tensor) -> str:
    return bytes(map(int, identity.tolist())).hex()[:12]


def _identity(network: nn.Module, recipe: str) -> str:
    digest = hashlib.sha256(recipe.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
