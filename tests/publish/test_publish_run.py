"""``dfbench eval … --publish``: from a run to the leaderboard, its pages, the zoo and the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfbench.errors import HubError, UsageError
from dfbench.plugins import Registry
from dfbench.publish.board.build import differing, pages
from dfbench.publish.publish_run import publish
from dfbench.publish.zoo.checkpoint import entry_from_file, load_located
from dfbench.publish.zoo.entry import read_entry
from dfbench.records.finished import FinishedRun
from tests.cli.harness import run_cli
from tests.publish.hub.hub_server import Hub

SETTINGS = ["--set", "epochs=1", "--set", "width=8", "--device", "cpu"]


def test_one_command_trains_and_publishes(
    tiny_stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dfbench.publish.board.table import read_board

    monkeypatch.chdir(tmp_path)
    asked = ["eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, *SETTINGS, "--publish", "--json"]
    done = run_cli(capsys, *asked)
    assert done.code == 0, done.err
    run = done.json["run"]
    assert done.json["published"]["leaderboard"] == f"leaderboard/results/{run}.json"
    assert FinishedRun.open(tmp_path / done.json["published"]["leaderboard"]).scores_file is not None
    assert not differing(pages(read_board(Path("leaderboard"))), Path("leaderboard"))
    assert run in "".join(path.read_text() for path in (tmp_path / "leaderboard" / "data").rglob("*.js"))
    entry = entry_from_file(tmp_path / done.json["published"]["zoo"])
    assert entry.entry.records == (run,)
    again = run_cli(capsys, *asked)  # the run is finished: it is published as it is, and nothing is there twice
    assert again.code == 0
    assert len(list((tmp_path / "leaderboard" / "results").iterdir())) == 1


def test_the_checkpoint_is_pushed_and_the_entry_names_its_commit(
    finished: Path, known: Registry, hub: Hub, tmp_path: Path
) -> None:
    board, zoo = tmp_path / "leaderboard", tmp_path / "zoo"
    done = publish(finished, board, zoo, known, "me/tiny")
    assert done.hub is not None
    assert "/me/tiny" in done.hub
    entry = read_entry(done.entry)
    assert entry.hub is not None
    assert entry.hub.repo == "me/tiny"
    assert len(entry.hub.commit) == 40
    assert json.loads(done.record.read_text())["status"] == "recomputed"


def test_a_failed_push_leaves_the_row_and_no_entry(
    finished: Path, known: Registry, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    board, zoo = tmp_path / "leaderboard", tmp_path / "zoo"
    with pytest.raises(HubError):
        publish(finished, board, zoo, known, "me/tiny")
    assert list((board / "results").iterdir())
    assert not zoo.exists()
    packaged = publish(finished, board, zoo, known)
    assert load_located(entry_from_file(packaged.entry), known).entry.hub is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["--push-to", "me/x"], "--push-to goes with --publish"), (["--publish", "--split", "val"], "test split")],
)
def test_what_cannot_be_published_is_refused_before_anything_is_trained(
    options: list[str], expected: str, tiny_stream: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = run_cli(
        capsys, "eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, "--out", tmp_path / "runs", *options
    )
    assert done.code == UsageError.exit_code
    assert expected in done.err
    assert not (tmp_path / "runs").exists()
