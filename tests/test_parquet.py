"""A small Parquet file that holds gigabytes is refused in one line, before they are in memory."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfbench import parquet
from dfbench.data.inspection import _read as read_inspected
from dfbench.data.samples import SCHEMA as SAMPLES
from dfbench.data.samples import Samples
from dfbench.data.sources.cifar10 import Cifar10Source
from dfbench.errors import DataError
from dfbench.evaluation.scores import SCHEMA as SCORES
from dfbench.evaluation.scores import Scores
from dfbench.parquet import LEAST, read_table
from dfbench.records.packed_scores import SCHEMA as PACK
from dfbench.records.packed_scores import packed_runs, read_pack

READERS: dict[str, Callable[[Path], Any]] = {
    "scores": Scores.read,
    "pack": read_pack,
    "runs of a pack": packed_runs,
    "samples": Samples.read,
    "cifar10": lambda path: Cifar10Source(path.parent).samples(),
}
SCHEMAS = {
    "scores": SCORES,
    "pack": PACK,
    "runs of a pack": pa.schema([PACK.field("run"), PACK.field("sha256")]),
    "samples": SAMPLES,
}


def peak() -> int:
    """The most memory that this process has had, bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def with_many_rows(path: Path, schema: pa.Schema, rows: int, group: int = 1 << 20) -> None:
    """A file of this schema whose rows are all alike: each costs a fraction of a byte."""

    def column(kind: pa.DataType) -> pa.Array:
        if pa.types.is_list(kind):
            offsets = np.zeros(group + 1, np.int32)
            return pa.ListArray.from_arrays(offsets, pa.array([], kind.value_type)).cast(kind)
        if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
            return pa.DictionaryArray.from_arrays(pa.array(np.zeros(group, np.int32)), pa.array(["x"])).cast(kind)
        return pa.array(np.zeros(group, np.int32)).cast(kind)

    table = pa.Table.from_arrays([column(field.type) for field in schema], schema=schema)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(0, rows, group):
            writer.write_table(table)


@pytest.mark.parametrize("reader", READERS)
def test_rows_without_number_are_refused(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    cifar = pa.schema([("img", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])
    schema = SCHEMAS.get(reader, pa.schema([cifar.field("label")]))
    with_many_rows(path, schema, 2 * LEAST // (4 * len(schema)))
    with_many_rows(tmp_path / "test.parquet", schema, 1, group=1)
    assert 100 * path.stat().st_size < LEAST
    before = peak()
    with pytest.raises(DataError, match=r"train\.parquet: \d+ bytes that expand to \d+ or more in \d+ rows") as error:
        READERS[reader](path)
    assert "\n" not in str(error.value)
    assert peak() - before < LEAST


def test_a_text_that_is_stored_once_and_repeated_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 20, np.int32)), pa.array(["x" * 50_000]))
    pq.write_table(pa.table({"sample": repeated}).replace_schema_metadata({}), path, compression="zstd",
                   store_schema=False)  # fmt: skip
    assert path.stat().st_size < 100_000
    before = peak()
    with pytest.raises(DataError, match="that expand to"):
        Samples.read(path)
    assert peak() - before < 3 * LEAST


def test_the_scores_of_a_pack_may_not_be_multiplied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row that many experiences share costs their numbers alone."""
    monkeypatch.setattr(parquet, "LEAST", 1 << 20)
    n, shared = 20_000, 30_000
    row = {
        "run": "r", "sha256": "0" * 64, "trained_on": 0, "tested_on": list(range(shared)), "test_set": 0,
        "samples": [str(i) for i in range(n)], "videos": [""] * n, "labels": [0] * n, "scores": [0.0] * n,
        "predicted": None,
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row], schema=PACK), tmp_path / "pack.parquet", compression="zstd")
    with pytest.raises(DataError, match="that expand to"):
        read_pack(tmp_path / "pack.parquet")


def test_a_cache_that_expands_counts_as_none(tmp_path: Path) -> None:
    with_many_rows(tmp_path / "cache.parquet", pa.schema([("sample", pa.string())]), 36 << 20)
    assert read_inspected(tmp_path / "cache.parquet") == {}


def test_an_ordinary_table_is_read_as_pyarrow_reads_it(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(5000)), "b": [str(i % 7) for i in range(5000)], "c": [[i] for i in range(5000)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=700)
    assert read_table(tmp_path / "t.parquet").equals(table)
    assert read_table(tmp_path / "t.parquet", columns=["c", "a"]).equals(table.select(["c", "a"]))
