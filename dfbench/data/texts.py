"""A column of texts as numbers into its different values, so that a million rows are no million Python objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, eq=False)
class Texts:
    """N texts.

    Attributes:
        values: different texts, none of them null; some may occur in no row.
        codes: int64 (N,), the position of each row's text in ``values``.
    """

    values: pa.LargeStringArray
    codes: np.ndarray

    @classmethod
    def of(cls, column: Texts | pa.ChunkedArray | pa.Array | np.ndarray | Sequence[str]) -> Texts:
        """From a column of texts in any form.

        Raises:
            UnicodeEncodeError: a text is not UTF-8.
        """
        if isinstance(column, Texts):
            return column
        if not isinstance(column, pa.ChunkedArray | pa.Array):
            column = pa.array(_strings(column), pa.large_string())
        encoded = column.cast(pa.large_string()).dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # of no chunks
            return cls(pa.array([], pa.large_string()), np.zeros(0, np.int64))
        return cls(encoded.dictionary, _numbers(encoded.indices))

    @classmethod
    def concatenate(cls, parts: Sequence[Texts]) -> Texts:
        """The rows of several columns one after another."""
        if all(part.values is parts[0].values for part in parts):
            return cls(parts[0].values, np.concatenate([part.codes for part in parts]))
        joined = cls.of(pa.concat_arrays([part.values for part in parts]))
        starts = np.cumsum([0, *(len(part.values) for part in parts)])
        return cls(
            joined.values,
            np.concatenate([joined.codes[start + part.codes] for start, part in zip(starts, parts, strict=False)]),
        )

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray | slice) -> Texts:
        """These rows (or those where a mask is true)."""
        return Texts(self.values, self.codes[rows])

    @cached_property
    def objects(self) -> np.ndarray:
        """The column as ``str`` objects, (N,), read-only; equal texts are one object."""
        used = self._used
        objects = np.empty(len(self.values), object)
        objects[used] = self.values.take(pa.array(used)).to_pylist()
        column = objects[self.codes]
        column.flags.writeable = False
        return column

    def to_arrow(self) -> pa.Array:
        """The column as Arrow's large strings."""
        return self.values.take(pa.array(self.codes))

    def present(self) -> list[str]:
        """The different texts that occur, sorted."""
        _, found = self.compact()
        return found.take(pc.array_sort_indices(found)).to_pylist()

    def compact(self) -> tuple[np.ndarray, pa.LargeStringArray]:
        """Codes into the values that occur, int64 (N,), and these values."""
        used = self._used
        if len(used) == len(self.values):
            return self.codes, self.values
        place = np.zeros(len(self.values), np.int64)
        place[used] = np.arange(len(used))
        return place[self.codes], self.values.take(pa.array(used))

    def isin(self, wanted: Iterable[str]) -> np.ndarray:
        """Mask of the rows whose text is one of these, bool (N,)."""
        return _mask(pc.is_in(self.values, value_set=pa.array(list(wanted), pa.large_string())))[self.codes]

    def mapped(self, change: Callable[[pa.LargeStringArray], Any]) -> Texts:
        """The column with other texts: ``change`` makes them of the different values, all at once."""
        changed = Texts.of(change(self.values))
        return Texts(changed.values, changed.codes[self.codes])

    def filled(self, text: str) -> Texts:
        """The column with this text in place of empty ones."""
        return self.mapped(lambda values: pc.if_else(pc.equal(values, ""), pa.scalar(text, values.type), values))

    def prefixed(self, prefix: str) -> Texts:
        """The column with this prefix before every text."""
        return self.mapped(lambda values: joined(prefix, values)) if prefix else self

    @cached_property
    def is_empty(self) -> np.ndarray:
        """Mask of the rows without a text, bool (N,)."""
        return _mask(pc.equal(self.values, ""))[self.codes]

    @property
    def _used(self) -> np.ndarray:
        return np.flatnonzero(np.bincount(self.codes, minlength=len(self.values)))


def joined(*pieces: pa.LargeStringArray | str) -> pa.LargeStringArray:
    """Rows' pieces one after another; at least one piece is an array."""
    large = [pa.scalar(piece, pa.large_string()) if isinstance(piece, str) else piece for piece in (*pieces, "")]
    return pc.binary_join_element_wise(*large)


def content(texts: pa.LargeStringArray) -> memoryview:
    """The bytes of all texts one after another."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset :][: len(texts) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])] if data is not None else memoryview(b"")


def group_numbers(*columns: np.ndarray) -> tuple[np.ndarray, int]:
    """Rows that are equal in all columns have one number.

    Args:
        *columns: whole numbers, each (N,).

    Returns:
        int64 (N,), numbered by first appearance, and how many numbers there are.
    """
    number, count = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        values = column.astype(np.int64)
        least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
        # Arrow counts by hashing; np.unique would sort.
        encoded = pa.array(number * (most - least + 1) + (values - least)).dictionary_encode()
        number, count = _numbers(encoded.indices), len(encoded.dictionary)
    return number, count


def first_rows(numbers: np.ndarray, count: int) -> np.ndarray:
    """The first row of each number from 0 to ``count``, all of which occur: int64 (count,)."""
    first = np.empty(count, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1)
    return first


def _strings(column: Any) -> Any:
    """A column that Arrow can take: texts that are no ``str`` (``np.str_`` is one) become text."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "U":
        column = column.astype(object)
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return values if all(type(value) is str for value in values) else list(map(str, values))


def _numbers(column: pa.Array) -> np.ndarray:
    """Whole numbers without nulls as int64, without pandas, which ``to_numpy`` imports."""
    return np.frombuffer(column.buffers()[1], column.type.to_pandas_dtype())[column.offset :][: len(column)].astype(
        np.int64
    )


def _mask(column: pa.BooleanArray | pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), bool)
