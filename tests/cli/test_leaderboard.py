"""``dfbench leaderboard`` and ``dfbench verify``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from dfbench.cli.leaderboard import FOLDER
from dfbench.publish.board.table import read_board
from tests.cli.harness import run_cli, the_error
from tests.cli.test_imports import HEAVY, SCRIPT
from tests.conftest import ROOT
from tests.publish.board_runs import make_run, make_runs, read_record, write_record

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_runs(tmp_path_factory.mktemp("runs"), seeds=2)


@pytest.fixture
def board(runs: list[Path], tmp_path: Path, capsys: Capture) -> Path:
    done = run_cli(capsys, "leaderboard", "add", *runs, "--to", tmp_path / "board")
    assert done.code == 0, done
    assert done.out.splitlines()[-1] == "now: dfbench leaderboard build"
    return tmp_path / "board"


def test_the_committed_pages_are_what_the_committed_records_give(capsys: Capture) -> None:
    """Regenerating changes nothing: whoever adds a record runs ``dfbench leaderboard build``."""
    done = run_cli(capsys, "leaderboard", "build", "--check", "--board", ROOT / FOLDER)
    assert done.code == 0, done.err


COMMITTED = sorted((ROOT / FOLDER / "results").glob("*.json"))


@pytest.mark.parametrize(
    "committed",
    [pytest.param(COMMITTED[7::30], id="a few"), pytest.param(COMMITTED, id="all", marks=pytest.mark.slow)],
)
def test_committed_records_that_have_their_scores_are_right(committed: list[Path], capsys: Capture) -> None:
    done = run_cli(capsys, "verify", *committed, "--no-data", "--json")
    assert done.code == 0, done.err
    assert [found["run"] for found in done.json] == [path.stem for path in committed]
    assert all(found["ok"] in (True, None) for found in done.json)
    if all(found["ok"] is None for found in done.json):
        pytest.skip("no scores are here")


def test_show_prints_the_rows(board: Path, capsys: Capture) -> None:
    done = run_cli(capsys, "leaderboard", "show", "--board", board)
    assert done.code == 0
    lines = [line for line in done.out.splitlines() if "simple_cnn" in line]
    assert len(lines) == 5
    assert "bound" in next(line for line in lines if "joint" in line)
    assert sum("★" in line for line in lines) == 1
    assert all("recomputed" in line for line in lines)


def test_show_sorts_and_gives_json(board: Path, capsys: Capture) -> None:
    done = run_cli(capsys, "leaderboard", "show", "--board", board, "--sort", "forgetting", "--json")
    (table,) = done.json
    values = [row["forgetting"][0] for row in table["rows"]]
    assert values[-1] is None
    assert values[:-1] == sorted(values[:-1])
    assert table["rows"][0]["runs"][0]["environment"]["device"] == "cpu"
    average = run_cli(capsys, "leaderboard", "show", "--board", board, "-b", "three", "--json").json
    means = [row["average"]["mean"] for row in average[0]["rows"]]
    assert means == sorted(means, reverse=True)
    said = the_error(run_cli(capsys, "leaderboard", "show", "--board", board, "-b", "thre"), 2)
    assert "did you mean 'three'" in said


def test_names_of_outsiders_are_no_markup_in_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    run_cli(capsys, "leaderboard", "add", make_run(tmp_path, "[bold]x[/bold]"), "--to", tmp_path / "b")
    assert "[bold]x[/bold]" in run_cli(capsys, "leaderboard", "show", "--board", tmp_path / "b").out


def test_add_refuses_with_one_line_and_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    folder = make_run(tmp_path, split="val")
    said = the_error(run_cli(capsys, "leaderboard", "add", folder, "--to", tmp_path / "board"), 3)
    assert "scored on the val split" in said
    assert not (tmp_path / "board").exists()


def test_build_is_a_pure_function_of_the_records(board: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run_cli(capsys, "leaderboard", "build", "--board", board).code == 0
    other = tmp_path / "elsewhere"
    shutil.copytree(board, other)
    shutil.rmtree(other / "scores")  # the pages need the records alone
    (other / "index.html").unlink()
    assert run_cli(capsys, "leaderboard", "build", "--board", other).code == 0
    for page in ("index.html", "README.md"):
        assert (other / page).read_bytes() == (board / page).read_bytes()


def test_check_fails_when_a_page_or_a_record_was_changed(board: Path, capsys: Capture) -> None:
    check = ("leaderboard", "build", "--check", "--board", board)
    assert "README.md and" in the_error(run_cli(capsys, *check), 1)  # not built yet
    run_cli(capsys, "leaderboard", "build", "--board", board)
    assert run_cli(capsys, *check).code == 0
    page = board / "README.md"
    page.write_text(page.read_text().replace("naive", "naïve"))
    said = the_error(run_cli(capsys, *check), 1)
    assert "README.md differ" in said
    assert "index.html" not in said
    assert "naïve" in page.read_text()  # a check writes nothing
    run_cli(capsys, "leaderboard", "build", "--board", board)
    (record,) = board.glob("results/*naive*s0*")
    record.unlink()
    assert "README.md and" in the_error(run_cli(capsys, *check), 1)


def test_verify_says_what_is_wrong_and_ends_with_1(tmp_path: Path, capsys: Capture) -> None:
    good, bad = make_run(tmp_path / "a"), make_run(tmp_path / "b", "naive")
    record = read_record(bad)
    record["metrics"]["bwt"] = 0.1
    write_record(bad, record)
    done = run_cli(capsys, "verify", good, bad)
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0].startswith(f"ok  {good.name}: recomputed")
    assert "    WRONG metrics: metrics.bwt: the record says 0.1, the scores give" in done.out
    assert len(lines) == 4  # two records, what is wrong of one, and the total
    assert lines[-1].startswith(
        "2 records: 1 ok, 1 wrong (not checked: weights_sha256 of 2, samples of 1; -v says why)"
    )
    quiet = run_cli(capsys, "verify", good, bad, "-q").out.splitlines()
    assert quiet == lines[1:]
    verbose = run_cli(capsys, "verify", good, bad, "-v").out
    assert verbose.count("ok scores_sha256") == 2
    assert "skipped weights_sha256: model.safetensors is not here" in verbose
    assert done.err.splitlines()[-1].endswith(f"1 of 2 records not verified: {bad.name}")
    found = run_cli(capsys, "verify", good, bad, "--json").json
    assert [f["ok"] for f in found] == [True, False]
    assert [f["status"] for f in found] == ["recomputed", "not verified"]


def test_verify_writes_the_status_only_when_asked(tmp_path: Path, capsys: Capture) -> None:
    folder = make_run(tmp_path)
    before = (folder / "record.json").read_bytes()
    assert run_cli(capsys, "verify", folder).code == 0
    assert (folder / "record.json").read_bytes() == before
    assert run_cli(capsys, "verify", folder, "--write", "--by", "me").code == 0
    record = read_record(folder)
    assert record["status"] == "recomputed"
    assert (record["verification"]["agreement"], record["verification"]["by"]) == ("scores", "me")
    assert run_cli(capsys, "verify", folder).code == 0


def test_a_row_is_trained_again_and_becomes_reproduced(tiny_stream: Path, tmp_path: Path, capsys: Capture) -> None:
    """The whole way of a contributor's row: eval, add, verify --rerun --write, build."""
    small = [f"--set={s}" for s in ("image_size=32", "epochs=1", "batch_size=8", "width=4")]
    options = ("-d", "simple_cnn", "-s", "replay", "-b", tiny_stream, "--device", "cpu", *small)
    ran = run_cli(capsys, "eval", *options, "--out", tmp_path / "runs", "--json").json
    board = tmp_path / "board"
    added = run_cli(capsys, "leaderboard", "add", Path(ran["record"]).parent, "--to", board, "--json").json
    place = added[0]["path"]
    again = ("verify", place, "--rerun", "-b", tiny_stream, "--write", "--json")
    (found,) = run_cli(capsys, *again).json
    assert found["rerun"]["agreement"] == "identical"
    torch = metadata.version("torch")
    assert found["rerun"]["sentence"] == f"trained again: every score identical (torch {torch} in both)"
    assert found["written"]
    (row,) = read_board(board).tables[0].rows
    assert row.status == "reproduced"
    assert row.first.verification is not None
    assert row.first.verification.environment is not None
    shown = run_cli(capsys, "leaderboard", "show", "--board", board, "--json").json[0]["rows"][0]
    assert " --set width=4" in shown["runs"][0]["command"]
    assert the_error(run_cli(capsys, "verify", place, "--rerun"), 2).startswith("unknown benchmark 'tiny'")


def test_options_of_training_again_need_rerun(tmp_path: Path, capsys: Capture) -> None:
    assert "add --rerun" in the_error(run_cli(capsys, "verify", tmp_path, "--out", tmp_path), 2)


@pytest.mark.parametrize("command", [["show"], ["show", "--json"], ["build"], ["build", "--check"]], ids=" ".join)
def test_reading_and_building_import_nothing_heavy(command: list[str], board: Path, capsys: Capture) -> None:
    run_cli(capsys, "leaderboard", "build", "--board", board)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "leaderboard", *command, "--board", str(board)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {name.partition(".")[0] for name in done.stdout.rpartition("\nimported:")[2].split()}
    assert imported.isdisjoint({*HEAVY, "matplotlib", "pandas", "sklearn"})


def test_json_of_add_is_one_value(runs: list[Path], tmp_path: Path, capsys: Capture) -> None:
    done = run_cli(capsys, "leaderboard", "add", runs[0], "--to", tmp_path / "b", "--json")
    assert json.loads(done.out)[0]["run"] == runs[0].name
