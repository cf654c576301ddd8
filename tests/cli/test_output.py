"""What the commands print: one JSON object or a table on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dfbench import __version__
from dfbench.plugins import load_plugins
from tests.cli.harness import on_a_terminal, run_cli
from tests.conftest import Done

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def command(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A small run; the first test that asks for it trains, the others read its record."""
    out = tmp_path_factory.mktemp("runs")
    settings = ("--set", "epochs=1", "--set", "width=4", "--device", "cpu", "--out", out)
    return ("eval", "-d", "simple_cnn", "-s", "replay", "-b", tiny_stream, *settings)


def test_eval_json_is_one_object_on_stdout(command: tuple[object, ...], capfd: Capture) -> None:
    done = run_cli(capfd, *command, "--json")
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    result = json.loads(done.out)
    assert set(result) >= {"run", "record", "spec", "metrics", "matrix"}
    assert {"average_auc", "average_accuracy", "forgetting", "bwt", "fwt"} <= set(result["metrics"])
    assert [len(row) for row in result["matrix"]["auc"]] == [3, 3, 3]
    assert all(0 <= value <= 1 for row in result["matrix"]["auc"] for value in row)
    assert (result["spec"]["detector"], result["spec"]["strategy"]) == ("simple_cnn", "replay")
    record = Path(result["record"])
    assert record.parent.name == result["run"]
    stored = json.loads(record.read_text())
    assert {key: stored[key] for key in ("run", "spec", "metrics", "matrix")} == {
        key: result[key] for key in ("run", "spec", "metrics", "matrix")
    }
    assert "training 3/3 s2" in done.err


def test_eval_prints_the_matrix_and_the_summary(command: tuple[object, ...], capfd: Capture) -> None:
    done = run_cli(capfd, *command)
    assert done.code == 0, done.err
    for text in ("s0", "s2", "average AUC", "forgetting", "record: "):
        assert text in done.out
    assert "this run is finished already" in done.err


@pytest.mark.parametrize(
    ("kind", "name", "keys"),
    [
        ("detectors", "simple_cnn", {"presets"}),
        ("strategies", "replay", {"paper"}),
        ("benchmarks", "cifar10-ni10", set()),
        ("sources", "folder", set()),
        ("metrics", "auc", set()),
    ],
)
def test_list(kind: str, name: str, keys: set[str], capsys: Capture) -> None:
    done = run_cli(capsys, "list", kind, "--json")
    assert (done.code, done.err) == (0, "")
    rows = done.json
    assert [row["name"] for row in rows] == sorted(getattr(load_plugins(), kind))
    (row,) = (row for row in rows if row["name"] == name)
    assert set(row) == {"name", "summary", "plugin", "distribution", "error"} | keys
    assert row["distribution"] == "dfbench-deepfake"
    assert row["summary"]
    assert name in run_cli(capsys, "list", kind).out


def show(capsys: Capture, name: str) -> dict[str, object]:
    done = run_cli(capsys, "show", name, "--json")
    assert (done.code, done.err) == (0, "")
    (described,) = done.json
    assert described["name"] == name
    assert name in run_cli(capsys, "show", name).out
    return described


def test_show_a_detector(capsys: Capture) -> None:
    described = show(capsys, "xception")
    assert described["kind"] == "detector"
    assert list(described["presets"]) == ["paper", "lite"]  # type: ignore[call-overload]
    assert described["options"]["epochs"] == {  # type: ignore[index]
        "default": 10,
        "about": "passes over each experience",
        "type": "int",
    }


def test_show_a_strategy(capsys: Capture) -> None:
    described = show(capsys, "lwf")
    assert described["paper"] == "arXiv:1606.09282"
    assert len(described["needs"]) == 3  # type: ignore[arg-type]
    assert set(described["options"]) == {"strategy.alpha", "strategy.temperature", "strategy.teacher"}  # type: ignore[call-overload]


def test_show_a_benchmark_a_source_and_a_metric(capsys: Capture) -> None:
    assert "split: {parts: 10}" in str(show(capsys, "cifar10-ni10")["file"])
    assert show(capsys, "folder")["kind"] == "source"
    assert show(capsys, "balanced_accuracy")["kind"] == "metric"


@pytest.mark.parametrize("name", sorted({n for kind in ("detectors", "strategies", "benchmarks", "sources", "metrics")
                                         for n in getattr(load_plugins(), kind)}))  # fmt: skip
def test_show_every_name(name: str, capsys: Capture) -> None:
    done = run_cli(capsys, "show", name)
    assert (done.code, done.err) == (0, "")
    assert name in done.out


def test_version_and_help(capsys: Capture) -> None:
    assert run_cli(capsys, "--version") == Done(0, f"dfbench, version {__version__}\n", "")
    helped = run_cli(capsys, "-h")
    assert helped.code == 0
    assert "Commands:" in helped.out
    bare = run_cli(capsys)
    assert (bare.code, bare.out) == (2, "")
    assert "Commands:" in bare.err


# --- Terminals and pipes -----------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["plugins", "list"], ["eval", "-d", "nobody", "-s", "naive"]], ids=" ".join)
def test_colour_is_for_terminals_that_want_it(args: list[str], capsys: Capture) -> None:
    colour = ("\x1b[3", "\x1b[1;3", "\x1b[9")
    assert any(code in on_a_terminal("-m", "dfbench", *args) for code in colour)
    assert not any(code in on_a_terminal("-m", "dfbench", *args, NO_COLOR="1") for code in colour)
    done = run_cli(capsys, *args)
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["table", "json"])
def test_a_closed_pipe_is_no_error(more: list[str]) -> None:
    """As ``dfbench list strategies | head -1``, where head is done before the command writes."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "dfbench", "list", "strategies", *more],
        stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_reported() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dfbench", "list", "strategies", "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 6
    assert done.stderr == "error: cannot write: No space left on device; free some space\n"
