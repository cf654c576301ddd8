"""What a process for decoding can no longer do, tried out in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, signal, socket, sys
from pathlib import Path
from dfbench.publish.serve.confine import Bounds, confine
own, other, parent = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
held = confine(Bounds(memory=1 << 30, seconds=20), [own])
def tried(what):
    try:
        what()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "held": held,
    "read own": tried(own.read_bytes),
    "read other": tried(other.read_bytes),
    "write": tried(lambda: other.with_name("new").write_bytes(b"x")),
    "truncate": tried(lambda: open(other, "r+b")),
    "remove": tried(other.unlink),
    "socket": tried(lambda: socket.create_connection(("127.0.0.1", 9))),
    "unix socket": tried(lambda: socket.socket(socket.AF_UNIX)),
    "program": tried(lambda: os.execv("/bin/true", ["true"])),
    "signal": tried(lambda: os.kill(parent, 0)),
    "memory": tried(lambda: bytearray(2 << 30)),
}))
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What was tried → what came of it."""
    folder = tmp_path_factory.mktemp("confined")
    own, other = folder / "own", folder / "other"
    own.write_bytes(b"mine")
    other.write_bytes(b"another visitor's")
    line = [sys.executable, "-c", PROGRAM, str(own), str(other), str(os.getpid())]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert other.read_bytes() == b"another visitor's"
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_it_can_read_its_own_file(tried: dict[str, object]) -> None:
    assert tried["read own"] == "done"


@pytest.mark.parametrize("what", ["read other", "write", "truncate", "remove"])
def test_it_can_touch_no_other_file(what: str, tried: dict[str, object]) -> None:
    if "files" not in tried["held"]:  # type: ignore[operator]
        pytest.skip("this kernel has no Landlock")
    assert tried[what] == "PermissionError"


@pytest.mark.parametrize("what", ["socket", "unix socket", "program", "signal"])
def test_it_can_reach_nobody(what: str, tried: dict[str, object]) -> None:
    if "calls" not in tried["held"]:  # type: ignore[operator]
        pytest.skip("this kernel has no seccomp")
    assert tried[what] == "PermissionError"


def test_its_memory_is_bounded(tried: dict[str, object]) -> None:
    assert tried["memory"] == "MemoryError"


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(600)"])
def test_its_time_is_bounded(program: str) -> None:
    """Of the processor by a limit, of the clock by an alarm ten seconds later: shortened here."""
    start = "import signal; from dfbench.publish.serve.confine import Bounds, confine; confine(Bounds(seconds=1), []); "
    line = [sys.executable, "-c", f"{start} signal.alarm(2)\n{program}"]
    assert subprocess.run(line, check=False, timeout=120).returncode < 0
