"""What a machine of a Ray cluster does for a sweep: it makes a run in a folder of its own, and sends it back whole.

Nothing is shared with the machine that drives the sweep: files that a run names travel with it, and its folder comes
back as an archive. What was begun or finished here stays until the driver says that it has it, so that a driver that
was killed finds it again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.errors import DfbenchError
from dfbench.files import cache_root, write_whole
from dfbench.runs.sweep.engine import Outcome
from dfbench.runs.sweep.folders import is_whole, pack, scan
from dfbench.runs.sweep.plan import FILES, Job, places
from dfbench.runs.sweep.process import RunProcess, command, environment
from dfbench.runs.sweep.timing import measure_in

TICK = 0.2


@dataclass(frozen=True)
class Errand:
    """A job, with all that another machine needs for it."""

    sweep: str
    """Name of the sweep's folder on each machine."""
    job: Job
    files: tuple[tuple[str, str], ...]
    """(path on the driver's machine, content) of files that the job's words name."""
    data_root: Path | None
    threads: int


@dataclass(frozen=True)
class Sent:
    """What comes back."""

    outcome: Outcome
    archive: bytes = b""
    digest: str = ""
    """SHA-256 (hex) of the archive."""


def do(errand: Errand) -> Sent:
    """Make the run of an errand, or go on with it, or send it if it is finished here."""
    job, began = errand.job, time.monotonic()
    here = scratch(errand.sweep)
    for key, found in scan(here / "runs"):
        if key == job.key and found.finished and is_whole(found.path, job):
            return _sent(Outcome(key, 0, where=name()), found.path)
    process = RunProcess(
        command([*words(errand, here), *places(here / "runs", errand.data_root)]),
        here / "logs" / f"{job.key[:16]}.log",
        environment(errand.threads, None),  # Ray has set CUDA_VISIBLE_DEVICES
        die_with_parent=True,
    )
    try:
        while not process.ended():
            time.sleep(TICK)
    finally:
        if not process.ended():
            process.end()
    ended = process.outcome(job.key)
    outcome = Outcome(job.key, ended.code, ended.message, None, time.monotonic() - began, name())
    return Sent(outcome) if ended.code or ended.folder is None else _sent(outcome, ended.folder)


def measure(errand: Errand) -> dict[str, float] | None:
    """Time the first steps of an errand's run."""
    here = scratch(errand.sweep)
    log = here / "logs" / f"{errand.job.key[:16]}-timing.log"
    found = [*words(errand, here), *places(here / "runs", errand.data_root)]
    return measure_in(found, log, environment(errand.threads, None), die_with_parent=True)


def there(sweep: str) -> list[str]:
    """Keys of the runs that were begun or finished here."""
    return [key for key, _ in scan(scratch(sweep) / "runs")]


def forget(sweep: str, keys: Sequence[str] | None) -> None:
    """Delete runs that the driver has; None: all that is here, since the sweep is done."""
    here = scratch(sweep)
    if keys is None:
        shutil.rmtree(here, ignore_errors=True)
        return
    for key, found in scan(here / "runs"):
        if key in keys:
            shutil.rmtree(found.path, ignore_errors=True)


def scratch(sweep: str) -> Path:
    """The folder of a sweep on this machine; a process of the cluster that runs next to it has another one."""
    return cache_root() / "sweeps" / sweep


def name() -> str:
    """This machine."""
    return platform.node()[:60]


def words(errand: Errand, here: Path) -> list[str]:
    """The words of the job, with files that are not here, or are others here, put below ``here``."""
    found = list(errand.job.words)
    contents = dict(errand.files)
    for place, word in enumerate(found[:-1]):
        path = found[place + 1]
        if word not in FILES or path not in contents:
            continue
        if not _is(Path(path), contents[path]):
            digest = hashlib.sha256(contents[path].encode()).hexdigest()[:16]
            copy = here / "files" / digest / Path(path).name
            write_whole(copy, contents[path].encode())
            found[place + 1] = str(copy)
    return found


def sweep_name(out: Path) -> str:
    """The name of a sweep's folder on each machine: of the folder of runs, and of the machine that it is on."""
    place = f"{platform.node()}:{os.path.abspath(out)}"
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", out.name)[:40] or "runs"
    return f"{plain}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def _sent(outcome: Outcome, folder: Path) -> Sent:
    try:
        archive, digest = pack(folder)
    except (OSError, DfbenchError) as error:
        return Sent(Outcome(outcome.key, 1, f"cannot be packed: {error}", None, outcome.seconds, outcome.where))
    return Sent(outcome, archive, digest)


def _is(path: Path, content: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == content
    except (OSError, UnicodeDecodeError):
        return False
