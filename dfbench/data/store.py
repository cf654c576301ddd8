"""All pixels of a set of samples, of one size, in one memory-mapped file.

Training reads shuffled batches many times over. Opening and decoding a picture takes a millisecond;
copying its decoded pixels out of the page cache takes microseconds. So every picture is decoded and
resized once, and a batch is one gather over the map.

A store is a folder ``<cache>/pixels/<key>`` with ``pixels.u8`` (raw uint8, N×H×W×3) and
``store.json``. Its key is a hash of the pictures' content hashes, their order, the size and the
decoding: the same pictures find their store under any name, and other pictures never do.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from dfbench.data.encoded import EncodedPixels, cache_budget
from dfbench.data.samples import Samples
from dfbench.data.sources import Origin
from dfbench.data.store_writer import decode_into
from dfbench.data.texts import content, joined
from dfbench.data.workers import Progress, map_chunks
from dfbench.errors import StorageError
from dfbench.files import CACHE_VARIABLE, cache_root, writing

if TYPE_CHECKING:
    from dfbench.data.perturb import PerturbedPixels

FORMAT = 1
"""Raised when the layout, the decoding or the resizing changes; older stores are then rebuilt."""

RowIndex = np.ndarray | torch.Tensor | Sequence[int]
"""Row numbers, of any shape."""

PIXELS = "pixels.u8"
META = "store.json"


class PixelStore:
    """A finished store, opened for reading.

    Args:
        path: the store's folder.

    Raises:
        StorageError: the store is missing, incomplete or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        meta = _read_meta(self.path)
        self.key: str = meta["key"]
        count, height, width, channels = meta["shape"]
        self.shape: tuple[int, int, int, int] = (count, height, width, channels)
        self._pixels = _map(self.path / PIXELS, self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)  # worker processes map the file themselves

    def fetch(self, rows: RowIndex, out: torch.Tensor | None = None) -> torch.Tensor:
        """Copy the pixels of some rows out of the map, in one gather.

        Args:
            rows: int64 row indices of any shape, say (B,) or (B, k); rows may repeat.
            out: write here (for example into pinned memory) instead of into a new tensor;
                contiguous uint8 of the result's shape.

        Returns:
            uint8 ``rows.shape + (H, W, 3)``.

        Raises:
            IndexError: a row is not in the store.
        """
        rows, out = _prepare(rows, out, self.shape)
        flat, pixels = rows.reshape(-1).numpy(), out.view(-1, *self.shape[1:]).numpy()
        # numpy and not torch.index_select: as fast where the processor is free (10 GB/s), and up to 80
        # times as fast where it is busy, because torch's threads then wait for each other.
        np.take(self._pixels, flat, axis=0, out=pixels, mode="clip")  # "raise" would copy twice
        return out


