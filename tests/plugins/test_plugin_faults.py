"""What a third party's plugin does wrong is said of that plugin, with exit code 4, and never ends in silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dfbench import plugin_imports
from dfbench.errors import PluginError
from dfbench.plugins import load_plugins
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
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
        ({"helper": "{}['lr']"}, "raised KeyError in train: 'lr'"),
        ({"build": "raise ValueError('weights not found:\\n  w.pth')"},
         "raised ValueError in build: weights not found: w.pth"),
        ({"forward": "raise RuntimeError('no')"}, "raised RuntimeError in forward: no"),
        ({"helper": "raise SystemExit(0)"}, "raised SystemExit in train: 0"),
        ({"build": "import sys; sys.exit('no weights')"}, "raised SystemExit in build: no weights"),
        ({"helper": "torch.ones(2) @ torch.ones(3)"}, "raised RuntimeError in train: "),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_detector_raises_names_it(parts: dict[str, str], said: str, faulty: Callable[..., Done]) -> None:
    error = the_error_of(faulty(**parts))
    assert error.startswith("detector 'faulty' (plugin 'mine' of faulty_")
    assert f"-dist 1.0) {said}" in error
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


@pytest.mark.parametrize("target", ["os:sep", "pathlib:Path", "os:getcwd"])
def test_a_target_that_is_no_detector(
    target: str, tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    name = f"no_detector_{target.replace(':', '_')}"
    install(tmp_path, name, {f"{name}.py": detectors("none", target=target)})
    with plugins_of(tmp_path, monkeypatch):
        for command in (["eval", "-d", "none", "-s", "naive", "-b", tiny_stream], ["show", "none"]):
            error = the_error_of(run_cli(capsys, *command))
            assert error.startswith(f"detector 'none' of plugin '{name}'")
            assert error.endswith("not a subclass of dfbench.Detector")


def test_in_python_too_a_plugin_cannot_end_the_process(
    tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DETECTOR.format(**{**PARTS, "helper": "raise SystemExit(0)"})
    files = {"ending.py": detectors("ending", target="ending_net:Faulty"), "ending_net.py": text}
    install(tmp_path, "ending", files)
    with plugins_of(tmp_path, monkeypatch), pytest.raises(PluginError, match="raised SystemExit in train: 0"):
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
    assert error == "command 'fails' (plugin 'own_code' of own_code-dist 1.0) raised KeyError in fails: 'x'"


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
