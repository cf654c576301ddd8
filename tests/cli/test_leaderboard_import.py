"""``dfbench leaderboard import``, and imported rows in ``show``, ``build`` and ``verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dfbench.publish.board.build import pages, write
from dfbench.publish.board.table import read_board
from tests.cli.harness import run_cli, the_error
from tests.publish.board.seen import HOSTILE, Seen
from tests.publish.browser import browser
from tests.publish.imports.recorded import FOLDER

SCORES = FOLDER / "scores.csv"
NAMED = ("--name", "linear", "--strategy", "naive", "--benchmark", "digits")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def board(tmp_path: Path, capsys: Capture) -> Path:
    done = run_cli(capsys, "leaderboard", "import", SCORES, *NAMED, "--to", tmp_path / "board", "--source", "a paper")
    assert done.code == 0, done
    assert done.err == "not read: logit\n"
    return tmp_path / "board"


def row_file(board: Path) -> Path:
    (path,) = (board / "imported").iterdir()
    return path


def test_import_prints_what_authors_print(board: Path, capsys: Capture) -> None:
    done = run_cli(capsys, "leaderboard", "import", SCORES, *NAMED, "--to", board, "--source", "a paper")
    printed = json.loads((FOLDER / "printed.json").read_text())
    for name in ("zero-one", "two-three", "four-five"):
        (line,) = (line.split() for line in done.out.splitlines() if line.startswith(name))
        assert line == [name, printed[f"four-five {name}"], "60"]
    assert done.out.splitlines()[-2:] == [f"was there already: {row_file(board)}", "now: dfbench leaderboard build"]
    as_json = run_cli(capsys, "leaderboard", "import", SCORES, *NAMED, "--to", board, "--json").json
    assert as_json["per_set"]["two-three"] == pytest.approx(float(printed["four-five two-three"]), abs=5e-5)
    assert as_json["coverage"]["predicted"] == 540


def test_show_says_that_it_is_imported_and_from_where(board: Path, capsys: Capture) -> None:
    done = run_cli(capsys, "leaderboard", "show", "--board", board)
    (line,) = (line for line in done.out.splitlines() if line.startswith("linear  "))
    assert line.split()[-3:] == ["%", "–", "imported"]
    assert "linear naive: a paper; sha256 " in done.out
    assert "never ranked" in done.out
    (table,) = run_cli(capsys, "leaderboard", "show", "--board", board, "-b", "digits", "--json").json
    assert (table["imported"], table["rows"][0]["status"]) == (True, "imported")
    assert "Known: digits" in the_error(run_cli(capsys, "leaderboard", "show", "--board", board, "-b", "x"), 2)


def test_verify_recomputes_every_figure(board: Path, capsys: Capture) -> None:
    path = row_file(board)
    done = run_cli(capsys, "verify", path, "--json")
    assert done.code == 0, done
    assert (done.json[0]["ok"], done.json[0]["status"]) == (True, "imported")
    assert {f["what"]: f["ok"] for f in done.json[0]["findings"]} == dict.fromkeys(
        ("scores_sha256", "matrix", "metrics", "per_experience", "uncertainty", "generalisation", "data"), True
    )
    assert "leave out --rerun" in the_error(run_cli(capsys, "verify", path, "--rerun"), 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["seeds"][0]["metrics"].update(average=0.99), "metrics.average: the record says 0.99"),
        (lambda row: row["seeds"][0]["matrix"]["auc"][2].__setitem__(0, 1.0), "matrix.auc[2][0]"),
        (lambda row: row["seeds"][0].update(scores_sha256="0" * 64), "does not hold these scores"),
        (lambda row: row["coverage"]["per_set"][0].update(scored=7), "zero-one: the row says 7 samples"),
    ],
)
def test_verify_finds_what_was_changed(board: Path, capsys: Capture, change: Any, said: str) -> None:
    path = row_file(board)
    row = json.loads(path.read_text())
    change(row)
    path.write_text(json.dumps(row))
    done = run_cli(capsys, "verify", path)
    assert done.code == 1
    assert said in done.out


def test_another_name_in_the_row_is_refused(board: Path, capsys: Capture) -> None:
    path = row_file(board)
    path.write_text(path.read_text().replace('"detector": "linear"', '"detector": "better"'))
    assert "the row was changed" in the_error(run_cli(capsys, "verify", path), 3)
    assert "the row was changed" in the_error(run_cli(capsys, "leaderboard", "show", "--board", board), 3)


def test_scores_that_are_not_here_are_not_checked(board: Path, capsys: Capture) -> None:
    for pack in (board / "scores").iterdir():
        pack.unlink()
    done = run_cli(capsys, "verify", row_file(board))
    assert done.code == 0
    assert "1 of 1 records not checked: their scores are not here" in done.err


def test_wrong_options_are_one_line(tmp_path: Path, capsys: Capture) -> None:
    def error(code: int, *more: object) -> str:
        return the_error(run_cli(capsys, "leaderboard", "import", SCORES, *NAMED, "--to", tmp_path / "b", *more), code)

    assert "it is written COLUMN=THEIRS" in error(2, "--column", "score")
    assert "no column 'p_fake' for --column score=p_fake" in error(2, "--column", "score=p_fake")
    assert "did you mean 'score'" in error(2, "--column", "scor=logit")
    assert "no array" in error(3, "--format", "ai-genbench")
    assert error(3, "--samples", tmp_path / "none.csv").endswith("none.csv: cannot be read (No such file or directory)")
    assert "detector" in error(3, "--name", "a\nb")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_shows_imported_rows_as_text(tmp_path: Path, capsys: Capture, width: int) -> None:
    named = ("--name", HOSTILE[:40], "--strategy", "naive", "--benchmark", "<b>digits</b>", "--source", HOSTILE)
    done = run_cli(capsys, "leaderboard", "import", SCORES, *named, "--to", tmp_path / "board")
    assert done.code == 0, done
    write(pages(read_board(tmp_path / "board")), tmp_path / "board")
    assert "<script" not in (tmp_path / "board" / "README.md").read_text()
    with browser() as chromium:
        seen = Seen(chromium, tmp_path / "board", viewport={"width": width, "height": 900})
        panel = seen.page.get_by_role("tabpanel", name="Imported")
        assert panel.locator("tbody th a").inner_text() == HOSTILE[:40]
        assert panel.locator(".state").inner_text() == "imported"
        sign = "getComputedStyle(document.querySelector('.state.imported'), '::before').content"
        assert seen.page.evaluate(sign) == '"◌ "'
        panel.locator("summary").click()
        assert HOSTILE in panel.locator("details .about").inner_text()
        panel.get_by_role("button", name="average AUC").click()
        assert "sorted by average AUC, descending" in panel.locator("[data-status]").inner_text()
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        assert seen.wrong == []
        assert seen.page.evaluate("window.owned") is None
