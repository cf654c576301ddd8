"""What ``--init`` means: a name, a place or a digest; and what is known of the weights that it finds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dfbench.errors import DataError, UsageError
from dfbench.files import sha256_of
from dfbench.plugins import Registry
from dfbench.publish.hub.push import publish_run
from dfbench.publish.zoo.from_run import entry_from_run, package_run
from dfbench.publish.zoo.initial import find_initial
from dfbench.publish.zoo.places import packaged
from dfbench.publish.zoo.resolve import open_checkpoint
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from tests.publish.hub.hub_server import Hub


@pytest.fixture
def bare(finished: Path, tmp_path: Path) -> Path:
    """The weights of the run alone, elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    return Path(shutil.copy(finished / "model.safetensors", tmp_path / "elsewhere" / "mine.safetensors"))


def digest(finished: Path) -> str:
    return sha256_of(finished / "model.safetensors")


def test_a_run_its_file_and_an_entry_of_it_are_the_same_weights(
    finished: Path, known: Registry, tmp_path: Path
) -> None:
    folder = find_initial(str(finished), known)
    file = find_initial(str(finished / "model.safetensors"), known)
    entry = find_initial(str(package_run(finished, tmp_path / "zoo", known, name="mine")), known)
    assert folder == file
    assert (folder.checkpoint.name, entry.checkpoint.name) == (Record.read(finished).run, "mine")
    assert folder.checkpoint.model_copy(update={"name": "mine"}) == entry.checkpoint
    assert folder.checkpoint.sha256 == digest(finished)
    assert folder.network == entry.network
    assert folder.checkpoint.trained is not None
    assert folder.checkpoint.trained.run == Record.read(finished).run


def test_a_name_of_the_zoo_stays_its_name(known: Registry) -> None:
    name = "simple_cnn-replay-forge5"
    found = find_initial(name, known)
    assert found.checkpoint.name == name
    assert found.checkpoint.trained is not None
    assert found.checkpoint.trained.benchmark == "forge5"
    assert find_initial(found.checkpoint.reference, known) == found


def test_a_hub_id_becomes_one_at_a_commit(finished: Path, known: Registry, hub: Hub) -> None:
    pushed = publish_run(finished, "me/tiny", known)
    assert pushed.entry.hub is not None
    found = find_initial("me/tiny", known)
    assert found.checkpoint.name == f"me/tiny@{pushed.entry.hub.commit}"
    assert found.path.is_file()
    assert found.checkpoint.sha256 == digest(finished)
    assert find_initial(found.checkpoint.reference, known) == found


def test_of_a_bare_file_nothing_is_known(bare: Path, known: Registry) -> None:
    found = find_initial(str(bare), known)
    assert (found.checkpoint.name, found.checkpoint.trained, found.network) == ("mine.safetensors", None, None)
    assert "is not stated, and may include the people tested here" in found.checkpoint.note("f" * 64)


def test_a_copy_of_a_checkpoint_of_the_zoo_is_known(known: Registry, tmp_path: Path) -> None:
    (name, *_) = packaged()
    copied = shutil.copy(find_initial(name, known).path, tmp_path / "copy.safetensors")
    found = find_initial(str(copied), known)
    assert found.checkpoint == find_initial(name, known).checkpoint
    assert found.path == Path(copied)


