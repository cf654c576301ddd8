"""The sample table: what it holds, how it is read, written and identified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbench.data.samples import COLUMNS, SCHEMA, Samples
from dfbench.errors import DataError, StorageError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "sample": texts,
            "label": st.integers(0, 2**15 - 1),
            "source": texts,
            "method": texts,
            "identity": texts,
            "video": texts,
            "frame": st.integers(0, 2**31 - 1),
            "pair": texts,
            "split": st.sampled_from(["train", "val", "test"]),
            "sha256": texts,
        }
    ),
    max_size=12,
    unique_by=lambda row: row["sample"],
)


def table(*names: str, **columns: Any) -> Samples:
    return Samples.from_rows({"sample": name, "label": 0, "split": "train", **columns} for name in names)


@given(rows)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_parquet_gives_back_what_was_written(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    samples = Samples.from_rows(rows)
    samples.write(tmp_path / "a.parquet")
    again = Samples.read(tmp_path / "a.parquet")
    assert again == samples
    assert again.fingerprint() == samples.fingerprint()
    assert pq.read_schema(tmp_path / "a.parquet").names == SCHEMA.names


@given(rows, st.randoms())
@settings(deadline=None)
def test_fingerprint_does_not_depend_on_the_order(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    assert Samples.from_rows(shuffled).fingerprint() == Samples.from_rows(rows).fingerprint()


@pytest.mark.parametrize("column", COLUMNS)
def test_fingerprint_depends_on_every_column(column: str) -> None:
    base = {"sample": "a", "label": 0, "split": "train"}
    other = {"label": 1, "frame": 1, "split": "test"}.get(column, "other")
    changed = Samples.from_rows([{**base, column: other}])
    assert changed.fingerprint() != Samples.from_rows([base]).fingerprint()


def test_fingerprint_is_the_same_for_both_unicode_spellings_of_a_name() -> None:
    assert table("caf\u00e9.png").fingerprint() == table("cafe\u0301.png").fingerprint()


def test_fingerprint_is_this_value_on_every_machine() -> None:
    expected = "54debe8a967459394d6ed4a877280c1d01d4372cc155132abfd4742155c28b2d"
    assert table("a.png", "b.png", sha256="00").fingerprint() == expected


def test_where_and_take() -> None:
    samples = Samples.from_rows(
        {"sample": str(i), "label": i % 2, "split": ("train", "test")[i % 2], "method": "abc"[i % 3]} for i in range(6)
    )
    assert samples.where(split="train").tolist() == [0, 2, 4]
    assert samples.where(split="train", method="c").tolist() == [2]
    assert samples.where(method=["a", "b"], label=0).tolist() == [0, 4]
    assert samples.where(method=[]).tolist() == []
    assert samples.where().dtype == np.int64
    assert samples.take([4, 1]).sample.tolist() == ["4", "1"]
    with pytest.raises(ValueError, match="unknown column 'methods'"):
        samples.where(methods="a")


def test_columns_cannot_be_changed() -> None:
    samples = table("a")
    with pytest.raises(ValueError, match="read-only"):
        samples.label[0] = 1
    with pytest.raises(AttributeError):
        samples.label = np.zeros(1)  # type: ignore[misc]


def test_an_empty_table_has_the_right_types() -> None:
    samples = Samples.from_rows([])
    assert len(samples) == 0
    assert samples.label.dtype == np.int16
    assert samples.frame.dtype == np.int32


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sample": "a", "label": 0}, "sample 0: column 'split' is missing"),
        (
            {"sample": "a", "label": 0, "split": "train", "person": "x"},
            "unknown column 'person'; known: sample,",
        ),
        ({"sample": "a", "label": "cat", "split": "train"}, "not a whole number"),
        ({"sample": "a", "label": 99999, "split": "train"}, "not a whole number in range"),
        ({"sample": "a", "label": 0, "split": "dev"}, "unknown split 'dev'"),
    ],
)
def test_bad_rows(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Samples.from_rows([row])


def test_names_are_unique() -> None:
    with pytest.raises(DataError, match="two rows have the same sample name 'a'"):
        table("b", "a", "a")


def test_files_that_are_no_table(tmp_path: Path) -> None:
    text = tmp_path / "text.parquet"
    text.write_text("hello")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    for path, reason in [
        (tmp_path / "missing", "not a readable Parquet file"),
        (text, "not a readable Parquet file"),
        (other, "column 'sample' is missing"),
    ]:
        with pytest.raises(DataError, match=reason) as caught:
            Samples.read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_writing_where_one_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/a.parquet"):
        table("a").write(tmp_path / "file" / "a.parquet")
