"""Is a data set fit for a benchmark? Leaks between splits, wrong labels, holes, and shortcuts.

:func:`audit` makes all checks on the items that a reader found, by their names, their headers and a few frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dfbench.data.audit import labels, leaks
from dfbench.data.audit.classifier import Row
from dfbench.data.audit.media import Facts, Files, Media, Unreadable, hashes_of
from dfbench.data.audit.result import Audit, Check, judged
from dfbench.data.audit.shortcuts import file_names, shortcuts, traces
from dfbench.data.prepare.item import Item
from dfbench.data.traces import mean_traces
from dfbench.data.workers import Progress, cores, map_chunks

CHUNK = 16
"""Items a call: opening a video takes milliseconds, decoding its frames up to a second."""

WORTH_A_PROCESS = 100
"""Items a process; fewer are read before another process has started."""


def audit(
    items: Sequence[Item],
    *,
    second: Mapping[str, int] | None = None,
    missing: Sequence[str] = (),
    names: str | None = "",
    media: Media | None = None,
    frames: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Check a data set.

    Args:
        items: what a reader found.
        second: ``video`` → label by a second source (:attr:`~dfbench.data.prepare.sources.contract.Scan.labels`).
        missing: files that the set's own lists name and that are not there.
        names: how the set's own file names state the class, where they do
            (:attr:`~dfbench.data.prepare.sources.contract.About.names`); None where that is not known.
        media: where facts and frames come from; the items' files without it.
        frames: decode three frames of each to find near-duplicates and traces; without, only headers are read.
        workers: processes that read; by default as many as are worth it.
        progress: called with the number of items read.

    Returns:
        the checks; one that could not be made says why.
    """
    facts, hashes, found, unreadable = _read(items, media or Files(), frames, workers, progress)
    duplicates = leaks.near_duplicates(items, hashes)
    if not frames:
        duplicates = Check(duplicates.name, "not checked", detail="no frames were decoded")
    return Audit((
        leaks.identities(items),
        leaks.videos(items),
        leaks.pairs(items),
        duplicates,
        labels.labels(items, second or {}),
        labels.balance(items),
        labels.partners(items),
        labels.aligned(items, facts),
        judged("missing files", missing, "every file that the set's lists name is here, where it has lists",
               "files of the set's lists are not here"),
        judged("unreadable files", unreadable, f"{len(facts)} read", f"of {len(items)} cannot be read"),
        shortcuts(items, facts),
        file_names(items, names),
        traces(items, found),
        Check("faces", "not checked", detail="'dfbench data prepare' says in which videos it found none"),
    ))  # fmt: skip


Read = tuple[dict[str, Facts], dict[str, np.ndarray], dict[str, Row], list[str]]


def _read(items: Sequence[Item], media: Media, frames: bool, workers: int | None, progress: Progress | None) -> Read:
    """Facts, hashes and traces by ``video``, and a line for each item that cannot be read, in the items' order."""
    facts: dict[str, Facts] = {}
    hashes: dict[str, np.ndarray] = {}
    found: dict[str, Row] = {}
    broken: dict[str, str] = {}
    workers = max(1, min(cores(), len(items) // WORTH_A_PROCESS)) if workers is None else workers
    options: dict[str, Any] = {"what": "reading videos", "workers": workers, "progress": progress, "chunk": CHUNK}
    for chunk in map_chunks(_look, (items, media, frames), len(items), **options):
        facts |= chunk[0]
        hashes |= chunk[1]
        found |= chunk[2]
        broken |= chunk[3]
    return facts, hashes, found, [f"{item.video}: {broken[item.video]}" for item in items if item.video in broken]


Looked = tuple[dict[str, Facts], dict[str, np.ndarray], dict[str, Row], dict[str, str]]


def _look(shared: tuple[Sequence[Item], Media, bool], start: int, stop: int) -> Looked:
    items, media, frames = shared
    facts, hashes, broken = {}, {}, {}
    found: dict[str, Row] = {}
    for item in items[start:stop]:
        try:
            facts[item.video] = media.facts(item)
            if frames:
                pictures = media.frames(item)
                hashes[item.video] = hashes_of(pictures)
                if (features := mean_traces(pictures)) is not None:
                    found[item.video] = features
        except Unreadable as error:
            broken[item.video] = str(error)
    return facts, hashes, found, broken