PLACES: dict[str, Callable[[Path, Path], None]] = {
    "in the folder of runs": lambda finished, here: (here / "runs").symlink_to(finished.parent),
    "in the present folder": lambda finished, here: Path(
        shutil.copy(finished / "model.safetensors", here / "some.safetensors")
    ).touch(),
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_by_their_digest(
    place: str, finished: Path, known: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a name that means nothing here, as in the line of somebody's record."""
    monkeypatch.chdir(tmp_path)
    reference = f"their-run#sha256={digest(finished)}"
    with pytest.raises(UsageError, match=r"the weights their-run \(sha256 \w{12}…\) are not here: give the path of "):
        find_initial(reference, known)
    PLACES[place](finished, tmp_path)
    found = find_initial(reference, known)
    assert found.checkpoint.name == "their-run"
    assert found.checkpoint.sha256 == sha256_of(found.path) == digest(finished)


def test_pulled_weights_are_found_by_their_digest(finished: Path, known: Registry, hub: Hub) -> None:
    publish_run(finished, "me/tiny", known)
    there = find_initial("me/tiny", known)
    found = find_initial(f"other#sha256={digest(finished)}", known)
    assert found.path == there.path
    assert found.checkpoint.trained == there.checkpoint.trained


def test_other_weights_than_the_named_ones_are_refused(finished: Path, known: Registry) -> None:
    with pytest.raises(DataError, match=rf"another checkpoint here: sha256 {digest(finished)[:12]}… and not 000000000"):
        find_initial(f"{finished}#sha256={'0' * 64}", known)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nobody", "unknown checkpoint 'nobody'"),
        ("nowhere/at/all", "there is no such file or folder"),
        ("", "--init names nothing"),
        ("x#sha256=12", "a sha256 has 64 hexadecimal digits"),
        ("weights.pth", "such a file can run code when it is read; weights are taken as .safetensors alone"),
        (f"weights.bin#sha256={'0' * 64}", "such a file can run code"),
        ("x" * 300 + ".safetensors", "unknown checkpoint"),
    ],
)
def test_what_means_nothing_is_a_usage_error(text: str, said: str, known: Registry) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        find_initial(text, known)


def test_what_no_record_can_name_is_refused_in_one_line(finished: Path, known: Registry, tmp_path: Path) -> None:
    """Entries and files come from anybody."""
    path = package_run(finished, tmp_path / "zoo", known, name="mine")
    path.write_text(path.read_text().replace("strategy: replay", 'strategy: "two\\nlines"'))
    with pytest.raises(DataError, match=r"--init: mine cannot be started from: strategy: "):
        find_initial(str(path), known)
    odd = shutil.copy(finished / "model.safetensors", tmp_path / "two\nlines.safetensors")
    with pytest.raises(DataError, match=r"--init: 'two\\nlines.safetensors' cannot be started from: name: "):
        find_initial(str(odd), known)


@pytest.fixture
def further(finished: Path, known: Registry, tiny_stream: Path, tmp_path: Path) -> Callable[..., Record]:
    """Runs that start from the finished one."""

    def start(strategy: str, init: Path = finished, stream: Path = tiny_stream) -> Record:
        given = find_initial(str(init), known)
        settings = ["width=8"] + ["epochs=1"] * (strategy != "none")
        request = Request(
            "simple_cnn", strategy, str(stream), settings=settings, device="cpu", out=tmp_path, init=given
        )
        return run(request, known)

    return start


def test_what_weights_were_trained_on_is_remembered(
    further: Callable[..., Record], known: Registry, tiny_stream: Path, tmp_path: Path
) -> None:
    """First on the stream, then on another one: evaluated on the first, the weights have still seen it."""
    text = tiny_stream.read_text().replace("root: .", f"root: {tiny_stream.parent}").replace("name: tiny", "name: two")
    other = tmp_path / "two.yaml"
    other.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    second = further("naive", stream=other)
    assert not second.has_seen_stream
    assert "under replay on tiny; whether its training data hold people tested here was not checked" in second.notes[-1]
    third = further("none", tmp_path / second.run)
    assert third.has_seen_stream
    assert "trained under naive on two and before that under replay on tiny: it has seen" in third.notes[-1]
    entry = entry_from_run(FinishedRun.open(tmp_path / second.run), known)
    assert entry.training.init == second.spec.init
    assert entry.summary.endswith(f"trained under naive on two, from {second.spec.init.name}")
    path = package_run(tmp_path / second.run, tmp_path / "zoo", known, name="second")
    assert find_initial(str(path), known).checkpoint.trained == third.spec.init.trained
    assert open_checkpoint(str(path), known).entry.training.init == second.spec.init


def test_a_run_that_trained_nothing_makes_no_checkpoint(
    further: Callable[..., Record], finished: Path, known: Registry, tmp_path: Path
) -> None:
    record = further("none")
    folder = tmp_path / record.run
    with pytest.raises(DataError, match=r"trained nothing, its weights are those of .*: use that"):
        entry_from_run(FinishedRun.open(folder), known)
    passed = find_initial(str(folder), known)  # to start from, it is what it started from
    assert passed.checkpoint.trained == find_initial(str(finished), known).checkpoint.trained
