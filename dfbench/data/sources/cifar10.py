"""CIFAR-10 in its two usual layouts (Krizhevsky 2009; ten classes, 32×32 pixels)."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.data.pictures import Inspection, PictureError, decode_picture, inspect_picture
from dfbench.data.samples import Samples
from dfbench.data.sources.cifar10_batches import read_batch
from dfbench.errors import DataError, UsageError
from dfbench.parquet import read_table

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}


class Cifar10Source:
    """CIFAR-10 from torchvision's ``cifar-10-batches-py/`` or the Parquet files of ``uoft-cs/cifar10``.

    A sample is called ``train/00000`` or ``test/00000``: its position in the data set's own order.

    Args:
        root: the folder with ``cifar-10-batches-py/``, or with ``*train*.parquet`` and
            ``*test*.parquet`` (also below ``plain_text/`` or ``data/``).
        val: the number of training pictures, from the end, that become the validation split.
    """

    classes = CLASSES

    def __init__(self, root: Path | None, *, val: int = 0) -> None:
        if root is None:
            raise DataError("source 'cifar10' needs a root")
        if val < 0:
            raise UsageError(f"source 'cifar10', option val: {val} is negative")
        self.root = Path(root)
        self.val = val
        self._layout: _Batches | _Parquet = _find_layout(self.root)

    def samples(self) -> Samples:
        """The table of all 60 000 pictures (or as many as the files hold), in the files' order.

        Raises:
            DataError: a file is damaged, or ``val`` leaves nothing to train on.
        """
        rows = []
        for part in ("train", "test"):
            labels = self._layout.labels(part)
            if labels.size and (labels.min() < 0 or labels.max() >= len(CLASSES)):
                raise DataError(f"{self.root}: CIFAR-10 has labels 0 to 9, the {part} part has others")
            first_val = len(labels) - self.val if part == "train" else len(labels)
            if first_val <= 0:
                raise DataError(f"{self.root}: {len(labels)} {part} pictures are not enough for val: {self.val}")
            rows += [
                {
                    "sample": f"{part}/{number:05d}",
                    "label": label,
                    "source": "cifar10",
                    "method": CLASSES[label],
                    "split": part if number < first_val else "val",
                }
                for number, label in enumerate(labels.tolist())
            ]
        return Samples.from_rows(rows)

    def read(self, sample: str) -> np.ndarray:
        """Pixels of one picture: uint8 (32, 32, 3), RGB."""
        return self._layout.read(*_position(sample), sample)

    def inspect(self, sample: str) -> Inspection:
        """SHA-256 of the stored picture, and its size."""
        return self._layout.inspect(*_position(sample), sample)

    def stamp(self, sample: str) -> str:
        """Sizes and times of the files that hold this part of the data set."""
        return self._layout.stamps[_position(sample)[0]]


def _position(sample: str) -> tuple[str, int]:
    part, _, number = sample.partition("/")
    return part, int(number)


def _find_layout(root: Path) -> _Batches | _Parquet:
    batches = root if (root / "test_batch").is_file() else root / "cifar-10-batches-py"
    if batches.is_dir():
        files = {part: [batches / name for name in names] for part, names in BATCHES.items()}
        missing = [file for part in files.values() for file in part if not file.is_file()]
        if missing:
            raise DataError(f"source 'cifar10': {missing[0]} is missing; download the data set again")
        return _Batches(files)
    for folder in (root, root / "plain_text", root / "data"):
        files = {part: sorted(folder.glob(f"*{part}*.parquet")) for part in ("train", "test")}
        if all(files.values()):
            return _Parquet(files)
    raise DataError(
        f"source 'cifar10': neither cifar-10-batches-py/ nor *train*.parquet and *test*.parquet in {root}; "
        "get it with torchvision.datasets.CIFAR10(root, download=True) or from hf.co/datasets/uoft-cs/cifar10"
    )


class _Layout:
    """The files of each part; their content is kept in memory and left out of pickles."""

    def __init__(self, files: dict[str, list[Path]]) -> None:
        self.files = files

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.files,)

    @cached_property
    def stamps(self) -> dict[str, str]:
        """Part → sizes and times of its files."""
        stats = {part: [file.stat() for file in files] for part, files in self.files.items()}
        return {part: ",".join(f"{s.st_size}:{s.st_mtime_ns}" for s in each) for part, each in stats.items()}


class _Batches(_Layout):
    """torchvision's layout: five training batches and one test batch of raw pixels."""

    @cached_property
    def _parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        parts = {}
        for part, files in self.files.items():
            pixels, labels = zip(*map(read_batch, files), strict=True)
            flat = np.concatenate(pixels).reshape(-1, 3, 32, 32)
            parts[part] = np.ascontiguousarray(flat.transpose(0, 2, 3, 1)), np.concatenate(labels)
        return parts

    def labels(self, part: str) -> np.ndarray:
        return self._parts[part][1]

    def read(self, part: str, number: int, name: str) -> np.ndarray:
        return self._parts[part][0][number]

    def inspect(self, part: str, number: int, name: str) -> Inspection:
        pixels = self.read(part, number, name)
        return Inspection(hashlib.sha256(pixels.tobytes()).hexdigest(), *pixels.shape[:2])


class _Parquet(_Layout):
    """The Hub's layout: encoded pictures in a column of structs ``{bytes, path}``."""

    def labels(self, part: str) -> np.ndarray:
        column = self._column(part, "label")
        if column.null_count or not pa.types.is_integer(column.type):
            raise DataError(f"{self.files[part][0]}: the column 'label' must hold whole numbers")
        return np.asarray(column.to_numpy(), np.int64)

    def read(self, part: str, number: int, name: str) -> np.ndarray:
        return decode_picture(self._encoded(part, number, name), name)

    def inspect(self, part: str, number: int, name: str) -> Inspection:
        return inspect_picture(self._encoded(part, number, name), name)

    def _encoded(self, part: str, number: int, name: str) -> bytes:
        value = self._pictures[part][number].as_py()
        if not isinstance(value, bytes):
            raise PictureError(f"{name}: the Parquet file has no picture in this row")
        return value

    @cached_property
    def _pictures(self) -> dict[str, pa.ChunkedArray]:
        pictures = {}
        for part in self.files:
            column = self._column(part, "img", "image")
            if not pa.types.is_struct(column.type) or column.type.get_field_index("bytes") < 0:
                raise DataError(f"{self.files[part][0]}: the column of pictures must hold structs with 'bytes'")
            bytes_only = [chunk.field("bytes") for chunk in column.chunks]
            pictures[part] = pa.chunked_array(bytes_only, pa.binary()).combine_chunks()
        return pictures

    def _column(self, part: str, *names: str) -> pa.ChunkedArray:
        chunks: list[pa.Array] = []
        for file in self.files[part]:
            try:
                present = [name for name in names if name in pq.read_schema(file).names]
                if not present:
                    raise DataError(f"{file}: column {names[0]!r} is missing")
                chunks += read_table(file, columns=present[:1])[present[0]].chunks
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{file}: not a readable Parquet file ({' '.join(str(error).split())})") from None
        return pa.chunked_array(chunks)
