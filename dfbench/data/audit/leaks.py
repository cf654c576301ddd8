"""What is in two splits: people, videos, aligned pairs, and pictures that look the same."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dfbench.data.audit.result import Check, judged
from dfbench.data.leaks import crossings
from dfbench.data.prepare.item import Item

NEAR = 24
"""Bits of 256 in which the hashes of two frames may differ for the frames to count as the same.

Measured on seven videos of FaceForensics++ (``python -m perf.duplicates``): encoded once more with a CRF of 40, or at
half the size, they differ in at most 14; two different videos in at least 118 (the median of three frames)."""

_COMPARED = 1 << 20
"""Pairs of videos that are compared at once: 32 MB."""


def identities(items: Sequence[Item]) -> Check:
    """Nobody may be seen in two splits."""
    name = "identities across splits"
    known = [item for item in items if item.identity is not None]
    if not known:
        return Check(name, "not checked", detail="nobody is named")
    people, splits = np.array([i.identity for i in known], object), np.array([i.split for i in known], object)
    cases = [f"{person} ({' and '.join(where)})" for person, where in crossings(people, splits)]
    return judged(name, cases, f"{len(set(people.tolist()))} people, each in one split", "people in several splits")


def videos(items: Sequence[Item]) -> Check:
    """No video may be in two splits: neither by name, nor by path, nor as a copy of the same bytes."""
    cases: dict[str, None] = {}
    where = np.array([item.split for item in items], object)
    for keys in ([item.video for item in items], [str(item.path.resolve()) for item in items]):
        for key, splits in crossings(np.array(keys, object), where):
            cases[f"{key} ({' and '.join(splits)})"] = None
    for copies in _copies([item for item in items if item.kind != "frames"]):
        if len({item.split for item in copies}) > 1:
            cases[" = ".join(f"{item.video} ({item.split})" for item in copies)] = None
    return judged("videos across splits", cases, f"{len(items)} videos, each in one split", "videos in several splits")


def _copies(items: Sequence[Item]) -> list[list[Item]]:
    """Items whose files have the same content; only files of one size are read."""
    by_size: dict[int, dict[Path, Item]] = {}
    for item in items:
        if item.path.is_file():
            by_size.setdefault(item.path.stat().st_size, {})[item.path.resolve()] = item
    by_content: dict[str, list[Item]] = {}
    for same in by_size.values():
        if len({item.split for item in same.values()}) > 1:
            for item in same.values():
                with item.path.open("rb") as file:
                    by_content.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), []).append(item)
    return [copies for copies in by_content.values() if len(copies) > 1]


def pairs(items: Sequence[Item]) -> Check:
    """A real may not be in another split than a fake of it."""
    name = "pairs across splits"
    split = {item.video: item.split for item in items if not item.label}
    paired = [(item, item.pair) for item in items if item.pair is not None and item.pair in split]
    if not paired:
        return Check(name, "not checked", detail="no fake has a partner here")
    cases = [f"{i.video} ({i.split}) of {real} ({split[real]})" for i, real in paired if split[real] != i.split]
    return judged(
        name, cases, f"{len(paired)} fakes in the split of their real", "fakes in another split than their real"
    )


def near_duplicates(items: Sequence[Item], hashes: Mapping[str, np.ndarray]) -> Check:
    """Videos of two splits that look the same: two of three frames differ in at most :data:`NEAR` bits.

    Args:
        items: all items.
        hashes: ``video`` → bool (3, 256); items without are left out, and so are frames of zeros.
    """
    name = "near-duplicates across splits"
    hashed = [item for item in items if item.video in hashes]
    if not hashed:
        return Check(name, "not checked", detail="no frames were hashed")
    cases = [f"{a.video} ({a.split}) and {b.video} ({b.split})" for a, b in _near(hashed, hashes)]
    return judged(name, cases, f"{len(hashed)} videos compared", "videos look like one of another split")


def _near(items: Sequence[Item], hashes: Mapping[str, np.ndarray]) -> list[tuple[Item, Item]]:
    """Pairs of items from different splits whose frames look the same, in the order of the items."""
    packed = np.packbits(np.stack([hashes[item.video] for item in items]), axis=-1).view(np.uint64)  # (n, 3, 4)
    by_split = {split: np.flatnonzero([i.split == split for i in items]) for split in {i.split for i in items}}
    found: list[tuple[int, int]] = []
    for one, other in itertools.combinations(by_split.values(), 2):
        few, many = sorted((one, other), key=len)
        step = max(1, _COMPARED // len(many))
        for start in range(0, len(few), step):
            rows, columns = np.nonzero(_same(packed[few[start : start + step]], packed[many]))
            found += zip(few[start + rows].tolist(), many[columns].tolist(), strict=True)
    return [(items[a], items[b]) for a, b in sorted((min(pair), max(pair)) for pair in found)]


def _same(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether two of three frames look the same: uint64 (a, 3, 4) and (b, 3, 4) → bool (a, b)."""
    count = np.zeros((len(some), len(others)), np.int8)
    for frame in range(some.shape[1]):
        left, right = some[:, None, frame], others[None, :, frame]
        bits = np.bitwise_count(left ^ right).sum(axis=-1, dtype=np.int16)
        count += (bits <= NEAR) & (left.max(axis=-1) > 0) & (right.max(axis=-1) > 0)
    return count >= 2
