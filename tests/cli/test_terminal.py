"""What terminals of usual widths show: names are never lost, no line is too long, no figure is cut in two."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dfbench.plugins import load_plugins
from dfbench.publish.board.cells import cells
from dfbench.publish.board.table import read_board
from dfbench.records.record import Record
from tests.cli.harness import on_a_terminal

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "leaderboard"
ALL = """
import sys
from dfbench.cli import main
for line in sys.argv[1:]:
    print("=====")
    try:
        main(line.split())
    except SystemExit as ended:
        assert not ended.code
print("=====")
from pathlib import Path
from dfbench.cli.eval import print_result
from dfbench.records.record import Record
print_result(Record.read(Path(sys.argv[1].split()[1])))
"""


def records() -> list[Path]:
    return [next(BOARD.glob(f"results/simple_cnn-default-{name}-forge5-s0-*.json")) for name in ("naive", "dfil")]


@pytest.fixture(scope="module", params=[80, 100, 120])
def screens(request: pytest.FixtureRequest) -> tuple[int, dict[str, str]]:
    """(columns of the terminal, what each command prints on it), all from one process."""
    width: int = request.param
    lines = {
        "compare": f"compare {' '.join(map(str, records()))}",
        "leaderboard": f"leaderboard show -b forge5 --board {BOARD}",
        "zoo": "zoo list",
        "list": "list strategies",
        "show": "show dfdc3",
    }
    _, *shown = on_a_terminal("-c", ALL, *lines.values(), width=width, NO_COLOR="1").split("=====\n")
    return width, {
        name: re.sub(r"\x1b\[[0-9;]*m", "", text) for name, text in zip([*lines, "eval"], shown, strict=True)
    }


def test_no_line_is_longer_than_the_terminal_is_wide(screens: tuple[int, dict[str, str]]) -> None:
    """But for lines that are to be copied: a path, a command."""
    width, shown = screens
    for name, text in shown.items():
        assert "…" not in text.replace("RUN …", ""), name
        for line in text.splitlines():
            assert len(line) <= width or line.lstrip().startswith(("next: ", "record: ", "/")), (name, line)


def test_names_are_whole_and_what_is_left_out_is_named(screens: tuple[int, dict[str, str]]) -> None:
    width, shown = screens
    for strategy in ("naive", "dfil"):
        assert re.search(rf"^simple_cnn \w+ +{strategy} +0 +0\.\d{{3}} ", shown["compare"], re.MULTILINE)
    assert re.search(
        r"^simple_cnn-replay-forge5 +simple_cnn default +replay +forge5 +0\.894", shown["zoo"], re.MULTILINE
    )
    for name in load_plugins().strategies:
        assert re.search(rf"^{name} ", shown["list"], re.MULTILINE), name
    for option in load_plugins().detectors.load("dfdc3").Config.model_fields:
        assert re.search(rf"^{option} ", shown["show"], re.MULTILINE), option
    for name in ("compare", "leaderboard", "zoo"):
        hidden = " ".join(shown[name].split()).partition("not shown: ")[2].partition(" (a wider terminal or --json")[0]
        assert hidden or width == 120, name
        heads = shown[name].split("──")[0]
        for column in filter(None, hidden.split(", ")):
            assert not re.search(rf"(^|  ){re.escape(column)}( |$)", heads, re.MULTILINE), (name, column)


def test_every_row_of_the_leaderboard_shows_its_names_and_its_average(screens: tuple[int, dict[str, str]]) -> None:
    _, shown = screens
    (table,) = (t for t in read_board(BOARD).tables if t.benchmark == "forge5")
    for row in table.rows:
        mark, detector, strategy, average, *_ = cells(table, row).line()
        names = (detector.split()[0], strategy.split()[0])
        line = rf"^{mark or ' '} +{names[0]}\b.* {names[1]}\b.* {re.escape(average)}  "
        assert re.search(line, shown["leaderboard"], re.MULTILINE), (names, average)


def test_a_matrix_has_every_value_and_every_name(screens: tuple[int, dict[str, str]]) -> None:
    record = Record.read(records()[0])
    text = screens[1]["eval"].partition("metric ")[0]
    for name in record.names:
        assert re.search(rf"^(\d )?{name}  ", text, re.MULTILINE), name
    values = [f"{value:.3f}" for row in record.matrix[record.headline] for value in row if value is not None]
    assert sorted(re.findall(r"\d\.\d{3}\b", text)) == sorted(values)
