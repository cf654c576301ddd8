"""``dfbench sweep``: two workers against one, on the same runs of one thread each, and what a grid of 5,000 runs costs.

Both take turns, each time with a new folder of runs. Eight runs, because a sweep spends about eight seconds before
its first run starts, whatever the number of workers: with four runs of half a minute that is a tenth of what is
timed. A run starts a process, imports torch and trains for a while; two of them share nothing but the disk, so the
goal is 1.7. The grid is expanded and its state is read in this process: no network is built, and the stream is opened
once.

    python -m perf.sweep [--runs 8] [--epochs 60] [--turns 1]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from dfbench.plugins import registry
from dfbench.runs.sweep.expand import Fixed, expand
from dfbench.runs.sweep.folders import Folders
from dfbench.runs.sweep.grid import read_grid
from dfbench.runs.sweep.plan import make_plan
from dfbench.testing import write_stream
from perf.results import add_json, load, report

GOAL = 1.7
MANY = {
    "strategies": ["naive", {"name": "replay", "set": {"memory": {"from": 1, "to": 9}}}],
    "seeds": 50,
    "set": {"epochs": {"from": 1, "to": 10}},
}
"""5,000 runs."""


def written(folder: Path, stream: Path, **content: Any) -> Path:
    """A grid of a small network."""
    path = folder / "grid.yaml"
    basic = {"detectors": "simple_cnn", "strategies": ["naive"], "benchmarks": str(stream)}
    path.write_text(yaml.safe_dump({**basic, **content}))
    return path


def swept(grid: Path, out: Path, workers: int) -> float:
    """Seconds of a whole sweep."""
    words = [sys.executable, "-m", "dfbench", "sweep", str(grid), "--out", str(out), "--workers", str(workers)]
    start = time.perf_counter()
    subprocess.run([*words, "--threads", "1", "--no-timing", "--json"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def planned(grid: Path, out: Path) -> tuple[float, int]:
    """Seconds of expanding a grid and of reading what is done, and its number of runs."""
    start = time.perf_counter()
    fixed = Fixed(torch.device("cpu"), "test", None, ())
    found = expand(read_grid(grid), grid, registry(), fixed, lambda name: sys.exit(name))
    jobs = make_plan(found.points, grid, registry(), None).jobs
    Folders(out).state({job.key: job for job in jobs})
    return time.perf_counter() - start, len(jobs)


def measure(runs: int, epochs: int, turns: int, folder: Path) -> dict[str, Any]:
    """Seconds with one and with two workers, their ratio, and the 5,000 runs."""
    stream = write_stream(folder / "stream", pairs=60, tests=20, size=64)
    grid = written(folder, stream, seeds=runs, set={"epochs": epochs})
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(turns):
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            seconds[workers].append(swept(grid, folder / f"out-{turn}-{workers}", workers))
            print(f"{workers} workers: {seconds[workers][-1]:.1f} s", flush=True)
    ratio = round(min(seconds[1]) / min(seconds[2]), 2)
    plan, count = planned(written(folder, stream, **MANY), folder / "out-0-1")
    return {
        "name": "sweep", "runs": runs, "epochs": epochs, "turns": turns, "cores": os.cpu_count(),
        "seconds": {str(workers): [round(value, 1) for value in values] for workers, values in seconds.items()},
        "ratios": {"two_workers": ratio}, "goals": {"two_workers": GOAL},
        "plan": {"runs": count, "seconds": round(plan, 2)}, "ok": ratio >= GOAL,
    }  # fmt: skip


def main() -> None:
    """Measure, and print the result as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--turns", type=int, default=1)
    add_json(parser)
    arguments, busy = parser.parse_args(), load()
    with tempfile.TemporaryDirectory() as name:
        report(measure(arguments.runs, arguments.epochs, arguments.turns, Path(name)), arguments.json, busy)


if __name__ == "__main__":
    main()
