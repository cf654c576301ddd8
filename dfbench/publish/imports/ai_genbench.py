"""Predictions of AI-GenBench: ``window_N/…/predictions_test_epoch=E-step=S.npz``, one file per window of generators.

A file holds the predictions of the model that was trained up to window N, on the pictures of all windows. Crops of one
picture follow each other; their scores are averaged. A window is tested on its generators' pictures, and on the reals
that are paired with them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfbench.errors import DataError
from dfbench.publish.imports.predictions import NO_SEED, Predictions, constant, texts
from dfbench.publish.imports.tables import column_names, read_columns

ARRAYS = (
    "crop_scores", "crop_identifiers", "crop_generator_ids", "identifier", "pairing", "generator_id_to_name",
    "windows_timeline",
)  # fmt: skip
FILE = re.compile(r"predictions_(test|validate)_epoch=\d+-step=(\d+)\.npz")
WINDOW = re.compile(r"window_(\d+)")
REAL = 0
"""The number that stands for no generator."""


def is_one(names: tuple[str, ...]) -> bool:
    """Whether a file with these arrays is one."""
    return {"crop_scores", "windows_timeline"} <= set(names)


def files_in(folder: Path) -> list[Path]:
    """The file of each window below a folder: the last step's, of the test split where there is one."""
    found: dict[int, tuple[bool, int, Path]] = {}
    for path in sorted(folder.rglob("predictions_*.npz")):
        match, window = FILE.fullmatch(path.name), window_of(path)
        if match and window is not None:
            found[window] = max(found.get(window, (False, -1, path)), (match[1] == "test", int(match[2]), path))
    return [path for _, (_, _, path) in sorted(found.items())]


def window_of(path: Path) -> int | None:
    """The window that the model of a file was trained up to, from 0, by the folder that it lies in."""
    numbers = [int(match[1]) for part in path.parts if (match := WINDOW.fullmatch(part))]
    return numbers[-1] if numbers else None


def read(path: Path) -> Predictions:
    """The predictions of a file.

    Raises:
        DataError: It is damaged, of a training on more than two classes, or lies in no folder ``window_N``.
    """
    if lacking := sorted(set(ARRAYS) - set(there := column_names(path))):
        raise DataError(f"{path}: no array {lacking[0]!r}; a file of AI-GenBench has {', '.join(ARRAYS)}")
    if "crop_multiclass_predictions" in there:
        raise DataError(f"{path}: predictions of generators; only P(fake) is read: write it as a table of columns")
    data = read_columns(path, ARRAYS)
    names = [str(name) for name in data["generator_id_to_name"].ravel().tolist()]
    windows = [", ".join(map(str, line)) for line in _lines(data["windows_timeline"])]
    window = window_of(path)
    if window is None or window >= len(windows):
        raise DataError(
            f"{path}: lies in no folder window_0 to window_{len(windows) - 1}, which says the last training"
        )
    try:
        of = {names.index(str(name)): w for w, line in enumerate(_lines(data["windows_timeline"])) for name in line}
    except ValueError as error:
        raise DataError(
            f"{path}: windows_timeline names a generator that generator_id_to_name lacks ({error})"
        ) from None
    pictures, first, place = np.unique(data["crop_identifiers"], return_index=True, return_inverse=True)
    generators = data["crop_generator_ids"].ravel()[first]
    paired = dict(zip(data["identifier"].ravel().tolist(), data["pairing"].ravel().tolist(), strict=True))
    shown = np.where(generators == REAL, [paired.get(name, -1) for name in pictures.tolist()], generators)
    tested = [of.get(number, -1) for number in shown.tolist()]
    if -1 in tested:
        raise DataError(f"{path}: picture {pictures[tested.index(-1)]} belongs to no window, or has no partner")
    return Predictions(
        trained_on=constant(windows[window], len(pictures)),
        tested_on=texts([windows[w] for w in tested]),
        samples=texts([str(name) for name in pictures.tolist()]),
        labels=(generators != REAL).astype(np.int16),
        scores=_means(data["crop_scores"], place.ravel(), len(pictures), path),
        videos=constant("", len(pictures)),
        identities=constant("", len(pictures)),
        seeds=np.full(len(pictures), NO_SEED),
        experiences=tuple(windows),
        unread=tuple(name for name in there if name not in ARRAYS),
    )


def _lines(timeline: np.ndarray) -> Sequence[Sequence[str]]:
    return timeline.reshape(len(timeline), -1).tolist()  # type: ignore[no-any-return]


def _means(scores: np.ndarray, place: np.ndarray, count: int, path: Path) -> np.ndarray:
    """The mean over each picture's crops; of two columns, the second after a softmax, as AI-GenBench does it."""
    values = scores.astype(np.float64).reshape(len(scores), -1)
    if len(values) != len(place) or values.shape[1] > 2:
        raise DataError(f"{path}: crop_scores has the shape {scores.shape}, crop_identifiers {place.shape}")
    crops = np.bincount(place, minlength=count)
    means = np.stack([np.bincount(place, column, count) / crops for column in values.T])
    return means[0] if len(means) == 1 else 1 / (1 + np.exp(means[0] - means[1]))
