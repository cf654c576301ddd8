"""Runs are checked before they are put on the board, and nothing is written where one is wrong."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfbench.errors import DataError
from dfbench.plugins import registry
from dfbench.publish.board.add import add
from dfbench.publish.board.build import pages, write
from dfbench.publish.board.manifest import read_manifest
from dfbench.publish.board.table import read_board
from dfbench.publish.verification.checks import failures, verify
from dfbench.records.command import command
from dfbench.records.finished import FinishedRun
from dfbench.records.packed_scores import PackedRun, packed_runs
from tests.publish.board.seen import PAPER
from tests.publish.board_runs import make_run, read_record, write_record


def files(board: Path) -> dict[str, bytes]:
    return {str(p.relative_to(board)): p.read_bytes() for p in board.rglob("*") if p.is_file()}


def packs(board: Path) -> list[set[str]]:
    """The runs in each pack."""
    return [{run for run, _ in packed_runs(p)} for p in sorted(board.glob("scores/*.parquet"))]


def test_a_run_is_copied_with_its_scores_and_becomes_recomputed(tmp_path: Path) -> None:
    folder, board = make_run(tmp_path / "runs"), tmp_path / "board"
    (added,) = add([folder], board, registry())
    committed = FinishedRun.open(added.path)
    pack = f"scores/simple_cnn-replay-three-{committed.record.spec.row_id}.parquet"
    assert set(files(board)) == {f"results/{folder.name}.json", pack, "scores.json"}
    assert added.new
    record = json.loads(added.path.read_text())
    original = read_record(folder)
    assert record["status"] == "recomputed"
    assert record == original | {"status": "recomputed", "settings": record["settings"]}
    assert committed.scores_file == board / pack
    assert committed.scores.to_table().equals(FinishedRun.open(folder).scores.to_table())
    assert not failures(verify(committed, registry()))  # anybody can verify a committed row
    assert read_board(board).tables[0].runs == 1


def test_seeds_of_one_row_share_a_pack_and_the_manifest_says_so(tmp_path: Path) -> None:
    board = tmp_path / "board"
    runs = [make_run(tmp_path / "runs", name, seed) for name in ("gem", "replay") for seed in range(3)]
    add(runs[:2], board, registry())
    add(runs[2:], board, registry())
    assert packs(board) == [{run.name for run in runs[:3]}, {run.name for run in runs[3:]}]
    for path, pack in read_manifest(board).items():
        assert pack.is_at(board / path)
        assert pack.runs == {run: FinishedRun.open(board / "results" / f"{run}.json").record.scores_sha256
                             for run in pack.runs}  # fmt: skip


def test_adding_twice_or_in_another_order_changes_nothing(tmp_path: Path) -> None:
    runs, board = [make_run(tmp_path / "runs", seed=seed) for seed in range(3)], tmp_path / "board"
    add(runs, board, registry())
    before = files(board)
    assert not any(added.new for added in add(runs, board, registry()))
    assert files(board) == before
    for run in reversed(runs):
        add([run], tmp_path / "other", registry())
    assert files(tmp_path / "other") == before


def test_a_seed_is_not_added_where_the_scores_of_the_others_were_left_out(tmp_path: Path) -> None:
    first, second = (make_run(tmp_path / "runs", seed=seed) for seed in range(2))
    board = tmp_path / "board"
    add([first], board, registry())
    before = files(board)
    (pack,) = board.glob("scores/*.parquet")
    pack.unlink()
    with pytest.raises(DataError, match=r"its scores are not here; 'dfbench leaderboard pull"):
        add([second], board, registry())
    assert not pack.exists()
    add([first], board, registry())  # it brings them back
    assert files(board) == before


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


def test_notes_on_leaks_are_reported_and_marked(tmp_path: Path) -> None:
    note = "pictures that occur in more than one split under different names: 28"
    board = tmp_path / "board"
    (added,) = add([make_run(tmp_path / "runs", notes=(note,))], board, registry())
    assert added.notes == (note,)
    assert read_board(board).tables[0].rows[0].notes == [note]


def test_allowed_leaks_are_a_badge_on_the_row_and_in_the_command_that_reruns_it(tmp_path: Path) -> None:
    lines, board = ["set: identities across splits: 1 people <b> in several splits"], tmp_path / "board"
    bad = make_run(tmp_path / "runs", about={"allowed_leaks": lines})
    other = make_run(tmp_path / "runs", "naive")
    add([bad, other], board, registry())
    write(pages(read_board(board)), board)
    rows = {row.first.spec.strategy: row for row in read_board(board).tables[0].rows}
    assert [rows[name].allowed_leaks for name in ("replay", "naive")] == [lines, []]
    (part,) = board.glob("data/*/rows.js")
    assert part.read_text().count("set: identities across splits: 1 people \\\\u003cb\\\\u003e in several splits") == 1
    readme = (board / "README.md").read_text()
    assert [("replay" in line, "naive" in line) for line in readme.splitlines() if "leaks allowed" in line] == [
        (True, False)
    ]
    assert "--allow-leaks" in command(rows["replay"].first)
    assert "--allow-leaks" not in command(rows["naive"].first)


def test_a_benchmark_s_tab_says_where_it_comes_from_and_links_to_its_papers_tables(tmp_path: Path) -> None:
    board, url = tmp_path / "board", "https://example.org/paper"
    citation = {"paper": "A & B, On Forgetting", "section": "protocol 1", "url": url}
    folder = make_run(tmp_path / "runs", about={"citation": citation})
    (board / "reported").mkdir(parents=True)
    (board / "reported" / "paper.yaml").write_text(PAPER.replace("papers-own", "three"))
    add([folder], board, registry())
    write(pages(read_board(board)), board)
    page = (board / "index.html").read_text()
    assert f'A &amp; B, On Forgetting, protocol 1. <a href="{url}">example.org/paper</a>' in page
    anchor = re.search(r'<a href="#(papers[a-z])">Figures of papers on this protocol: 1 table below</a>', page)
    assert anchor is not None
    assert page.index(f'<div id="{anchor[1]}">') < page.index('data-protocol="three"')


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
    assert "scores.parquet is not next to it" in refused(tmp_path, folder)


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
    assert not failures(verify(FinishedRun.open(added.path), registry()))
    assert packed_runs(next(board.glob("scores/*"))) == {PackedRun(added.run, read_record(other)["scores_sha256"])}


@pytest.mark.parametrize("strength", [1.5, 2.5])
def test_two_folders_of_one_run_are_refused_and_both_are_named(strength: float, tmp_path: Path) -> None:
    """Equal or not: nobody could say which of the two is meant."""
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "gem"), make_run(tmp_path / "c", strength=strength)]
    with pytest.raises(DataError) as error:
        add(runs, tmp_path / "board", registry())
    assert all(str(run) in str(error.value) for run in (runs[0], runs[2]))
    assert not (tmp_path / "board").exists()


def test_seeds_that_are_added_at_the_same_time_are_all_in_the_pack(tmp_path: Path) -> None:
    runs, board = [make_run(tmp_path / "runs", seed=seed) for seed in range(4)], tmp_path / "board"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda run: add([run], board, registry()), runs))
    assert packs(board) == [{run.name for run in runs}]
    assert [set(pack.runs) for pack in read_manifest(board).values()] == packs(board)


class Killed(BaseException):
    """What no code catches, as ``kill -9`` would be."""


@pytest.mark.parametrize("writes", range(5))
def test_whenever_a_replacement_is_cut_short_every_record_has_its_scores(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pack, manifest, record, pack, manifest: the process ends before one of these five gets its name."""
    board = tmp_path / "board"
    add([make_run(tmp_path / "a", seed=0), make_run(tmp_path / "a", seed=1)], board, registry())
    other = make_run(tmp_path / "b", strength=2.5)
    done = 0

    def replace(source: Path, target: Path) -> None:
        nonlocal done
        if done == writes:
            raise Killed
        done += 1
        Path(source).rename(target)

    with monkeypatch.context() as patch:
        patch.setattr("dfbench.files.os.replace", replace)
        with pytest.raises(Killed):
            add([other], board, registry(), replace=True)
    for path in board.glob("results/*.json"):
        assert not failures(verify(FinishedRun.open(path), registry()))
    add([other], board, registry(), replace=True)
    clean = tmp_path / "clean"
    add([make_run(tmp_path / "c", seed=1), other], clean, registry())
    assert files(board) == files(clean)
