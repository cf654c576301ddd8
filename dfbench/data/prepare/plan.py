"""The order of the work: items that share their boxes form a group, groups fill shards."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dfbench.data.prepare.item import Item
from dfbench.data.samples import SPLITS
from dfbench.errors import DataError, printable

SHARD_ROWS = 4096
"""Rows that are planned for a shard: some 120 MB at 256×256."""


@dataclass(frozen=True)
class Group:
    """Items that are cropped with the same boxes: a real and the fakes aligned with it, or one item alone.

    Attributes:
        lead: the item whose faces are searched.
        aligned: the fakes that are aligned with it frame by frame.
    """

    lead: Item
    aligned: tuple[Item, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        """All of them, the lead first."""
        return (self.lead, *self.aligned)


@dataclass(frozen=True)
class Shard:
    """Groups whose rows go into one file.

    Attributes:
        name: ``<split>-<number>``.
        split: of all its items.
        groups: in the order of their rows.
    """

    name: str
    split: str
    groups: tuple[Group, ...]


def check_items(items: Sequence[Item], source: str) -> None:
    """Refuse items that break the contract of a reader.

    Raises:
        DataError: there are none, two have one name, a label or split is unknown, a pair is no real.
    """
    if not items:
        raise DataError(f"data set {source!r} has no videos here")
    known: dict[str, Item] = {}
    for item in items:
        if item.video in known:
            raise DataError(
                f"two videos are called {printable(item.video)!r}: {known[item.video].path} and {item.path}"
            )
        if item.label not in (0, 1) or item.split not in SPLITS:
            raise DataError(f"{printable(item.video)}: label {item.label!r}, split {item.split!r}")
        if not _is_text(item.video):
            raise DataError(f"'{printable(item.video)}' is not UTF-8: rename the file or folder")
        known[item.video] = item
    for item in items:
        partner = known.get(item.pair or "")
        if partner is not None and (partner.label or not item.label):
            raise DataError(f"{item.video}: its pair {item.pair} must be a real, and it a fake")


def limited(items: Sequence[Item], limit: int) -> list[Item]:
    """At most ``limit`` items of each split and method, evenly spread by name; fakes whose real was taken come first.

    Args:
        items: all items.
        limit: 0 takes all.
    """
    if not limit:
        return list(items)
    kinds: dict[tuple[int, str, str], list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda i: i.video):
        kinds[item.label, item.split, item.method].append(item)
    taken: list[Item] = []
    for (label, _, _), members in sorted(kinds.items()):  # reals first
        reals = {item.video for item in taken}
        paired = [item for item in members if label and item.pair in reals]
        others = [item for item in members if item not in paired]
        chosen = _evenly(paired, limit)
        taken += chosen + _evenly(others, limit - len(chosen))
    return taken


def make_groups(items: Sequence[Item]) -> list[Group]:
    """Groups in a fixed order. A fake whose real is missing or in another split is a group of its own."""
    leads = {item.video: item for item in items}
    aligned: dict[str, list[Item]] = defaultdict(list)
    alone: list[Item] = []
    for item in sorted(items, key=lambda i: i.video):
        partner = leads.get(item.pair or "")
        if partner is not None and partner.split == item.split:
            aligned[partner.video].append(item)
        else:
            alone.append(item)
    groups = [Group(item, tuple(aligned.get(item.video, ()))) for item in alone]
    return sorted(groups, key=lambda g: (SPLITS.index(g.lead.split), g.lead.video))


def make_shards(groups: Sequence[Group], frames: int) -> list[Shard]:
    """Consecutive groups of one split, as many as fill a shard.

    Args:
        groups: as :func:`make_groups` gives them.
        frames: rows planned per item.
    """
    filled: dict[str, list[list[Group]]] = defaultdict(list)
    rows: dict[str, int] = defaultdict(int)
    for group in groups:
        split = group.lead.split
        planned = len(group.items) * frames
        if not filled[split] or rows[split] + planned > SHARD_ROWS:
            filled[split].append([])
            rows[split] = 0
        filled[split][-1].append(group)
        rows[split] += planned
    return [
        Shard(f"{split}-{number:05d}", split, tuple(members))
        for split in SPLITS
        for number, members in enumerate(filled.get(split, []))
    ]


def item_key(item: Item) -> str:
    """A file name for an item: a name may be longer than a file system allows, or not fit into one."""
    return hashlib.sha256(item.video.encode()).hexdigest()[:32]


def fingerprint(items: Sequence[Item]) -> str:
    """SHA-256 (hex) of what items are, without their place on this machine, but with the size of each file."""
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda i: i.video):
        size = item.path.stat().st_size if item.path.is_file() else 0
        row = [item.video, item.label, item.split, item.method, item.identity, item.pair, item.kind, item.cropped,
               item.mask is not None, size, *filter(None, [item.source])]  # fmt: skip
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _evenly(items: list[Item], count: int) -> list[Item]:
    if count <= 0:
        return []
    if len(items) <= count:
        return items
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
