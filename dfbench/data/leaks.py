"""Leak checks: no identity and no video may occur in two splits, so that test sets hold unseen people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfbench.data.samples import Samples
from dfbench.errors import DataError

_SHOWN = 3
_ADVICE = {
    "sample": "give all experiences the same validation set",
    "identity": "put all samples of one identity into one split",
    "video": "put all pictures of one video into one split, or give different videos different names",
}


def check_leaks(tables: Sequence[Samples], where: str) -> None:
    """Check that no sample, identity or video occurs in two splits. Empty values are ignored.

    Args:
        tables: samples of one root, taken together.
        where: the name of this root in the error.

    Raises:
        DataError: some do; the message names the first few with their splits, and says how many there are.
    """
    for column, plural in (("sample", "samples"), ("identity", "identities"), ("video", "videos")):
        values = np.concatenate([getattr(table, column) for table in tables])
        crossing = crossings(values, np.concatenate([table.split for table in tables]))
        if crossing:
            named = ", ".join(f"{name!r} ({' and '.join(splits)})" for name, splits in crossing[:_SHOWN])
            more = ", …" if len(crossing) > _SHOWN else ""
            what = f"1 {column} occurs" if len(crossing) == 1 else f"{len(crossing)} {plural} occur"
            raise DataError(f"{where}: {what} in more than one split: {named}{more}; {_ADVICE[column]}")


def crossings(values: np.ndarray, splits: np.ndarray) -> list[tuple[str, tuple[str, ...]]]:
    """Values that occur in more than one split, with those splits, in alphabetical order."""
    first: dict[str, str] = {}
    crossing: dict[str, set[str]] = {}  # apart, because a set for each of a million values would take seconds
    for value, split in zip(values.tolist(), splits.tolist(), strict=True):
        if value and first.setdefault(value, split) != split:
            crossing.setdefault(value, {first[value]}).add(split)
    return sorted((value, tuple(sorted(in_splits))) for value, in_splits in crossing.items())
