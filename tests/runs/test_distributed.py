"""Several processes that share a training end with the weights of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfbench.errors import IncompatibleError, UsageError
from dfbench.plugins import Registry, registry
from dfbench.records.record import Record
from dfbench.runs.prepare import Request, prepare
from dfbench.training.ranks import Ranks

WORKER = Path(__file__).parent / "distributed_worker.py"
CLOSE = 1e-6
"""Of weights in double precision: the weight of a part is a number of single precision."""
DISTRIBUTED = ("naive", "joint", "cumulative", "replay", "gdumb", "gem", "agem", "ewc", "lwf", "lfl", "mas", "rwalk",
               "cwr_star")  # fmt: skip
"""Avalanche's SI computes in single precision alone: it is in a test of its own."""


def environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "plugins"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def command(processes: int, *args: object) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, str(WORKER), *map(str, args)]


def work(processes: int, *args: object) -> None:
    done = subprocess.run(command(processes, *args), env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    assert "not compatible" not in done.stderr


def largest_difference(one: Path, several: Path) -> float:
    names = sorted(path.name for path in one.iterdir() if path.is_dir())
    assert names and names == sorted(path.name for path in several.iterdir() if path.is_dir())  # noqa: PT018
    largest = 0.0
    for name in names:
        a, b = (load_file(folder / name / "model.safetensors") for folder in (one, several))
        largest = max(largest, *(float((a[key] - b[key]).abs().max()) for key in a))
        first, second = (Record.read(folder / name / "record.json") for folder in (one, several))
        assert second.environment.processes == 2
        assert first.environment.processes == 1
        assert first.matrix == second.matrix
        assert first.steps == second.steps
        assert first.memory.samples == second.memory.samples
        counts, shared = first.effects, second.effects
        assert {k: pytest.approx(v, rel=1e-4) for k, v in counts.items()} == shared
    return largest


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    return folder / "one", folder / "two"


def test_two_processes_end_with_the_weights_of_one(tiny_stream: Path, folders: tuple[Path, Path]) -> None:
    """The same global batches, of 7 units: parts of 4 and 3, and a last batch of 3."""
    for processes, out, more in zip((1, 2), folders, ((), ("norm",)), strict=True):
        work(processes, out, tiny_stream, "simple_cnn", "naive,replay,gem", *more)
    assert max(json.loads((folders[1] / "norm.json").read_text())) < 1e-12
    assert largest_difference(*folders) < CLOSE


@pytest.mark.slow
def test_all_strategies_that_say_so_do(tiny_stream: Path, tmp_path: Path) -> None:
    known = registry()
    said = {name for name in known.strategies if known.strategies.load(name).distributes}
    assert said == {*DISTRIBUTED, "si", "none"}
    for processes, out in ((1, "one"), (2, "two")):
        (tmp_path / out).mkdir()
        work(processes, tmp_path / out, tiny_stream, "simple_cnn", ",".join(DISTRIBUTED))
    assert largest_difference(tmp_path / "one", tmp_path / "two") < CLOSE


@pytest.mark.slow
def test_synaptic_intelligence_in_single_precision(tiny_stream: Path, tmp_path: Path) -> None:
    weights = []
    for processes, out in ((1, "one"), (2, "two")):
        work(processes, tmp_path / out, tiny_stream, "simple_cnn", "si", "single")
        (run,) = (path for path in (tmp_path / out).iterdir() if path.is_dir())
        weights.append(load_file(run / "model.safetensors"))
    one, two = weights
    # The bias before the last batch normalisation has no gradient but rounding, and does nothing; its mean follows it.
    idle = {"features.3.bias", "norm.running_mean"}
    assert max(float((one[key] - two[key]).abs().max()) for key in one if key not in idle) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "strategy"), [("timm", "replay"), ("mesonet", "replay"), ("xception", "naive")])
def test_detectors_that_say_so_do(detector: str, strategy: str, tiny_stream: Path, tmp_path: Path) -> None:
    """Xception draws a number per picture even where it flips none, and the choice of what to store follows it.

    Its batches part evenly: untrained, it makes 1e-3 of the 1e-8 by which a weight of single precision is off.
    """
    for processes, out in ((1, "one"), (2, "two")):
        (tmp_path / out).mkdir()
        work(processes, tmp_path / out, tiny_stream, detector, strategy)
    assert largest_difference(tmp_path / "one", tmp_path / "two") < CLOSE


def started_by_hand(*args: object) -> list[subprocess.Popen[bytes]]:
    """Two processes as torchrun starts them, without the agent that would outlive or end them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**environment(), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    null = subprocess.DEVNULL
    return [
        subprocess.Popen(command(1, *args), env={**common, "RANK": rank, "LOCAL_RANK": rank}, stdout=null, stderr=null)
        for rank in ("0", "1")
    ]


@pytest.mark.slow
def test_processes_that_were_killed_go_on(tiny_stream: Path, tmp_path: Path) -> None:
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    arguments = (tiny_stream, "simple_cnn", "gem", "epochs=40")
    work(2, tmp_path / "undisturbed", *arguments)
    running = started_by_hand(tmp_path / "killed", *arguments)
    while not list((tmp_path / "killed").glob("*/checkpoints/01/state.json")):
        assert [process.poll() for process in running] == [None, None], "they ended before they could be killed"
    for process in running:
        process.kill()
        process.wait()
    assert not list((tmp_path / "killed").glob("*/record.json"))
    work(2, tmp_path / "killed", *arguments)
    (a,), (b,) = ((tmp_path / name).glob("*/model.safetensors") for name in ("undisturbed", "killed"))
    one, two = load_file(a), load_file(b)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert Record.read(b.parent / "record.json").resumed == 1


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("units", [1, 2, 3, 7, 8])
def test_parts_are_the_batch_and_their_weights_have_the_mean_1(size: int, units: int) -> None:
    ids = torch.arange(units) + 10
    parts = [Ranks(rank, size).share(ids) for rank in range(size)]
    weights = [Ranks(rank, size).weight(units) for rank in range(size)]
    assert sum(weights) / size == pytest.approx(1)
    if units < size:
        assert all(torch.equal(part, ids) for part in parts)
    else:
        assert torch.cat(parts).sort().values.tolist() == ids.tolist()
        means = [w * part.double().mean() for w, part in zip(weights, parts, strict=True)]
        assert float(sum(means)) / size == pytest.approx(float(ids.double().mean()))


@pytest.mark.parametrize(
    ("detector", "strategy", "tune", "error", "says"),
    [
        ("simple_cnn", "der", None, IncompatibleError, "strategy der does not say that several processes"),
        ("sbi", "naive", None, IncompatibleError, "detector sbi does not say that several processes"),
        ("opaque", "naive", None, IncompatibleError, "its loop is opaque"),
        ("simple_cnn", "naive", "measure", UsageError, "--tune measure does not go with several processes"),
        ("simple_cnn", "naive", "compile", UsageError, "--tune compile does not go with several processes"),
    ],
)
def test_what_cannot_be_shared_is_refused_with_the_reason(
    detector: str, strategy: str, tune: str | None, error: type[Exception], says: str,
    tiny_stream: Path, with_odd: Registry, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(error, match=says):
        prepare(Request(detector, strategy, str(tiny_stream), device="cpu", tune=tune), with_odd)


def test_one_process_reports_an_error(tiny_stream: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "dfbench"]
    done = subprocess.run(
        [*launch, "eval", "-d", "simple_cnn", "-s", "naiv", "-b", str(tiny_stream)],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("unknown strategy 'naiv': did you mean 'naive'?") == 1
