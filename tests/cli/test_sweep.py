"""``dfbench sweep``: what is planned, printed and run, and how options are chosen."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from dfbench.api import run as dfbench_run
from dfbench.plugins import registry
from dfbench.records.record import Record
from dfbench.records.spec import RunSpec
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.testing import write_stream
from tests.cli.harness import plugins_of, run_cli, the_error
from tests.conftest import Done, dfbench, python_path_of
from tests.runs.sweep.counted import install_counted

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
LIMIT = 600.0


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_counted(tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def counted(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process sees the detector too."""
    with plugins_of(plugin, monkeypatch):
        yield plugin


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small stream whose test pictures are half white, and no others."""
    path = write_stream(tmp_path_factory.mktemp("white"), pairs=8, tests=6)
    for file in (path.parent / "test").glob("*.png"):
        picture = np.array(Image.open(file))
        picture[24:, 16:] = 255
        Image.fromarray(picture).save(file)
    return path


def grid_of(folder: Path, stream: Path, **content: Any) -> Path:
    path = folder / "grid.yaml"
    basic = {"detectors": "counted", "strategies": "naive", "benchmarks": str(stream)}
    path.write_text(yaml.safe_dump({**basic, **content}))
    return path


def request(stream: Path, out: Path, *settings: str, **more: Any) -> Request:
    return Request("counted", "naive", str(stream), "default", settings, device="cpu", out=out, **more)


def records(out: Path) -> dict[int, Record]:
    """By seed."""
    return {r.spec.seed: r for r in map(Record.read, sorted(out.glob("*/record.json")))}


# --- Plans -------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_done_what_is_left_and_what_it_costs(
    counted: Path, stream: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    run(request(stream, out, "lr=0.05"), registry())
    path = grid_of(tmp_path, stream, seeds=3, set={"lr": [0.05, 0.2]}, exclude={"lr": 0.2, "seed": 2})
    done = run_cli(capsys, "sweep", path, "--plan", "--out", out)
    assert done.code == 0, done.err
    assert "grid: 5 runs, 1 excluded; 1 done, 4 left" in done.out
    assert "from records of the same runs with other seeds (2), records of like runs (2)" in done.out
    asked = run_cli(capsys, "sweep", path, "--plan", "--out", out, "--json").json
    assert [each["done"] for each in asked["runs"]] == [True, False, False, False, False]
    assert asked["left"] == 4
    assert asked["seconds"] > 0
    assert not (out / ".sweep").exists()  # nothing is written


def test_lines_of_what_is_left_are_plain_commands(counted: Path, stream: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "a folder"
    run(request(stream, out, "lr=0.05"), registry())
    done = run_cli(
        capsys, "sweep", grid_of(tmp_path, stream, seeds=2, set={"lr": 0.05}), "--print-commands", "--out", out
    )
    (line,) = done.out.splitlines()
    assert line == (
        f"OMP_NUM_THREADS=1 dfbench eval -d counted --preset default -s naive -b {stream} --seed 1 --device cpu "
        f"--set lr=0.05 --out '{out}'"
    )


def test_a_finished_grid_is_compared_without_running_anything(
    counted: Path, stream: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    for seed in (0, 1):
        run(request(stream, out, "lr=0.05", seed=seed), registry())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    done = run_cli(capsys, "sweep", grid_of(tmp_path, stream, seeds=2, set={"lr": 0.05}), "--out", out)
    assert done.code == 0, done.err
    assert "2 runs; 2 done, 0 left" in done.err
    assert "tiny: 1 rows, 2 runs" in done.out  # the leaderboard's table
    assert "carried TPR" in done.out  # the comparison's
    assert {path: path.stat().st_mtime_ns for path in before} == before
    board = tmp_path / "board"
    shown = run_cli(capsys, "sweep", tmp_path / "grid.yaml", "--out", out, "--board", board, "--json")
    assert shown.code == 0, shown.err
    assert [Path(page).name for page in shown.json["pages"]] == ["README.md", "index.html"]
    assert len(list((board / "results").glob("*.json"))) == 2
    assert shown.json["new"] == 0


def test_the_comparison_tells_runs_of_other_options_apart(
    counted: Path, stream: Path, tmp_path: Path, capsys: Capture
) -> None:
    for lr in (0.05, 0.2):
        run(request(stream, tmp_path / "out", f"lr={lr}"), registry())
    path = grid_of(tmp_path, stream, set={"lr": [0.05, 0.2]})
    done = run_cli(capsys, "sweep", path, "--out", tmp_path / "out")
    assert "naive · lr=0.05" in done.out
    assert "naive · lr=0.2" in done.out


# --- Runs in processes ---------------------------------------------------------------------------------


def test_a_run_that_fails_is_a_line_and_the_others_are_those_of_eval(
    plugin: Path, stream: Path, tmp_path: Path
) -> None:
    path = grid_of(tmp_path, stream, set={"fail": [True, False]})
    out = tmp_path / "out"
    done = dfbench("sweep", path, "--out", out, "--workers", 1, "--retries", 0, "--no-timing", python_path=(plugin,))
    assert done.code == 1
    *lines, last = done.err.splitlines()
    assert last.startswith("error: counted · naive · fail=True · tiny · seed 0: ")
    assert "made to fail" in last
    assert last.endswith("; the same command tries again")
    assert sum("FAILED: counted · naive · fail=True" in line for line in lines) == 1
    (record,) = records(out).values()  # and nothing half-made lies next to it
    assert [each.name for each in out.iterdir() if not each.name.startswith(".")] == [record.run]
    assert record.environment.threads == 1
    words = ("-d", "counted", "-s", "naive", "-b", stream, "--device", "cpu", "--out", tmp_path / "alone")
    alone = dfbench("eval", *words, "--json", python_path=(plugin,)).json
    assert (alone["run"], alone["metrics"]) == (record.run, record.metrics)


def start(path: Path, out: Path, plugin: Path, log: Path, *more: str, **env: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "dfbench", "sweep", str(path), "--out", str(out), "--no-timing", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": python_path_of(plugin), "OMP_NUM_THREADS": "1", **env}
    with log.open("ab") as file:
        return subprocess.Popen([*words, *more], stdout=file, stderr=file, env=environment)


def until(condition: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)  # it must not end before


def trainings(file: Path) -> list[str]:
    """``seed lr`` of each training that began."""
    return [line.split(maxsplit=1)[1] for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_nothing_and_its_runs_go_on_without_it(
    plugin: Path, stream: Path, tmp_path: Path
) -> None:
    """Two runs are done; two are held in their first training while the driver is killed and another one starts."""
    path, out, log = grid_of(tmp_path, stream, seeds=6), tmp_path / "out", tmp_path / "log"
    counts, gate = tmp_path / "counts", tmp_path / "gate"
    first = grid_of(tmp_path, stream, seeds=2)
    assert start(first, out, plugin, log, COUNTED_AT=str(counts)).wait() == 0, log.read_text()
    kept = {p: p.stat().st_mtime_ns for p in out.glob("*/record.json")}
    assert len(kept) == 2
    done = len(trainings(counts))
    path = grid_of(tmp_path, stream, seeds=6)
    sweep = start(path, out, plugin, log, COUNTED_AT=str(counts), GATE=str(gate))
    until(lambda: len(trainings(counts)) == done + 2, sweep, log)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    again = tmp_path / "again"
    sweep = start(path, out, plugin, again, COUNTED_AT=str(counts), GATE=str(gate))
    until(lambda: again.exists() and again.read_text().count("another process works on it") == 2, sweep, again)
    assert len(trainings(counts)) == done + 2  # both places are taken by the runs that go on
    gate.touch()
    assert sweep.wait(LIMIT) == 0, again.read_text()
    assert sorted(records(out)) == list(range(6))
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    found = trainings(counts)
    assert len(found) == len(set(found)) == 6 * 3  # no experience of any seed was trained twice
    assert not list((out / ".sweep" / "work").iterdir())
    assert "6 runs; 2 done, 4 left" in again.read_text()


@pytest.mark.slow
def test_after_ctrl_c_the_same_command_goes_on(plugin: Path, stream: Path, tmp_path: Path) -> None:
    path, out, log = grid_of(tmp_path, stream, seeds=2), tmp_path / "out", tmp_path / "log"
    counts, gate = tmp_path / "counts", tmp_path / "gate"
    sweep = start(path, out, plugin, log, COUNTED_AT=str(counts), GATE=str(gate))
    until(lambda: len(trainings(counts)) == 2, sweep, log)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(LIMIT) == 130
    assert log.read_text().rstrip().endswith("interrupted; the same command goes on from the last finished experiences")
    assert not records(out)
    assert start(path, out, plugin, log).wait(LIMIT) == 0, log.read_text()
    assert sorted(records(out)) == [0, 1]


@pytest.mark.slow
def test_each_task_of_a_slurm_array_makes_its_run(
    counted: Path, stream: Path, tmp_path: Path, capsys: Capture
) -> None:  # fmt: skip
    """The script is run by bash, as SLURM would, once per task."""
    out = tmp_path / "out"
    path = grid_of(tmp_path, stream, seeds=2, set={"lr": 0.05})
    done = run_cli(capsys, "sweep", path, "--sbatch", "--out", out, "--threads", 2)
    assert "#SBATCH --array=0-1\n" in done.out
    assert "#SBATCH --cpus-per-task=2\n" in done.out
    script = tmp_path / "sweep.sh"
    script.write_text(done.out)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "dfbench"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m dfbench "$@"\n')
    command.chmod(0o755)
    for task in ("0", "1"):
        path_of = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "PYTHONPATH": python_path_of(counted), "PATH": path_of}
        ended = subprocess.run(["bash", script], env={**environment, "SLURM_ARRAY_TASK_ID": task}, capture_output=True,
                               text=True, check=False)  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert sorted(records(out)) == list(range(int(task) + 1))
    assert run_cli(capsys, "sweep", path, "--print-commands", "--out", out).out == ""


@pytest.mark.slow
def test_first_steps_are_timed_where_no_record_is_of_a_like_run(plugin: Path, stream: Path, tmp_path: Path) -> None:
    path = grid_of(tmp_path, stream, seeds=2, set={"epochs": [1, 3]})
    done = dfbench("sweep", path, "--plan", "--out", tmp_path / "out", "--json", python_path=(plugin,))
    assert done.code == 0, done.err
    costs = [each["cost"] for each in done.json["runs"]]
    assert {cost["basis"] for cost in costs} == {"steps"}
    assert 0 < costs[0]["seconds"] == costs[1]["seconds"] < costs[2]["seconds"]
    assert not list((tmp_path / "out").glob("*/spec.json"))


# --- Choosing ------------------------------------------------------------------------------------------


def choosing(stream: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Validation runs of both options, made in this process; no picture of a test split may be shown to a network.

    Returns their identities.
    """
    made = set()
    monkeypatch.setenv("PLANTED", "1")
    monkeypatch.setenv("NO_WHITE", "1")
    for for_test in ("true", "false"):
        for seed in (0, 1):
            settings = (f"for_test={for_test}", "epochs=3")
            record = run(request(stream, out, *settings, seed=seed, split="val", skip_tests=("all",)), registry())
            made.add(record.identity)
    return made


