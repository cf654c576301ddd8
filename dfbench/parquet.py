"""Parquet files from outside: a small file can hold gigabytes, and is refused before they are in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dfbench.errors import DataError

LEAST = 256 << 20
"""Bytes that any file may hold in memory."""
TIMES = 100
"""A larger file may hold so many times its own bytes. Scores expand up to 13 times (the packs of ``leaderboard/``)."""

_WIDTH = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}
"""Bytes of a value in memory; 8 of any other type, for a text without its letters."""


def read_table(
    path: Path, columns: Sequence[str] | None = None, dictionaries: Iterable[str] = (), rows: int = 1 << 10
) -> pa.Table:
    """A table whose size in memory is bounded by the size of its file.

    What the file says of itself is checked first, then what comes out of it, some rows at a time: a text that is
    stored once and repeated a million times shows only there.

    Args:
        path: The file.
        columns: The columns to read; all unless given.
        dictionaries: Columns of texts to read as dictionaries, which do not repeat a text.
        rows: How many rows are read at a time.

    Raises:
        DataError: It would expand beyond :data:`LEAST` bytes and :data:`TIMES` times its size.
        OSError, pa.ArrowException: As PyArrow; the file is missing, damaged or not Parquet.
    """
    with path.open("rb") as source:
        metadata = pq.read_metadata(source)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        check_expansion(path, sum(max(0, group.total_byte_size) for group in groups), metadata.num_rows)
        # Decodes every page and keeps none. PyArrow ends the process when it is asked for a column's metadata that are
        # damaged; here it raises.
        pq.ParquetFile(source, metadata=metadata).scan_contents()
        check_expansion(path, _stated(metadata, columns), metadata.num_rows)
        present = set(metadata.schema.names)
        file = pq.ParquetFile(
            source,
            metadata=metadata,
            read_dictionary=[name for name in dictionaries if name in present],
            page_checksum_verification=True,
        )
        batches: list[pa.RecordBatch] = []
        held = 0
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            held += sum(map(_bytes, batch.columns))
            check_expansion(path, held, metadata.num_rows)
            batches.append(batch)
        schema = file.schema_arrow
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns], schema.metadata)
    return pa.Table.from_batches(batches, schema)


def _stated(metadata: pq.FileMetaData, columns: Sequence[str] | None) -> int:
    """Bytes in memory, by what the file says: its pages without compression, and its values without encoding."""
    total = 0
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if columns is None or column.path_in_schema.partition(".")[0] in columns:
                pages, values = column.total_uncompressed_size, column.num_values
                total += max(0, pages) + max(0, values) * _WIDTH.get(column.physical_type, 8)
    return total


def _bytes(column: pa.Array) -> int:
    """Bytes of a column in memory; a dictionary is shared by all batches."""
    return int(column.indices.nbytes if isinstance(column, pa.DictionaryArray) else column.nbytes)


def check_expansion(path: Path, held: int, rows: int) -> None:
    """Refuse a file that expands to ``held`` bytes in memory; ``rows`` is for the message.

    Raises:
        DataError: These are more than :data:`LEAST` and more than :data:`TIMES` times its size.
    """
    size = path.stat().st_size
    limit = max(LEAST, TIMES * size)
    if held > limit:
        raise DataError(
            f"{path}: {size} bytes that expand to {held} or more in {rows} rows; up to {limit} are read: it is "
            "damaged, or was made to fill the memory"
        )
