"""Score files of deepfake-workbench: ``NAME.scores.csv`` with one row per video, and ``NAME.scores.meta.json``.

Its columns: dataset, key, compression, label, score (P(fake)), status (``ok``, or why there is no score).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dfbench.documents import read_json
from dfbench.errors import DataError
from dfbench.publish.imports.columns import labels_of, named, one_length
from dfbench.publish.imports.predictions import NO_SEED, Predictions, constant, texts
from dfbench.publish.imports.tables import column_names, numbers, read_columns

COLUMNS = ("dataset", "key", "compression", "label", "score", "status")
END = ".scores.csv"


def is_one(names: tuple[str, ...]) -> bool:
    """Whether a file with these columns is one."""
    return set(COLUMNS) <= set(names)


def read(path: Path) -> Predictions:
    """The predictions of a file: a test set per data set and compression, one score per video.

    Raises:
        DataError: A cell is none of the format, or a video without the status ``ok`` has a score.
    """
    table = one_length(path, read_columns(path, COLUMNS))
    sets, kinds, keys = named(table["dataset"], path), named(table["compression"]), named(table["key"], path)
    scores = numbers(table["score"], "score", path)
    status = named(table["status"])
    if (odd := np.flatnonzero((status == "ok") == np.isnan(scores))).size:
        raise DataError(f"{path}, row {odd[0] + 1}: the status is {status[odd[0]]!r}, the score {scores[odd[0]]}")
    tested = texts([f"{name} {kind}" if kind else name for name, kind in zip(sets, kinds, strict=True)])
    return Predictions(
        trained_on=constant("", len(keys)),
        tested_on=tested,
        samples=keys,
        labels=labels_of(table["label"], path),
        scores=scores,
        videos=texts([f"{name}/{key}" for name, key in zip(tested, keys, strict=True)]),
        identities=constant("", len(keys)),
        seeds=np.full(len(keys), _seed(path)),
        unread=tuple(name for name in column_names(path) if name not in COLUMNS),
    )


def _seed(path: Path) -> int:
    """The seed of the file next to it, where there is one."""
    about = path.with_name(path.name.removesuffix(END) + ".scores.meta.json")
    document: Any = read_json(about) if path.name.endswith(END) and about.is_file() else {}
    seed = document.get("seed") if isinstance(document, dict) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**53 else NO_SEED
