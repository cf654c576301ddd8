"""Pushing with the real huggingface_hub client to a Hub on 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError, HubError, UsageError
from dfbench.files import sha256_of
from dfbench.plugins import Registry
from dfbench.publish.hub.push import plan, publish_run
from dfbench.publish.zoo import entry, from_run
from dfbench.publish.zoo.entry import parse_entry
from dfbench.publish.zoo.resolve import open_checkpoint
from dfbench.records.record import Record
from tests.publish.hub.hub_server import READER, Hub, Repo, sha256

REPO = "me/small"
ALWAYS = {
    "model.safetensors",
    "record.json",
    "config.json",
    "dfbench.json",
    "README.md",
    ".eval_results/dfbench-tiny.yaml",
}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may spoil."""
    return shutil.copytree(finished, tmp_path / finished.name)


def test_first_push_makes_the_repository_and_one_commit(run: Path, hub: Hub, known: Registry) -> None:
    done = publish_run(run, REPO, known)
    repo = hub.repos[REPO]
    assert done.changed
    assert (done.commit, len(repo.commits)) == (repo.head, 2)
    assert set(repo.files) == {*ALWAYS, ".gitattributes"}
    assert repo.files["model.safetensors"] == (run / "model.safetensors").read_bytes()
    assert repo.files["record.json"] == (run / "record.json").read_bytes()
    assert done.entry.hub is not None
    assert (done.entry.hub.repo, done.entry.hub.commit) == (REPO, repo.head)
    held = parse_entry(repo.files["dfbench.json"].decode(), "there")
    assert held.hub is None
    assert held.weights.sha256 == sha256(repo.files["model.safetensors"])
    assert not repo.private


def test_what_was_pushed_loads_and_is_the_same_network(run: Path, hub: Hub, known: Registry) -> None:
    import torch

    publish_run(run, REPO, known)
    there, here = open_checkpoint(REPO, known), open_checkpoint(str(run), known)
    assert there.entry.hub is not None
    for a, b in zip(there.model.state_dict().values(), here.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_push_without_change_makes_no_commit(run: Path, hub: Hub, known: Registry) -> None:
    first = publish_run(run, REPO, known)
    again = publish_run(run, REPO, known)
    assert not again.changed
    assert again.commit == first.commit
    assert len(hub.repos[REPO].commits) == 2
    assert len(hub.paths("POST", "/commit/")) == 1
    assert len(hub.paths("PUT", "/storage/")) == 1


def test_a_new_repository_can_be_private(run: Path, hub: Hub, known: Registry) -> None:
    publish_run(run, REPO, known, private=True)
    assert hub.repos[REPO].private


def test_without_a_place_it_goes_to_the_user(run: Path, hub: Hub, known: Registry) -> None:
    assert publish_run(run, None, known, name="mine").repo == "me/mine"


def test_somebody_else_changes_a_file_of_ours_meanwhile(run: Path, hub: Hub, known: Registry) -> None:
    publish_run(run, REPO, known)
    repo = hub.repos[REPO]
    hub.before_commit = lambda: (
        repo.commit({**repo.files, "README.md": b"---\na: 1\n---\n# theirs\n"}, "theirs") and None
    )
    with pytest.raises(HubError, match=r"somebody else pushed .* changed README\.md: nothing was overwritten"):
        publish_run(run, REPO, known, limits="none known")
    assert repo.messages[-1] == "theirs"
    assert b"theirs" in repo.files["README.md"]


def test_somebody_else_changes_other_files_meanwhile(run: Path, hub: Hub, known: Registry) -> None:
    publish_run(run, REPO, known)
    repo, told = hub.repos[REPO], []
    hub.before_commit = lambda: repo.commit({**repo.files, "notes.txt": b"theirs"}, "theirs") and None
    done = publish_run(run, REPO, known, limits="none known", notice=told.append)
    assert repo.messages[-2] == "theirs"
    assert repo.head == done.commit
    assert repo.files["notes.txt"] == b"theirs"
    assert b"none known" in repo.files["README.md"]
    assert "notes.txt" in told[0]


def test_the_head_can_be_named(run: Path, hub: Hub, known: Registry) -> None:
    first = publish_run(run, REPO, known)
    hub.repos[REPO].commit({**hub.repos[REPO].files, "README.md": b"theirs"}, "theirs")
    with pytest.raises(HubError, match=f"is at .* and not at {first.commit}"):
        publish_run(run, REPO, known, parent=first.commit)
    assert hub.repos[REPO].messages[-1] == "theirs"


CHILD = """
import sys
from pathlib import Path
from dfbench.plugins import load_plugins
from dfbench.publish.hub.push import publish_run
publish_run(Path(sys.argv[1]), sys.argv[2], load_plugins(), scores=True)
"""


def test_an_upload_that_was_killed_goes_on(run: Path, hub: Hub, known: Registry, tmp_path: Path) -> None:
    hub.hold = threading.Event()
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(run), REPO], env=environment)
    try:
        assert hub.held.wait(timeout=180), "no commit arrived"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    waiting, hub.hold = hub.hold, None
    waiting.set()
    assert len(hub.repos[REPO].commits) == 1
    sent = hub.paths("PUT", "/storage/")
    assert len(sent) == 2

    assert publish_run(run, REPO, known, scores=True).changed
    assert hub.paths("PUT", "/storage/") == sent
    assert len(hub.repos[REPO].commits) == 2
    assert hub.repos[REPO].files["scores.parquet"] == (run / "scores.parquet").read_bytes()


