"""Packs of scores go to a data set on a Hub at 127.0.0.1 and come back, through the real huggingface_hub client."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dfbench.errors import DataError, HubError, UsageError
from dfbench.plugins import registry
from dfbench.publish.board.add import add
from dfbench.publish.board.dataset import pull, push
from dfbench.publish.board.manifest import PackFile, read_manifest
from dfbench.publish.verification.checks import failures, verify
from dfbench.records.finished import FinishedRun
from tests.cli.harness import run_cli, the_error
from tests.publish.board_runs import make_run
from tests.publish.hub.hub_server import READER, Hub, Repo

REPO = "me/scores"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A leaderboard of two rows."""
    folder = tmp_path_factory.mktemp("made")
    runs = [make_run(folder / "runs", name, seed) for name in ("gem", "replay") for seed in range(2)]
    add(runs, folder / "board", registry())
    return folder / "board"


@pytest.fixture
def board(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "board"))


def without_packs(board: Path) -> Path:
    """What git may keep of it."""
    bare = Path(shutil.copytree(board, board.with_name("bare")))
    shutil.rmtree(bare / "scores")
    return bare


def there(hub: Hub) -> Repo:
    return hub.repos[f"datasets/{REPO}"]


def contents(board: Path) -> dict[str, bytes]:
    return {f"scores/{p.name}": p.read_bytes() for p in (board / "scores").iterdir()}


def fetched(hub: Hub) -> list[str]:
    return [path.rpartition("/")[2] for path in hub.paths("GET", "/resolve/")]


def test_what_was_pushed_is_pulled_into_an_empty_folder_and_verifies(board: Path, hub: Hub) -> None:
    done = push(board, REPO)
    assert set(done.sent) == set(contents(board))
    assert done.url == f"{hub.url}/datasets/{REPO}/tree/{done.commit}"
    bare = without_packs(board)
    assert set(pull(bare, REPO).fetched) == set(done.sent)
    assert contents(bare) == contents(board)
    for path in bare.glob("results/*.json"):
        run = FinishedRun.open(path)
        assert run.scores_file is not None
        assert not failures(verify(run, registry()))


def test_a_push_is_one_commit_and_a_second_one_sends_nothing(board: Path, hub: Hub) -> None:
    push(board, REPO)
    assert there(hub).messages == ["initial commit", "Scores of 2 rows"]
    assert set(there(hub).files) == {".gitattributes", "scores.json", *contents(board)}
    assert json.loads(there(hub).files["scores.json"]) == json.loads((board / "scores.json").read_text())
    hub.asked.clear()
    again = push(board, REPO)
    assert (again.sent, again.commit) == ((), there(hub).head)
    assert not [method for method, _ in hub.asked if method in ("PUT", "POST")]


def test_only_what_is_not_there_is_sent(board: Path, hub: Hub, tmp_path: Path) -> None:
    push(board, REPO)
    hub.asked.clear()
    add([make_run(tmp_path / "new", "ewc")], board, registry())
    done = push(board, REPO)
    assert [path.partition("-ewc-")[1] for path in done.sent] == ["-ewc-"]
    assert len(hub.paths("PUT", "/storage/")) == 1
    assert {path: there(hub).files[path] for path in contents(board)} == contents(board)


def test_a_pack_with_one_more_seed_takes_the_place_of_the_old_one(board: Path, hub: Hub, tmp_path: Path) -> None:
    push(board, REPO)
    add([make_run(tmp_path / "new", "gem", 2)], board, registry())
    assert len(push(board, REPO).sent) == 1
    assert {path: there(hub).files[path] for path in contents(board)} == contents(board)


def test_other_scores_are_not_replaced_silently(board: Path, hub: Hub, tmp_path: Path) -> None:
    push(board, REPO)
    before = there(hub).head
    add([make_run(tmp_path / "new", "gem", strength=2.5)], board, registry(), replace=True)
    with pytest.raises(UsageError, match=r"has other scores in scores/.*-gem-.*: nothing was overwritten; --replace"):
        push(board, REPO)
    assert there(hub).head == before
    assert len(push(board, REPO, replace=True).sent) == 1
    assert {path: there(hub).files[path] for path in contents(board)} == contents(board)


def test_a_file_of_somebody_else_under_the_name_of_a_pack_is_not_replaced(board: Path, hub: Hub) -> None:
    path = min(contents(board))
    hub.repos[f"datasets/{REPO}"] = Repo()
    there(hub).commit({path: b"theirs", "scores.json": b"[no manifest"})
    with pytest.raises(UsageError, match="has other scores"):
        push(board, REPO)
    assert there(hub).files[path] == b"theirs"


def test_packs_of_other_leaderboards_stay_in_the_manifest(board: Path, hub: Hub, tmp_path: Path) -> None:
    other = tmp_path / "other"
    add([make_run(tmp_path / "new", "ewc")], other, registry())
    push(other, REPO)
    push(board, REPO)
    assert set(json.loads(there(hub).files["scores.json"])) == {*contents(other), *contents(board)}
    assert set(pull(without_packs(board), REPO).fetched) == set(contents(board))


