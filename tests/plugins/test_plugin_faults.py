"""What a third party's plugin does wrong is said of that plugin, with exit code 4, and never ends in silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfbench import plugin_imports
from dfbench.errors import PluginError
from dfbench.plugins import load_plugins
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import write_stream
from tests.cli.harness import detectors, install, plugins_of, run_cli, the_error
from tests.conftest import Done, dfbench, python_path_of

Capture = pytest.CaptureFixture[str]

DETECTOR = """
import torch
from torch import nn
from dfbench import Detector


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3072, 2)

    def forward(self, x):
        {forward}
        return self.head(x.flatten(1))


class Faulty(Detector):
    presets = {presets}

    def build(self):
        {build}
        return Net()

    def train(self, loop):
        self.helper()
        super().train(loop)

    def helper(self):
        {helper}
"""
PARTS = {"forward": "pass", "build": "pass", "helper": "pass", "presets": '{"default": {}}'}


@pytest.fixture
def faulty(
    tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture, request: pytest.FixtureRequest
) -> Callable[..., Done]:
    """``dfbench eval`` with a detector of a third party that has a fault in these parts."""

    def evaluate(*more: str, **parts: str) -> Done:
        name = "faulty_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
        text = detectors("faulty", target=f"{name}_net:Faulty")
        files = {f"{name}.py": text, f"{name}_net.py": DETECTOR.format(**{**PARTS, **parts})}
        install(tmp_path / "site", name, files, entry="mine")
        with plugins_of(tmp_path / "site", monkeypatch):
            names = ("-d", "faulty", "-s", "naive", "-b", tiny_stream, "--out", tmp_path / "runs", "--device", "cpu")
            return run_cli(capfd, "eval", *names, *more)

    return evaluate


def test_the_detector_without_a_fault_trains(faulty: Callable[..., Done]) -> None:
    assert faulty().code == 0


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"helper": "{}['lr']"}, "train raised KeyError: 'lr' (in training 1 of 3, on 's0')"),
        ({"build": "raise ValueError('weights not found:\\n  w.pth')"},
         "build raised ValueError: weights not found: w.pth"),
        ({"forward": "raise RuntimeError('no')"}, "predict raised RuntimeError: no (before any training)"),
        ({"helper": "raise SystemExit(0)"}, "train ended the program (SystemExit: 0)"),
        ({"build": "import sys; sys.exit('no weights')"}, "build ended the program (SystemExit: no weights)"),
        ({"helper": "torch.ones(2) @ torch.ones(3)"}, "train raised RuntimeError: "),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_detector_raises_names_it(parts: dict[str, str], said: str, faulty: Callable[..., Done]) -> None:
    error = the_error_of(faulty(**parts))
    assert error.startswith("detector 'faulty' (plugin 'mine' of faulty_")
    assert f"-dist 1.0): {said}" in error
    assert "unexpected" not in error


def the_error_of(done: Done) -> str:
    return the_error(done, PluginError.exit_code)


def test_debug_shows_where(faulty: Callable[..., Done]) -> None:
    done = faulty("--debug", helper="{}['lr']")
    assert done.code == PluginError.exit_code
    assert "in helper" in done.err


@pytest.mark.parametrize(
    ("presets", "said"),
    [
        ("{}", "presets names no preset: give one at least"),
        ('{"default": {"epoch": 1}}', "preset 'default' sets 'epoch', which EpochConfig does not have"),
    ],
)
def test_presets_that_are_none(presets: str, said: str, faulty: Callable[..., Done], tmp_path: Path) -> None:
    assert said in the_error_of(faulty(presets=presets))
    assert not (tmp_path / "runs").exists()


def test_what_the_core_does_wrong_by_itself_is_not_the_plugins_fault(faulty: Callable[..., Done]) -> None:
    """Two functions of a module of dfbench, the inner one of which fails."""
    core = "def outer(x):\\n    return inner(x)\\n\\ndef inner(x):\\n    return x + {'a': 1}['b']\\n"
    call = f'room = {{"__name__": "dfbench.made_up"}}; exec("{core}", room); '
    done = faulty(helper=f"{call}room['outer'](1)")
    assert done.code == 1
    assert "error: unexpected KeyError: 'b' (--debug shows where; please report it)" in done.err


def test_what_chokes_on_nonsense_that_a_plugin_passes_is_the_plugins_fault(faulty: Callable[..., Done]) -> None:
    error = the_error_of(faulty(helper="from dfbench import normalize; normalize('x')"))
    assert "train raised " in error
    assert error.startswith("detector 'faulty' (")


def test_a_class_that_is_registered_from_another_module_is_recognised_by_its_defaults(
    tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """No line of the plugin's own runs where the default prediction calls a network of torch's that does not fit."""
    code = (
        "from torch import nn\nfrom dfbench import Detector\n\n\nclass Hidden(Detector):\n    def build(self):\n"
        "        return nn.Sequential(nn.Flatten(), nn.Linear(5, 2))\n"
    )
    files = {
        "reexports/__init__.py": detectors("misfit", target="reexports.front:Hidden"),
        "reexports/front.py": "from reexports.inner import Hidden\n",
        "reexports/inner.py": code,
    }
    install(tmp_path / "site", "reexports", files)
    with plugins_of(tmp_path / "site", monkeypatch):
        names = ("-d", "misfit", "-s", "naive", "-b", tiny_stream, "--out", tmp_path / "runs", "--device", "cpu")
        error = the_error_of(run_cli(capfd, "eval", *names))
    assert error.startswith("detector 'misfit' (plugin 'reexports' of reexports-dist 1.0): predict raised RuntimeError")
    assert error.endswith("(before any training, pictures of 32×32 pixels)")


def test_what_is_raised_in_a_worker_process_is_named_too(faulty: Callable[..., Done], monkeypatch: Any) -> None:
    monkeypatch.setenv("DFBENCH_WORKERS", "1")
    augment = "pass\n\n    def augment(self, pixels, random):\n        return {}['flip']"
    error = the_error_of(faulty(helper=augment))
    assert "-dist 1.0): augment raised KeyError: 'flip' (in training 1 of 3, on 's0')" in error


STRATEGY = """
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import LRSchedulerPlugin
from dfbench import Strategy, StrategyEntry, hookimpl


