"""Bad input to ``dfbench eval``: one line that says what to do, an exit code, and nothing written."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dfbench.errors import DataError, IncompatibleError, StorageError, UsageError
from dfbench.testing import write_stream
from tests.cli.harness import plugins_of, run_cli, the_error
from tests.conftest import ODD, Done, dfbench

Capture = pytest.CaptureFixture[str]
Row = dict[str, str]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where runs would be written; nothing is there yet."""
    return tmp_path / "runs"


@pytest.fixture
def evaluate(tiny_stream: Path, out: Path, capsys: Capture) -> Callable[..., Done]:
    """``dfbench eval`` of a small run; options given override these."""

    def run(*more: object, **options: object) -> Done:
        names = {"detector": "simple_cnn", "strategy": "replay", "benchmark": tiny_stream, "device": "cpu", "out": out}
        given = [part for key, value in {**names, **options}.items() for part in (f"--{key}", value)]
        return run_cli(capsys, "eval", *given, *more)

    return run


# --- Names and values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"detector": "simple_cn"}, "unknown detector 'simple_cn': did you mean 'simple_cnn'? Known: "),
        ({"strategy": "cwrstar"}, "unknown strategy 'cwrstar': did you mean 'cwr_star'? Known: "),
        ({"benchmark": "cifar10"}, "unknown benchmark 'cifar10': did you mean 'cifar10-ni10'?"),
        ({"benchmark": "my/stream"}, "(or give the path of a .yaml file)"),
        ({"benchmark": "nowhere.yaml"}, "nowhere.yaml: there is no such file"),
        ({"preset": "defualt"}, "unknown preset of detector simple_cnn 'defualt': did you mean 'default'?"),
        ({"set": "epoch=1"}, "unknown --set option of detector simple_cnn 'epoch': did you mean 'epochs'?"),
        ({"set": "strategy.memry=5"}, "unknown --set option of strategy replay 'strategy.memry': did you mean "),
        ({"set": "memory=5"}, "--set memory: an option of the strategy; write --set strategy.memory=…"),
        ({"set": "epochs"}, "--set 'epochs' is not of the form key=value"),
        ({"set": "=3"}, "--set '=3' is not of the form key=value"),
        ({"set": "epochs=many"}, "--set epochs='many' of detector simple_cnn: Input should be a valid integer"),
        ({"set": "epochs=0"}, "--set epochs=0 of detector simple_cnn: Input should be greater than or equal to 1"),
        ({"set": "epochs=true"}, "--set epochs=true of detector simple_cnn: this is not a yes-or-no option"),
        ({"set": "lr=inf"}, "--set lr=inf of detector simple_cnn: not a finite number"),
        ({"set": "lr=.inf"}, "--set lr, line 1: .inf is not a finite number"),
        ({"set": "lr=1e999"}, "--set lr=inf of detector simple_cnn: not a finite number"),
        ({"set": "lr=nan"}, "--set lr=nan of detector simple_cnn: "),
        ({"strategy": "ewc", "set": "strategy.strength=inf"}, "--set strategy.strength=inf of strategy ewc: not a fin"),
        ({"set": "lr={a: 1, a: 2}"}, "--set lr, line 1: the key 'a' is there twice"),
        ({"set": "precision=fp16"}, "Input should be 'fp32' or 'bf16'"),
        ({"set": "strategy.memory=-5"}, "--set strategy.memory=-5 of strategy replay: Input should be greater"),
        ({"seed": "-1"}, "Invalid value for '--seed': -1 is not in the range x>=0."),
        ({"seed": "one"}, "Invalid value for '--seed': 'one' is not a valid integer"),
        ({"split": "train"}, "Invalid value for '--split': 'train' is not one of 'test', 'val'."),
        ({"device": "gpu"}, "--device gpu: not available here"),
        ({"devise": "cpu"}, "No such option '--devise'. (Did you mean one of: '--device',"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_name_or_value(options: dict[str, str], said: str, evaluate: Callable[..., Done], out: Path) -> None:
    assert said in the_error(evaluate(**options), UsageError.exit_code)
    assert not out.exists()


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("--set", "epochs=1", "--set", "epochs=2"), "--set epochs is given twice; give it once"),
        (("--set", "strategy.memory=9", "--set", " strategy.memory=9"), "--set strategy.memory is given twice"),
        (("--log", "jsonl:every=1,every=2"), "--log jsonl:every=1,every=2: every is given twice; give it once"),
    ],
)
def test_an_option_given_twice(pair: tuple[str, ...], said: str, evaluate: Callable[..., Done], out: Path) -> None:
    assert said in the_error(evaluate(*pair), UsageError.exit_code)
    assert not out.exists()


