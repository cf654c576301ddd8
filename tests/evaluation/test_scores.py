"""The scores table: what goes in comes out, whole or not at all, and nothing false gets in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.errors import DataError, StorageError
from dfbench.evaluation.scores import SCHEMA, Scores


def add(table: Scores, trained_on: int = 0, tested_on: int = 0, **changed) -> Scores:
    """Append a small real/fake test set, with some columns changed."""
    columns = {
        "trained_on": trained_on,
        "tested_on": tested_on,
        "samples": ["a/0", "a/1", "b/0"],
        "videos": ["a", "a", "b"],
        "labels": [0, 0, 1],
        "scores": [0.25, 0.5, 0.75],
        "predicted": [0, 0, 1],
    }
    table.append(**columns | changed)
    return table


def test_a_table_has_the_schema_and_reads_back_the_same(tmp_path: Path) -> None:
    scores = add(add(add(Scores(), 1, 0), -1, 0), 0, 0, samples=["ü", "日本", ""])
    scores.write(tmp_path / "scores.parquet")
    assert pq.read_schema(tmp_path / "scores.parquet").equals(SCHEMA)
    back = Scores.read(tmp_path / "scores.parquet")
    assert back.to_table().equals(scores.to_table())
    assert back.pairs == [(-1, 0), (0, 0), (1, 0)]
    assert back.experiences == [0]
    assert len(back) == 9
    group = back.get(0, 0)
    assert group is not None
    assert group.samples.tolist() == ["ü", "日本", ""]
    assert group.videos.tolist() == ["a", "a", "b"]
    assert (group.labels.dtype, group.scores.dtype, group.predicted.dtype) == ("int16", "float32", "int16")
    assert group.scores.tolist() == [0.25, 0.5, 0.75]
    assert back.get(5, 5) is None


def test_groups_come_in_the_order_of_training_whatever_the_order_of_appending() -> None:
    scores = Scores()
    for pair in [(1, 1), (0, 1), (-1, 0), (1, 0)]:
        add(scores, *pair)
    assert [(g.trained_on, g.tested_on) for g in scores] == [(-1, 0), (0, 1), (1, 0), (1, 1)]


def test_an_empty_table_is_written_and_read(tmp_path: Path) -> None:
    Scores().write(tmp_path / "scores.parquet")
    back = Scores.read(tmp_path / "scores.parquet")
    assert (len(back), back.pairs, back.experiences, list(back)) == (0, [], [], [])


@given(
    st.lists(
        st.tuples(st.integers(-1, 9), st.integers(0, 9), st.integers(1, 5)),
        max_size=12,
        unique_by=lambda t: t[:2],
    )
)
def test_rows_in_any_order_are_grouped_by_pair(groups: list[tuple[int, int, int]]) -> None:
    scores = Scores()
    for trained_on, tested_on, n in groups:
        names = [f"{tested_on}/{k}" for k in range(n)]
        values = np.linspace(0, 1, n)
        scores.append(trained_on, tested_on, names, [""] * n, np.arange(n) % 2, values, np.zeros(n, int))
    table = scores.to_table()
    assert Scores.from_table(table).to_table().equals(table)
    mixed = Scores.from_table(table.take(np.random.default_rng(0).permutation(len(table))))
    assert mixed.pairs == scores.pairs
    for group, same in zip(mixed, scores, strict=True):
        assert set(zip(group.samples, group.scores, strict=True)) == set(zip(same.samples, same.scores, strict=True))


def test_a_table_in_several_chunks_with_their_own_dictionaries_is_read() -> None:
    first, second = add(Scores(), 0, 0), add(Scores(), 0, 1, samples=["x", "y", "z"])
    table = pa.concat_tables([first.to_table(), second.to_table()])
    assert Scores.from_table(table).to_table().equals(Scores.concat([first, second]).to_table())


def test_concat_joins_runs_and_refuses_a_pair_in_both() -> None:
    both = Scores.concat([add(Scores(), 0, 0), add(Scores(), 0, 1)])
    assert both.pairs == [(0, 0), (0, 1)]
    assert both.experiences == [0, 1]
    with pytest.raises(DataError, match="on experience 1 after experience 0 are there already"):
        Scores.concat([both, add(Scores(), 0, 1)])
    with pytest.raises(DataError, match="already"):
        add(both, 0, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": [0.1, math.nan, 0.2]}, r"sample 'a/1' is nan, no probability \(1 of 3 samples\)"),
        ({"scores": [0.1, 1.5, -3]}, r"sample 'a/1' is 1.5, no probability \(2 of 3"),
        ({"scores": [0.1, 0.2]}, "unequal length"),
        ({"videos": ["a"]}, "unequal length"),
        ({key: [] for key in ("samples", "videos", "labels", "scores", "predicted")}, "not one sample"),
        ({"samples": ["a", "b", "\udcff"]}, "not text"),
        ({"samples": ["a", "b", "a"]}, "sample 'a' occurs more than once"),
        ({"labels": [0, -1, 1]}, "class numbers from 0"),
        ({"labels": [0, 0.5, 1]}, "whole numbers"),
        ({"predicted": [0, 70_000, 1]}, "whole numbers"),
        ({"predicted": [0, math.nan, 1]}, "whole numbers"),
        ({"trained_on": -2}, "count from 0"),
        ({"tested_on": -1}, "count from 0"),
    ],
)
def test_rows_that_cannot_be_true_are_refused_in_one_line(changed: dict, message: str) -> None:
    scores = Scores()
    with pytest.raises(DataError, match=message) as caught:
        add(scores, **changed)
    assert "\n" not in str(caught.value)
    assert len(scores) == 0


def test_the_rounding_of_a_softmax_is_forgiven() -> None:
    group = add(Scores(), scores=[-1e-8, 0.5, 1 + 2e-7]).get(0, 0)
    assert group is not None
    assert group.scores.tolist() == [0.0, 0.5, 1.0]


def test_what_is_no_scores_file_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with pytest.raises(DataError, match="No such file"):
        Scores.read(path)
    path.write_bytes(b"not a parquet file")
    with pytest.raises(DataError, match=r"scores\.parquet"):
        Scores.read(path)
    pq.write_table(pa.table({"trained_on": [1]}), path)
    with pytest.raises(DataError, match="lacks the columns of a scores file"):
        Scores.read(path)
    table = add(Scores()).to_table()
    pq.write_table(table.set_column(5, "score", table["score"].cast(pa.float64())), path)
    with pytest.raises(DataError, match=r"\['score'\]"):
        Scores.read(path)


def test_a_file_whose_values_cannot_be_true_is_a_data_error(tmp_path: Path) -> None:
    table = add(Scores()).to_table()
    false = table.set_column(5, SCHEMA.field("score"), pa.array([0.1, 7.0, 0.2], pa.float32()))
    pq.write_table(false, tmp_path / "scores.parquet")
    with pytest.raises(DataError, match="no probability"):
        Scores.read(tmp_path / "scores.parquet")


def test_damage_never_gives_other_scores_or_another_error(tmp_path: Path) -> None:
    """Every cut, and a flipped bit at every byte: an error of one line, or the very same scores."""
    path = tmp_path / "scores.parquet"
    scores = add(add(Scores(), 0, 0), 1, 0)
    scores.write(path)
    whole = path.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :] for i in range(len(whole))]
    errors = []
    for damaged in [whole[:i] for i in range(0, len(whole), 7)] + flipped:
        path.write_bytes(damaged)
        try:
            assert Scores.read(path).to_table().equals(scores.to_table())
        except DataError as error:
            errors.append(str(error))
    assert len(errors) > len(whole) / 2
    assert not [error for error in errors if "\n" in error]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.parquet"
    add(Scores()).write(path)
    before = path.read_bytes()

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        add(Scores(), 3, 3).write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_made_and_one_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    add(Scores()).write(tmp_path / "missing" / "scores.parquet")
    assert len(Scores.read(tmp_path / "missing" / "scores.parquet")) == 3
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        Scores().write(tmp_path / "file" / "scores.parquet")


def test_the_digest_is_of_the_rows_and_of_each_of_them(tmp_path: Path) -> None:
    scores = add(add(Scores(), 0, 0), 1, 0)
    assert add(add(Scores(), 1, 0), 0, 0).digest() == scores.digest()
    scores.write(tmp_path / "scores.parquet")
    assert Scores.read(tmp_path / "scores.parquet").digest() == scores.digest()
    for changed in ({"scores": [0.25, 0.5, 0.76]}, {"labels": [0, 1, 1]}, {"samples": ["a/0", "a/1", "b/1"]}):
        assert add(add(Scores(), 0, 0), 1, 0, **changed).digest() != scores.digest()


def test_rows_that_were_changed_after_writing_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    add(Scores()).write(path)
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    with pytest.raises(DataError, match="its rows are not the ones that were written"):
        Scores.read(path)


def test_names_are_stored_once_not_once_a_row(tmp_path: Path) -> None:
    names = [f"source/video{k:05d}/frame-with-a-long-name{k:09d}" for k in range(2000)]

    def size(trainings: int) -> int:
        scores = Scores()
        for i in range(trainings):
            scores.append(i, 0, names, names, [0] * 2000, [0.5] * 2000, [0] * 2000)
        scores.write(tmp_path / "scores.parquet")
        return (tmp_path / "scores.parquet").stat().st_size

    assert size(10) < 2 * size(1)


def test_people_are_kept_and_files_from_before_the_column_know_nobody(tmp_path: Path) -> None:
    known, unknown = Scores(), Scores()
    for scores, people in ((known, ["anna", "", "ben"]), (unknown, None)):
        scores.append(0, 0, ["a", "b", "c"], ["", "", "v"], [0, 1, 1], [0.1, 0.5, 0.9], [0, 0, 1], people)
    known.write(tmp_path / "known.parquet")
    back = Scores.read(tmp_path / "known.parquet")
    assert back.get(0, 0).identities.tolist() == ["anna", "", "ben"]  # type: ignore[union-attr]
    assert back.digest() == known.digest() != unknown.digest()
    before = unknown.to_table().drop_columns(["identity"])
    metadata = {b"dfbench.scores.sha256": unknown.digest()}
    pq.write_table(before.replace_schema_metadata(metadata), tmp_path / "before.parquet")
    assert Scores.read(tmp_path / "before.parquet").digest() == unknown.digest()
