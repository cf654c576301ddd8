"""Inspection of every picture before training, with results that are cached between runs.

It yields the hash of a picture's content (the stream's fingerprint is made of these), its size, and whether
it can be decoded at all. Results are cached with a stamp of each file (size and time), so that the next
start inspects only new and changed files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.data.pictures import PictureError
from dfbench.data.samples import Samples
from dfbench.data.sources import Origin, Source, read_pixels
from dfbench.data.sources.contract import checked_inspection, checked_stamp
from dfbench.data.texts import Texts
from dfbench.data.workers import Progress, map_chunks
from dfbench.errors import DataError
from dfbench.files import cache_root, write_whole
from dfbench.parquet import read_table


class Seen(NamedTuple):
    """The result for one sample; ``error`` is empty for a usable picture."""

    sha256: str
    height: int
    width: int
    error: str


@dataclass(frozen=True)
class Inspected:
    """The results for N samples, as columns.

    Attributes:
        sha256: (N,) str, or the same as :class:`~dfbench.data.texts.Texts`.
        height: (N,) int64 pixels.
        width: (N,) int64 pixels.
        error: (N,) str, empty for a usable picture.
    """

    sha256: np.ndarray | Texts
    height: np.ndarray
    width: np.ndarray
    error: np.ndarray


def inspect_samples(
    origin: Origin, samples: Samples, *, progress: Progress | None = None, workers: int | None = None
) -> Inspected:
    """Inspect every sample; unchanged ones are taken from the cache.

    Args:
        origin: the source that the samples come from.
        samples: rows of this origin.
        progress: called with the number of samples inspected so far; not called if all are cached.
        workers: number of processes; chosen by the number of pictures by default.

    Raises:
        Fault: the source returns something other than pictures.
        StorageError: the results cannot be written to the cache.
    """
    if inspected := getattr(origin.source, "inspected", None):
        return inspected(samples)
    names = samples.sample.tolist()
    stamps = [checked_stamp(origin.source, name) for name in names]
    file = cache_root() / "inspected" / f"{origin.location_hash}.parquet"
    known = _read(file)
    seen = {
        name: Seen(*known[name][1:])
        for name, now in zip(names, stamps, strict=True)
        if now and name in known and known[name][0] == now
    }
    new = [name for name in names if name not in seen]
    if new:
        label = f"checking pictures of {origin.name}"
        for chunk in map_chunks(_look, (origin.source, new), len(new), what=label, workers=workers, progress=progress):
            seen.update(chunk)
        if stamped := {n: (s, *seen[n]) for n, s in zip(names, stamps, strict=True) if s}:
            _write(file, known | stamped)
    return _compare(samples, [seen[name] for name in names], has_hash=hasattr(origin.source, "inspect"))


def _look(shared: tuple[Source, Sequence[str]], start: int, stop: int) -> dict[str, Seen]:
    source, names = shared
    return {name: _look_at(source, name) for name in names[start:stop]}


def _look_at(source: Source, sample: str) -> Seen:
    try:
        if inspect := getattr(source, "inspect", None):
            found = checked_inspection(source, inspect(sample), sample)
            return Seen(found.sha256, found.height, found.width, "")
        pixels = read_pixels(source, sample)
    except PictureError as error:
        return Seen("", 0, 0, str(error))
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return Seen(digest.hexdigest(), pixels.shape[0], pixels.shape[1], "")


def _compare(samples: Samples, seen: list[Seen], *, has_hash: bool) -> Inspected:
    """The results as columns.

    A hash that the table promises must be the picture's, if the source hashes files (``has_hash``). Otherwise
    it is taken as it is: a hash of decoded pixels cannot be compared with it.
    """
    hashes, errors = [], []
    for name, promised, look in zip(samples.sample, samples.sha256, seen, strict=True):
        differs = bool(promised) and has_hash and not look.error and look.sha256 != promised
        hashes.append(promised or look.sha256)
        errors.append(f"{name}: the content is not that of the manifest's sha256" if differs else look.error)
    return Inspected(
        sha256=np.array(hashes, object),
        height=np.array([look.height for look in seen], np.int64),
        width=np.array([look.width for look in seen], np.int64),
        error=np.array(errors, object),
    )


_COLUMNS = pa.schema(
    [
        ("sample", pa.string()),
        ("stamp", pa.string()),
        ("sha256", pa.string()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("error", pa.string()),
    ]
)


def _read(file: Path) -> dict[str, tuple[Any, ...]]:
    """The cached results: name → (stamp, sha256, height, width, error); empty if the file is missing or damaged."""
    try:
        table = read_table(file, columns=_COLUMNS.names)
        columns = [table[name].to_pylist() for name in _COLUMNS.names]
    except (OSError, KeyError, pa.ArrowException, DataError):
        return {}
    return {row[0]: row[1:] for row in zip(*columns, strict=True)}


def _write(file: Path, known: dict[str, tuple[Any, ...]]) -> None:
    rows = [(name, *values) for name, values in sorted(known.items())]
    values = zip(*rows, strict=True)
    columns = [pa.array(each, type=field.type) for each, field in zip(values, _COLUMNS, strict=True)]
    buffer = BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=_COLUMNS), buffer, compression="zstd")
    write_whole(file, buffer.getvalue())
