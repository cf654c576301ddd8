"""How tests install a plugin as a user would, and run a command without a process of its own."""

from __future__ import annotations

import fcntl
import importlib
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from dfbench.cli import main
from dfbench.plugins import registry
from tests.conftest import Done


def install(folder: Path, name: str, files: Mapping[str, str], target: str = "", entry: str = "") -> Path:
    """Put a distribution ``name`` into ``folder``, as pip would: its files, and one entry point.

    ``files`` maps paths to texts. The entry point is called ``entry`` and names the module ``target``, both
    ``name`` unless given. Returns the folder, for ``PYTHONPATH``.
    """
    info = folder / f"{name}_dist-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dfbench]\n{entry or name} = {target or name}\n")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def detectors(*names: str, target: str = "nowhere:Nothing") -> str:
    """The text of a plugin that registers detectors."""
    entries = ", ".join(f"DetectorEntry({name!r}, {target!r}, 'from a test')" for name in names)
    return (
        "from dfbench import DetectorEntry, hookimpl\n\n\n"
        f"@hookimpl\ndef register_detectors():\n    return [{entries}]\n"
    )


@contextmanager
def plugins_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While inside, this process sees the plugins in ``folder`` too."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        registry.cache_clear()
        yield
    registry.cache_clear()


def run_cli(capture: pytest.CaptureFixture[str], *args: object) -> Done:
    """Run the command in this process."""
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    out, err = capture.readouterr()
    return Done(int(ended.value.code or 0), out, err)


def the_error(done: Done, code: int) -> str:
    """The one line that says what is wrong; it is the last on stderr, stdout is empty, and the exit code is right."""
    assert done.code == code, done
    assert done.out == ""
    assert "Traceback" not in done.err
    *before, last = done.err.splitlines()
    assert last.startswith("error: "), done.err
    assert not any(line.startswith("error") for line in before)
    return last.removeprefix("error: ")


def on_a_terminal(*args: str, width: int = 80, **env: str) -> str:
    """What Python prints for these arguments (``-m dfbench`` and the command) where all streams are a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, *args], stdout=theirs, stderr=theirs, stdin=theirs,
        env={**environment, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:  # the other end is closed
        pass
    process.wait()
    os.close(ours)
    return seen.decode().replace("\r\n", "\n")
