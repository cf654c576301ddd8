"""A board of two benchmarks and a paper's table, and a browser to look at it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfbench.plugins import registry
from dfbench.publish.board.add import add
from dfbench.publish.board.build import pages, write
from dfbench.publish.board.table import read_board
from tests.publish.board.seen import HOSTILE, PAPER, Seen
from tests.publish.board_runs import make_run, make_runs
from tests.publish.browser import browser


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``leaderboard build`` does."""
    folder = tmp_path_factory.mktemp("board")
    runs = [
        *make_runs(folder / "runs"),
        make_run(
            folder / "runs", "replay", detector="xception", preset="lite", notes=("a note on leaks",), passes=21600
        ),
        make_run(folder / "runs", HOSTILE, decay=0.3),
        make_run(folder / "runs", "replay", benchmark="other", fingerprint="e" * 64, names=("a", "b"), about=ABOUT),
    ]
    add(runs, folder / "lb", registry())
    (folder / "lb" / "reported").mkdir()
    (folder / "lb" / "reported" / "paper.yaml").write_text(PAPER)
    write(pages(read_board(folder / "lb")), folder / "lb")
    return folder / "lb"


ABOUT = {"description": "Swaps of <b>one</b> camera.", "scope": "deepfakes"}


@pytest.fixture(scope="module")  # not longer: two of them cannot run at a time
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture
def seen(chromium: Any, board: Path) -> Iterator[Seen]:
    opened = Seen(chromium, board)
    opened.page.get_by_role("tab", name=re.compile("^three")).click()
    opened.page.locator("#panel-1 table").wait_for()
    yield opened
    assert opened.wrong == []
    assert opened.elsewhere == []
    assert opened.page.evaluate("window.owned") is None
    opened.context.close()
