"""Where the runs of a sweep lie: found by their specs, begun out of sight, moved to their place when they are whole.

::

    runs/<run id>/                  a finished run
    runs/.sweep/work/<run id>/      a run that is being made on this machine
    runs/.sweep/logs/<key>.log      what its process printed
    runs/.sweep/incoming/           what comes from other machines, until it is checked

Nothing else is stored of a sweep: what is done is read from these folders, so a driver that was killed has nothing
to lose.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import shutil
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout
from pydantic import ValidationError

from dfbench.documents import read_json
from dfbench.errors import DataError, DfbenchError, StorageError
from dfbench.files import sha256_of, write_whole, writing
from dfbench.records.record import RECORD, WEIGHTS, Record
from dfbench.records.spec import RunSpec
from dfbench.runs.code import changes
from dfbench.runs.storage import SET_ASIDE, RunFolder
from dfbench.runs.sweep.plan import Job

HIDDEN = ".sweep"
SPEC = "spec.json"
ADVICE = "free some space and run the same command again"


@dataclass(frozen=True)
class Found:
    """A run's folder."""

    path: Path
    finished: bool
    """It has a record."""

    @property
    def busy(self) -> bool:
        """Whether a process works on it at this moment."""
        if not (self.path / ".lock").exists():
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True


class Folders:
    """The folders of a sweep's runs below ``out``."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.work = out / HIDDEN / "work"
        self.logs = out / HIDDEN / "logs"
        self.incoming = out / HIDDEN / "incoming"

    def lock(self) -> FileLock:
        """Held by the one driver of these folders.

        Raises:
            DfbenchError: Another driver has it.
            StorageError: The folder cannot be written.
        """
        with writing(self.out, "choose another folder with --out"):
            self.work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.out / HIDDEN / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DfbenchError(
                f"another dfbench sweep writes to {self.out}: wait for it, or give another --out"
            ) from None
        shutil.rmtree(self.incoming, ignore_errors=True)
        return lock

    def state(self, jobs: Mapping[str, Job]) -> dict[str, Found]:
        """What there is of each run, by its key; nothing is changed."""
        found: dict[str, Found] = {}
        for key, each in (*scan(self.out), *scan(self.work)):
            if key not in jobs or (key in found and found[key].finished):
                continue
            if each.finished and not is_whole(each.path, jobs[key]):
                each = replace(each, finished=False)
            found[key] = each
        return found

    def settle(self, jobs: Mapping[str, Job]) -> dict[str, Found]:
        """The same, once finished runs are moved to their place; for the driver alone, which holds the lock.

        Raises:
            StorageError: One cannot be moved.
        """
        found = self.state(jobs)
        for key, each in found.items():
            if each.finished and each.path.parent == self.work and not each.busy:
                found[key] = Found(self.deliver(each.path), True)
        return found

    def place(self, job: Job, found: Found | None) -> Path:
        """The folder of runs in which a run is made: where it was begun, else out of sight."""
        return self.work if found is None else found.path.parent

    def deliver(self, folder: Path) -> Path:
        """Move a whole run to its place, in one step; what is there is set aside.

        Raises:
            StorageError: It cannot be moved.
        """
        target = self.out / folder.name
        if folder == target:
            return target
        try:
            if target.exists():
                aside = self.out / SET_ASIDE
                aside.mkdir(exist_ok=True)
                free = (
                    aside / f"{target.name}{end}"
                    for end in itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
                )
                target.rename(next(path for path in free if not path.exists()))
            folder.rename(target)
        except OSError as error:
            raise StorageError(f"cannot move {folder} to {target}: {error.strerror or error}") from error
        return target

    def unpack(self, archive: bytes, digest: str, job: Job) -> Path:
        """Put what another machine sent to its place, after it was checked.

        Raises:
            DataError: It is damaged, or not the run that was asked for.
            StorageError: It cannot be written.
        """
        if hashlib.sha256(archive).hexdigest() != digest:
            raise DataError("its archive was damaged on the way")
        place = self.incoming / uuid.uuid4().hex
        folder = unpack(archive, place)
        check(folder, job)
        return self.deliver(folder)

    def log(self, job: Job) -> Path:
        """The file of what a run's process prints."""
        return self.logs / f"{job.key[:16]}.log"


def scan(folder: Path) -> Iterator[tuple[str, Found]]:
    """(key, folder) of every run in a folder of runs; what is none is passed over."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_dir():
            continue
        spec = _spec(path)
        if spec is not None:
            yield spec.asked, Found(path, (path / RECORD).is_file())


def _spec(path: Path) -> RunSpec | None:
    try:
        if (path / SPEC).is_file():
            return RunSpec.model_validate(read_json(path / SPEC))
        return Record.read(path).spec if (path / RECORD).is_file() else None  # a record that came alone
    except (DataError, ValidationError):
        return None


def is_whole(path: Path, job: Job) -> bool:
    """Whether a folder with a record is the run that is asked for, made with the present code."""
    spec = _spec(path)
    return spec is not None and RunFolder(path.parent, spec, job.code).is_current()


def check(folder: Path, job: Job) -> None:
    """Refuse a run that is not the one that was asked for.

    Raises:
        DataError: Its data, options or code are others, or a file is damaged.
    """
    record = Record.read(folder)
    if record.spec.asked != job.key:
        what = "data" if record.spec.data_fingerprint != job.spec.data_fingerprint else "options"
        raise DataError(f"it has other {what} there than here")
    if changed := changes(record.environment.code, job.code):
        raise DataError(f"plugin {changed[0].plugin} has other sources there: install the same version everywhere")
    if folder.name != record.run or sha256_of(folder / WEIGHTS) != record.weights_sha256:
        raise DataError("its weights are damaged")


def pack(folder: Path) -> tuple[bytes, str]:
    """A run's folder as an archive, and its sha256 (hex)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.name != ".lock":
                archive.add(path, f"{folder.name}/{path.relative_to(folder).as_posix()}", recursive=False)
    content = buffer.getvalue()
    return content, hashlib.sha256(content).hexdigest()


def unpack(content: bytes, place: Path) -> Path:
    """Write an archive of :func:`pack` below ``place``; the folder of the run.

    Raises:
        DataError: It is no such archive.
        StorageError: It cannot be written.
    """
    names = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if not member.isreg() or path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
                    raise DataError(f"its archive holds {member.name!r}, which is no file of a run")
                names.add(path.parts[0])
                file = archive.extractfile(member)
                assert file is not None
                write_whole(place / path, file.read(), ADVICE)
    except tarfile.TarError as error:
        raise DataError(f"its archive is damaged ({error})") from error
    if len(names) != 1:
        raise DataError("its archive does not hold one run")
    return place / names.pop()
