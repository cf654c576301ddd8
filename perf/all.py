"""Run every measurement one after another, and keep what they find: ``python -m perf.all``.

For a machine that does nothing else; each result says how busy it was before. ``perf.loop`` needs CIFAR-10 and
``perf.prepare`` FaceForensics++ under ``$DFBENCH_DATA``, ``perf.store`` the package lmdb and 10 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from perf.results import FOLDER, load

COMMANDS: dict[str, tuple[str, list[str]]] = {
    "loader": ("", ["perf.loader"]),
    "loop": ("", ["perf.loop"]),
    "dfdc3": ("", ["perf.dfdc3"]),
    "gem": ("1", ["perf.strategies", "gem"]),
    "strategies": ("1", ["perf.strategies", "others"]),
    "tune": ("1", ["perf.strategies", "tune"]),
    "store": ("1", ["perf.store"]),
    "prepare": ("1", ["perf.prepare", "--data-set", "ffpp"]),
    "prepare_memory": ("1", ["perf.prepare", "--memory"]),
    "evaluation": ("1", ["perf.strategies", "evaluation", "--divide", "8"]),
    "long": ("1", ["perf.long"]),
    "sweep": ("1", ["perf.sweep"]),
    "board": ("1", ["perf.board"]),
}
"""Name of the result → number of threads (empty: torch's choice), module and arguments."""
QUIET = 0.5
"""Load above which a machine is busy with something else."""


def main() -> None:
    """Run them; a failed one is reported and does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*COMMANDS, []], help="only these")
    failed = []
    for name in parser.parse_args().names or COMMANDS:
        threads, arguments = COMMANDS[name]
        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        environment |= {"OMP_NUM_THREADS": threads} if threads else {}
        if load() > QUIET:
            print(f"{name}: load {load():.1f}: something else runs, and the result will say so", file=sys.stderr)
        command = [sys.executable, "-m", *arguments, "--json", str(FOLDER / f"{name}.json")]
        if subprocess.run(command, env=environment).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
