"""Whether a long stream costs the same at its end as at its beginning, and how much of a run is testing.

Each way trains ``simple_cnn`` on ``forge50`` in a process of its own, through the runner, checkpoints included. For
each experience the processor seconds of its training, of its tests and of what lies between them (checkpoint, scores,
start of the next) are noted, and the anonymous memory of the process afterwards: all but the mapped pictures. A ratio
compares the median of the five experiences before the last one, which has another test plan, with that of 3 to 7.
``testing`` is the share of the run's seconds that is spent on test sets, both ends included.

``--brief`` trains a narrow network on a few videos of each experience: what does not depend on the data, and would
grow, then weighs more, and the share of testing says nothing.

    OMP_NUM_THREADS=1 python -m perf.long [--experiences 50] [--brief] [--ways naive,replay]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from dfbench.benchmarks import packaged
from dfbench.documents import read_yaml
from dfbench.files import write_json
from dfbench.plugins import registry
from dfbench.runs.events import Evaluated, Event, ExperienceFinished, ExperienceStarted, Listener
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from perf.results import add_json, load, report

WAYS = {
    "naive": ["naive"],
    "replay": ["replay"],
    "replay-reservoir": ["replay", "strategy.policy=reservoir"],
    "replay-harmonic": ["replay", "strategy.policy=harmonic"],
    "replay-decaying": ["replay", "strategy.policy=decaying"],
    "der": ["der"],
    "joint": ["joint"],
}
"""Strategy, and what is set."""
BRIEF, VIDEOS = "brief", 25
"""Name of the stream of ``--brief``, and its training videos of each class and experience."""
GOALS = {"ratio": 1.1, "testing": 0.2}
EARLY, LATE = slice(2, 7), slice(-6, -1)
"""Experiences 3 to 7, and the five before the last."""


def anonymous_mb() -> float:
    """Resident memory of this process that is no mapped file, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


class Costs(Listener):
    """Processor seconds and memory of every experience, from the events of a run."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.test: list[float] = []
        self.between: list[float] = []
        self.memory: list[float] = []
        self._last = time.process_time()
        self._tested = False

    def follows(self, kind: type[Event]) -> bool:
        """Those that say where one thing ends and the next begins."""
        return kind in (ExperienceStarted, ExperienceFinished, Evaluated)

    def due(self, done: int, total: int) -> bool:
        """No steps."""
        return False

    def event(self, event: Event) -> None:
        """Note what passed since the last one."""
        if not self.follows(type(event)):
            return
        now = time.process_time()
        passed, self._last = now - self._last, now
        if isinstance(event, ExperienceFinished):
            self.train.append(passed)
        elif isinstance(event, Evaluated) and event.number:  # not the untrained network
            self.test.append(passed)
            self.memory.append(anonymous_mb())
        elif isinstance(event, ExperienceStarted) and self.test:
            self.between.append(passed)


def ratio(values: list[float]) -> float | None:
    """Late to early; None where a run has too few experiences."""
    if len(values) < 13:
        return None
    return round(median(values[LATE]) / median(values[EARLY]), 3)


def one(way: str, stream: Path, out: Path) -> dict[str, Any]:
    """Run one way in this process."""
    strategy, *settings = WAYS[way]
    if stream.stem == BRIEF:
        settings.append("width=4")
    costs = Costs()
    record = run(
        Request("simple_cnn", strategy, str(stream), settings=settings, device="cpu", out=out), registry(), costs
    )
    seconds = record.seconds
    whole = [sum(parts) for parts in zip(costs.train, costs.test, [*costs.between, 0.0], strict=True)]
    return {
        "whole": ratio(whole),
        "train": ratio(costs.train),
        "tests": ratio(costs.test),
        "between": ratio(costs.between),
        "memory": ratio(costs.memory),
        "memory_mb": [round(costs.memory[min(4, len(costs.memory) - 1)], 1), round(costs.memory[-1], 1)],
        "train_seconds": round(median(costs.train), 3),
        "between_seconds": round(median(costs.between), 3) if costs.between else None,
        "testing": round(sum(seconds.evaluate) / seconds.total, 3),
        "average": record.average,
        "af": record.metrics["af"],
    }


def shortened(folder: Path, experiences: int, brief: bool) -> Path:
    """The first so many experiences of ``forge50``, from its own cache."""
    content = read_yaml(packaged()["forge50"])
    content["series"] = experiences
    if brief:
        content["name"], content["defaults"]["videos"] = BRIEF, VIDEOS
    path = folder / f"{BRIEF if brief else 'forge50'}.yaml"
    write_json(path, content)  # JSON is YAML
    return path


def main() -> None:
    """Run the ways one after another, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiences", type=int, default=50)
    parser.add_argument("--brief", action="store_true", help="a narrow network and few training videos")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "STREAM", "OUT"), help=argparse.SUPPRESS)
    add_json(parser)
    options = parser.parse_args()
    if options.one:
        way, stream, out = options.one
        print(json.dumps(one(way, Path(stream), Path(out))))
        return
    began, found = load(), {}
    with tempfile.TemporaryDirectory() as folder:
        whole = options.experiences == 50 and not options.brief
        stream = packaged()["forge50"] if whole else shortened(Path(folder), options.experiences, options.brief)
        for way in options.ways.split(","):
            command = [sys.executable, "-m", "perf.long", "--one", way, str(stream), str(Path(folder) / "runs")]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{way}: {done.stderr[-2000:]}")
            found[way] = json.loads(done.stdout.splitlines()[-1])
            print(way, json.dumps(found[way]), file=sys.stderr)
    ratios = [each[name] for each in found.values() for name in ("whole", "memory") if each[name] is not None]
    result = {
        "name": "long", "experiences": options.experiences, "brief": options.brief, "ways": found,
        "largest_ratio": max(ratios, default=None), "largest_testing": max(each["testing"] for each in found.values()),
        "goals": GOALS,
    }  # fmt: skip
    report(result, options.json, began)


if __name__ == "__main__":
    main()
