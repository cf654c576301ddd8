"""The documented format: a table with one row per prediction (docs/leaderboard.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dfbench.errors import DataError, UsageError, unknown
from dfbench.publish.imports.predictions import NO_SEED, Predictions, constant
from dfbench.publish.imports.tables import column_names, numbers, read_columns, words

REQUIRED = ("sample", "label", "score")
OPTIONAL = ("trained_on", "tested_on", "video", "identity", "seed")
COLUMNS = (*REQUIRED, *OPTIONAL)
LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "real": 0, "fake": 1}


def read(path: Path, called: Mapping[str, str], test_set: str, scored: bool = True) -> Predictions:
    """The predictions of a file.

    Args:
        path: CSV, Parquet, or npz with one array per column.
        called: Column of the format → what the file calls it.
        test_set: What the test set is called where the file has no column ``tested_on``.
        scored: False for a list of samples, of which no score is read.

    Raises:
        DataError: A column is missing, or a cell is none of the format.
        UsageError: ``called`` names no column of the format.
    """
    there = column_names(path)
    chosen = chosen_columns(path, there, called)
    if not scored:
        chosen.pop("score", None)
    if missing := [name for name in REQUIRED if name not in chosen and (scored or name != "score")]:
        raise DataError(
            f"{path}: no column {missing[0]!r} (it has {', '.join(there[:12])}); "
            f"--column {missing[0]}=NAME says what the file calls it"
        )
    table = one_length(path, read_columns(path, list(dict.fromkeys(chosen.values()))))
    found = {name: table[theirs] for name, theirs in chosen.items()}
    count = len(found["sample"])
    blank = constant("", count)
    return Predictions(
        trained_on=named(found["trained_on"]) if "trained_on" in found else blank,
        tested_on=named(found["tested_on"], path) if "tested_on" in found else constant(test_set, count),
        samples=named(found["sample"], path),
        labels=labels_of(found["label"], path),
        scores=numbers(found["score"], chosen["score"], path) if scored else np.full(count, np.nan),
        videos=named(found["video"]) if "video" in found else blank,
        identities=named(found["identity"]) if "identity" in found else blank,
        seeds=seeds_of(found["seed"], path) if "seed" in found else np.full(count, NO_SEED),
        unread=tuple(name for name in there if name not in chosen.values()),
    )


def chosen_columns(path: Path, there: tuple[str, ...], called: Mapping[str, str]) -> dict[str, str]:
    """Column of the format → that of the file, for those that the file has."""
    for name, theirs in called.items():
        if name not in COLUMNS:
            raise unknown("column of the format (--column)", name, COLUMNS)
        if theirs not in there:
            raise UsageError(
                f"{path}: no column {theirs!r} for --column {name}={theirs}; it has {', '.join(there[:12])}"
            )
    return {name: called.get(name, name) for name in COLUMNS if called.get(name, name) in there}


def one_length(path: Path, table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The table, once its columns are lists of one length, and not empty."""
    for name, values in table.items():
        if values.ndim != 1 or len(values) != len(next(iter(table.values()))):
            raise DataError(f"{path}: {name!r} has the shape {values.shape}; columns are lists of one length")
    if not len(next(iter(table.values()))):
        raise DataError(f"{path}: there is not one prediction")
    return table


def named(values: np.ndarray, path: Path | None = None) -> np.ndarray:
    """Names; with a ``path`` none of them may be empty."""
    found = words(values)
    if path is not None and (empty := np.flatnonzero(found == "")).size:
        raise DataError(f"{path}, row {empty[0] + 1}: a name is empty ({empty.size} such rows)")
    return found


def labels_of(values: np.ndarray, path: Path) -> np.ndarray:
    """0 and 1, or real and fake."""
    found = np.array([LABELS.get(str(value).strip().lower(), -1) for value in values.tolist()], dtype=np.int16)
    if (wrong := np.flatnonzero(found < 0)).size:
        raise DataError(
            f"{path}, row {wrong[0] + 1}: the label {str(values[wrong[0]])[:40]!r} is none of 0, 1, real, fake "
            f"({wrong.size} such rows)"
        )
    return found


def seeds_of(values: np.ndarray, path: Path) -> np.ndarray:
    """Whole numbers from 0."""
    found = numbers(values, "seed", path)
    wrong = np.flatnonzero(~((found >= 0) & (found == np.floor(found)) & (found < 2**53)))
    if wrong.size:
        raise DataError(f"{path}, row {wrong[0] + 1}: a seed is {values[wrong[0]]!s}; it is a whole number from 0")
    return found.astype(np.int64)
