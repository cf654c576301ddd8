"""``dfbench eval --init``: weights that do not go with the run are one line, before anything is trained or written."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfbench.errors import DataError, UsageError
from dfbench.files import sha256_of
from dfbench.records.command import command
from dfbench.records.record import Record
from dfbench.testing import write_stream
from tests.cli.harness import run_cli, the_error
from tests.conftest import Done
from tests.runs.test_runner import write_cifar10

Capture = pytest.CaptureFixture[str]
Evaluate = Callable[..., Done]


@pytest.fixture(scope="module")
def trained(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of ``simple_cnn``, of width 4."""
    from dfbench import run

    out = tmp_path_factory.mktemp("trained")
    record = run("simple_cnn", "naive", tiny_stream, settings={"width": 4, "epochs": 1}, device="cpu", out=out)
    assert record.path is not None
    return record.path.parent


@pytest.fixture
def evaluate(tiny_stream: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """``dfbench eval -s none`` on the small stream; options given override these."""
    monkeypatch.chdir(tmp_path)

    def run(init: object, *more: object, **options: object) -> Done:
        given = {"detector": "simple_cnn", "strategy": "none", "benchmark": tiny_stream, "device": "cpu", **options}
        words = [part for key, value in given.items() for part in (f"--{key}", value)]
        return run_cli(capsys, "eval", *words, "--init", init, *more)

    return run


WIDTH = ("--set", "width=4")


def test_a_line_evaluates_a_checkpoint_and_a_record_has_the_line(
    trained: Path, tiny_stream: Path, evaluate: Evaluate, capsys: Capture, tmp_path: Path
) -> None:
    done = evaluate(trained, *WIDTH)
    assert done.code == 0, done.err
    assert "nothing: as it is" in done.out
    assert "it has seen the training data of this very stream" in done.err
    assert "--seed" not in done.err  # every seed gives the same
    (record,) = (tmp_path / "runs").glob("*/record.json")
    line = command(Record.read(record))
    assert f"--init '{trained.name}#sha256={sha256_of(trained / 'model.safetensors')}'" in line
    shutil.copytree(trained, tmp_path / "runs" / trained.name)  # the line finds the weights where runs are
    words = shlex.split(line)[2:]
    words[words.index("-b") + 1] = str(tiny_stream)
    again = run_cli(capsys, *words)
    assert again.code == 0, again.err
    assert "this run is finished already" in again.err


def changed(trained: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A file of the weights, changed."""
    state = load_file(trained / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "changed.safetensors", metadata={"body": "small"})
    return tmp_path / "changed.safetensors"


def refused(done: Done, error: type[Exception], *said: str) -> None:
    line = the_error(done, error.exit_code)  # type: ignore[attr-defined]
    for part in said:
        assert part in line
    assert len(line) < 500
    assert not Path("runs").exists()


def test_another_detectors_weights(trained: Path, evaluate: Evaluate) -> None:
    done = evaluate(trained, detector="xception")
    refused(done, UsageError, f"--init {trained.name} is a checkpoint of detector simple_cnn, not of xception")


def test_other_options_than_the_networks(trained: Path, evaluate: Evaluate) -> None:
    said = f"--init {trained.name} does not fit this network (preset default): ", "it was made with --set width=4"
    refused(evaluate(trained), DataError, *said, " and not ", " more)")


def test_a_bare_file_says_what_it_knows(trained: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    path = changed(trained, tmp_path, lambda state: None)
    refused(evaluate(path), DataError, "--init changed.safetensors does not fit", "the file says: body=small")
    assert evaluate(path, *WIDTH).code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop(sorted(state)[0]), " is missing"),
        (lambda state: state.update(strange=torch.zeros(2)), "strange is unknown"),
        (lambda state: state[sorted(state)[0]].fill_(float("nan")), "holds values that are not finite"),
    ],
    ids=["missing", "unknown", "nan"],
)
def test_wrong_tensors(change: Any, said: str, trained: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    refused(evaluate(changed(trained, tmp_path, change), *WIDTH), DataError, said)


def test_damaged_and_missing_files(trained: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    half.write_bytes((trained / "model.safetensors").read_bytes()[:-100])
    refused(evaluate(half, *WIDTH), DataError, "half.safetensors: not a safetensors file")
    folder = shutil.copytree(trained, tmp_path / "copy")
    (folder / "model.safetensors").write_bytes(half.read_bytes())
    refused(evaluate(folder, *WIDTH), DataError, "model.safetensors has sha256 ", ": not used")
    (folder / "model.safetensors").unlink()
    refused(evaluate(folder, *WIDTH), DataError, "model.safetensors is missing")
    refused(evaluate(tmp_path / "no.safetensors"), UsageError, "there is no such file or folder")


def test_other_classes(trained: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    done = evaluate(trained, *WIDTH, "--data-root", tmp_path, benchmark=write_cifar10(tmp_path))
    said = "distinguishes 2 classes (real, fake), two has 10 classes (airplane, automobile, bird, cat, …)"
    refused(done, DataError, said)


@pytest.mark.parametrize("option", [("--set", "image_size=64"), ()], ids=["by an option", "by the stream"])
def test_another_size_of_pictures(
    option: tuple[str, ...], trained: Path, evaluate: Evaluate, tiny_stream: Path, tmp_path: Path
) -> None:
    """The network would take them, and its scores would mean little."""
    stream = tiny_stream if option else write_stream(tmp_path / "larger", size=64)
    done = evaluate(trained, *WIDTH, *option, benchmark=stream)
    said = f"--init {trained.name} was trained on pictures of 32×32 pixels, and those of tiny are 64×64 pixels here"
    refused(done, UsageError, f"{said}: add --set image_size=32")
    if not option:
        assert evaluate(trained, *WIDTH, "--set", "image_size=32", benchmark=stream).code == 0


def test_options_of_other_weights_are_off_and_not_to_be_asked_for(
    trained: Path, evaluate: Evaluate, tmp_path: Path, tiny_stream: Path, capsys: Capture
) -> None:
    small = ["--preset", "lite", "--set", "image_size=71", "--set", "middle_blocks=0"]
    asked = ["eval", "-d", "xception", "-s", "none", "-b", tiny_stream, "--device", "cpu", *small]
    plain = run_cli(capsys, *asked, "--set", "pretrained=false", "--json")
    assert plain.code == 0, plain.err
    record = Path(plain.json["record"])
    found = run_cli(capsys, *asked, "--init", record.parent, "--seed", "3", "--json")
    assert found.code == 0, found.err
    spec = found.json["spec"]
    assert spec["detector_config"]["pretrained"] is False
    assert spec["initial_weights"] == {}  # "pretrained: false" would say random weights
    assert found.json["metrics"] == plain.json["metrics"]
    both = run_cli(capsys, *asked, "--init", record.parent, "--set", "pretrained=true")
    assert "--set pretrained=True: the weights come from --init; leave one of them out" in the_error(both, 2)


def test_differing_options_that_fit_are_a_notice(trained: Path, evaluate: Evaluate) -> None:
    done = evaluate(trained, *WIDTH, "--set", "lr=0.5")
    assert done.code == 0, done.err
    assert f"{trained.name} was made with lr=0.001 (here 0.5)" in done.err


def test_the_preset_is_the_checkpoints(tiny_stream: Path, tmp_path: Path, capsys: Capture) -> None:
    small = ["--set", "image_size=71", "--set", "middle_blocks=0", "--set", "pretrained=false"]
    asked = ["eval", "-d", "xception", "-s", "none", "-b", tiny_stream, "--device", "cpu", "--out", tmp_path, "--json"]
    made = run_cli(capsys, *asked, *small, "--preset", "lite")
    assert made.code == 0, made.err
    again = run_cli(capsys, *asked, *small, "--init", Path(made.json["record"]).parent)
    assert again.code == 0, again.err
    assert again.json["spec"]["preset"] == "lite"


def test_a_baseline_is_published_as_a_row_alone(
    trained: Path, evaluate: Evaluate, tmp_path: Path, capsys: Capture
) -> None:
    done = evaluate(trained, *WIDTH, "--publish", "--json")
    assert done.code == 0, done.err
    assert set(done.json["published"]) == {"leaderboard", "page"}
    pushed = evaluate(trained, *WIDTH, "--publish", "--push-to", "me/x")
    assert "trained nothing, so there is no checkpoint to push" in the_error(pushed, 3)