@hookimpl
def register_strategies():
    return [StrategyEntry("ours", "tactics:Ours"), StrategyEntry("library", "tactics:Library")]


class Failing(SupervisedPlugin):
    def before_update(self, training, **kwargs):
        {}["weights"]


class Ours(Strategy):
    def plugins(self, context):
        return [Failing()]


class Library(Strategy):
    def plugins(self, context):
        return [LRSchedulerPlugin.__new__(LRSchedulerPlugin)]
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ours", "before_update raised KeyError: 'weights' (in training 1 of 3, on 's0')"),
        ("library", "after_training_"),
    ],
)
def test_what_a_strategy_raises_names_it_and_not_the_detector(
    name: str, said: str, tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    install(tmp_path / "site", "tactics", {"tactics.py": STRATEGY})
    with plugins_of(tmp_path / "site", monkeypatch):
        names = ("-d", "simple_cnn", "-s", name, "-b", tiny_stream, "--out", tmp_path / "runs", "--device", "cpu")
        error = the_error_of(run_cli(capfd, "eval", *names))
    assert error.startswith(f"strategy {name!r} (plugin 'tactics' of tactics-dist 1.0): {said}")


def test_a_first_party_detector_is_named_with_the_size_of_the_pictures(tmp_path: Path, capfd: Capture) -> None:
    """Batch normalisation cannot train on a single picture of a single pixel."""
    stream = write_stream(tmp_path / "data", experiences=2, pairs=2, tests=2, size=1)
    names = ("-d", "simple_cnn", "-s", "naive", "-b", stream, "--out", tmp_path / "runs", "--device", "cpu")
    error = the_error_of(run_cli(capfd, "eval", *names, "--set", "batch_size=1"))
    assert error.startswith("detector 'simple_cnn' (plugin 'simple_cnn' of dfbench-deepfake")
    assert "train raised ValueError: Expected more than 1 value per channel" in error
    assert error.endswith(
        "(in training 1 of 2, on 's0', pictures of 16×16 pixels; --set image_size=N stores them at N×N)"
    )
    assert run_cli(capfd, "eval", *names, "--set", "batch_size=1", "--set", "image_size=64").code == 0


@pytest.mark.parametrize("target", ["os:sep", "pathlib:Path", "os:getcwd"])
def test_a_target_that_is_no_detector(
    target: str, tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    name = f"no_detector_{target.replace(':', '_')}"
    install(tmp_path, name, {f"{name}.py": detectors("none", target=target)})
    with plugins_of(tmp_path, monkeypatch):
        for command in (["eval", "-d", "none", "-s", "naive", "-b", tiny_stream], ["show", "none"]):
            error = the_error_of(run_cli(capsys, *command))
            assert error.startswith(f"detector 'none' (plugin '{name}' of {name}-dist 1.0): ")
            assert error.endswith("not a subclass of dfbench.Detector")


def test_in_python_too_a_plugin_cannot_end_the_process(
    tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DETECTOR.format(**{**PARTS, "helper": "raise SystemExit(0)"})
    files = {"ending.py": detectors("ending", target="ending_net:Faulty"), "ending_net.py": text}
    install(tmp_path, "ending", files)
    with (
        plugins_of(tmp_path, monkeypatch),
        pytest.raises(PluginError, match=r"train ended the program \(SystemExit: 0\)"),
    ):
        run(Request("ending", "naive", str(tiny_stream), device="cpu", out=tmp_path / "runs"), load_plugins())


def test_a_command_of_a_plugin_ends_with_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    text = (
        "import sys\nimport click\nfrom dfbench import CommandEntry, hookimpl\n\n\n@click.command()\ndef ends():\n"
        "    sys.exit(9)\n\n\n@click.command()\ndef fails():\n    {}['x']\n\n\n@hookimpl\ndef register_commands():\n"
        "    return [CommandEntry('ends', 'own_code:ends', ''), CommandEntry('fails', 'own_code:fails', '')]\n"
    )
    install(tmp_path, "own_code", {"own_code.py": text})
    with plugins_of(tmp_path, monkeypatch):
        assert run_cli(capsys, "ends").code == 9
        error = the_error_of(run_cli(capsys, "fails"))
    assert error == "command 'fails' (plugin 'own_code' of own_code-dist 1.0): fails raised KeyError: 'x'"


ESCAPE = "\x1b[2J\x1b]0;owned\x07"
TRICKS = f"""
from pydantic import Field
from dfbench import Detector, DetectorEntry, EpochConfig, hookimpl


class Config(EpochConfig):
    loud: int = Field(1, description={f"[red]{ESCAPE}[/red]"!r})


class Tricky(Detector):
    {ESCAPE!r}
    Config = Config
    presets = {{"default": {{}}, {ESCAPE!r}: {{"epochs": 1}}}}


@hookimpl
def register_detectors():
    return [DetectorEntry("tricky", "tricks:Tricky", {f"[bold]{ESCAPE} :bomb:"!r}, ("default",), "")]
"""


@pytest.mark.parametrize(
    "command", [["list", "detectors"], ["show", "tricky"], ["plugins", "list"], ["--help"]], ids=str
)
@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_what_a_plugin_says_of_itself_is_printed_and_not_obeyed(
    command: list[str], more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    install(tmp_path, "tricks", {"tricks.py": TRICKS}, entry=f"ent{ESCAPE}ry")
    info = tmp_path / "tricks_dist-1.0.dist-info" / "METADATA"
    info.write_text(f"Metadata-Version: 2.1\nName: tricks{ESCAPE}\nVersion: 1.0\n")
    with plugins_of(tmp_path, monkeypatch):
        done = run_cli(capsys, *command, *(more if command != ["--help"] else []))
    assert done.code == 0, done.err
    assert not {c for c in done.out + done.err if ord(c) < 32} - {"\n"}
    if command != ["--help"]:
        assert "x1b[2J" in done.out
    if command == ["list", "detectors"]:
        assert "[bold]" in done.out
        assert ":bomb:" in done.out


@pytest.mark.parametrize("place", ["name", "preset"])
def test_a_name_that_has_control_characters_makes_the_plugin_broken(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    before, after = ('"tricky"', f'"tri{ESCAPE}cky"') if place == "name" else ('("default",)', f'("de{ESCAPE}fault",)')
    install(tmp_path, f"tricks_{place}", {f"tricks_{place}.py": TRICKS.replace(before, after)})
    with plugins_of(tmp_path, monkeypatch):
        (row,) = (p for p in run_cli(capsys, "plugins", "list", "--json").json if p["name"] == f"tricks_{place}")
    assert row["status"] == "broken"
    assert "which has a control character" in row["reason"]


# --- At import -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "print('hello')",
        "import io, sys\nsys.stdout = io.StringIO()",
        "import sys\nsys.stdout = sys.stderr = None",
        "import sys\nsys.stdout.close()\nsys.stderr.close()",
    ],
    ids=["prints", "replaces", "removes", "closes"],
)
def test_the_streams_stay_ours(code: str, tmp_path: Path) -> None:
    name = "noisy"
    install(tmp_path, name, {"noisy.py": f"{code}\n{detectors('loud')}"})
    done = dfbench("list", "detectors", "--json", python_path=(tmp_path,))
    assert done.code == 0, done.err
    assert "loud" in [row["name"] for row in done.json]
    assert done.err == ("hello\n" if "print(" in code else "")


def test_a_plugin_that_registers_nothing_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    install(tmp_path, "mute", {"mute.py": detectors("mute").replace("@hookimpl\n", "")})
    with plugins_of(tmp_path, monkeypatch):
        (row,) = (p for p in run_cli(capsys, "plugins", "list", "--json").json if p["name"] == "mute")
        assert (row["status"], row["reason"]) == ("loaded", "registers nothing: is @hookimpl missing?")
        error = the_error(run_cli(capsys, "eval", "-d", "mute", "-s", "naive"), 2)
    assert "(plugin 'mute' registers nothing: see dfbench plugins list)" in error


def test_a_plugin_that_shadows_one_of_ours_is_the_one_to_disable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    install(tmp_path, "a_rival", {"a_rival.py": detectors("simple_cnn")})
    with plugins_of(tmp_path, monkeypatch):
        error = the_error_of(run_cli(capsys, "eval", "-d", "simple_cnn", "-s", "naive"))
    assert error.endswith("disable one with DFBENCH_DISABLE_PLUGINS=a_rival")


def test_a_slow_import_is_said_on_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """The plugin waits until it is named on the stream that was stderr."""
    monkeypatch.setattr(plugin_imports, "SLOW", 0.0)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as said:
        monkeypatch.setattr(sys, "stderr", said)
        wait = "import os\nseen = b''\nwhile not (b\"'slow'\" in seen and seen.endswith(b'\\n')):\n"
        wait += f"    seen += os.read({reading}, 99)\n"
        install(tmp_path, "slow", {"slow.py": wait + detectors("slow")})
        monkeypatch.setenv("DFBENCH_LOAD_PLUGINS", "slow")
        with plugins_of(tmp_path, monkeypatch):
            assert "slow" in load_plugins().detectors
    os.close(reading)
    seen = sys.modules["slow"].seen.decode()
    assert "still importing plugin 'slow' (slow-dist); DFBENCH_DISABLE_PLUGINS=slow starts without it" in seen


def test_ctrl_c_names_the_plugin_that_hangs(tmp_path: Path) -> None:
    code = "import os, sys\nos.write(1, b'!')\nos.read(0, 1)\n"
    install(tmp_path, "hanging", {"hanging.py": code})
    process = subprocess.Popen(
        [sys.executable, "-m", "dfbench", "plugins", "list"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": python_path_of(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.read(1) == b"!"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "interrupted while importing plugin 'hanging' (hanging-dist)" in err.decode()
    assert "DFBENCH_DISABLE_PLUGINS=hanging starts without it" in err.decode()
