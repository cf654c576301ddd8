"""Tables at any width: no figure and no name is cut, and nothing in them is read as markup."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from dfbench.cli.output import Grid, table
from dfbench.testing import write_stream
from tests.cli.harness import run_cli

Capture = pytest.CaptureFixture[str]


def printed(grid: Grid, width: int, terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, soft_wrap=True, width=width, markup=False, emoji=False, force_terminal=terminal, no_color=True
    )
    console.print(grid)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())


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


def test_columns_without_room_are_left_out_by_rank_and_named_below() -> None:
    heads = ["detector", "strategy", *(f"column {j}" for j in range(8))]
    grid = table("", heads, [["simple_cnn", "replay", *["0.123 ± 0.004"] * 8]], 2, ranks=["column 7", "column 2"])
    text = printed(grid, 80, terminal=True)
    assert re.search(r"^detector +strategy +column 0 +column 1 +column 2 +column 7$", text.splitlines()[0])
    assert "not shown: column 3, column 4, column 5, column 6 (" in " ".join(text.split())
    assert "not shown" not in printed(grid, 200, terminal=True)
    piped = printed(grid, 80)  # nothing may be missing where a program reads
    assert "not shown" not in piped
    assert all(f"column {j}" in piped for j in range(8))
    assert max(map(len, text.splitlines())) <= 80
