"""What a measurement found, with the machine that it was made on, as a JSON file that the docs are written from."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from dfbench.files import write_json
from dfbench.runs.environment import environment

FOLDER = Path(__file__).parent / "results"
MACHINE = ("python", "platform", "processor", "processor_model", "processor_flags", "cores", "threads", "packages")


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option that keeps a result."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here too, with the machine")


def report(result: dict[str, Any], file: Path | None, began: float) -> None:
    """Print a result as one line of JSON, and keep it where a file is given.

    Args:
        result: What was measured; ``name`` says what it is.
        file: Where it is kept.
        began: Load of the machine (mean number of running processes in a minute) before the measurement.
    """
    print(json.dumps(result))
    if file is None:
        return
    here = environment(torch.device("cpu"), {})
    module = f"perf.{Path(sys.argv[0]).stem}"
    arguments = shlex.join(_without_places(sys.argv[1:]))
    threads = os.environ.get("OMP_NUM_THREADS")
    command = f"{f'OMP_NUM_THREADS={threads} ' if threads else ''}python -m {module} {arguments}".rstrip()
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = {name: here[name] for name in MACHINE}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {**result, "command": command, "date": date, "load_before": round(began, 2), "machine": machine})


def load() -> float:
    """How busy the machine is before a measurement."""
    return os.getloadavg()[0]


def _without_places(arguments: list[str]) -> list[str]:
    """Without options that say where something is on this machine."""
    kept = list(arguments)
    for option in ("--json", "--folder"):
        if option in kept:
            place = kept.index(option)
            del kept[place : place + 2]
    for option in ("--crops", "--videos"):  # what they hold has a name in the docs
        if option in kept:
            kept[kept.index(option) + 1] = option.removeprefix("--").upper()
    return kept
