"""Pulling with the real huggingface_hub client from a Hub on 127.0.0.1."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError, HubError, StorageError, UsageError
from dfbench.plugins import Registry
from dfbench.publish.hub.pull import entry_of, export, pull_entry
from dfbench.publish.hub.push import publish_run
from dfbench.publish.zoo.entry import CheckpointEntry as Entry
from dfbench.publish.zoo.entry import Hub, read_entry
from dfbench.publish.zoo.places import pulled
from dfbench.publish.zoo.resolve import fetch, open_checkpoint, resolve
from tests.publish.hub.hub_server import READER, Repo
from tests.publish.hub.hub_server import Hub as Server

REPO = "me/small"


@pytest.fixture
def there(finished: Path, hub: Server, known: Registry) -> Entry:
    """A checkpoint on the Hub."""
    return publish_run(finished, REPO, known).entry


def nothing_usable(entry: Entry) -> bool:
    """No folder that a loader would take, and no weights in the one that pulls work in."""
    assert entry.hub is not None
    folder = pulled(REPO, entry.hub.commit)
    return not folder.exists() and not list(folder.parent.rglob("*.safetensors"))


def test_a_branch_is_pinned_to_its_commit_and_reported(there: Entry, hub: Server) -> None:
    told: list[str] = []
    entry = entry_of(REPO, "main", notice=told.append)
    assert entry == there
    assert told == [f"{REPO}: main is commit {hub.repos[REPO].head}"]


def test_exactly_the_files_of_the_entry_are_fetched(there: Entry, hub: Server) -> None:
    folder = pull_entry(there)
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {
        "model.safetensors",
        "record.json",
        "dfbench.json",
    }
    assert read_entry(folder / "dfbench.json") == there
    assert {path.rpartition("/")[2] for path in hub.paths("GET", "/resolve/")} == {"model.safetensors", "record.json"}
    assert list(folder.parent.glob("*.part")) == []


def test_what_was_pulled_needs_no_network(there: Entry, hub: Server) -> None:
    folder = pull_entry(there)
    hub.asked.clear()
    assert pull_entry(there) == folder
    assert hub.asked == []


def test_an_old_commit_stays_what_it_was(there: Entry, hub: Server) -> None:
    assert there.hub is not None
    files = hub.repos[REPO].files
    hub.repos[REPO].commit({**files, "model.safetensors": b"other weights"}, "theirs")
    assert entry_of(REPO, there.hub.commit) == there
    assert (pull_entry(there) / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_wrong_bytes_are_never_left_where_they_could_be_used(there: Entry, hub: Server, known: Registry) -> None:
    good = hub.repos[REPO].files["model.safetensors"]
    hub.instead["model.safetensors"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(DataError, match=r"has sha256 .* and not .*; it is not used"):
        pull_entry(there)
    assert nothing_usable(there)
    with pytest.raises(DataError):
        open_checkpoint(REPO, known)
    hub.instead.clear()
    assert (pull_entry(there) / "model.safetensors").read_bytes() == good


def test_another_hash_or_size_on_the_hub_is_noticed_before_anything_is_fetched(there: Entry, hub: Server) -> None:
    repo = hub.repos[REPO]
    good = repo.files["model.safetensors"]
    for content, reason in ((good[:-1] + b"x", "has sha256"), (good + b"x", "bytes and not")):
        commit = repo.commit({**repo.files, "model.safetensors": content}, reason)
        moved = there.model_copy(update={"hub": Hub(repo=REPO, commit=commit)})
        with pytest.raises(DataError, match=rf"{reason}.*; it is not fetched"):
            pull_entry(moved)
        assert nothing_usable(moved)
    assert hub.paths("GET", "/resolve/") == []


def test_a_file_that_is_damaged_later_is_fetched_again(there: Entry, hub: Server, known: Registry) -> None:
    folder = pull_entry(there)
    good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(good[:-1] + b"x")
    told: list[str] = []
    open_checkpoint(REPO, known, told.append)
    assert "fetching it again" in told[1]
    assert (folder / "model.safetensors").read_bytes() == good
    (folder / "model.safetensors").write_bytes(good[:-1] + b"x")
    hub.instead["model.safetensors"] = good[:-1] + b"x"
    with pytest.raises(DataError, match="it is not used"):
        open_checkpoint(REPO, known)
    assert len(hub.paths("GET", "model.safetensors")) == 3


def test_a_damaged_file_outside_the_cache_is_not_used(there: Entry, tmp_path: Path, known: Registry) -> None:
    folder = export(pull_entry(there), there, tmp_path / "mine")
    good = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(good[:-1] + b"x")
    with pytest.raises(DataError, match="it is not used"):
        open_checkpoint(str(folder), known)


def test_a_download_that_breaks_off_is_taken_up_again(there: Entry, hub: Server) -> None:
    hub.cut = {"model.safetensors"}
    assert (pull_entry(there) / "model.safetensors").read_bytes() == hub.repos[REPO].files["model.safetensors"]
    assert len(hub.paths("GET", "model.safetensors")) == 2


def test_a_pull_that_failed_goes_on_with_what_it_lacks(there: Entry, hub: Server) -> None:
    record = hub.repos[REPO].files["record.json"]
    hub.instead["record.json"] = record[:-1] + b"x"
    with pytest.raises(DataError, match=r"record.json has sha256 .* not used"):
        pull_entry(there)
    hub.instead.clear()
    assert (pull_entry(there) / "record.json").read_bytes() == record
    assert len(hub.paths("GET", "model.safetensors")) == 1
    assert len(hub.paths("GET", "record.json")) == 2


def test_a_missing_revision(there: Entry) -> None:
    with pytest.raises(UsageError, match=r"me/small has no revision 'v9'; look at http"):
        entry_of(REPO, "v9")
    gone = there.model_copy(update={"hub": Hub(repo=REPO, commit="0" * 40)})
    with pytest.raises(UsageError, match="has no revision '0000"):
        pull_entry(gone)


def test_a_gated_repository(there: Entry, hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos[REPO].gated = True
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(HubError, match=r"me/small is gated: ask for access at http.*/me/small, then log in"):
        pull_entry(there)
    assert nothing_usable(there)


@pytest.mark.parametrize("private", [True, False])
def test_a_repository_that_is_private_or_not_there(
    private: bool, there: Entry, hub: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    hub.repos[REPO].private = private
    with pytest.raises(HubError, match=r"no such repository on .* or a private one"):
        entry_of(REPO if private else "me/other")


def test_without_a_connection(there: Entry, hub: Server) -> None:
    hub.vanish()
    with pytest.raises(HubError, match=r"no connection to http://127.*run the same command again"):
        pull_entry(there)
    with pytest.raises(HubError, match="no connection"):
        entry_of(REPO)


def test_a_repository_of_pickles_is_refused_and_none_is_fetched(hub: Server, tmp_path: Path, known: Registry) -> None:
    repo = hub.repos["me/old"] = Repo()
    repo.commit({"pytorch_model.bin": pickle.dumps([1]), "config.json": b"{}"})
    with pytest.raises(DataError, match=r"pytorch_model.bin can run code when it is read, and is not fetched"):
        open_checkpoint("me/old", known)
    assert hub.paths("GET", "/resolve/") == []


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.PTH", "model.pkl", "model.ckpt"])
def test_an_entry_that_names_a_pickle_is_refused(name: str, there: Entry, hub: Server) -> None:
    repo = hub.repos[REPO]
    entry: dict[str, Any] = json.loads(repo.files["dfbench.json"])
    entry["files"][0]["path"] = name
    repo.commit({**repo.files, "dfbench.json": json.dumps(entry).encode(), name: pickle.dumps([1])})
    with pytest.raises(DataError, match="can run code when it is read"):
        entry_of(REPO)
    assert [path for path in hub.paths("GET", "/resolve/") if path.endswith(name)] == []


@pytest.mark.parametrize("path", ["../../evil.safetensors", "/etc/evil.safetensors", "a\\..\\b.safetensors"])
def test_an_entry_cannot_write_outside_its_folder(path: str, there: Entry, hub: Server) -> None:
    repo = hub.repos[REPO]
    entry: dict[str, Any] = json.loads(repo.files["dfbench.json"])
    entry["files"][0]["path"] = path
    repo.commit({**repo.files, "dfbench.json": json.dumps(entry).encode()})
    with pytest.raises(DataError, match="not a path inside"):
        entry_of(REPO)


def test_a_pickle_that_is_called_safetensors_is_not_opened(there: Entry, hub: Server, known: Registry) -> None:
    repo = hub.repos[REPO]
    evil = pickle.dumps({"weights": [1, 2, 3]})
    entry: dict[str, Any] = json.loads(repo.files["dfbench.json"])
    import hashlib

    entry["files"][0] |= {"sha256": hashlib.sha256(evil).hexdigest(), "size": len(evil)}
    repo.commit({**repo.files, "dfbench.json": json.dumps(entry).encode(), "model.safetensors": evil})
    with pytest.raises(DataError, match="not a safetensors file"):
        open_checkpoint(REPO, known)


def test_a_copy_elsewhere_is_whole_or_not_there(there: Entry, tmp_path: Path, known: Registry) -> None:
    folder = pull_entry(there)
    export(folder, there, tmp_path / "copy")
    assert open_checkpoint(str(tmp_path / "copy"), known).entry == there
    with pytest.raises(StorageError, match="exists already"):
        export(folder, there, tmp_path / "copy")
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(DataError):
        export(folder, there, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_copy_that_lacks_a_file_is_loaded_from_the_hub(there: Entry, tmp_path: Path, known: Registry) -> None:
    copy = export(pull_entry(there), there, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    assert there.hub is not None
    shutil.rmtree(pulled(REPO, there.hub.commit))
    found = fetch(resolve(str(copy), known))
    assert (found.folder, found.present) == (pulled(REPO, there.hub.commit), True)


def test_a_hub_id_may_name_a_revision(there: Entry, known: Registry, hub: Server) -> None:
    assert there.hub is not None
    hub.repos[REPO].commit({"x.txt": b"x"}, "theirs")
    assert resolve(f"{REPO}@{there.hub.commit}", known).entry == there
