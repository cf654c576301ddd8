"""Leak checks: no identity and no video may occur in two splits, so that test sets hold unseen people."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import pyarrow as pa

from dfbench.data.samples import Samples
from dfbench.data.texts import Texts
from dfbench.errors import DataError

_SHOWN = 3
_ADVICE = {
    "sample": "give all experiences the same validation set",
    "identity": "put all samples of one identity into one split, or run with --allow-leaks, which stays on the record",
    "video": "put all pictures of one video into one split, give different videos different names, or run with "
    "--allow-leaks, which stays on the record",
}


def check_leaks(tables: Sequence[Samples], where: str, allowed: list[str] | None = None) -> None:
    """Check that no sample, identity or video occurs in two splits. Empty values are ignored.

    Args:
        tables: samples of one root, taken together.
        where: the name of this root in the error.
        allowed: receives a line for each kind of leak; None: it is an error. A sample in two splits always is one.

    Raises:
        DataError: some do; the message names the first few with their splits, and says how many there are.
    """
    splits = Texts.concatenate([table.texts("split") for table in tables])
    for column, plural in (("sample", "samples"), ("identity", "identities"), ("video", "videos")):
        crossing = crossings(Texts.concatenate([table.texts(column) for table in tables]), splits)
        if crossing:
            named = ", ".join(f"{name!r} ({' and '.join(splits)})" for name, splits in crossing[:_SHOWN])
            more = ", …" if len(crossing) > _SHOWN else ""
            what = f"1 {column} occurs" if len(crossing) == 1 else f"{len(crossing)} {plural} occur"
            problem = f"{what} in more than one split: {named}{more}"
            if allowed is None or column == "sample":
                raise DataError(f"{where}: {problem}; {_ADVICE[column]}")
            allowed.append(f"{PurePath(where).name}: {problem}")


def crossings(values: Texts | np.ndarray, splits: Texts | np.ndarray) -> list[tuple[str, tuple[str, ...]]]:
    """Values that occur in more than one split, with those splits, in alphabetical order."""
    values, splits = Texts.of(values), Texts.of(splits)
    occurs = np.zeros((len(values.values), len(splits.values)), bool)
    occurs[values.codes, splits.codes] = True
    names = splits.values.to_pylist()
    crossing = np.flatnonzero(occurs.sum(axis=1) > 1)
    found = zip(values.values.take(pa.array(crossing)).to_pylist(), occurs[crossing], strict=True)
    return sorted((value, tuple(sorted(itertools.compress(names, within)))) for value, within in found if value)