def test_a_file_of_ours_that_is_outdated_goes_away(run: Path, hub: Hub, known: Registry) -> None:
    publish_run(run, REPO, known, scores=True)
    hub.repos[REPO].commit({**hub.repos[REPO].files, "figure.png": b"theirs"}, "theirs")
    publish_run(run, REPO, known)
    assert set(hub.repos[REPO].files) == {*ALWAYS, ".gitattributes", "figure.png"}


def test_planning_sends_nothing(run: Path, hub: Hub, known: Registry) -> None:
    what = plan(run, REPO, known)
    assert {file.path for file in what.files} == ALWAYS
    for file in what.files:
        content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
        assert (file.size, file.sha256) == (len(content), sha256(content))
    assert hub.asked == []


def test_planning_reads_the_record_and_hashes_each_file_once(
    run: Path, known: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, read = [], []
    monkeypatch.setattr(from_run, "sha256_of", lambda path: hashed.append(path.name) or sha256_of(path))
    monkeypatch.setattr(entry, "sha256_of", lambda path: hashed.append(path.name) or sha256_of(path))
    parse = Record.parse
    monkeypatch.setattr(Record, "parse", lambda value, origin: read.append(origin) or parse(value, origin))
    what = plan(run, REPO, known, scores=True)
    assert {file.path: len(file.sha256) for file in what.files}.keys() == {*ALWAYS, "scores.parquet"}
    assert sorted(hashed) == ["model.safetensors", "record.json", "scores.parquet"]
    assert read == [run / "record.json"]


def test_without_a_token(run: Path, hub: Hub, known: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"hf auth login"):
        publish_run(run, REPO, known)
    with pytest.raises(HubError, match=r"hf auth login"):
        publish_run(run, None, known)
    assert hub.repos == {}


def test_a_token_that_nobody_knows(run: Path, hub: Hub, known: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match=r"no valid token .*hf auth login"):
        publish_run(run, REPO, known)


@pytest.mark.parametrize("there", [True, False])
def test_a_token_that_may_only_read(
    there: bool, run: Path, hub: Hub, known: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there:
        hub.repos[REPO] = Repo()
        hub.repos[REPO].commit({"x.txt": b"x"})
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(HubError, match=r"may not write there: it needs the write right for me"):
        publish_run(run, REPO, known)


def test_without_a_connection(run: Path, hub: Hub, known: Registry) -> None:
    hub.vanish()
    with pytest.raises(HubError, match=r"no connection to http://127"):
        publish_run(run, REPO, known, endpoint=hub.url)


@pytest.mark.parametrize("name", ["small", "a/b/c", "me/small@main", "me/sm all", ""])
def test_a_place_that_is_none(name: str, run: Path, hub: Hub, known: Registry) -> None:
    with pytest.raises(UsageError, match="user/repo"):
        publish_run(run, name, known)
    assert hub.asked == []


def test_weights_that_are_not_the_recorded_ones_are_not_sent(run: Path, hub: Hub, known: Registry) -> None:
    weights = bytearray((run / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (run / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match=r"has sha256 .* and not .*; it is not used"):
        publish_run(run, REPO, known)
    assert hub.asked == []


def test_a_run_that_is_not_finished(run: Path, hub: Hub, known: Registry) -> None:
    (run / "record.json").unlink()
    with pytest.raises(DataError, match="may not be finished"):
        publish_run(run, REPO, known)


def test_the_files_of_a_push_are_the_same_each_time(run: Path, known: Registry) -> None:
    once, twice = plan(run, REPO, known), plan(run, REPO, known)
    assert [(f.path, f.sha256) for f in once.files] == [(f.path, f.sha256) for f in twice.files]
    config: dict[str, Any] = json.loads(next(f.content for f in once.files if f.path == "config.json"))  # type: ignore[arg-type]
    assert (config["detector"], config["num_classes"], config["label_names"]) == ("simple_cnn", 2, ["real", "fake"])
