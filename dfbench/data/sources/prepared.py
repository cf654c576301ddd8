"""A set that ``dfbench data prepare`` made: Arrow files with a sample table and an encoded crop in every row."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbench.data.inspection import Inspected
from dfbench.data.pictures import PictureError, decode_picture
from dfbench.data.prepare.shards import open_shard, read_meta, shard_files
from dfbench.data.samples import Samples
from dfbench.errors import DataError

if TYPE_CHECKING:
    from dfbench.data.encoded import EncodedPixels


class PreparedSource:
    """The rows of a prepared set; files are mapped into memory, and a crop is read when it is used.

    Args:
        root: the set's folder.

    Raises:
        DataError: the folder holds no finished set.
    """

    def __init__(self, root: Path | None) -> None:
        if root is None:
            raise DataError("source 'prepared' needs a root: the folder that dfbench data prepare wrote")
        self.root = Path(root)
        self.meta = read_meta(self.root)
        self.notes: list[str] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root,)  # worker processes map the files themselves

    def samples(self) -> Samples:
        """The table, in the order of the rows on disk.

        Raises:
            StorageError: a file is missing or damaged.
            DataError: a file holds something else.
        """
        failed = self.meta.summary.get("failed", 0)
        self.notes = [f"{self.root}: {failed} videos without a crop (see its report.csv)"] if failed else []
        return Samples.from_table(self._table.drop_columns(["image"]))

    def read(self, sample: str) -> np.ndarray:
        """One crop: uint8 (H, W, 3), RGB.

        Raises:
            PictureError: it cannot be decoded.
        """
        return self.read_row(self._rows[sample])

    def inspected(self, samples: Samples) -> Inspected:
        """Hashes and sizes of all crops, from the table: the crops were decoded when they were made."""
        size = np.full(len(samples), self.meta.options["size"], np.int64)
        return Inspected(samples.texts("sha256"), size, size, np.full(len(samples), "", object))

    def undecoded(self, samples: Samples, size: tuple[int, int]) -> EncodedPixels:
        """Pixels that are decoded when they are fetched, for sets whose pixels do not fit into the cache."""
        from dfbench.data.encoded import EncodedPixels

        names = samples.texts("sample")
        rows = pc.index_in(names.values, value_set=self._table["sample"].combine_chunks().cast(pa.large_string()))
        return EncodedPixels(self, rows.fill_null(-1).to_numpy()[names.codes], size)

    def read_row(self, row: int) -> np.ndarray:
        """As :meth:`read`, by the number of the row."""
        try:
            return decode_picture(self.encoded(row), "")
        except PictureError as error:
            raise PictureError(f"{self.root}: {self._table['sample'][row].as_py()}{error}") from None

    def encoded(self, row: int) -> bytes:
        """The encoded crop, by the number of the row."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        chunk = self._crops[number]
        crop: bytes = chunk[row - int(self._ends[number]) + len(chunk)].as_py()
        return crop

    @cached_property
    def _table(self) -> pa.Table:
        tables = [open_shard(path) for path in shard_files(self.root, self.meta)]
        if not tables or any("image" not in table.column_names for table in tables):
            raise DataError(f"{self.root}: a prepared set has Arrow files with a column 'image'")
        return pa.concat_tables(tables)

    @cached_property
    def _crops(self) -> list[pa.BinaryArray]:
        return [chunk.field("bytes") for chunk in self._table["image"].chunks]

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(chunk) for chunk in self._crops])

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self._table["sample"].to_pylist())}