def test_what_is_best_on_test_and_not_on_validation_is_not_chosen_and_no_test_score_is_read(
    counted: Path, stream: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    validated = choosing(stream, out, monkeypatch)
    # Test records of the same runs lie there too. They are unreadable: whoever reads them fails.
    for for_test in ("true", "false"):
        spec = prepare(request(stream, out, f"for_test={for_test}", "epochs=3"), registry()).spec
        (out / spec.run_id).mkdir()
        (out / spec.run_id / "spec.json").write_text(json.dumps(spec.document()))
        (out / spec.run_id / "record.json").write_text("never read")
    path = grid_of(tmp_path, stream, seeds=2, set={"for_test": [True, False], "epochs": 3})
    done = run_cli(capsys, "sweep", path, "--choose", "average_auc", "--out", out)
    assert done.code == 0, done.err
    file = out / "grid-chosen.json"
    assert f"options: {file}" in done.out
    (choice,) = json.loads(file.read_text())["choices"]
    best = choice["candidates"][choice["chosen"]]
    assert best["spec"]["detector_config"]["for_test"] is False
    assert [each["spec"]["split"] for each in choice["candidates"]] == ["val", "val"]
    assert {run["identity"] for each in choice["candidates"] for run in each["runs"]} == validated

    # On test splits it is the other way round, and there the pictures are looked at.
    monkeypatch.delenv("NO_WHITE")
    scores = {}
    for for_test in ("true", "false"):
        record = run(request(stream, tmp_path / "test", f"for_test={for_test}", "epochs=3"), registry())
        scores[for_test] = record.metrics["average_auc"]
    assert scores["true"] > 0.9 > 0.1 > scores["false"]


def test_a_test_run_names_the_file_and_verify_follows_it(
    counted: Path, stream: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    choosing(stream, out, monkeypatch)
    path = grid_of(tmp_path, stream, seeds=2, set={"for_test": [True, False], "epochs": 3})
    chosen = run_cli(
        capsys, "sweep", path, "--choose", "average_auc", "--out", out, "--to", tmp_path / "c.json", "--json"
    )
    assert chosen.code == 0, chosen.err
    about = chosen.json["chosen"]
    assert (about["metric"], about["choices"][0]["candidates"]) == ("average_auc", 2)
    monkeypatch.delenv("NO_WHITE")
    plain = run(request(stream, out, "for_test=false", "epochs=3"), registry())
    assert plain.chosen_from is None
    words = ("-d", "counted", "-s", "naive", "-b", stream, "--device", "cpu", "--out", out)
    done = run_cli(capsys, "eval", *words, "--options-from", tmp_path / "c.json", "--json")
    assert done.code == 0, done.err
    record = Record.read(Path(done.json["record"]))
    assert record.path == plain.path  # the same run: nothing is trained again, its record says more
    assert "this run is finished already" in done.err
    assert record.identity == plain.identity
    assert record.chosen_from is not None
    assert (record.chosen_from.name, record.chosen_from.sha256) == ("c.json", about["sha256"])
    again = dfbench_run("counted", "naive", stream, device="cpu", out=out, options_from=tmp_path / "c.json")
    assert (again.run, again.chosen_from) == (record.run, record.chosen_from)
    assert (out / record.run / "chosen.json").read_bytes() == (tmp_path / "c.json").read_bytes()
    checked = run_cli(capsys, "verify", out / record.run, "--json", "--no-data").json[0]
    assert {f["what"]: f["ok"] for f in checked["findings"]}["chosen_from"] is True
    board = tmp_path / "board"
    assert run_cli(capsys, "leaderboard", "add", out / record.run, "--to", board, "--no-data").code == 0
    assert [p.stem for p in (board / "chosen").iterdir()] == [about["sha256"]]
    checked = run_cli(capsys, "verify", *(board / "results").glob("*.json"), "--json", "--no-data").json[0]
    assert {f["what"]: f["ok"] for f in checked["findings"]}["chosen_from"] is True


def test_a_sweep_takes_its_options_from_the_file(
    counted: Path, stream: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    choosing(stream, out, monkeypatch)
    path = grid_of(tmp_path, stream, seeds=2, set={"for_test": [True, False], "epochs": 3})
    to = ("--to", tmp_path / "c.json")
    assert run_cli(capsys, "sweep", path, "--choose", "average_auc", "--out", out, *to).code == 0
    path = grid_of(tmp_path, stream, seeds=[5], options_from="c.json")
    done = run_cli(capsys, "sweep", path, "--print-commands", "--out", out)
    (line,) = done.out.splitlines()
    assert f"--options-from {tmp_path / 'c.json'}" in line
    assert "--set" not in line
    words = line.split()[3:]
    monkeypatch.delenv("NO_WHITE")
    made = run_cli(capsys, "eval", *words, "--json")
    assert made.code == 0, made.err
    spec = RunSpec.model_validate(made.json["spec"])
    assert (spec.seed, spec.split, spec.detector_config["for_test"]) == (5, "test", False)
    assert "1 done, 0 left" in run_cli(capsys, "sweep", path, "--out", out).err


# --- Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ({}, ["--choose", "average_acu"], "unknown metric 'average_acu': did you mean 'average_auc'"),
        ({}, ["--choose", "robustness"], "never looked at when options are chosen"),
        ({"split": "test"}, ["--choose", "average_auc"], "split: test; --choose looks at validation splits alone"),
        ({}, ["--to", "x.json"], "--to goes with --choose"),
        ({}, ["--choose", "average_auc", "--board", "b"], "--board is for runs scored on test splits"),
        ({}, ["--plan", "--sbatch"], "give one of them"),
        ({}, ["--gpus", "1.5"], "above 1, whole GPUs"),
        ({"seed": 1}, [], "unknown key 'seed': did you mean 'seeds'"),
        ({"exclude": {"detector": "counted"}}, [], "no run is left of this grid"),
        ({"options_from": "nowhere.json"}, [], "nowhere.json: cannot be read"),
    ],
)
def test_a_wrong_request_is_one_line(
    content: dict[str, Any], options: list[str], said: str, counted: Path, stream: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = grid_of(tmp_path, stream, **content)
    done: Done = run_cli(capsys, "sweep", path, *options, "--out", tmp_path / "out")
    assert said in the_error(done, 2)
    assert not (tmp_path / "out").exists()


def test_each_fault_of_a_grid_has_its_line(counted: Path, stream: Path, tmp_path: Path, capsys: Capture) -> None:
    path = grid_of(tmp_path, stream, strategies=["naive", "reply"], set={"epoch": 1})
    done = run_cli(capsys, "sweep", path, "--out", tmp_path / "out")
    assert the_error(done, 2) == f"{path}: 2 faults, listed above"
    assert "unknown strategy 'reply'" in done.err
    assert "has no option 'epoch'; did you mean 'epochs'?" in done.err
