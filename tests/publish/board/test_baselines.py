"""Weights as they are on the leaderboard, and rows that start from a checkpoint: named, marked, not ranked unfairly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError
from dfbench.publish.board.build import pages, write
from dfbench.publish.board.cells import cells, columns
from dfbench.publish.board.data import row_data
from dfbench.publish.board.row import BoardRow
from dfbench.publish.board.table import BoardTable, make_board
from dfbench.records.record import Record
from tests.publish.board.seen import Seen
from tests.publish.board_runs import FINGERPRINT, make_run, read_record, write_record

ELSEWHERE = {"run": "their-run", "benchmark": "faces", "fingerprint": "e" * 64, "strategy": "dfil"}
HERE = {**ELSEWHERE, "fingerprint": FINGERPRINT, "benchmark": "three"}


def start(name: str = "theirs", trained: dict[str, Any] | None = ELSEWHERE, digit: str = "a") -> dict[str, Any]:
    return {"name": name, "sha256": digit * 64, "trained": trained}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two continual rows, a bound, three rows of weights as they are, and one that was trained on from some."""
    usual = [make_run(tmp_path, "naive", seed, stored=0, passes=21600.0, decay=0.5) for seed in (0, 1)]
    usual += [make_run(tmp_path, "replay", seed, passes=21600.0) for seed in (0, 1)]
    joint = make_run(tmp_path, "joint", whole=True, stored=0, passes=7200.0)
    as_they_are = [
        make_run(tmp_path, "none", trained=False, strength=3.0, init=start("elsewhere")),
        make_run(tmp_path, "none", trained=False, strength=2.9, init=start("here", HERE, "b")),
        make_run(tmp_path, "none", trained=False, strength=2.8, init=start("b7.safetensors", None, "c")),
        make_run(tmp_path, "none", trained=False, strength=0.1, initial_weights={"pretrained": False}),
    ]
    onward = [make_run(tmp_path, "replay", seed, strength=4.0, init=start("here", HERE, "b")) for seed in (0, 1)]
    return [*usual, joint, *as_they_are, *onward]


@pytest.fixture
def table(folders: list[Path]) -> BoardTable:
    (found,) = make_board([Record.read(folder) for folder in folders]).tables
    return found


def rows(table: BoardTable, strategy: str) -> dict[str, BoardRow]:
    """By the name of what they started from."""
    found = [row for row in table.rows if row.first.spec.strategy == strategy]
    return {row.first.spec.init.name if row.first.spec.init else "": row for row in found}


def test_they_are_references_that_are_not_ranked(table: BoardTable) -> None:
    as_they_are = rows(table, "none")
    assert len(as_they_are) == 4  # each checkpoint is a row of its own
    assert all(row.bound and row.baseline and row.mark is None for row in as_they_are.values())
    assert not any(row.baseline for name in ("naive", "replay", "joint") for row in rows(table, name).values())
    assert {row.id for row in table.rows if not row.bound} == {
        row.id for name in ("naive", "replay") for row in rows(table, name).values()
    }
    assert rows(table, "replay")[""].mark == "best"  # though three of them have a higher average
    joint = rows(table, "joint")[""].average
    assert joint is not None


def test_a_row_says_what_it_started_from(table: BoardTable) -> None:
    found = {name: cells(table, row) for name, row in rows(table, "none").items()}
    assert {cell.mark for cell in found.values()} == {"as it is"}
    assert found["elsewhere"].detector[2:] == ("from elsewhere (aaaaaaaa)",)
    assert found["b7.safetensors"].detector[2:] == ("from b7.safetensors (cccccccc)",)
    assert "never trained here; starts from elsewhere (aaaaaaaa), trained under dfil on faces" in (
        found["elsewhere"].mark_words
    )
    assert "it has seen the training data of this very stream" in found["here"].mark_words
    assert "what it was trained on is not stated" in found["b7.safetensors"].mark_words
    assert "as simple_cnn builds it (pretrained: false), never trained" in found[""].mark_words
    lines = {name: dict(zip(columns(table), cell.line(), strict=True)) for name, cell in found.items()}
    for line in lines.values():
        assert {line["forgetting"], line["AF"], line["learning"], line["stored"]} == {"–"}
        assert line["compute"] == "0.0 ×"


def test_a_long_name_is_told_by_what_the_weights_were_trained_on(tmp_path: Path) -> None:
    name = "simple_cnn-default-replay-forge5-s0-9f0624a7"
    (found,) = make_board([Record.read(make_run(tmp_path, "none", trained=False, init=start(name)))]).tables
    assert cells(found, found.rows[0]).detector[2:] == ("from dfil on faces (aaaaaaaa)",)


def test_rows_of_another_start_are_compared_among_themselves(table: BoardTable) -> None:
    """Weights that have seen the stream would take the ★ from all that begin without."""
    replays = rows(table, "replay")
    onward, usual = replays["here"], replays[""]
    assert onward.average is not None
    assert usual.average is not None
    assert onward.average.mean > usual.average.mean
    assert onward.group != usual.group
    assert onward.mark is None  # alone in its group
    assert onward.has_seen_stream
    assert not usual.has_seen_stream


def test_pages_and_data_say_it(folders: list[Path]) -> None:
    board = make_board([Record.read(folder) for folder in folders])
    markdown = pages(board)["README.md"].decode()
    lines = [line for line in markdown.splitlines() if line.startswith("| as it is |")]
    assert len(lines) == 4
    seen = [line for line in markdown.splitlines() if "trained on this stream before" in line]
    assert sorted(line.split("|")[1].strip() for line in seen) == ["", "as it is"]  # the baseline, and what went on
    data = [row_data(row) for row in board.tables[0].rows]
    assert sum(row.get("baseline", False) for row in data) == 4
    command = next(row["runs"][0]["command"] for row in data if "from here (bbbbbbbb)" in row["options"])
    assert f"--init 'here#sha256={'b' * 64}'" in command


def test_the_page_shows_them_in_a_browser(folders: list[Path], tmp_path: Path, chromium: Any) -> None:
    board = tmp_path / "board"
    write(pages(make_board([Record.read(folder) for folder in folders])), board)
    seen = Seen(chromium, board)
    bounds = seen.page.locator("#panel-1 tbody.bounds tr")
    tags = [re.sub(r"\s+", " ", text) for text in bounds.locator("td.rank").all_inner_texts()]
    assert sorted(tags) == ["as it is"] * 4 + ["bound"]
    assert seen.page.locator("#panel-1 tr:visible").get_by_text("trained on this stream before").count() == 2
    bounds.filter(has_text="from elsewhere").locator("th a").click()
    assert (
        seen.page.locator("p.verdict").inner_text().startswith("Weights as they are: never trained here; starts from")
    )
    assert seen.wrong == []
    seen.context.close()


def test_a_record_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "none", trained=False)
    honest = read_record(folder)
    for change, said in (
        ({"steps": [5]}, "steps: not 0, though 'trained' says that nothing was trained"),
        ({"matrix": {"auc": [[0.5] * 3] * 3}}, "rows of trainings, though 'trained' says"),
    ):
        write_record(folder, {**honest, **change})
        with pytest.raises(DataError, match=re.escape(said)):
            Record.read(folder)
