"""What was tried on validation identities before a setting was chosen: kept as JSON, shown in the docs by cog.

``python -m tools.validation RUN…`` adds runs that were scored with ``--split val`` to
``docs/validation/BENCHMARK.json``.
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from dfbench.files import write_json
from dfbench.plugins import load_plugins
from dfbench.records.command import needed_settings
from dfbench.records.record import Record
from dfbench.records.text import number

FOLDER = Path(__file__).parent.parent / "docs" / "validation"


def trial(record: Record) -> dict[str, Any]:
    """What is kept of a run: what was tried, what came out, and on what it was measured.

    Raises:
        SystemExit: The run was scored on test samples.
    """
    spec, environment = record.spec, record.environment
    if spec.split != "val":
        sys.exit(f"{record.run}: scored on the {spec.split} split; run it with --split val")
    return {
        "identity": record.identity,
        "detector": spec.detector,
        "strategy": spec.strategy,
        "settings": needed_settings(spec, load_plugins()),
        "seed": spec.seed,
        "average": record.average,
        "forgetting": record.metrics["forgetting"],
        "passes": record.compute.passes if record.compute else None,
        "processor": environment.processor,
        "threads": environment.threads,
        "packages": {name: environment.packages[name] for name in ("dfbench-deepfake", "torch")},
    }


def add(runs: list[str]) -> None:
    """Put runs into the file of their benchmark; one that is known already takes its former place."""
    for path in runs:
        record = Record.read(Path(path) / "record.json")
        file = FOLDER / f"{record.spec.benchmark}.json"
        known = {each["identity"]: each for each in (json.loads(file.read_text("utf-8")) if file.exists() else [])}
        known[record.identity] = trial(record)
        write_json(file, sorted(known.values(), key=lambda each: (each["strategy"], each["settings"], each["seed"])))


def table(benchmark: str, detector: str) -> str:
    """One line per setting, the best average of each strategy in bold."""
    trials = json.loads((FOLDER / f"{benchmark}.json").read_text("utf-8"))
    lines = ["", f"| `dfbench eval -d {detector} -b {benchmark} --split val -s …` | average AUC | forgetting |"]
    lines.append("|---|---|---|")
    shown = [each for each in trials if each["detector"] == detector]
    for strategy, group in groupby(shown, key=lambda each: each["strategy"]):
        tried = list(group)
        best = max(each["average"] for each in tried)
        for each in tried:
            words = [strategy, *(f"--set {setting}" for setting in each["settings"])]
            words += [f"--seed {each['seed']}"] * bool(each["seed"])
            average = number(each["average"])
            lines.append(
                f"| `{' '.join(words)}` | {f'**{average}**' if each['average'] == best and len(tried) > 1 else average}"
                f" | {number(each['forgetting'])} |"
            )
    return "\n".join([*lines, ""]) + "\n"


if __name__ == "__main__":
    add(sys.argv[1:])
