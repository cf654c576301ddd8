"""Can reals and fakes be told apart without looking at faces? By headers, by file names, by traces of processing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from dfbench.data.audit.classifier import ENOUGH, LIMIT, Row, cross_validated, independent, single, tells_apart
from dfbench.data.audit.media import Facts
from dfbench.data.audit.result import SHOWN, Check
from dfbench.data.prepare.item import Item

LONGEST_GRAM = 3
"""Characters of a file name that are looked at together."""
NAMES, GRAMS = 500, 300
"""How many names of each class, and how many of their groups of characters, the most frequent ones, are looked at."""


def shortcuts(items: Sequence[Item], facts: Mapping[str, Facts]) -> Check:
    """What all header facts together say of the class."""
    known = [item for item in items if item.video in facts]
    return _judged("shortcuts", "headers", known, lambda item: _of_headers(facts[item.video]))


def traces(items: Sequence[Item], found: Mapping[str, Row]) -> Check:
    """What the borders of the pictures say of the class (:mod:`dfbench.data.traces`).

    Args:
        items: all items.
        found: ``video`` → its features; items without are left out.
    """
    known = [item for item in items if item.video in found]
    if items and not known:
        return Check("traces", "not checked", detail="no frames were decoded, or all are too small")
    return _judged("traces", "the pictures' borders", known, lambda item: found[item.video])


def file_names(items: Sequence[Item], scheme: str | None) -> Check:
    """What the names of the files, without their folders and suffixes, say of the class.

    Args:
        items: all items.
        scheme: how the set's own names state the class, where they do; None where that is not known.
    """
    name = "file names"
    if scheme is None:
        return Check(name, "not checked", detail="the tree that the set was made from says more of them")
    if scheme:
        return Check(name, "not checked", detail=f"the set's own names state the class: {scheme}")
    some = [*_spread(items, 0), *_spread(items, 1)]
    rows = {item.video: _of_name(item) for item in some}
    seen = Counter(feature for row in rows.values() for feature in row)
    kept = {feature for feature, _ in seen.most_common(GRAMS)}
    return _judged(name, "file names", some, lambda item: {k: v for k, v in rows[item.video].items() if k in kept})


def _spread(items: Sequence[Item], label: int) -> list[Item]:
    """At most :data:`NAMES` items of a class, evenly spread over the whole set in the order of their names."""
    own = sorted((item for item in items if item.label == label), key=lambda item: item.video)
    return own[:: max(1, math.ceil(len(own) / NAMES))]


def _judged(name: str, what: str, items: Sequence[Item], row: Callable[[Item], Row]) -> Check:
    """The cross-validated AUC over the whole set and for each method.

    A real and its fakes are in one fold, so that a pair's own size or length tells nothing about its partner.
    """
    rows = {item.video: row(item) for item in items}
    reals = [item for item in items if not item.label]
    measured: dict[str, float] = {}
    bad: dict[str, float] = {}
    methods = sorted({item.method for item in items if item.label})
    for title, chosen in {"all fakes": None, **{method: method for method in methods}}.items():
        part = reals + [item for item in items if item.label and chosen in (None, item.method)]
        labels = np.array([item.label for item in part])
        groups = np.array([item.pair or item.video for item in part])
        auc = cross_validated([rows[item.video] for item in part], labels, groups) if part else None
        if auc is not None:
            measured[title] = auc
            if tells_apart(auc, *independent(labels, groups)):
                bad[title] = auc
    if not measured:
        return Check(name, "not checked", detail=f"fewer than {ENOUGH} reals or {ENOUGH} fakes")
    figures = f"AUC of {what} alone" + (f" {measured['all fakes']:.3f}" if "all fakes" in measured else "")
    if not bad:
        return Check(name, "passed", 0, f"{figures}, at most {max(measured.values()):.3f} for a method")
    examples = [f"{title}: {auc:.3f}" for title, auc in sorted(bad.items(), key=lambda pair: -pair[1])]
    alone = single([rows[item.video] for item in items], np.array([item.label for item in items]))
    examples[SHOWN - 3 :] = [f"{column} alone: {auc:.3f}" for column, auc in alone[:3]]
    return Check(name, "failed", len(bad), f"{figures}: from {LIMIT} on they tell the classes apart", tuple(examples))


def _of_headers(facts: Facts) -> dict[str, float | str]:
    """Words for what is a name, logarithms for what is a size."""
    pixels = facts.width * facts.height * facts.frames
    return {
        "container": facts.container, "codec": facts.codec, "layout": facts.layout, "colours": facts.colours,
        "resolution": f"{facts.width}×{facts.height}",
        "width": math.log(facts.width), "height": math.log(facts.height), "frames": math.log(facts.frames),
        "rate": facts.rate, "bytes": math.log1p(facts.bytes), "bytes a pixel": math.log(max(facts.bytes, 1) / pixels),
        "quantiser": facts.quantiser,
    }  # fmt: skip


def _of_name(item: Item) -> dict[str, float | str]:
    """Groups of characters, the length, and the first number."""
    stem = PurePosixPath(item.video).name
    whole = f"^{stem.lower()}$"
    found: dict[str, float | str] = {
        f"'{whole[i : i + n]}'": 1.0 for n in range(1, LONGEST_GRAM + 1) for i in range(len(whole) - n + 1)
    }
    number = re.search(r"\d{1,9}", stem)
    return found | {"length": float(len(stem)), "number": math.log1p(int(number[0])) if number else -1.0}
