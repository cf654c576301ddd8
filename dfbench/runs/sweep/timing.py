"""What a run costs, from its first steps: timed in a process of its own, which writes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfbench.runs.sweep.process import RunProcess

MODULE = "dfbench.cli.sweep_timing"


def measure_in(
    words: Sequence[str], log: Path, environment: Mapping[str, str], *, die_with_parent: bool = False
) -> dict[str, float] | None:  # fmt: skip
    """Seconds of a run that its first steps let expect: ``start``, ``train`` and ``evaluate``; None where it failed.

    Args:
        words: What would follow ``dfbench eval``.
        log: Receives what it prints.
        environment: In addition to this process's.
        die_with_parent: End it with this process.
    """
    process = RunProcess([sys.executable, "-m", MODULE, *words], log, environment, die_with_parent=die_with_parent)
    try:
        process.wait()
        found = json.loads(process.result.read_text(encoding="utf-8"))
        seconds = {name: float(found[name]) for name in ("start", "train", "evaluate")}
        log.unlink(missing_ok=True)
        return seconds
    except (OSError, ValueError, KeyError, TypeError):
        return None
    finally:
        if not process.ended():
            process.end()
        process.result.unlink(missing_ok=True)
