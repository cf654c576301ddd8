"""Tables at any width: no figure and no name is cut, and nothing in them is read as markup."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from dfbench.cli.output import Grid, table
from tests.cli.harness import run_cli
from tests.cli.test_output import on_a_terminal
from tests.conftest import write_stream

Capture = pytest.CaptureFixture[str]


def printed(grid: Grid, width: int) -> str:
    file = io.StringIO()
    Console(file=file, soft_wrap=True, width=width, markup=False, emoji=False).print(grid)
    return file.getvalue()


def wide(columns: int) -> Grid:
    heads = [f"experience_{j:02d}" for j in range(columns)]
    return table("R", ["", *heads], [[name, *[f"0.{j:03d}" for j in range(columns)]] for name in heads], 1)


@pytest.mark.parametrize("columns", [3, 10, 40])
@pytest.mark.parametrize("width", [80, 200])
def test_a_wide_table_is_split_into_blocks_that_fit(columns: int, width: int) -> None:
    text = printed(wide(columns), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for j in range(columns):
        assert text.count(f"0.{j:03d}") == columns
        assert f"experience_{j:02d}" in text


def test_each_block_repeats_what_its_rows_are() -> None:
    blocks = list(wide(10).blocks(80))
    assert len(blocks) > 1
    assert all(block[0] == 0 for block in blocks)
    assert [j for block in blocks for j in block[1:]] == list(range(1, 11))


def test_long_keys_are_wrapped_and_leave_room_for_figures() -> None:
    row = ["detector " * 8, "strategy policy=" + "x" * 70, "0.123 ± 0.004", "0.567"]
    text = printed(table("", ["detector", "strategy", "average", "BWT"], [row], 2), 80)
    assert "0.123 ± 0.004" in text
    assert "0.567" in text
    assert text.count("x") >= 70
    assert max(map(len, text.splitlines())) <= 80


def test_in_a_table_of_texts_names_stay_whole_and_prose_is_wrapped() -> None:
    text = printed(table("", ["name", "summary"], [["a_name_of_thirty_characters_xx", "words " * 40]]), 80)
    assert "a_name_of_thirty_characters_xx" in text
    assert text.count("words") == 40


def test_cells_and_titles_are_no_markup() -> None:
    text = printed(table("[b]title[/]", ["[red]x"], [["[/nothing] :smile: [link=a]b[/link]"]]), 80)
    for part in ("[b]title[/]", "[red]x", "[/nothing] :smile: [link=a]b[/link]"):
        assert part in text


def stream_of(folder: Path, names: list[str]) -> Path:
    """A stream whose experiences have these names."""
    path = write_stream(folder, experiences=len(names), pairs=2, tests=2)
    text = path.read_text()
    for number, name in enumerate(names):
        text = text.replace(f"{{name: s{number},", f"{{name: '{name}',")
    path.write_text(text)
    return path


def test_names_with_brackets_are_printed_by_every_command(tmp_path: Path, capfd: Capture) -> None:
    stream = stream_of(tmp_path, ["swap [c40]", "[/part]", "[bold]x"])
    out = tmp_path / "[old] runs"
    settings = ("--set", "epochs=1", "--set", "width=4", "--device", "cpu", "--out", out)
    trained = run_cli(capfd, "eval", "-d", "simple_cnn", "-s", "replay", "-b", stream, *settings)
    assert trained.code == 0, trained.err
    for part in ("swap [c40]", "[/part]", "[bold]x", str(out)):
        assert part in trained.out
    (run,) = out.iterdir()
    for command in (["compare", run], ["verify", run], ["report", run, "--to", tmp_path / "[r]"]):
        done = run_cli(capfd, *command)
        assert done.code == 0, done.err
    assert str(tmp_path / "[r]") in done.out
    board = tmp_path / "board [1]"
    assert run_cli(capfd, "leaderboard", "add", run, "--to", board).code == 0
    assert run_cli(capfd, "leaderboard", "show", "--board", board).code == 0


def test_compare_keeps_its_names_on_a_narrow_terminal(tiny_stream: Path, tmp_path: Path, capfd: Capture) -> None:
    settings = ("--set", "epochs=1", "--set", "width=4", "--device", "cpu", "--out", tmp_path)
    for strategy in ("naive", "replay"):
        assert run_cli(capfd, "eval", "-d", "simple_cnn", "-s", strategy, "-b", tiny_stream, *settings).code == 0
    text = on_a_terminal("compare", *map(str, sorted(tmp_path.glob("*-*"))), COLUMNS="80", NO_COLOR="1")
    assert re.search(r"simple_cnn default +│ naive +│", text)
    assert re.search(r"simple_cnn default +│ replay +│", text)
    for column in ("average_auc", "learning_accuracy", "seconds"):
        assert column in text
    assert "…" not in text.split("┏", 1)[1]
