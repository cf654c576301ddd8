"""A script for SLURM: the runs of a sweep as an array of jobs, each a plain command."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from dfbench.runs.sweep.engine import Needs

LARGEST_ARRAY = 1000
"""Tasks of an array: one less than the usual MaxArraySize."""


def sbatch(name: str, lines: Sequence[str], needs: Needs, logs: Path, longest: float) -> str:
    """The script.

    Args:
        name: Of the sweep.
        lines: A command per run.
        needs: Of one run.
        logs: Folder of SLURM's output.
        longest: Seconds of the longest run, 0 if not known; the limit is twice that, and at least 10 minutes.
    """
    each = math.ceil(len(lines) / LARGEST_ARRAY)
    tasks = math.ceil(len(lines) / each) if lines else 0
    options = [
        f"--job-name={name}",
        f"--array=0-{tasks - 1}",
        f"--cpus-per-task={needs.threads}",
        *([f"--gres=gpu:{math.ceil(needs.gpus)}"] if needs.gpus else []),
        *([f"--mem={math.ceil(needs.memory * 1000)}M"] if needs.memory else []),
        *([f"--time={max(math.ceil(2 * longest * each / 60), 10)}"] if longest else []),
        f"--output={logs}/slurm-%A_%a.log",
        "--requeue",
    ]
    head = "\n".join(f"#SBATCH {option}" for option in options)
    commands = "\n".join(f"  {shlex.quote(line)}" for line in lines)
    return f"""#!/bin/bash
{head}
# {len(lines)} runs, {each} per task. A task that is started again goes on from the last finished experience.
set -u
commands=(
{commands}
)
failed=0
for ((i = SLURM_ARRAY_TASK_ID * {each}; i < (SLURM_ARRAY_TASK_ID + 1) * {each} && i < ${{#commands[@]}}; i++)); do
  bash -c "${{commands[i]}}" || failed=$?
done
exit $failed
"""
