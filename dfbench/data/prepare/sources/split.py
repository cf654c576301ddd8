"""Splits by a written rule, where a data set has no official ones: people are dealt by a hash of their name.

A hash depends on nothing but the name, so a part of a data set is split as the whole is. A swap shows two people. It
belongs to a split if both of them do; otherwise it is left out, so that no face is in two splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from dfbench.data.prepare.item import Item

VAL = TEST = 0.15
"""Shares of people in validation and test sets."""


def position(key: str) -> float:
    """A number in [0, 1) that follows from a name: its SHA-256, read as a fraction."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def by_hash(key: str) -> str:
    """The split of a person: ``test`` for positions below .15, ``val`` below .30, else ``train``."""
    place = position(key)
    return "test" if place < TEST else "val" if place < TEST + VAL else "train"


def dealt(keys: Sequence[str], val: int, test: int) -> dict[str, str]:
    """Splits of a known, short list of people: in the order of their positions, first the test, then the val people."""
    order = sorted(keys, key=position)
    return {key: "test" if i < test else "val" if i < test + val else "train" for i, key in enumerate(order)}


def agreed(splits: Iterable[str]) -> str | None:
    """The split that all have, or None."""
    found = set(splits)
    return found.pop() if len(found) == 1 else None


def with_val(items: Sequence[Item], share: float, people: Callable[[Item], Iterable[str]]) -> tuple[list[Item], int]:
    """Move a share of the training people to the validation set.

    Args:
        items: their ``split`` is ``train`` or ``test``.
        share: of the people, 0 to 1; 0 changes nothing.
        people: everybody who is seen in an item, as names that are hashed.

    Returns:
        the items, without those in which a training and a validation person are seen, and how many these are.
    """
    if not share:
        return list(items), 0
    kept = []
    for item in items:
        sides = {"val" if position(person) < share else "train" for person in people(item)}
        side = item.split if item.split != "train" else agreed(sides)
        if side is not None:
            kept.append(replace(item, split=side))
    return kept, len(items) - len(kept)


def thinned(items: Sequence[Item], fakes_per_real: float | None) -> list[Item]:
    """Keep at most so many fakes for each real of a split, chosen by the hash of their names; None keeps all."""
    if fakes_per_real is None:
        return list(items)
    chosen: set[str] = set()
    for split in sorted({item.split for item in items}):
        here = [item for item in items if item.split == split]
        limit = round(fakes_per_real * sum(item.label == 0 for item in here))
        fakes = sorted((item.video for item in here if item.label), key=position)
        chosen.update(fakes[:limit])
    return [item for item in items if not item.label or item.video in chosen]
