"""Avalanche's settings file, kept out of the way.

At its first import Avalanche writes ``~/.avalanche/config.json``, or reads it, and fails where the home folder cannot
be written or the file is damaged. It only says where Avalanche downloads data sets to, and dfbench downloads none.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "avalanche.benchmarks.datasets.dataset_utils"
DEFAULT = "~/.avalanche/data"


class _Finder(MetaPathFinder):
    """Has :data:`MODULE` executed in a home folder that is empty; finds nothing else."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _execute(execute, module)  # type: ignore[method-assign]
        return spec


def _execute(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    import tempfile  # here, since importing dfbench is to cost nothing
    from unittest import mock

    with (
        tempfile.TemporaryDirectory(prefix="dfbench-avalanche-") as home,
        mock.patch.dict(os.environ, HOME=home, USERPROFILE=home),
    ):
        execute(module)
    module.AVALANCHE_CONFIG["dataset_location"] = _dataset_location()  # type: ignore[attr-defined]


def _dataset_location() -> str:
    """Where the user wants Avalanche's data sets, or its default where nothing readable says so."""
    try:
        chosen = json.loads(Path("~/.avalanche/config.json").expanduser().read_bytes())["dataset_location"]
    except (OSError, ValueError, LookupError, TypeError, RuntimeError):
        return DEFAULT
    return chosen if isinstance(chosen, str) else DEFAULT


def install() -> None:
    """From here on importing Avalanche neither needs nor makes a settings file."""
    if MODULE not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
