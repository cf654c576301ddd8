"""The columns of a file from outside: CSV, Parquet or npz, told apart by their first bytes and never by their name."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from dfbench.errors import DataError, in_one_line
from dfbench.parquet import check_expansion, read_table

Kind = Literal["csv", "parquet", "npz"]
BLANK = frozenset(("", "nan", "na", "n/a", "null", "none"))
"""What stands in a cell without a number, in small letters."""


def kind_of(path: Path) -> Kind:
    """What a file is, by its first bytes.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return "parquet" if start == b"PAR1" else "npz" if start[:2] == b"PK" else "csv"


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a file's columns, in order.

    Raises:
        DataError: It cannot be read, is none of the three, or has no header.
    """
    kind = kind_of(path)
    try:
        if kind == "parquet":
            return tuple(pq.read_schema(path).names)
        if kind == "npz":
            with np.load(path, allow_pickle=False) as arrays:
                return tuple(arrays.files)
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = tuple(name.strip() for name in next(csv.reader(file), []))
    except (OSError, ValueError, pa.ArrowException, csv.Error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: neither CSV (UTF-8) nor Parquet nor npz ({in_one_line(error)})") from error
    if len(set(names)) < len(names) or not all(names):
        raise DataError(f"{path}: the first line of a CSV file names its columns, each once; it has {list(names)[:12]}")
    return names


def read_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns by name: text as object arrays of str ("" where a cell is empty), numbers as they are stored.

    Cells of CSV files are texts. Arrays of npz files may have any shape.

    Raises:
        DataError: The file is damaged, would expand beyond reason, or holds Python objects.
    """
    kind = kind_of(path)
    try:
        if kind == "npz":
            return _npz(path, names)
        return _arrow(path, _csv(path, names) if kind == "csv" else read_table(path, columns=list(names)))
    except (OSError, ValueError, pa.ArrowException, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({in_one_line(error)})") from error


def numbers(values: np.ndarray, column: str, path: Path) -> np.ndarray:
    """A column as float64; nan where a cell is empty.

    Raises:
        DataError: A cell is no number; its row is named.
    """
    if values.dtype != object:
        return values.astype(np.float64)
    found = np.full(len(values), np.nan)
    for row, text in enumerate(values.tolist()):
        if text.strip().lower() in BLANK:
            continue
        try:
            found[row] = float(text)
        except ValueError:
            raise DataError(f"{path}, row {row + 1}: {column} is {text[:40]!r}, no number") from None
    return found


def words(values: np.ndarray) -> np.ndarray:
    """A column as an object array of str without blanks around them; whole numbers without a decimal point."""
    if values.dtype.kind == "f" and np.array_equal(values, np.floor(values)):  # what is left of whole numbers elsewhere
        values = values.astype(np.int64)
    array = np.empty(len(values), dtype=object)
    array[:] = [str(value).strip() for value in values.tolist()]
    return array


def _csv(path: Path, names: Sequence[str]) -> pa.Table:
    """All cells as text: a sample that is called 007 is not the number 7."""
    header = column_names(path)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=list(names), strings_can_be_null=False
    )
    with path.open("rb") as file:
        skip = pyarrow.csv.ReadOptions(column_names=list(header), skip_rows=1)
        return pyarrow.csv.read_csv(file, read_options=skip, convert_options=convert)


def _arrow(path: Path, table: pa.Table) -> dict[str, np.ndarray]:
    found = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = column.fill_null("")
        elif pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise DataError(f"{path}: the column {name!r} is of type {column.type}; text or numbers are read")
        found[name] = column.to_numpy(zero_copy_only=False)
    return found


def _npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        check_expansion(path, sum(info.file_size for info in archive.infolist()), 0)
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in names}
    return {
        name: words(array) if array.dtype.kind == "U" and array.ndim == 1 else array for name, array in found.items()
    }
