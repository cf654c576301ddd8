"""What a reference to a checkpoint means: a zoo name, an entry's file, a folder or a Hub id.

The only module of the zoo that reaches the Hub.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfbench.errors import UsageError, unknown
from dfbench.publish.zoo.checkpoint import (
    LoadedCheckpoint,
    LocatedEntry,
    entry_by_name,
    entry_from_file,
    load_located,
)
from dfbench.publish.zoo.entry import ENTRY_FILE, HUB_ID, read_entry
from dfbench.publish.zoo.from_run import entry_from_run
from dfbench.publish.zoo.places import pulled
from dfbench.records.finished import FinishedRun

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.publish.hub.pull import Notice


def resolve(ref: str, registry: Registry, notice: Notice | None = None) -> LocatedEntry:
    """The entry that ``ref`` means; its files may still have to be fetched.

    Args:
        ref: A zoo name, an entry's file, a folder (pulled, or of a finished run), or a Hub id. Only a Hub id
            (``user/repo``, ``user/repo@revision``) is looked up on the Hub.
        registry: What is installed.
        notice: Receives the commit that a branch or tag stands for.

    Raises:
        UsageError: It means nothing.
        DataError: The entry or the run is not valid.
        HubError: The Hub refuses, or cannot be reached.
    """
    path = Path(ref).expanduser()
    if ref in registry.zoo:
        return entry_by_name(ref, registry)
    kind = _kind(path)
    if kind == "file":
        return entry_from_file(path)
    if kind == "folder":
        inside = path / ENTRY_FILE
        entry = read_entry(inside) if inside.is_file() else entry_from_run(FinishedRun.open(path), registry)
        return LocatedEntry(entry, path)
    if match := HUB_ID.fullmatch(ref):
        from dfbench.publish.hub.pull import entry_of  # what is on this machine needs no client of the Hub

        entry = entry_of(match["repo"], match["revision"] or "main", notice=notice)
        assert entry.hub is not None
        return LocatedEntry(entry, pulled(entry.hub.repo, entry.hub.commit))
    if os.sep in ref or path.suffix in (".yaml", ".yml", ".json"):
        raise UsageError(f"{ref}: there is no such file or folder, and it is not a Hub id (user/repo)")
    error = unknown("checkpoint", ref, registry.zoo)
    raise UsageError(f"{error} (or give a run's folder, an entry's file, or a Hub id: user/repo)")


def fetch(located: LocatedEntry, notice: Notice | None = None) -> LocatedEntry:
    """The same, with its files on this machine; what is damaged in the cache is fetched a second time.

    See :func:`dfbench.publish.hub.pull.pull_entry` for the errors.
    """
    hub = located.entry.hub
    if hub is None or (located.present and located.folder != pulled(hub.repo, hub.commit)):
        return located
    from dfbench.publish.hub.pull import pull_entry

    return LocatedEntry(located.entry, pull_entry(located.entry, notice=notice), checked=True)


def _kind(path: Path) -> Literal["file", "folder"] | None:
    """What lies at a path; None also for what cannot be a path (a name of over 255 bytes, say)."""
    try:
        return "file" if path.is_file() else "folder" if path.is_dir() else None
    except OSError:
        return None


def open_checkpoint(ref: str, registry: Registry, notice: Notice | None = None) -> LoadedCheckpoint:
    """Resolve, fetch where needed, and load; the errors are those of the three steps."""
    return load_located(fetch(resolve(ref, registry, notice), notice), registry)
