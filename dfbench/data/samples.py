"""The sample table: one row per face crop or frame, with everything known about it except its pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfbench.data.json_lines import json_rows, json_texts
from dfbench.data.texts import Texts, first_rows, group_numbers
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
_TEXTS = tuple(name for name in COLUMNS if name not in _NUMBERS)


class TableError(DataError):
    """These rows make no sample table."""


class Column:
    """A column of :class:`Samples` as a read-only array; it cannot be replaced."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, samples: Samples, owner: type | None = None) -> np.ndarray:
        return samples.numbers(self._name) if self._name in _NUMBERS else samples.texts(self._name).objects

    def __set__(self, samples: Samples, value: object) -> None:
        raise AttributeError(f"column {self._name!r} cannot be changed: replace() makes another table")


class Samples:
    """An immutable table; every column is a read-only numpy array of length N.

    Text columns hold ``str`` objects; an empty text means "not known". They are made when they are asked for:
    :meth:`texts` gives a column without them.

    Args:
        **columns: all of :data:`COLUMNS`, each (N,).

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

    Raises:
        DataError: a name occurs twice, a split is unknown, or a text is not UTF-8.
    """

    sample = Column()
    label = Column()
    source = Column()
    method = Column()
    identity = Column()
    video = Column()
    frame = Column()
    pair = Column()
    split = Column()
    sha256 = Column()

    def __init__(self, **columns: Texts | pa.ChunkedArray | np.ndarray | Sequence[Any]) -> None:
        if set(columns) != set(COLUMNS):
            raise TypeError(f"a sample table has the columns {', '.join(COLUMNS)}, not {', '.join(columns)}")
        self._texts: dict[str, Texts] = {}
        self._numbers: dict[str, np.ndarray] = {}
        count = len(columns["sample"])
        for name, column in columns.items():
            shape = column.shape if isinstance(column, np.ndarray) else (len(column),)
            if shape != (count,):
                raise ValueError(f"column {name!r} has shape {shape}, not ({count},)")
            if name in _NUMBERS:
                numbers = np.array(column, dtype=_NUMBERS[name])
                numbers.flags.writeable = False
                self._numbers[name] = numbers
            else:
                self._texts[name] = _checked_texts(name, column)
        if (twice := _first_duplicate(self._texts["sample"])) is not None:
            raise TableError(f"two rows have the same sample name {twice!r}")
        if wrong := set(self.texts("split").present()) - set(SPLITS):
            raise TableError(f"unknown split {min(wrong)!r}: a sample's split is train, val or test")

    def __len__(self) -> int:
        return len(self._numbers["label"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return NotImplemented
        return all(np.array_equal(self.numbers(name), other.numbers(name)) for name in _NUMBERS) and all(
            texts.to_arrow().equals(other.texts(name).to_arrow()) for name, texts in self._texts.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def texts(self, column: str) -> Texts:
        """A column of texts without an object per row."""
        return self._texts[column]

    def numbers(self, column: str) -> np.ndarray:
        """``label`` or ``frame``."""
        return self._numbers[column]

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
            return cls(**columns)
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
        return cls(**{name: table[name] for name in COLUMNS})

    @classmethod
    def concatenate(cls, tables: Sequence[Samples]) -> Samples:
        """Join tables, keeping the order of tables and rows.

        Raises:
            DataError: two rows have the same sample name.
        """
        texts = {name: Texts.concatenate([table.texts(name) for table in tables]) for name in _TEXTS}
        return cls(**texts, **{name: np.concatenate([table.numbers(name) for table in tables]) for name in _NUMBERS})

    def to_table(self) -> pa.Table:
        """The rows as an Arrow table with :data:`SCHEMA`."""
        columns = [
            pa.array(self.numbers(name)) if name in _NUMBERS else self.texts(name).to_arrow().cast(pa.string())
            for name in COLUMNS
        ]
        return pa.table(columns, schema=SCHEMA)

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
        texts = {name: column.take(rows) for name, column in self._texts.items()}
        return Samples(**texts, **{name: column[rows] for name, column in self._numbers.items()})

    def replace(self, **columns: Texts | np.ndarray) -> Samples:
        """A copy of the table with some columns replaced."""
        return Samples(**{**self._texts, **self._numbers, **columns})

    def where(self, **values: Any) -> np.ndarray:
        """Rows that have all the given values.

        Args:
            **values: column name = one value, or a collection of values of which one must match.

        Returns:
            int64 row indices, ascending.

        >>> samples.where(split="train", method=["original", "Deepfakes"])  # doctest: +SKIP
        """
        return np.flatnonzero(self.mask(**values)).astype(np.int64)

    def mask(self, **values: Any) -> np.ndarray:
        """As :meth:`where`, as a mask of all rows: bool (N,)."""
        mask = np.ones(len(self), bool)
        for name, wanted in values.items():
            if name not in COLUMNS:
                raise ValueError(f"unknown column {name!r}; known: {', '.join(COLUMNS)}")
            several = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
            if name in _NUMBERS:
                mask &= np.isin(self.numbers(name), np.array(several, dtype=_NUMBERS[name]))
            else:
                mask &= self.texts(name).isin(several)
        return mask

    def present(self, column: str) -> list[Any]:
        """The different values of a column, sorted."""
        return np.unique(self.numbers(column)).tolist() if column in _NUMBERS else self.texts(column).present()

    def groups(self, *columns: str) -> tuple[np.ndarray, int]:
        """Rows that are equal in these columns have one number, int64 (N,); and how many numbers there are."""
        return group_numbers(*(self.numbers(c) if c in _NUMBERS else self.texts(c).codes for c in columns))

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content of all rows, independent of their order and of the machine."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps(COLUMNS).encode())
        names = self.texts("sample").to_arrow()
        in_order = self.take(pc.array_sort_indices(names).to_numpy())
        # File systems differ in the Unicode form of a file name (composed or decomposed).
        columns = [
            in_order.numbers(name)
            if name in _NUMBERS
            else json_texts(in_order.texts(name), ascii_only=False, form="NFC")
            for name in COLUMNS
        ]
        for lines in json_rows(columns):
            digest.update(lines)
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


def _checked_texts(name: str, column: Any) -> Texts:
    try:
        return Texts.of(column)
    except UnicodeEncodeError:
        wrong = next(value for value in map(str, column) if value != value.encode("utf-8", "ignore").decode())
        raise DataError(f"{name} '{printable(wrong)}' is not UTF-8: rename the file or folder") from None


def _first_duplicate(names: Texts) -> str | None:
    if not len(names) or np.bincount(names.codes).max() == 1:
        return None
    codes, values = names.compact()
    repeated = first_rows(codes, len(values))[codes] != np.arange(len(names))
    return str(values[int(codes[repeated][0])])
