"""Runs are checked before they are put on the board, and nothing is written where one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfbench.errors import DataError
from dfbench.plugins import registry
from dfbench.publish.board.add import add
from dfbench.publish.board.table import read_board
from dfbench.publish.verification.checks import Source, failures, verify
from tests.publish.board_runs import make_run, read_record, write_record


def files(board: Path) -> set[str]:
    return {str(p.relative_to(board)) for p in board.rglob("*") if p.is_file()}


def test_a_run_is_copied_with_its_scores_and_becomes_recomputed(tmp_path: Path) -> None:
    folder, board = make_run(tmp_path / "runs"), tmp_path / "board"
    (added,) = add([folder], board, registry())
    assert files(board) == {f"results/{folder.name}.json", f"scores/{folder.name}.parquet"}
    assert added.new
    record = json.loads(added.path.read_text())
    original = read_record(folder)
    assert record["status"] == "recomputed"
    assert {k: v for k, v in record.items() if k in original} == original  # nothing of it was changed
    assert (board / "scores" / f"{folder.name}.parquet").read_bytes() == (folder / "scores.parquet").read_bytes()
    committed = Source.open(added.path)
    assert not failures(verify(committed, registry()))  # anybody can verify a committed row
    assert read_board(board).tables[0].runs == 1


def test_a_record_without_intervals_is_given_them(tmp_path: Path) -> None:
    with_, without = make_run(tmp_path / "a"), make_run(tmp_path / "b", sure=False)
    (added,) = add([without / "record.json"], tmp_path / "board", registry())
    assert json.loads(added.path.read_text())["uncertainty"] == read_record(with_)["uncertainty"]


def test_adding_twice_changes_nothing(tmp_path: Path) -> None:
    folder, board = make_run(tmp_path / "runs"), tmp_path / "board"
    (first,) = add([folder], board, registry())
    before = first.path.read_bytes()
    (second,) = add([folder], board, registry())
    assert not second.new
    assert first.path.read_bytes() == before


def test_a_claim_to_be_reproduced_is_not_taken_over_but_kept_once_given(tmp_path: Path) -> None:
    folder, board = make_run(tmp_path / "runs"), tmp_path / "board"
    record = read_record(folder)
    record["status"] = "reproduced"
    write_record(folder, record)
    (added,) = add([folder], board, registry())
    assert json.loads(added.path.read_text())["status"] == "recomputed"
    value = json.loads(added.path.read_text()) | {
        "status": "reproduced", "verification": {"agreement": "identical", "date": "2026-11-24"},
    }  # fmt: skip
    added.path.write_text(json.dumps(value))
    (again,) = add([folder], board, registry())
    assert json.loads(again.path.read_text())["status"] == "reproduced"


def test_notes_on_leaks_are_told_and_marked(tmp_path: Path) -> None:
    note = "pictures that occur in more than one split under different names: 28"
    board = tmp_path / "board"
    (added,) = add([make_run(tmp_path / "runs", notes=(note,))], board, registry())
    assert added.notes == (note,)
    assert read_board(board).tables[0].rows[0].notes == [note]


def refused(tmp_path: Path, folder: Path) -> str:
    """The error of adding a good run and then this one; nothing is written."""
    good, board = make_run(tmp_path / "good", "good"), tmp_path / "board"
    with pytest.raises(DataError) as error:
        add([good, folder], board, registry())
    assert not board.exists()
    assert str(folder) in str(error.value)
    return str(error.value)


def test_validation_runs_are_refused(tmp_path: Path) -> None:
    assert "scored on the val split" in refused(tmp_path, make_run(tmp_path, split="val"))


def test_other_data_under_the_same_name_are_refused(tmp_path: Path) -> None:
    assert "its data are not those of the other rows of 'three'" in refused(
        tmp_path, make_run(tmp_path, fingerprint="f" * 64)
    )


def test_other_data_than_the_rows_already_there_are_refused(tmp_path: Path) -> None:
    board = tmp_path / "board"
    add([make_run(tmp_path / "a")], board, registry())
    with pytest.raises(DataError, match="its data are not those"):
        add([make_run(tmp_path / "b", fingerprint="f" * 64)], board, registry())
    add([make_run(tmp_path / "b", "x", fingerprint="f" * 64, benchmark="another")], board, registry())


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "scores.parquet").unlink()
    assert "scores.parquet is not beside it" in refused(tmp_path, folder)


def test_a_tampered_metric_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    record = read_record(folder)
    record["metrics"]["average"] = 0.99
    write_record(folder, record)
    assert "metrics.average: the record says 0.99" in refused(tmp_path, folder)


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "record.json").unlink()
    assert "the run may not be finished" in refused(tmp_path, folder)


def test_the_same_spec_with_other_scores_is_refused_unless_replaced(tmp_path: Path) -> None:
    board = tmp_path / "board"
    add([make_run(tmp_path / "a")], board, registry())
    other = make_run(tmp_path / "b", strength=2.5)
    with pytest.raises(DataError, match="the same spec but other scores"):
        add([other], board, registry())
    (added,) = add([other], board, registry(), replace=True)
    assert json.loads(added.path.read_text())["metrics"] == read_record(other)["metrics"]
    assert not failures(verify(Source.open(added.path), registry()))
