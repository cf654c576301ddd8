"""Servers that lie, files that attack, networks that answer in the Hub's place: each ends in one line, and outside of
the cache nothing is written."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError, DfbenchError, HubError
from dfbench.plugins import Registry, registry
from dfbench.publish.board.add import add
from dfbench.publish.board.dataset import pull as pull_scores
from dfbench.publish.board.dataset import push as push_scores
from dfbench.publish.board.reported import read_reported
from dfbench.publish.hub.pull import entry_of, pull_entry
from dfbench.publish.hub.push import publish_run
from dfbench.publish.zoo.entry import CheckpointEntry as Entry
from dfbench.publish.zoo.entry import read_entry
from dfbench.publish.zoo.places import pulled
from dfbench.publish.zoo.resolve import open_checkpoint
from tests.publish.board_runs import make_run
from tests.publish.hub.hub_server import Hub

REPO, DATASET = "me/small", "me/scores"
BAD_COMMITS = ["../../../../escape", "..", "a/b", "", "main", "0" * 39, "0" * 41, "0" * 39 + "G", "\0" * 40, "C:\\x"]


@pytest.fixture
def there(finished: Path, hub: Hub, known: Registry) -> Entry:
    """A checkpoint on the Hub."""
    return publish_run(finished, REPO, known).entry


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("commit", BAD_COMMITS)
def test_what_is_not_a_commit_becomes_no_folder(
    commit: str, there: Entry, hub: Hub, known: Registry, tmp_path: Path
) -> None:
    hub.named, before = commit, everything(tmp_path)
    with pytest.raises(DataError, match=r"instead of a commit|no commit"):
        open_checkpoint(REPO, known)
    assert everything(tmp_path) == before
    assert hub.paths("GET", "/resolve/") == []
    with pytest.raises(DataError, match="commit"):
        pulled(REPO, commit)


@pytest.mark.parametrize("commit", ["../../../../escape", ""])
def test_a_data_set_at_no_commit_is_not_pulled(commit: str, hub: Hub, tmp_path: Path) -> None:
    board = tmp_path / "board"
    add([make_run(tmp_path)], board, registry())
    push_scores(board, DATASET)
    next(board.glob("scores/*")).unlink()
    hub.named = commit
    for attempt in (lambda: pull_scores(board, DATASET), lambda: push_scores(board, DATASET)):
        with pytest.raises(DataError, match=r"instead of a commit|no commit"):
            attempt()
    assert not list(board.glob("scores/*"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../../evil.safetensors", "not a path inside"),
        ("/etc/evil.safetensors", "not a path inside"),
        ("a\\..\\b.safetensors", "not a path inside"),
        ("a//b.safetensors", "not a path inside"),
        ("./b.safetensors", "not a path inside"),
        ("C:/x.safetensors", "drive letter"),
        ("x\0.safetensors", r"control character U\+0000"),
        ("x\x1b[2J.safetensors", r"control character U\+001B"),
        ("x" * 300 + ".safetensors", "312 bytes"),
        ("é" * 120 + ".safetensors", "252 bytes"),
        ("con.safetensors", "Windows"),
        ("sub/LPT1.x.safetensors", "Windows"),
    ],
)
def test_a_path_that_leads_elsewhere_or_is_none_has_its_sentence(
    path: str, reason: str, there: Entry, hub: Hub
) -> None:
    repo = hub.repos[REPO]
    entry: dict[str, Any] = json.loads(repo.files["dfbench.json"])
    entry["files"][0]["path"] = path
    repo.commit({**repo.files, "dfbench.json": json.dumps(entry).encode()})
    with pytest.raises(DataError, match=reason):
        entry_of(REPO)


def test_a_length_that_is_not_stated_is_refused_before_a_byte_of_weights(there: Entry, hub: Hub) -> None:
    hub.sizes = False
    with pytest.raises(DataError, match=r"model.safetensors has no stated size; it is not fetched"):
        pull_entry(there)
    with pytest.raises(DataError, match=r"dfbench.json has no stated size"):
        entry_of(REPO)
    assert hub.paths("GET", "/resolve/") == []


def test_a_file_that_does_not_end_is_cut_off_at_its_size(there: Entry, hub: Hub, tmp_path: Path) -> None:
    hub.endless = {"model.safetensors"}
    with pytest.raises(DataError, match=r"model.safetensors has more than the [\d,]+ bytes that are expected"):
        pull_entry(there)
    assert hub.sent < 60 << 20
    assert max((p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()), default=0) < 1 << 20


def test_a_pack_that_does_not_end_is_cut_off_at_its_size(hub: Hub, tmp_path: Path) -> None:
    board = tmp_path / "board"
    add([make_run(tmp_path)], board, registry())
    push_scores(board, DATASET)
    pack = next(board.glob("scores/*"))
    pack.unlink()
    hub.endless = {f"scores/{pack.name}"}
    (reason,) = pull_scores(board, DATASET).refused.values()
    assert "bytes that are expected" in reason
    assert hub.sent < 60 << 20
    assert not pack.exists()


def test_a_login_page_of_the_network_is_not_taken_for_the_hub(there: Entry, hub: Hub, tmp_path: Path) -> None:
    board = tmp_path / "board"
    add([make_run(tmp_path)], board, registry())
    push_scores(board, DATASET)
    next(board.glob("scores/*")).unlink()
    hub.portal = True
    for attempt in (
        lambda: entry_of(REPO), lambda: pull_entry(there), lambda: pull_scores(board, DATASET),
        lambda: push_scores(board, DATASET),
    ):  # fmt: skip
        with pytest.raises(HubError, match="does not answer as a Hub: a login page"):
            attempt()


def test_a_page_in_place_of_a_file_is_not_kept(there: Entry, hub: Hub, tmp_path: Path) -> None:
    hub.instead["model.safetensors"] = b"<html>Welcome! Accept our terms.</html>"
    with pytest.raises(DataError, match="another number of bytes was sent than was stated"):
        pull_entry(there)
    assert not [p for p in tmp_path.rglob("*.safetensors") if "cache" in p.parts]


def test_what_an_interrupted_pull_left_is_fetched_again_where_it_is_damaged(there: Entry, hub: Hub) -> None:
    good = hub.repos[REPO].files["record.json"]
    hub.instead["record.json"] = good[:-1] + b"x"
    with pytest.raises(DataError):
        pull_entry(there)
    assert there.hub is not None
    (left,) = pulled(REPO, there.hub.commit).parent.glob("*.part/model.safetensors")
    left.write_bytes(b"x" * left.stat().st_size)
    hub.instead.clear()
    assert (pull_entry(there) / "model.safetensors").read_bytes() == hub.repos[REPO].files["model.safetensors"]


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi")
)
"""Nine levels of aliases: 9⁹ values."""


def test_a_bomb_of_aliases_is_not_expanded(there: Entry, hub: Hub, tmp_path: Path) -> None:
    repo = hub.repos[REPO]
    repo.commit({**repo.files, "dfbench.json": ALIASES.encode()})
    with pytest.raises(DataError, match=r"dfbench.json, line 1: not JSON"):
        entry_of(REPO)
    (tmp_path / "entry.yaml").write_text(ALIASES)
    with pytest.raises(DataError, match=r"entry.yaml, line 1: more than 100000 values once its aliases are expanded"):
        read_entry(tmp_path / "entry.yaml")
    with pytest.raises(DataError, match="aliases"):
        read_reported(tmp_path / "entry.yaml")


def test_an_entry_with_terminal_escapes_is_refused_and_its_error_shows_them_written_out(there: Entry, hub: Hub) -> None:
    repo = hub.repos[REPO]
    for key in ("preset", "\x1b[2J"):
        entry: dict[str, Any] = json.loads(repo.files["dfbench.json"])
        entry[key] = "\x1b[2Jinnocent"
        repo.commit({**repo.files, "dfbench.json": json.dumps(entry).encode()})
        with pytest.raises(DataError, match=r"has the control character U\+001B") as refused:
            entry_of(REPO)
        assert "\x1b" not in str(refused.value)
    repo.commit({"\x1b[2J.bin": b""})
    with pytest.raises(DataError, match=r"\\x1b\[2J.bin can run code") as refused:
        entry_of(REPO)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("ref", ["x" * 300, "a/" + "x" * 300, "x" * 300 + ".yaml", "a\0b"])
def test_a_reference_that_cannot_be_a_path_is_an_unknown_checkpoint(ref: str, hub: Hub, known: Registry) -> None:
    with pytest.raises(DfbenchError):
        open_checkpoint(ref, known)
