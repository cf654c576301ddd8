"""Fetching a checkpoint: at one commit, exactly its files, and none is used before its sha256 was checked.

Files are fetched into ``COMMIT.part`` and checked there; the folder gets its name when all of them are
right. A file that is wrong is deleted. An interrupted pull fetches the files it lacks when it is run again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from filelock import FileLock
from huggingface_hub import HfApi

from dfbench.errors import DataError, StorageError
from dfbench.files import write_whole, writing
from dfbench.publish.hub.errors import client, explained
from dfbench.publish.hub.transfer import Stated, download, stated
from dfbench.publish.zoo.entry import (
    ENTRY_FILE,
    PICKLES,
    CheckpointEntry,
    File,
    Hub,
    check_file,
    entry_json,
    parse_entry,
)
from dfbench.publish.zoo.places import pulled

ENTRY_LIMIT = 1 << 20
"""Bytes that an entry may have."""
Notice = Callable[[str], None]


def entry_of(
    repo: str, revision: str = "main", *, endpoint: str | None = None, notice: Notice | None = None
) -> CheckpointEntry:
    """The entry that a repository holds, pinned to the commit that ``revision`` is now.

    Args:
        repo: ``user/repo``.
        revision: Branch, tag or commit.
        endpoint: Another server than the Hub.
        notice: Receives the commit that a branch or tag stands for.

    Raises:
        DataError: The repository holds no dfbench checkpoint, or nothing but pickles.
        UsageError: There is no such revision.
        HubError: There is no such repository, it is gated, or there is no connection.
    """
    api = client(endpoint)
    with explained(api, repo, revision):
        found = stated(api, repo, revision)
    commit = found.commit
    if commit != revision and notice is not None:
        notice(f"{repo}: {revision} is commit {commit}")
    if ENTRY_FILE not in found.files:
        pickles = sorted(path for path in found.files if PurePosixPath(path).suffix.lower() in PICKLES)
        reason = f"; {pickles[0]} can run code when it is read, and is not fetched" if pickles else ""
        raise DataError(f"{repo}@{commit[:12]} is not a dfbench checkpoint: it has no {ENTRY_FILE}{reason}")
    size = found.files[ENTRY_FILE].size
    if size is None or size > ENTRY_LIMIT:
        stated_size = "no stated size" if size is None else f"{size} bytes"
        raise DataError(f"{repo}@{commit[:12]}: {ENTRY_FILE} has {stated_size}; that is not an entry")
    staging = _staging(repo, commit)
    with _locked(staging), explained(api, repo, commit):
        (staging / ENTRY_FILE).unlink(missing_ok=True)  # what an earlier pull left may be damaged
        path = download(api, repo, commit, ENTRY_FILE, size, staging)
        text = path.read_text(encoding="utf-8", errors="replace")
    entry = parse_entry(text, f"{repo}@{commit[:12]}/{ENTRY_FILE}")
    return entry.model_copy(update={"hub": Hub(repo=repo, commit=commit)})


def pull_entry(entry: CheckpointEntry, *, endpoint: str | None = None, notice: Notice | None = None) -> Path:
    """Fetch and check the files of an entry on the Hub; nothing is fetched twice.

    Args:
        entry: One whose ``hub`` is set.
        endpoint: Another server than the Hub.
        notice: Receives what had to be fetched again, and why.

    Returns:
        The folder of the files; every one of them was checked.

    Raises:
        DataError: A file is not the one that the entry names; it is not kept.
        UsageError: The commit does not exist.
        HubError: There is no such repository, it is gated, or there is no connection.
        StorageError: The cache cannot be written.
    """
    assert entry.hub is not None, "an entry without a repository has its files next to it"
    repo, commit = entry.hub.repo, entry.hub.commit
    folder, staging = pulled(repo, commit), _staging(repo, commit)
    with _locked(staging):
        if folder.is_dir():
            try:
                for file in entry.files:
                    check_file(folder, file, entry.name)
                return folder
            except DataError as error:
                if notice is not None:
                    notice(f"{error}; fetching it again")
                shutil.rmtree(folder)
        api = client(endpoint)
        with explained(api, repo, commit):
            found = stated(api, repo, commit)
        _check_stated(entry, found, f"{repo}@{commit[:12]}")
        for file in entry.files:
            with explained(api, repo, commit):
                _fetch(api, repo, commit, file, staging, entry.name)
        write_whole(staging / ENTRY_FILE, entry_json(entry))
        shutil.rmtree(staging / ".cache", ignore_errors=True)
        with writing(folder):
            staging.rename(folder)
    return folder


def export(folder: Path, entry: CheckpointEntry, target: Path) -> Path:
    """Copy a checkpoint's files and its entry to ``target``, all at once, and check the copies.

    Args:
        folder: Where the files of the entry are.
        entry: The entry; it is written as ``dfbench.json``.
        target: A new or empty folder.

    Returns:
        ``target``.

    Raises:
        DataError: A file is not the one that the entry names.
        StorageError: ``target`` exists and is not empty, or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} exists already; choose a new folder with --to")
    part = target.with_name(target.name + ".part")
    with writing(target):
        shutil.rmtree(part, ignore_errors=True)
        for file in entry.files:
            (part / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file.path, part / file.path)
        for file in entry.files:
            check_file(part, file, entry.name)
        (part / ENTRY_FILE).write_bytes(entry_json(entry))
        with suppress(FileNotFoundError):
            target.rmdir()
        part.rename(target)
    return target


def _fetch(api: HfApi, repo: str, commit: str, file: File, staging: Path, name: str) -> None:
    """One file into the staging folder, checked; a wrong one is deleted, and the right ones before it stay."""
    with writing(staging):
        staging.mkdir(parents=True, exist_ok=True)
    with suppress(DataError):
        return check_file(staging, file, name)
    try:
        (staging / file.path).unlink(missing_ok=True)
        download(api, repo, commit, file.path, file.size, staging)
        check_file(staging, file, name)
    except DataError:
        (staging / file.path).unlink(missing_ok=True)
        raise


def _check_stated(entry: CheckpointEntry, found: Stated, where: str) -> None:
    """Compare what the Hub states of the files with the entry, before a byte is fetched."""
    for file in entry.files:
        if file.path not in found.files:
            raise DataError(f"{where} has no {file.path}, which {entry.name} needs")
        if problem := found.files[file.path].unlike(file.size, file.sha256):
            raise DataError(f"{where}: {file.path} {problem}; it is not fetched")


def _staging(repo: str, commit: str) -> Path:
    folder = pulled(repo, commit)
    return folder.with_name(folder.name + ".part")


def _locked(staging: Path) -> FileLock:
    """Two processes that want the same checkpoint wait for each other."""
    with writing(staging):
        staging.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(staging.with_suffix(".lock"))
