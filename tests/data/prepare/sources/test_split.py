"""Splits by a written rule: stable, disjoint, and the same for a part of a data set as for the whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.split import agreed, by_hash, dealt, position, thinned, with_val

NAMES = st.sets(st.integers(0, 10**6), min_size=1, max_size=8).map(lambda numbers: [str(n) for n in numbers])


def item(name: str, label: int = 0, split: str = "train") -> Item:
    return Item(Path("/") / "x", name, label, split, "real", None, None, None)


def test_the_rule_never_changes() -> None:
    """Splits are published: a change of these values would be another benchmark."""
    assert position("celeb-df/id0") == pytest.approx(0.05746948, abs=1e-8)
    assert [by_hash(f"celeb-df/id{n}") for n in range(6)] == ["test", "val", "val", "train", "train", "train"]


def test_about_seventy_fifteen_and_fifteen_percent_of_the_people() -> None:
    counts = Counter(by_hash(str(n)) for n in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.70, abs=0.01)
    assert counts["val"] / 20_000 == pytest.approx(0.15, abs=0.01)


@given(NAMES, st.integers(0, 8), st.integers(0, 8))
def test_people_are_dealt_in_the_wished_numbers_whatever_their_order(names: list[str], val: int, test: int) -> None:
    val = min(val, len(names))
    test = min(test, len(names) - val)
    splits = dealt(names, val, test)
    assert Counter(splits.values()) == Counter({"val": val, "test": test, "train": len(names) - val - test}) - Counter()
    assert splits == dealt(names[::-1], val, test)


@given(NAMES, st.floats(0, 0.99))
def test_a_validation_set_shares_nobody_with_training(names: list[str], share: float) -> None:
    swaps = [item(f"{a}|{b}") for a in names for b in names]
    people = {swap.video: swap.video.split("|", 1) for swap in swaps}
    kept, left_out = with_val(swaps, share, lambda each: people[each.video])
    assert len(kept) + left_out == len(swaps)
    sides: dict[str, set[str]] = {}
    for swap in kept:
        for person in people[swap.video]:
            sides.setdefault(person, set()).add(swap.split)
    assert all(len(side) == 1 for side in sides.values())
    assert share or not left_out


@given(st.integers(0, 10), st.integers(0, 30), st.floats(0.1, 4))
def test_thinning_keeps_all_reals_and_so_many_fakes(reals: int, fakes: int, ratio: float) -> None:
    items = [item(f"r{n}") for n in range(reals)] + [item(f"f{n}", 1) for n in range(fakes)]
    kept = thinned(items, ratio)
    assert Counter(each.label for each in kept) == Counter({0: reals, 1: min(fakes, round(ratio * reals))}) - Counter()
    assert thinned(items, None) == items
    assert thinned(items[::-1], ratio) == kept[::-1]


def test_people_of_two_splits_agree_on_none() -> None:
    assert agreed(["train", "train"]) == "train"
    assert agreed(["train", "test"]) is None