def test_an_unknown_command_and_an_unknown_kind(capsys: Capture) -> None:
    assert "unknown command 'evl': did you mean 'eval'? Known: " in the_error(run_cli(capsys, "evl"), 2)
    assert "unknown kind 'strategys': did you mean 'strategies'? " in the_error(run_cli(capsys, "list", "strategys"), 2)
    assert "unknown name 'replya': did you mean 'replay'? " in the_error(run_cli(capsys, "show", "replya"), 2)
    assert "Did you mean 'list'?" in the_error(run_cli(capsys, "plugins", "lst"), 2)


def test_a_detector_and_a_strategy_are_needed(capsys: Capture) -> None:
    assert the_error(run_cli(capsys, "eval"), 2) == ("Missing option '-d' / '--detector'. (see 'dfbench eval --help')")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there(evaluate: Callable[..., Done], out: Path) -> None:
    error = the_error(evaluate(device="cuda"), UsageError.exit_code)
    assert error.startswith("--device cuda: not available here (")
    assert error.endswith("); try --device cpu")
    assert not out.exists()


# --- Data --------------------------------------------------------------------------------------------


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """A stream of one's own that may be spoiled: one experience, 24 training pictures."""
    folder = tmp_path / "data"
    folder.mkdir()
    return write_stream(folder, experiences=1, pairs=12, tests=3, size=16)


def rewrite(stream: Path, change: Callable[[Row], Row | None]) -> None:
    """Change the rows of the manifest; None leaves one out."""
    path = stream.with_name("manifest.csv")
    with path.open(newline="") as file:
        rows = [row for row in map(change, csv.DictReader(file)) if row]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def without(split: str, label: str = "") -> Callable[[Row], Row | None]:
    return lambda row: None if row["split"] == split and row["label"].startswith(label) else row


def moved(column: str) -> Callable[[Row], Row | None]:
    """One training picture gets the identity or video of a test picture."""
    value = {"identity": "e0-test0", "video": "e0-test0-0"}[column]
    return lambda row: row | {column: value} if row["path"] == "train/e0-train0-0.png" else row


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("test"), "experience 's0': no test pictures (24 train, 6 val, 0 test); train and test are needed"),
        (without("train"), "experience 's0': no train pictures"),
        (without("test", "1"), "experience 's0': all 3 test pictures are 'real'; a split needs more than one class"),
        (without("val", "0"), "experience 's0': all 3 val pictures are 'fake'"),
        (moved("identity"), "1 identity occurs in more than one split: 'e0-test0' (test and train)"),
        (moved("video"), "1 video occurs in more than one split: 'e0-test0-0' (test and train)"),
        (lambda row: row | {"label": "maybe"}, "manifest.csv, line 2: label 'maybe' is not 0, 1, real or fake"),
        (lambda row: row | {"path": "gone.png"} if "train0-0" in row["path"] else row, "gone.png (line 2)"),
    ],
    ids=["no test", "no train", "one-class test", "one-class val", "identity", "video", "label", "missing file"],
)
def test_data_that_break_a_rule(
    change: Callable[[Row], Row | None], said: str, stream: Path, evaluate: Callable[..., Done], out: Path
) -> None:
    rewrite(stream, change)
    error = the_error(evaluate(benchmark=stream), DataError.exit_code)
    assert said in error
    assert str(stream) in error
    assert not out.exists()


def test_a_missing_root(stream: Path, evaluate: Callable[..., Done], out: Path) -> None:
    stream.write_text(stream.read_text().replace("root: .", "root: elsewhere"))
    error = the_error(evaluate(benchmark=stream), DataError.exit_code)
    assert "experience 's0': source 'folder': the root " in error
    assert error.endswith("elsewhere does not exist")
    assert not out.exists()


