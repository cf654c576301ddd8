"""Columns of texts: what is made of them equals what rows of Python objects give, without making any."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dfbench.benchmarks.schema import ExperienceSpec
from dfbench.benchmarks.select import select
from dfbench.data.json_lines import json_list
from dfbench.data.leaks import check_leaks
from dfbench.data.samples import COLUMNS, Samples
from dfbench.data.texts import Texts, first_rows, group_numbers
from dfbench.data.units import clip_pairs, pairs, units_of_experiences
from dfbench.data.videos import video_keys
from tests.data.test_samples import rows, texts

unhurried = settings(deadline=None)
columns = st.lists(texts, max_size=12)


@unhurried
@given(rows)
def test_a_fingerprint_is_the_hash_of_the_sorted_rows_as_json(rows: list[dict[str, object]]) -> None:
    digest = hashlib.sha256(json.dumps(COLUMNS).encode())
    for row in sorted([row[name] for name in COLUMNS] for row in rows):  # type: ignore[type-var]
        digest.update(unicodedata.normalize("NFC", json.dumps(row, ensure_ascii=False)).encode() + b"\n")
    assert Samples.from_rows(rows).fingerprint() == digest.hexdigest()


@unhurried
@given(columns)
def test_a_list_is_written_as_json_writes_it(column: list[str]) -> None:
    assert b"".join(json_list(Texts.of(column))) == json.dumps(column).encode()


@unhurried
@given(columns, columns, texts)
def test_texts_are_those_that_were_given_whatever_is_done_to_them(one: list[str], other: list[str], text: str) -> None:
    both = Texts.concatenate([Texts.of(one), Texts.of(other)])
    assert both.objects.tolist() == both.to_arrow().to_pylist() == one + other
    assert both.present() == sorted(set(one + other))
    assert both.prefixed(text).objects.tolist() == [text + each for each in one + other]
    assert both.filled(text).objects.tolist() == [each or text for each in one + other]
    assert both.isin([text, *one[:1]]).tolist() == [each in (text, *one[:1]) for each in one + other]
    some = np.arange(len(both))[::-2]
    assert both.take(some).present() == sorted(set((one + other)[::-2]))
    codes, values = both.take(some).compact()
    assert values.take(codes).to_pylist() == (one + other)[::-2]


@unhurried
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), max_size=12))
def test_equal_rows_have_one_number_in_the_order_in_which_they_appear(values: list[tuple[int, int]]) -> None:
    numbers, count = group_numbers(*np.array(values, np.int64).reshape(-1, 2).T)
    different = list(dict.fromkeys(values))
    assert numbers.tolist() == [different.index(value) for value in values]
    assert count == len(different)
    assert [values[row] for row in first_rows(numbers, count).tolist()] == different


def test_from_the_table_to_units_no_row_becomes_an_object(tmp_path: Path) -> None:
    table = Samples.from_rows(
        {"sample": f"{label}{video}/{frame}", "label": label, "source": "s", "method": "m" if label else "real",
         "identity": f"p{video}", "video": f"{label}{video}", "frame": frame, "pair": f"{video}/{frame}",
         "split": "test" if video > 5 else "train", "sha256": f"{label}{video}{frame}"}
        for video in range(8) for frame in range(4) for label in (0, 1)
    )  # fmt: skip
    table.write(tmp_path / "t.parquet")
    table = Samples.read(tmp_path / "t.parquet")
    chosen = select(table, ExperienceSpec(name="e", source="s", methods=["m"], frames=2, where={"label": [0, 1]}))
    assert [len(chosen[split]) for split in ("train", "val", "test")] == [24, 0, 8]
    table = table.take(np.arange(len(table))).replace(source=table.texts("source").filled("x"))
    check_leaks([table], "here")
    table.fingerprint()
    assert len(set(video_keys(table))) == 16
    assert len(pairs(table, np.arange(len(table)))) == 32
    (units,), left_out = units_of_experiences(
        lambda rows: clip_pairs(table, rows, 2), table, {"e": chosen["train"]}, "train", ("real", "fake")
    )
    assert (len(units), left_out) == (6, [])
    assert [name for name in ("sample", "pair", "sha256", "video") if "objects" in vars(table.texts(name))] == []