class PixelStack:
    """Several stores of one size as one: rows are numbered through all of them in order."""

    def __init__(self, stores: Sequence[PixelStore | PixelView | EncodedPixels | PerturbedPixels]) -> None:
        sizes = {store.shape[1:] for store in stores}
        if len(sizes) != 1:
            raise ValueError(f"a stack needs stores of one size, not {sorted(sizes)}")
        self.stores = tuple(stores)
        self.decoded_ahead = any(getattr(store, "decoded_ahead", False) for store in stores)
        self._ends = torch.tensor(np.cumsum([len(store) for store in stores]))
        self.shape: tuple[int, int, int, int] = (int(self._ends[-1]), *self.stores[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self, rows: RowIndex, out: torch.Tensor | None = None) -> torch.Tensor:
        """As :meth:`PixelStore.fetch`: one gather per store that the rows touch."""
        rows, out = _prepare(rows, out, self.shape)
        flat, pixels = rows.reshape(-1), out.view(-1, *self.shape[1:])
        owner = torch.searchsorted(self._ends, flat, right=True)  # right: an end is the next store's first row
        for number in torch.unique(owner).tolist():
            store, start = self.stores[number], int(self._ends[number]) - len(self.stores[number])
            mine = owner == number
            if bool(mine.all()):  # the usual batch: gathered in place, without a copy
                store.fetch(flat - start, out=pixels)
            else:
                pixels[mine] = store.fetch(flat[mine] - start)
        return out


class PixelView:
    """Some rows of a store, in an order of their own: row i of the view is row ``index[i]`` of the store."""

    def __init__(self, store: PixelStore, index: np.ndarray) -> None:
        self.store = store
        self._index = torch.from_numpy(np.ascontiguousarray(index, dtype=np.int64))
        self.shape: tuple[int, int, int, int] = (len(index), *store.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self, rows: RowIndex, out: torch.Tensor | None = None) -> torch.Tensor:
        """As :meth:`PixelStore.fetch`."""
        return self.store.fetch(self._index[torch.as_tensor(rows).to(torch.int64)], out=out)


def store_key(origin: Origin, samples: Samples, size: tuple[int, int]) -> str:
    """The name of the store that holds these samples, in this order, in this size (height, width)."""
    digest = hashlib.sha256(json.dumps([FORMAT, origin.decoding_hash, size]).encode())
    hashes = samples.texts("sha256")
    if hashes.is_empty.any():
        raise ValueError("samples without sha256; inspect_samples fills it in")
    digest.update(content(joined(hashes.to_arrow(), "\n")))
    return f"{digest.hexdigest()[:40]}-{size[0]}x{size[1]}"


def build_store(
    origin: Origin,
    samples: Samples,
    size: tuple[int, int],
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> PixelStore | PixelView | EncodedPixels:
    """Open the store of these samples; build it first if it is missing or damaged.

    Pictures are resized with PIL's antialiased bicubic filter to exactly ``size``. Where the source has them
    as a store already, a view of that one is returned and nothing is built. Where a source can be read row by row
    and its decoded pixels are more than the cache may hold, or than there is room for, they are decoded when fetched.

    Args:
        origin: the source that the samples come from.
        samples: rows of this origin, with their ``sha256``.
        size: (height, width) in pixels.
        progress: called with the number of pictures decoded so far.
        workers: number of processes; chosen by the number of pictures by default.

    Raises:
        DataError: a picture cannot be decoded; it changed since it was inspected.
        StorageError: the cache cannot be written, or the disk is full.
    """
    stored = getattr(origin.source, "stored", None)
    if stored is not None and (view := stored(samples.sample.tolist(), size)) is not None:
        return view
    key = store_key(origin, samples, size)
    undecoded = getattr(origin.source, "undecoded", None)
    if undecoded is not None and not _fits(key, len(samples) * size[0] * size[1] * 3):
        return undecoded(samples, size)

    def fill(folder: Path) -> None:
        shared = (origin.source, samples.sample.tolist(), size, folder / PIXELS)
        what = f"decoding pictures of {origin.name} at {size[0]}×{size[1]}"
        for _ in map_chunks(decode_into, shared, len(samples), what=what, workers=workers, progress=progress):
            pass

    return make_store(cache_root() / "pixels" / key, key, (len(samples), *size, 3), fill, progress=progress)


def _fits(key: str, room: int) -> bool:
    """Whether a store is there already, or may be built: within the budget, and with room on the disk."""
    target = cache_root() / "pixels" / key
    if room > cache_budget():
        return False
    if target.is_dir():
        return True
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(target.parent).free > room + 2**20


def make_store(
    target: Path,
    key: str,
    shape: tuple[int, ...],
    fill: Callable[[Path], None],
    *,
    usable: Callable[[PixelStore], bool] = lambda store: True,
    progress: Progress | None = None,
) -> PixelStore:
    """Open the store ``target``; make it first if it is missing, damaged or not usable.

    It is made under another name and renamed when it is complete, so that a killed build leaves nothing that
    passes for a store. A second process that needs the same store waits for the first.

    Args:
        target: the store's folder.
        key: the store's identity, kept in it.
        shape: (N, H, W, 3).
        fill: called with a folder; writes the pixels into its file ``PIXELS`` (which exists, full of zeros),
            and any other files of the store next to it.
        usable: an additional check of an existing store.
        progress: called while this process waits for another one.

    Raises:
        StorageError: the cache cannot be written, or the disk is full.
    """
    if (store := _open(target, key)) is not None and usable(store):
        return store
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(target.with_name(f".{key}.lock"), progress)
    try:
        # Checked again under the lock: the process that had it may have built this very store.
        if (store := _open(target, key)) is None or not usable(store):
            _make(target, key, shape, fill)
            store = PixelStore(target)
    finally:
        lock.release()
    return store


def _make(target: Path, key: str, shape: tuple[int, ...], fill: Callable[[Path], None]) -> None:
    room = int(np.prod(shape, dtype=np.int64))
    with writing(target):
        # This process holds the lock: any earlier builder is dead, and its unfinished folder can go.
        for left_over in [target, *target.parent.glob(f".{target.name}.tmp-*")]:
            shutil.rmtree(left_over, ignore_errors=True)
        free = shutil.disk_usage(target.parent).free
    if free < room + 2**20:  # checked now because the file, made of one hole, reserves nothing
        raise StorageError(
            f"the pixels of {shape[0]} pictures at {shape[1]}×{shape[2]} need {room / 1e9:.2f} GB and "
            f"{target.parent} has {free / 1e9:.2f} GB free; set {CACHE_VARIABLE} to a folder with more room"
        )
    temporary = target.with_name(f".{target.name}.tmp-{uuid.uuid4().hex}")
    try:
        with writing(temporary):
            temporary.mkdir()
            with (temporary / PIXELS).open("wb") as file:
                file.truncate(room)
        fill(temporary)
        with writing(temporary):
            # On disk before the rename: after a power cut a store with a name has its pixels.
            with (temporary / PIXELS).open("rb+") as file:
                os.fsync(file.fileno())
            _write_meta(temporary, key, shape)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _locked(path: Path, progress: Progress | None) -> FileLock:
    """Take the lock; report through ``progress`` if another process holds it."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress is not None:
            progress(0, 1, "waiting for another process that decodes the same pictures")
        lock.acquire()
    return lock


def _open(path: Path, key: str) -> PixelStore | None:
    """The store, or None if it is missing, damaged or of another key."""
    try:
        store = PixelStore(path)
    except StorageError:
        return None
    return store if store.key == key else None


def _write_meta(folder: Path, key: str, shape: tuple[int, ...]) -> None:
    meta = {"format": FORMAT, "key": key, "shape": list(shape)}
    with (folder / META).open("w", encoding="utf-8") as file:
        json.dump(meta | {"check": _check(meta)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        check = meta.pop("check")
        size = (folder / PIXELS).stat().st_size
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise StorageError(f"{folder}: not a pixel store") from None
    if check != _check(meta) or meta["format"] != FORMAT or size != int(np.prod(meta["shape"], dtype=np.int64)):
        raise StorageError(f"{folder}: a damaged pixel store; delete it, it will be rebuilt")
    return meta


def _check(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    if 0 in shape:  # an empty file cannot be mapped
        return np.empty(shape, np.uint8)
    return np.memmap(path, np.uint8, mode="r", shape=shape).view(np.ndarray)


def _prepare(
    rows: RowIndex,
    out: torch.Tensor | None,
    shape: tuple[int, int, int, int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as an int64 tensor, and the tensor to fill."""
    rows = torch.as_tensor(rows).to(torch.int64)
    if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= shape[0]):
        raise IndexError(f"rows {int(rows.min())} to {int(rows.max())} of a store of {shape[0]}")
    wanted = (*rows.shape, *shape[1:])
    if out is None:
        return rows, torch.empty(wanted, dtype=torch.uint8)
    if tuple(out.shape) != wanted or out.dtype != torch.uint8 or not out.is_contiguous():
        raise ValueError(f"out must be contiguous uint8 {wanted}, not {out.dtype} {tuple(out.shape)}")
    return rows, out