def test_a_missing_manifest(stream: Path, evaluate: Callable[..., Done], out: Path) -> None:
    stream.with_name("manifest.csv").unlink()
    assert "there is no such manifest" in the_error(evaluate(benchmark=stream), DataError.exit_code)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "not YAML"),
        ("just a text", "not a stream"),
        ("name: a\nexperience: []\n", "unknown key 'experience': did you mean 'experiences'?"),
        ("name: a\n", "give a list of experiences"),
        ("name: a\nexperiences: [{name: b, source: foldr, root: .}]\n", "unknown source 'foldr': did you mean 'fold"),
    ],
)
def test_a_stream_file_that_says_nothing_sensible(
    text: str, said: str, tmp_path: Path, evaluate: Callable[..., Done], out: Path
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    error = the_error(evaluate(benchmark=tmp_path / "bad.yaml"), UsageError.exit_code)
    assert said in error
    assert "bad.yaml" in error
    assert not out.exists()


def test_a_data_root_that_is_not_set(evaluate: Callable[..., Done], out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFBENCH_DATA", raising=False)
    error = the_error(evaluate(benchmark="cifar10-ni10"), UsageError.exit_code)
    assert "source 'cifar10' needs a folder: set DFBENCH_DATA to the folder that holds cifar10/" in error
    assert not out.exists()


def test_a_data_root_without_the_data(tmp_path: Path, evaluate: Callable[..., Done], out: Path) -> None:
    error = the_error(evaluate("--data-root", tmp_path, benchmark="cifar10-ni10"), DataError.exit_code)
    assert "cifar10 does not exist" in error
    assert not out.exists()


def test_a_damaged_picture_is_named_and_left_out(stream: Path, evaluate: Callable[..., Done]) -> None:
    (stream.parent / "train" / "e0-train3-1.png").write_bytes(b"no picture")
    done = evaluate("--json", benchmark=stream, strategy="naive", set="epochs=1")
    assert done.code == 0, done.err
    (line,) = (line for line in done.err.splitlines() if "left out" in line)
    assert "1 of 36 pictures cannot be used and are left out: train/e0-train3-1.png" in line
    assert done.json["steps"] == [1]


def test_too_many_damaged_pictures(stream: Path, evaluate: Callable[..., Done], out: Path) -> None:
    for number in (3, 4):
        (stream.parent / "train" / f"e0-train{number}-1.png").write_bytes(b"no picture")
    error = the_error(evaluate(benchmark=stream), DataError.exit_code)
    assert "2 of 24 train pictures cannot be used, more than max_corrupt: 0.05 allows: train/e0-train3-1.png" in error
    assert not out.exists()


# --- Where it is written -----------------------------------------------------------------------------


def test_an_output_folder_that_cannot_be_written(evaluate: Callable[..., Done], tmp_path: Path) -> None:
    """A file is in the way (permission bits do not stop root)."""
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        error = the_error(evaluate(out=out), StorageError.exit_code)
        assert error.startswith(f"cannot write to {out}")
        assert error.endswith("; choose another folder with --out")
    assert (tmp_path / "file").read_text() == "mine"


# --- What only the data and the network show -----------------------------------------------------------


@pytest.fixture
def late(evaluate: Callable[..., Done], stream: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Done]:
    """An error that is noticed when detector, strategy and data are put together."""

    def run(case: str) -> Done:
        match case:
            case "no val split":
                rewrite(stream, without("val"))
                return evaluate(benchmark=stream, split="val")
            case "memory too small":
                return evaluate(set="strategy.memory=1")
            case "impossible pair":
                with plugins_of(ODD, monkeypatch):
                    return evaluate(detector="one_logit", strategy="lwf")
            case "no pairs":
                rewrite(stream, lambda row: row | {"pair": ""})
                with plugins_of(ODD, monkeypatch):
                    return evaluate(detector="odd", benchmark=stream)
        raise ValueError(case)

    return run


LATE = {
    "no val split": (DataError.exit_code, "experience 's0' of 'tiny' has no val split to score"),
    "memory too small": (UsageError.exit_code, "too small for 3 experiences: raise it with --set strategy.memory=N"),
    "impossible pair": (IncompatibleError.exit_code, "lwf cannot train detector one_logit: it reads the logits"),
    "no pairs": (DataError.exit_code, "no aligned real–fake pairs (column 'pair')"),
}


@pytest.mark.parametrize("case", LATE)
def test_what_only_shows_together(case: str, late: Callable[[str], Done]) -> None:
    code, said = LATE[case]
    assert said in the_error(late(case), code)


@pytest.mark.parametrize("case", LATE)
def test_what_only_shows_together_writes_nothing(case: str, late: Callable[[str], Done], out: Path) -> None:
    late(case)
    assert not out.exists()


@pytest.mark.parametrize("strategy", ["cored", "sur_lid"])
def test_a_pair_that_cannot_work_is_refused_before_the_benchmark_is_rendered(
    strategy: str, evaluate: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    done = evaluate(detector="dfdc3", strategy=strategy, benchmark="forge5-clips")
    assert f"strategy {strategy} cannot train detector dfdc3" in the_error(done, IncompatibleError.exit_code)
    assert not (tmp_path / "cache").exists()


# --- In a process of its own -------------------------------------------------------------------------


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = ("eval", "-d", "simple_cnn", "-s", "reply", "-b", "cifar10-ni10")
    quiet, loud = dfbench(*command, cwd=tmp_path), dfbench(*command, "--debug", cwd=tmp_path)
    assert "did you mean 'replay'" in the_error(quiet, UsageError.exit_code)
    assert loud.code == quiet.code
    assert "Traceback (most recent call last)" in loud.err
    assert loud.err.endswith(quiet.err)
    assert dfbench(*command, cwd=tmp_path, DFBENCH_DEBUG="1").err == loud.err


def test_an_error_of_a_whole_process(stream: Path, tmp_path: Path) -> None:
    rewrite(stream, without("test", "1"))
    done = dfbench("eval", "-d", "simple_cnn", "-s", "naive", "-b", stream, "--json", cwd=tmp_path)
    assert "a split needs more than one class" in the_error(done, DataError.exit_code)
    assert not (tmp_path / "runs").exists()
