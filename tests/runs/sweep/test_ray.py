"""``--engine ray``: two nodes that share no folder, one of which is lost in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfbench.records.record import Record
from tests.conftest import dfbench, python_path_of
from tests.runs.sweep.counted import install_counted

ROOT = Path(__file__).parents[3]
LIMIT = 1500.0
"""Seconds after which a test gives up."""


@pytest.fixture
def grid(tiny_stream: Path, tmp_path: Path) -> Path:
    """24 runs of a tiny network."""
    path = tmp_path / "grid.yaml"
    content = {
        "detectors": "counted",
        "strategies": ["naive", {"name": "replay", "set": {"memory": [6, 12]}}],
        "benchmarks": str(tiny_stream),
        "seeds": 4,
        "set": {"lr": [0.05, 0.2]},
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return install_counted(tmp_path / "plugin")


@pytest.fixture
def cluster(plugin: Path, tmp_path: Path) -> Iterator[Any]:
    """Two nodes of one processor each, with folders of their own, next to a head without any."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'dfbench-deepfake[ray]'")
    from ray.cluster_utils import Cluster

    shared = {"PYTHONPATH": python_path_of(plugin, ROOT), "DFBENCH_WORKERS": "0"}
    before = {name: os.environ.get(name) for name in shared}
    os.environ.update(shared)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.machines = [
        cluster.add_node(num_cpus=1, env_vars={**shared, "DFBENCH_CACHE": str(tmp_path / name)}) for name in ("a", "b")
    ]
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def start(grid: Path, out: Path, plugin: Path, log: Path, *more: str, **env: str) -> subprocess.Popen[bytes]:
    """A sweep in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": python_path_of(plugin, ROOT), "OMP_NUM_THREADS": "1", **env}
    words = [sys.executable, "-m", "dfbench", "sweep", str(grid), "--out", str(out), "--no-timing", *more]
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, env=environment)


def records(out: Path) -> dict[tuple[Any, ...], Record]:
    """By what was asked."""
    found = [Record.read(path.parent) for path in sorted(out.glob("*/record.json"))]
    return {(r.spec.strategy, r.spec.seed, repr(r.spec.detector_config), r.spec.memory): r for r in found}


def until(condition: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.wait(LIMIT) == 0, log.read_text()


@pytest.mark.slow
def test_24_runs_on_two_nodes_one_of_which_is_lost_are_those_of_local_processes(
    cluster: Any, grid: Path, plugin: Path, tmp_path: Path
) -> None:
    log, out = tmp_path / "log", tmp_path / "from-ray"
    sweep = start(grid, out, plugin, log, "--engine", "ray", "--address", cluster.address)
    until(lambda: len(records(out)) >= 6, sweep, log)
    before = {path.stat().st_mtime_ns for path in out.glob("*/record.json")}
    cluster.remove_node(cluster.machines[0], allow_graceful=False)
    finish(sweep, log)
    remote = records(out)
    assert len(remote) == 24
    assert before <= {path.stat().st_mtime_ns for path in out.glob("*/record.json")}
    made_on = {name for name in ("a", "b") if (tmp_path / name).exists()}
    assert made_on == {"a", "b"}  # both nodes had begun runs, each in its own folder
    assert not (tmp_path / "b" / "sweeps").exists() or not any((tmp_path / "b" / "sweeps").iterdir())

    local_log = tmp_path / "local-log"
    finish(start(grid, tmp_path / "local", plugin, local_log, "--workers", "2"), local_log)
    local = records(tmp_path / "local")
    assert local.keys() == remote.keys()
    for key, record in local.items():
        assert remote[key].metrics == record.metrics
        assert remote[key].scores_sha256 == record.scores_sha256
        assert remote[key].identity == record.identity
    text = log.read_text()
    assert "24 runs; 0 done, 24 left" in text
    assert "5 rows" in text or "6 rows, 24 runs" in text


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_and_repeats_nothing(
    cluster: Any, grid: Path, plugin: Path, tmp_path: Path
) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    content = yaml.safe_load(grid.read_text())
    grid.write_text(yaml.safe_dump({**content, "seeds": 2, "strategies": ["naive"]}))
    sweep = start(grid, out, plugin, log, "--engine", "ray", "--address", cluster.address)
    until(lambda: len(records(out)) >= 1, sweep, log)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/record.json")}
    assert kept
    again = tmp_path / "again"
    finish(start(grid, out, plugin, again, "--engine", "ray", "--address", cluster.address), again)
    assert len(records(out)) == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert f"4 runs; {len(kept)} done, {4 - len(kept)} left" in again.read_text()


@pytest.mark.slow
def test_a_run_that_a_node_finished_while_nobody_listened_is_fetched_and_not_made_again(
    cluster: Any, grid: Path, plugin: Path, tiny_stream: Path, tmp_path: Path
) -> None:
    from dfbench.runs.sweep.node import sweep_name

    content = yaml.safe_load(grid.read_text())
    grid.write_text(yaml.safe_dump({**content, "seeds": [0], "strategies": ["naive"], "set": {"lr": [0.05]}}))
    out, log = tmp_path / "out", tmp_path / "log"
    place = tmp_path / "b" / "sweeps" / sweep_name(out) / "runs"
    done = dfbench("eval", "-d", "counted", "-s", "naive", "-b", tiny_stream, "--set", "lr=0.05", "--device", "cpu",
                   "--out", place, "--json", python_path=(plugin, ROOT))  # fmt: skip
    assert done.code == 0, done.err
    created = json.loads(Path(done.json["record"]).read_text())["created"]
    finish(start(grid, out, plugin, log, "--engine", "ray", "--address", cluster.address), log)
    (record,) = records(out).values()
    assert record.created == created


def test_where_ray_is_missing_it_is_said_how_to_get_it(tmp_path: Path, tiny_stream: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('not installed')")
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({"detectors": "simple_cnn", "strategies": "naive", "benchmarks": str(tiny_stream)}))
    done = dfbench("sweep", path, "--engine", "ray", "--out", tmp_path / "out", python_path=(tmp_path,))
    assert done.code == 2
    assert done.err.strip().endswith("--engine ray needs the package ray: pip install 'dfbench-deepfake[ray]'")