def test_a_push_by_somebody_else_meanwhile_is_left_as_it_is(board: Path, hub: Hub) -> None:
    push(board, REPO)
    shutil.rmtree(board / "results")
    add([make_run(board / "new", "ewc")], board, registry())
    hub.before_commit = lambda: there(hub).commit({**there(hub).files, "theirs": b""}) and None
    with pytest.raises(HubError, match="somebody else pushed meanwhile; nothing was overwritten"):
        push(board, REPO)
    assert "theirs" in there(hub).files
    assert len(push(board, REPO).sent) == 1
    assert "theirs" in there(hub).files


def test_a_pack_that_is_neither_here_nor_there_cannot_be_pushed(board: Path, hub: Hub) -> None:
    bare = without_packs(board)
    with pytest.raises(DataError, match=r"not the pack that scores\.json names, and me/scores has none"):
        push(bare, REPO)
    push(board, REPO)
    assert push(bare, REPO).sent == ()


def test_nothing_is_fetched_twice_and_damage_is_mended(board: Path, hub: Hub) -> None:
    push(board, REPO)
    bare = without_packs(board)
    pull(bare, REPO)
    hub.asked.clear()
    assert pull(bare, REPO).fetched == ()
    assert hub.asked == []
    path = min(contents(bare))
    (bare / path).write_bytes(b"damaged")
    assert pull(bare, REPO).fetched == (path,)
    assert fetched(hub) == [Path(path).name]
    assert contents(bare) == contents(board)


@pytest.mark.parametrize("kept", [True, False], ids=["size kept", "cut"])
def test_a_wrong_byte_is_refused_and_the_other_packs_are_kept(kept: bool, board: Path, hub: Hub) -> None:
    push(board, REPO)
    bare = without_packs(board)
    wrong, right = sorted(contents(board))
    good = there(hub).files[wrong]
    hub.instead[wrong] = good[:-1] + bytes([good[-1] ^ 1]) if kept else good[:-1]
    done = pull(bare, REPO)
    assert done.fetched == (right,)
    reason = "what was sent is not the pack that scores.json names" if kept else "another number of bytes was sent"
    assert list(done.refused) == [wrong]
    assert reason in done.refused[wrong]
    assert set(contents(bare)) == {right}
    hub.instead.clear()
    hub.asked.clear()
    assert pull(bare, REPO).fetched == (wrong,)
    assert fetched(hub) == [Path(wrong).name]
    assert contents(bare) == contents(board)


def test_another_size_or_hash_on_the_hub_is_reported_before_anything_is_fetched(board: Path, hub: Hub) -> None:
    push(board, REPO)
    one, other = sorted(contents(board))
    files = there(hub).files
    there(hub).commit({**files, one: files[one] + b"x", other: files[other][:-1] + b"x"})
    done = pull(without_packs(board), REPO)
    assert "bytes and not" in done.refused[one]
    assert "has sha256" in done.refused[other]
    assert fetched(hub) == []


