"""Fixtures shared by all tests: small real pictures on disk, plugins as they are installed, the command."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dfbench.testing import write_stream

ROOT = Path(__file__).parent.parent
ODD = Path(__file__).parent / "plugins" / "odd"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """No test touches the user's cache."""
    before = os.environ.get("DFBENCH_CACHE")
    os.environ["DFBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["DFBENCH_CACHE"]
    else:
        os.environ["DFBENCH_CACHE"] = before


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The networks here are tiny: threads would only wait for each other."""
    import torch

    torch.set_num_threads(1)
    os.environ.setdefault("DFBENCH_WORKERS", "0")  # and so few units that a process takes longer to start


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    """Processes started in the background (``nohup make test &``) inherit that Ctrl-C is ignored, and pass it on.

    Tests interrupt this process and those that they start; a handler is not inherited, so these get Python's own.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data next to the checkout; tests that need it are skipped without."""
    folder = Path(os.environ.get("DFBENCH_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared data: {folder} (set DFBENCH_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three experiences of 12 training pairs."""
    return write_stream(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def clip_stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three experiences of 4 training pairs of clips of 8 frames."""
    return write_stream(tmp_path_factory.mktemp("clips"), pairs=4, tests=2, frames=8)


@pytest.fixture
def with_odd(monkeypatch: pytest.MonkeyPatch):
    """The registry with the test plugin installed beside the first-party ones."""
    from dfbench.plugins import load_plugins

    monkeypatch.syspath_prepend(str(ODD))
    importlib.invalidate_caches()
    return load_plugins()


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Its standard output as JSON."""
        return json.loads(self.out)


def python_path_of(*folders: Path) -> str:
    """``PYTHONPATH`` of a process that sees these folders first."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH", "")])])


def dfbench(*args: object, cwd: Path | None = None, python_path: tuple[Path, ...] = (), **env: str) -> Done:
    """Run the real command in a process of its own."""
    paths = python_path_of(*python_path)
    done = subprocess.run(
        [sys.executable, "-m", "dfbench", *map(str, args)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
