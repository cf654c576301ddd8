"""A run that was killed, interrupted or ran out of disk ends as an undisturbed one does."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dfbench.evaluation.scores import Scores
from dfbench.plugins import Registry
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import write_stream
from tests.conftest import ODD, Done, dfbench
from tests.training.harness import ALL


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("five"), experiences=5)


def evaluate(stream: Path, out: Path, *more: str, strategy: str = "replay", **env: str) -> Done:
    options = ("-d", "mortal", "-s", strategy, "-b", stream, "--out", out, "--device", "cpu", "--json")
    return dfbench("eval", *options, *more, python_path=(ODD,), **env)


def only_run(out: Path) -> Path:
    (folder,) = (p for p in out.iterdir() if p.is_dir())
    return folder


def same_result(a: dict, b: dict) -> None:
    for key in ("run", "spec", "metrics", "matrix", "effects", "steps"):
        assert a[key] == b[key], key
    assert a["memory"] == b["memory"]
    assert (
        Scores.read(Path(a["record"]).with_name("scores.parquet")).digest()
        == Scores.read(Path(b["record"]).with_name("scores.parquet")).digest()
    )


def test_kill_9_in_the_middle_of_experience_3_of_5(stream: Path, tmp_path: Path) -> None:
    undisturbed = evaluate(stream, tmp_path / "a")
    assert undisturbed.code == 0, undisturbed.err
    killed = evaluate(stream, tmp_path / "b", MORTAL_AT="2", MORTAL_SIGNAL="SIGKILL")
    assert killed.code == -9
    assert not (only_run(tmp_path / "b") / "record.json").exists()
    resumed = evaluate(stream, tmp_path / "b")
    assert resumed.code == 0, resumed.err
    assert "going on after 2 of 5" in resumed.err
    same_result(undisturbed.json, resumed.json)
    assert json.loads(Path(resumed.json["record"]).read_text())["resumed"] == 1


# The detector interrupts in its own loop, which ranpac does not run: tests/training/test_adaptation.py has it.
@pytest.mark.parametrize("strategy", [name for name in ALL if name != "ranpac"])
def test_every_strategy_takes_its_state_along(
    stream: Path, tmp_path: Path, strategy: str, with_odd: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in one process, interrupted in experience 4 (for joint: in its only training)."""

    def ask(out: str) -> dict[str, Any]:
        request = Request("mortal", strategy, str(stream), device="cpu", out=tmp_path / out)
        record = run(request, with_odd)
        return {**record.document(), "record": record.path}

    undisturbed = ask("a")
    monkeypatch.setenv("MORTAL_SIGNAL", "SIGINT")
    monkeypatch.setenv("MORTAL_AT", "0" if strategy == "joint" else "3")
    with pytest.raises(KeyboardInterrupt):
        ask("b")
    monkeypatch.delenv("MORTAL_AT")
    same_result(undisturbed, ask("b"))


def test_ctrl_c_says_how_to_go_on(stream: Path, tmp_path: Path) -> None:
    interrupted = evaluate(stream, tmp_path, MORTAL_AT="1", MORTAL_SIGNAL="SIGINT")
    assert interrupted.code == 130
    assert interrupted.err.strip().endswith("interrupted; the same command goes on from the last finished experience")
    assert "Traceback" not in interrupted.err
    assert "going on after 1 of 5" in evaluate(stream, tmp_path).err


def test_a_finished_run_is_not_run_again_unless_asked(stream: Path, tmp_path: Path) -> None:
    first = evaluate(stream, tmp_path).json
    again = evaluate(stream, tmp_path, MORTAL_AT="0", MORTAL_SIGNAL="SIGKILL")  # would die if it trained
    assert again.code == 0
    assert again.json == first
    assert evaluate(stream, tmp_path, "--fresh", MORTAL_AT="0", MORTAL_SIGNAL="SIGKILL").code == -9


def test_a_full_disk_loses_nothing(stream: Path, tmp_path: Path) -> None:
    """Files may not grow beyond 10 kB: the first checkpoint cannot be written."""
    command = [
        sys.executable,
        "-m",
        "dfbench",
        "eval",
        "-d",
        "mortal",
        "-s",
        "ewc",
        "-b",
        str(stream),
        "--device",
        "cpu",
    ]
    command += ["--out", str(tmp_path), "--json"]
    evaluate(stream, tmp_path / "warm", strategy="naive")  # the pixel cache is there already
    path = os.pathsep.join(filter(None, [str(ODD), os.environ.get("PYTHONPATH", "")]))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    full = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert full.returncode == 6, full.stderr
    assert "free some space and run the same command again" in full.stderr.strip().splitlines()[-1]
    resumed = evaluate(stream, tmp_path, strategy="ewc")
    assert resumed.code == 0
    same_result(resumed.json, evaluate(stream, tmp_path / "other", strategy="ewc").json)


def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(stream: Path, tmp_path: Path) -> None:
    evaluate(stream, tmp_path, MORTAL_AT="2", MORTAL_SIGNAL="SIGKILL")
    (path,) = only_run(tmp_path).glob("checkpoints/*/state.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = evaluate(stream, tmp_path)
    assert done.code == 6
    assert "damaged" in done.err
    assert "--fresh" in done.err


def test_checkpoints_hold_no_pickle(stream: Path, tmp_path: Path) -> None:
    evaluate(stream, tmp_path, MORTAL_AT="2", MORTAL_SIGNAL="SIGKILL")
    names = {p.suffix for p in only_run(tmp_path).rglob("*") if p.is_file() and p.name != ".lock"}
    assert names == {".json", ".safetensors", ".parquet"}