def test_an_interrupted_pull_goes_on_with_what_it_lacks(board: Path, hub: Hub) -> None:
    push(board, REPO)
    bare = without_packs(board)

    def gone(path: str, size: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(bare, REPO, progress=gone)
    assert len(contents(bare)) == 1
    pull(bare, REPO)
    assert sorted(fetched(hub)) == sorted(Path(path).name for path in contents(board))  # each once
    assert contents(bare) == contents(board)


def test_a_download_that_breaks_off_is_taken_up_again(board: Path, hub: Hub) -> None:
    push(board, REPO)
    bare, path = without_packs(board), min(contents(board))
    hub.cut = {path}
    pull(bare, REPO)
    assert contents(bare) == contents(board)
    assert sorted(fetched(hub)) == sorted(Path(p).name for p in [path, *contents(board)])


def test_an_old_revision_can_be_asked_for(board: Path, hub: Hub, tmp_path: Path) -> None:
    commit = push(board, REPO).commit
    bare = without_packs(board)
    add([make_run(tmp_path / "new", "gem", 2)], board, registry())
    push(board, REPO)
    assert [reason.partition(" ")[0] for reason in pull(bare, REPO).refused.values()] == ["has"]
    assert not pull(bare, f"{REPO}@{commit}").refused


@pytest.mark.parametrize(
    "path",
    [
        "../x.parquet",
        "scores/../../x.parquet",
        "/etc/x.parquet",
        "scores/a/b.parquet",
        "scores/x.json",
        "scores/.parquet",
        "scores/x.parquet\n",
    ],
)
def test_a_manifest_that_points_elsewhere_is_refused(path: str, board: Path, hub: Hub) -> None:
    value = json.loads((board / "scores.json").read_text())
    (board / "scores.json").write_text(json.dumps({path: next(iter(value.values()))}))
    for act in (pull, push):
        with pytest.raises(DataError, match=r"(?s)scores\.json: .*: String should match"):
            act(board, REPO)
    assert hub.asked == []


def test_a_manifest_is_strict(board: Path) -> None:
    with pytest.raises(DataError, match=r"no packs are stated here; 'dfbench leaderboard add"):
        pull(board / "results", REPO)
    (pack, *_) = read_manifest(board).values()
    for change in ({"size": 0}, {"size": 1 << 40}, {"sha256": "x"}, {"more": 1}):
        (board / "scores.json").write_text(json.dumps({"scores/x.parquet": pack.model_dump() | change}))
        with pytest.raises(DataError, match=next(iter(change))):
            read_manifest(board)


def test_a_pack_file_is_told_by_size_and_hash(board: Path) -> None:
    file = board / min(contents(board))
    pack = PackFile.of(file)
    assert pack.is_at(file)
    content = file.read_bytes()
    for other in (content + b"x", content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(other)
        assert not pack.is_at(file)


@pytest.mark.parametrize("act", [pull, push])
def test_names_that_are_not_data_sets_are_refused(act: object, board: Path, hub: Hub) -> None:
    (board / min(contents(board))).unlink()
    with pytest.raises(UsageError, match="is not a data set of the Hub: it is written user/dataset"):
        act(board, "no id")  # type: ignore[operator]
    with pytest.raises(UsageError, match="a push goes to the branch main"):
        push(board, f"{REPO}@v1")
    with pytest.raises(HubError, match="datasets/me/nothing: no such repository"):
        pull(board, "me/nothing")


def test_a_push_needs_the_right_to_write(board: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match="it needs the write right for somebody"):
        push(board, "somebody/scores")
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(HubError, match="it needs the write right for me"):
        push(board, REPO)
    assert hub.repos == {}


def test_without_a_connection_what_is_here_stays(board: Path, hub: Hub) -> None:
    push(board, REPO)
    bare = without_packs(board)
    hub.vanish()
    with pytest.raises(HubError, match="no connection"):
        pull(bare, REPO)


# --- The commands ------------------------------------------------------------------------------------


def test_the_commands_push_and_pull(board: Path, hub: Hub, capsys: Capture) -> None:
    done = run_cli(capsys, "leaderboard", "push", "--to", REPO, "--board", board)
    assert done.out.splitlines() == ["sent: 2 packs", f"{hub.url}/datasets/{REPO}/tree/{there(hub).head}"]
    assert "every pack is there" in run_cli(capsys, "leaderboard", "push", "--to", REPO, "--board", board).out
    bare = without_packs(board)
    hub.instead[min(contents(board))] = b"x"
    done = run_cli(capsys, "leaderboard", "pull", "--from", REPO, "--board", bare)
    said = the_error(done, 3)
    assert f"{REPO}: {min(contents(board))}: " in said
    assert "another number of bytes was sent" in said
    assert "1 packs were fetched" in said
    hub.instead.clear()
    assert len(run_cli(capsys, "leaderboard", "pull", "--from", REPO, "--board", bare, "--json").json["fetched"]) == 1
    done = run_cli(capsys, "leaderboard", "pull", "--from", REPO, "--board", bare)
    assert (done.code, done.out) == (0, "every pack is here\n")


def test_verify_fetches_nothing_by_itself_and_what_it_needs_with_from(
    board: Path, hub: Hub, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(board, REPO)
    bare = without_packs(board)
    gem, replay = (sorted(map(str, bare.glob(f"results/*-{name}-*"))) for name in ("gem", "replay"))
    hub.asked.clear()
    done = run_cli(capsys, "verify", *gem, *replay)
    assert done.code == 0
    assert done.out.count("its scores are not here; 'dfbench leaderboard pull") == 4
    assert done.out.splitlines()[-1] == "4 records: 4 skipped"
    assert "4 of 4 records not checked: their scores are not here" in done.err
    assert hub.asked == []
    done = run_cli(capsys, "verify", *gem, "--from", REPO, "--json")
    assert [result["ok"] for result in done.json] == [True, True]
    assert ["-gem-" in path for path in contents(bare)] == [True]  # the pack of the other row was not needed
    hub.instead[max(contents(board))] = b"x"
    done = run_cli(capsys, "verify", *gem, *replay, "--from", REPO)
    assert "another number of bytes was sent" in done.err
    assert done.code == 1
    assert "2 of 4 records not verified" in done.err.splitlines()[-1]


def test_the_status_of_a_record_without_its_scores_is_left(board: Path, capsys: Capture) -> None:
    bare = without_packs(board)
    path = min(bare.glob("results/*.json"))
    before = path.read_bytes()
    done = run_cli(capsys, "verify", path, "--write", "--json")
    assert (done.json[0]["ok"], done.json[0]["status"], done.json[0]["written"]) == (None, "not checked", False)
    assert path.read_bytes() == before
