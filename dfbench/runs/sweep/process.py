"""One run as a process: ``dfbench eval`` with its words, in an environment that shares a machine out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfbench.runs.sweep.engine import Outcome, killed_by, last_words

PATIENCE = 20.0
"""Seconds that an interrupted run has to come to its end."""
TAIL = 8192
"""Bytes of a log that are looked at."""


_TIE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel to end this process with its parent (``PR_SET_PDEATHSIG``), and becomes the command."""


class RunProcess:
    """A process in a session of its own, so that Ctrl-C reaches it through its starter alone.

    Args:
        command: What is run.
        log: Receives all that it prints but its result.
        environment: In addition to this process's.
        die_with_parent: End it if its starter is killed: otherwise it goes on to its end.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], *, die_with_parent: bool = False
    ) -> None:  # fmt: skip
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.result, self.began = log, log.with_suffix(".json"), time.monotonic()
        with log.open("wb") as errors, self.result.open("wb") as result:
            self._process = subprocess.Popen(
                [*_tied(die_with_parent), *command],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def line(self) -> str:
        """The last line that it printed."""
        return last_words(self._tail())

    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait for that."""
        self._process.wait()

    def outcome(self, key: str) -> Outcome:
        """How it ended."""
        code = self._process.wait()
        seconds = time.monotonic() - self.began
        if code:
            message = killed_by(code) if code < 0 else self.line or f"exit code {code}"
            return Outcome(key, code, message, seconds=seconds)
        try:
            folder = Path(json.loads(self.result.read_text(encoding="utf-8"))["record"]).parent
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Outcome(key, 1, f"its result cannot be read ({error})", seconds=seconds)
        return Outcome(key, 0, folder=folder, seconds=seconds)

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Interrupt it, and kill it if that does not help."""
        self.interrupt()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _tail(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(file.tell() - TAIL, 0))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


def command(words: Sequence[str]) -> list[str]:
    """The command of a run, with this very interpreter."""
    return [sys.executable, "-m", "dfbench", "eval", *words, "--json"]


def environment(threads: int, devices: Sequence[str] | None) -> dict[str, str]:
    """Variables that share a machine out.

    Args:
        threads: Of a run.
        devices: Names of the GPUs that it may use; None: it sees what this process sees.
    """
    found = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return found if devices is None else {**found, "CUDA_VISIBLE_DEVICES": ",".join(devices)}


def _tied(wanted: bool) -> list[str]:
    """What comes before a command that is to end with this process; nothing where the system has no such thing."""
    return [sys.executable, "-c", _TIE, str(os.getpid())] if wanted and sys.platform == "linux" else []
