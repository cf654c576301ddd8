"""``dfbench zoo``: the commands as a user types them, against a Hub on 127.0.0.1."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError, HubError, UsageError
from dfbench.publish.zoo.entry import read_entry
from dfbench.publish.zoo.places import packaged
from tests.cli.harness import run_cli, the_error
from tests.conftest import Done, dfbench
from tests.publish.hub.hub_server import WRITER, Hub, serving, sha256

HELP = "hf auth login"
(OURS, *_) = packaged()


@pytest.fixture(scope="module")
def finished(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, made by the command."""
    out = tmp_path_factory.mktemp("runs")
    options = ("--set", "epochs=1", "--set", "width=8", "--device", "cpu", "--out", out, "--json")
    done = dfbench("eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, *options)
    assert done.code == 0, done.err
    return Path(done.json["record"]).parent


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        yield server


class User:
    """Somebody at a terminal, with a Hub, a token and a home of their own."""

    def __init__(self, hub: Hub, home: Path) -> None:
        self.environment = {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_TOKEN": WRITER,
            "HF_HOME": str(home / "hf"),
            "DFBENCH_CACHE": str(home / "cache"),
        }

    def __call__(self, *args: object) -> Done:
        return dfbench("zoo", *args, **self.environment)


@pytest.fixture
def user(hub: Hub, tmp_path: Path) -> User:
    return User(hub, tmp_path)


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    done = run_cli(capsys, "zoo", "list", "--json")
    row = next(r for r in done.json if r["name"] == OURS)
    assert (row["here"], row["error"], row["licence"]["weights"]) == (True, None, "Apache-2.0")
    assert OURS in run_cli(capsys, "zoo", "list").out


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_cli(capsys, "zoo", "show", OURS, "--json").json
    entry = read_entry(packaged()[OURS])
    assert {k: v for k, v in shown.items() if k not in ("here", "weights")} == entry.document()
    assert Path(shown["weights"]).is_file()
    assert entry.training.fingerprint in run_cli(capsys, "zoo", "show", OURS).out


@pytest.mark.parametrize("command", ["show", "pull", "verify"])
def test_an_unknown_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_cli(capsys, "zoo", command, OURS[:-1])
    assert f"did you mean '{OURS}'" in the_error(done, UsageError.exit_code)


def test_the_life_of_a_checkpoint(finished: Path, user: User, hub: Hub, tmp_path: Path) -> None:
    """Push, push once more, pull, verify, as the documentation has it."""
    done = user("push", finished, "--to", "me/small", "--licence", "CC-BY-4.0", "--entry", tmp_path / "zoo", "--json")
    assert done.code == 0, done.err
    head = hub.repos["me/small"].head
    assert (done.json["commit"], done.json["changed"]) == (head, True)
    path = tmp_path / "zoo" / f"{done.json['entry']['name']}.yaml"
    assert read_entry(path).hub is not None

    again = user("push", finished, "--to", "me/small", "--licence", "CC-BY-4.0")
    assert "nothing has changed; no commit was made" in again.out
    assert len(hub.repos["me/small"].commits) == 2

    pulled = user("pull", "me/small", "--to", tmp_path / "copy", "--json")
    assert pulled.code == 0, pulled.err
    assert f"me/small: main is commit {head}" in pulled.err
    assert pulled.json["hub"] == {"repo": "me/small", "commit": head}
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()

    verified = user("verify", path, "me/small", tmp_path / "copy", "--no-scores", "--json")
    assert verified.code == 0, verified.err
    assert [[c["status"] for c in row["checks"]] for row in verified.json] == [["ok"] * 3] * 3


def test_the_scores_are_recomputed(finished: Path, tiny_stream: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_cli(capsys, "zoo", "verify", finished, "-b", tiny_stream, "--device", "cpu")
    assert done.code == 0, done.err
    assert "average auc" in done.out


def test_a_dry_run_shows_everything_and_sends_nothing(finished: Path, user: User, hub: Hub) -> None:
    plain = user("push", finished, "--to", "me/small", "--dry-run")
    shown = user("push", finished, "--to", "me/small", "--dry-run", "--json").json
    assert (plain.code, hub.asked) == (0, [])
    files = {file["path"]: file for file in shown["files"]}
    assert files["model.safetensors"]["sha256"] == sha256((finished / "model.safetensors").read_bytes())
    for path, file in files.items():
        assert path in plain.out
        assert file["sha256"] in plain.out
    assert shown["card"].strip().splitlines()[-1] in plain.out
    assert "the licence of the weights is not stated" in plain.err


def test_a_dry_run_needs_a_place(finished: Path, user: User) -> None:
    assert "--dry-run needs --to" in the_error(user("push", finished, "--dry-run"), 2)


def test_errors_are_one_line_with_what_to_do(finished: Path, user: User, hub: Hub) -> None:
    def line(done: Done, kind: Any) -> str:
        return the_error(done, kind.exit_code)

    user.environment["HF_TOKEN"] = ""
    assert HELP in line(user("push", finished, "--to", "me/small"), HubError)
    user.environment["HF_TOKEN"] = WRITER
    assert "the write right for them" in line(user("push", finished, "--to", "them/small"), HubError)
    assert "no such repository" in line(user("pull", "me/none"), HubError)
    assert user("push", finished, "--to", "me/small").code == 0
    assert "has no revision 'v2'" in line(user("pull", "me/small@v2"), UsageError)
    hub.repos["me/small"].gated = True
    user.environment["HF_TOKEN"] = "hf_reader"
    assert "ask for access" in line(user("pull", "me/small"), HubError)
    hub.vanish()
    assert "no connection to http://127.0.0.1" in line(user("pull", "me/small"), HubError)


def test_wrong_weights_are_exit_code_3(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_stream: Path
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    done = run_cli(capsys, "zoo", "verify", copy, "--json")
    assert done.code == DataError.exit_code
    ((check,),) = (row["checks"] for row in done.json)
    assert (check["name"], check["status"]) == ("files", "failed")
    assert done.err.splitlines()[-1].endswith("it is not used")


def test_a_failed_check_is_reported_and_is_exit_code_3(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_stream: Path
) -> None:
    from dfbench.plugins import load_plugins
    from dfbench.publish.zoo.from_run import package_run

    path = package_run(finished, tmp_path, load_plugins(), name="mine")
    text = path.read_text()
    average = read_entry(path).results.average
    path.write_text(text.replace(f"average: {average}", f"average: {average - 0.2}"))
    done = run_cli(capsys, "zoo", "verify", path, "-b", tiny_stream, "--device", "cpu", "--json")
    assert done.code == DataError.exit_code
    (row,) = json.loads(done.out)
    assert row["checks"][-1]["status"] == "failed"
    assert done.err.splitlines()[-1].startswith("error: ")
