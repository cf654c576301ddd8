"""Prepared sets go to a Hub at 127.0.0.1 and come back, through the real huggingface_hub client."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dfbench.data.sources.prepared import PreparedSource
from dfbench.errors import DataError, HubError, StorageError, UsageError
from dfbench.publish.prepared_set import pull, push
from tests.cli.harness import run_cli, the_error
from tests.data.prepare.conftest import crop, films, prepared  # noqa: F401  (fixtures)
from tests.data.prepare.test_run import contents
from tests.publish.hub.hub_server import Hub, Repo

REPO = "me/crops"


@pytest.fixture
def folder(films, tmp_path: Path) -> Path:  # noqa: F811
    """A small set of one's own."""
    return crop(films[:2], tmp_path / "set", frames=2, size=32).folder


def there(hub: Hub) -> Repo:
    return hub.repos[f"datasets/{REPO}"]


def test_a_set_that_was_pushed_is_private_and_comes_back_whole(folder: Path, hub: Hub, tmp_path: Path) -> None:
    done = push(folder, REPO)
    assert done.sent == ("train/data-00000-of-00001.arrow",)
    assert there(hub).private
    assert there(hub).messages == ["initial commit", "A prepared set"]
    card = there(hub).files["README.md"].decode()
    (config,) = yaml.safe_load(card.split("---")[1])["configs"]
    assert config["data_files"] == [{"split": "train", "path": "train/*.arrow"}]
    back = pull(REPO, tmp_path / "back")
    assert contents(back) == contents(folder)
    assert PreparedSource(back).samples() == PreparedSource(folder).samples()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_second_push_sends_nothing(folder: Path, hub: Hub) -> None:
    first = push(folder, REPO)
    again = push(folder, REPO)
    assert (again.sent, again.commit) == ((), first.commit)


def test_a_public_repository_is_refused_unless_it_may_be(folder: Path, hub: Hub) -> None:
    push(folder, REPO, public=True)
    assert not there(hub).private
    head = there(hub).head
    with pytest.raises(UsageError, match="is public: nothing was sent; --public"):
        push(folder, REPO)
    assert there(hub).head == head


def test_another_set_is_replaced_only_on_request_and_leaves_nothing_behind(
    folder: Path, prepared, hub: Hub  # noqa: F811
) -> None:  # fmt: skip
    push(prepared.folder, REPO)
    with pytest.raises(UsageError, match="holds another set"):
        push(folder, REPO)
    push(folder, REPO, replace=True)
    assert "test/data-00000-of-00001.arrow" not in there(hub).files
    assert set(there(hub).files) == {".gitattributes", "README.md", *contents(folder)}


def test_a_set_that_was_changed_is_not_sent(folder: Path, hub: Hub) -> None:
    file = next(folder.rglob("*.arrow"))
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match="was changed after it was prepared"):
        push(folder, REPO)
    assert hub.repos == {}


def test_files_that_are_not_the_stated_ones_are_not_kept(folder: Path, hub: Hub, tmp_path: Path) -> None:
    push(folder, REPO)
    arrow = there(hub).files["train/data-00000-of-00001.arrow"]
    hub.instead["train/data-00000-of-00001.arrow"] = bytes(len(arrow))
    with pytest.raises(DataError, match=r"is not the file that prepared\.json names"):
        pull(REPO, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    hub.instead.clear()
    assert contents(pull(REPO, tmp_path / "back")) == contents(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"train/data-00000", b"../../data-00000"),
        (b'"size": 32', b'"size": -32'),
        (b'"digest": "', b'"digest": "0'),
    ],
)
def test_a_description_that_leads_elsewhere_is_refused(
    old: bytes, new: bytes, folder: Path, hub: Hub, tmp_path: Path
) -> None:
    push(folder, REPO)
    text = there(hub).files["prepared.json"]
    assert old in text
    hub.instead["prepared.json"] = text.replace(old, new)
    hub.sizes = False
    with pytest.raises((DataError, HubError)):
        pull(REPO, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_the_commands_push_and_pull(folder: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    back = tmp_path / "back"
    assert f"/datasets/{REPO}/tree/" in run_cli(capsys, "data", "push", folder, "--to", REPO).out
    assert run_cli(capsys, "data", "pull", REPO, "--to", back, "--json").json == {"folder": str(back)}
    again = run_cli(capsys, "data", "pull", REPO, "--to", back)
    assert "exists already" in the_error(again, StorageError.exit_code)
    assert "no prepared set" in the_error(run_cli(capsys, "data", "push", tmp_path, "--to", REPO), DataError.exit_code)


def test_what_is_no_set_or_no_repository_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.repos[f"datasets/{REPO}"] = Repo()
    there(hub).commit({"a.txt": b"1"}, "one")
    with pytest.raises(DataError, match=r"holds no set of dfbench"):
        pull(REPO, tmp_path / "back")
    with pytest.raises(UsageError, match="written user/dataset"):
        pull("crops", tmp_path / "back")
