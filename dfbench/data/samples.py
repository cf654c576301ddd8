"""The sample table: one row per face crop or frame, with everything known about it except its pixels."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.errors import DataError
from dfbench.files import write_whole
from dfbench.parquet import read_table

SPLITS = ("train", "val", "test")

SCHEMA = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False),
        pa.field("label", pa.int16(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("video", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("pair", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)
"""The columns of a sample table on disk, see :class:`Samples`."""

COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
REQUIRED: tuple[str, ...] = ("sample", "label", "split")
_NUMBERS: dict[str, type[np.integer[Any]]] = {"label": np.int16, "frame": np.int32}


class TableError(DataError):
    """These rows make no sample table."""


@dataclass(frozen=True, eq=False)
class Samples:
    """An immutable table; every column is a read-only numpy array of length N.

    Text columns hold ``str`` objects; an empty text means "not known".

    Attributes:
        sample: the sample's name, unique in the table and independent of the machine.
        label: int16 class index; 0 real and 1 fake unless the source says otherwise.
        source: public data set or forgery family.
        method: how a fake was made.
        identity: the person; must not occur in two splits.
        video: the video or clip; must not occur in two splits.
        frame: int32 position in the video, 0 for a single picture.
        pair: a key that a real and the fakes aligned with it share.
        split: ``train``, ``val`` or ``test``.
        sha256: SHA-256 (hex) of the picture's content.
    """

    sample: np.ndarray
    label: np.ndarray
    source: np.ndarray
    method: np.ndarray
    identity: np.ndarray
    video: np.ndarray
    frame: np.ndarray
    pair: np.ndarray
    split: np.ndarray
    sha256: np.ndarray

    def __post_init__(self) -> None:
        for field in fields(self):
            column = np.array(getattr(self, field.name), dtype=_NUMBERS.get(field.name, object))
            if column.ndim != 1 or len(column) != len(self.sample):
                raise ValueError(f"column {field.name!r} has shape {column.shape}, not ({len(self.sample)},)")
            column.flags.writeable = False
            object.__setattr__(self, field.name, column)
            if column.dtype == object:
                _check_text(field.name, column)
        if len(set(self.sample)) != len(self):
            raise TableError(f"two rows have the same sample name {_first_duplicate(self.sample)!r}")
        wrong = set(self.split) - set(SPLITS)
        if wrong:
            raise TableError(f"unknown split {min(map(str, wrong))!r}: a sample's split is train, val or test")

    def __len__(self) -> int:
        return len(self.sample)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMNS)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Samples:
        """Build a table from one mapping per sample; ``sample``, ``label`` and ``split`` are required.

        Raises:
            DataError: a column is missing or unknown, a value has the wrong type, a name occurs twice.
        """
        rows = list(rows)
        for number, row in enumerate(rows):
            if strange := set(row) - set(COLUMNS):
                raise TableError(f"sample {number}: unknown column {min(strange)!r}; known: {', '.join(COLUMNS)}")
            if missing := [name for name in REQUIRED if name not in row]:
                raise TableError(f"sample {number}: column {missing[0]!r} is missing")
        try:
            columns = {
                name: [int(row.get(name, 0)) for row in rows]
                if name in _NUMBERS
                else [str(row.get(name, "")) for row in rows]
                for name in COLUMNS
            }
            return cls(**{name: _column(name, values) for name, values in columns.items()})
        except (TypeError, ValueError, OverflowError) as error:
            raise TableError(f"a label or frame is not a whole number in range: {error}") from None

    @classmethod
    def from_table(cls, table: pa.Table) -> Samples:
        """Build from an Arrow table with at least the columns of :data:`SCHEMA`.

        Raises:
            DataError: a column is missing or cannot be converted.
        """
        for name in COLUMNS:
            if name not in table.column_names:
                raise TableError(f"column {name!r} is missing; a sample table has {', '.join(COLUMNS)}")
        try:
            table = table.select(list(COLUMNS)).cast(SCHEMA)
        except (pa.ArrowException, ValueError) as error:
            raise TableError(f"not a sample table: {' '.join(str(error).split())}") from None
        return cls(**{name: _from_arrow(name, table[name]) for name in COLUMNS})

    @classmethod
    def concatenate(cls, tables: Sequence[Samples]) -> Samples:
        """Join tables, keeping the order of tables and rows.

        Raises:
            DataError: two rows have the same sample name.
        """
        return cls(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in COLUMNS})

    def to_table(self) -> pa.Table:
        """The rows as an Arrow table with :data:`SCHEMA`."""
        return pa.table({name: pa.array(getattr(self, name)) for name in COLUMNS}, schema=SCHEMA)

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Read a table from Parquet.

        Raises:
            DataError: the file is missing, damaged or not a sample table.
        """
        try:
            table = read_table(Path(path))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())})") from None
        try:
            return cls.from_table(table)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def write(self, path: Path) -> None:
        """Write the table as Parquet, whole or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        buffer = BytesIO()
        pq.write_table(self.to_table(), buffer, compression="zstd")
        write_whole(Path(path), buffer.getvalue())

    def take(self, rows: Sequence[int] | np.ndarray) -> Samples:
        """The table of the given rows, in the given order.

        Args:
            rows: row indices, each at most once.
        """
        rows = np.asarray(rows, np.int64)
        return Samples(**{name: getattr(self, name)[rows] for name in COLUMNS})

    def replace(self, **columns: np.ndarray) -> Samples:
        """A copy of the table with some columns replaced."""
        return Samples(**{name: columns.get(name, getattr(self, name)) for name in COLUMNS})

    def where(self, **values: Any) -> np.ndarray:
        """Rows that have all the given values.

        Args:
            **values: column name = one value, or a collection of values of which one must match.

        Returns:
            int64 row indices, ascending.

        >>> samples.where(split="train", method=["original", "Deepfakes"])  # doctest: +SKIP
        """
        mask = np.ones(len(self), bool)
        for name, wanted in values.items():
            if name not in COLUMNS:
                raise ValueError(f"unknown column {name!r}; known: {', '.join(COLUMNS)}")
            column = getattr(self, name)
            if isinstance(wanted, str) or not isinstance(wanted, Iterable):
                mask &= column == wanted
            else:
                mask &= np.isin(column, np.array(list(wanted), dtype=column.dtype))
        return np.flatnonzero(mask).astype(np.int64)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content of all rows, independent of their order and of the machine."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps(COLUMNS).encode())
        columns = [getattr(self, name).tolist() for name in COLUMNS]
        encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for every row
        for row in sorted(zip(*columns, strict=True)):
            # File systems differ in the Unicode form of a file name (composed or decomposed).
            line = unicodedata.normalize("NFC", encode(row))
            digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()


def printable(name: str) -> str:
    """A name as one line of text: bytes that are not UTF-8 and control characters are escaped.

    >>> printable("caf\\udce9.png")
    'caf\\\\xe9.png'
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in name)


def _escaped(character: str) -> str:
    """Python spells a byte that is not UTF-8 as a lone surrogate from U+DC80 to U+DCFF."""
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(character)[1:-1]


def _check_text(name: str, column: np.ndarray) -> None:
    try:
        "".join(map(str, column)).encode()
    except UnicodeEncodeError:
        wrong = next(value for value in map(str, column) if value != value.encode("utf-8", "ignore").decode())
        raise DataError(f"{name} '{printable(wrong)}' is not UTF-8: rename the file or folder") from None


def _column(name: str, values: list[Any]) -> np.ndarray:
    """A 1-D array of a column's dtype; ``np.array`` alone would make (0,) float arrays of empty lists."""
    return np.array(values, dtype=_NUMBERS.get(name, object)).reshape(len(values))


def _from_arrow(name: str, column: pa.ChunkedArray) -> np.ndarray:
    """A 1-D array of a column's dtype; equal texts become one object, since most columns have few different ones."""
    if name in _NUMBERS or column.null_count:
        return _column(name, column.to_pylist())
    encoded = column.combine_chunks().dictionary_encode()
    return _column(name, encoded.dictionary.to_pylist())[
        encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ]


def _first_duplicate(names: np.ndarray) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
