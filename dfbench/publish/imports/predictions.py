"""Predictions that somebody made elsewhere, as a format's reader gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NO_SEED = -1
"""Stands for a seed that the file does not state."""
UNTRAINED = "untrained"
"""``trained_on`` of the network before any training."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """One row per prediction; every array has the shape (n,)."""

    trained_on: np.ndarray
    """The experience up to which the model was trained, object array of str; "" where the file does not say."""
    tested_on: np.ndarray
    """The test set, object array of str."""
    samples: np.ndarray
    """Object array of str."""
    labels: np.ndarray
    """int16: 0 real, 1 fake."""
    scores: np.ndarray
    """float64, as in the file (P(fake) or logits); nan where there is a row and no score."""
    videos: np.ndarray
    """Object array of str; "" for a sample of no video."""
    identities: np.ndarray
    """Object array of str; "" where the person is not known."""
    seeds: np.ndarray
    """int64; :data:`NO_SEED` where the file does not say."""
    experiences: tuple[str, ...] = ()
    """The experiences in order, where the format states it."""
    unread: tuple[str, ...] = ()
    """Columns of the file that nothing was taken from."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def concat(cls, parts: Sequence[Predictions]) -> Predictions:
        """The rows of all files, in their order."""

        def column(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        return cls(
            trained_on=column("trained_on"),
            tested_on=column("tested_on"),
            samples=column("samples"),
            labels=column("labels"),
            scores=column("scores"),
            videos=column("videos"),
            identities=column("identities"),
            seeds=column("seeds"),
            experiences=parts[0].experiences,
            unread=tuple(dict.fromkeys(name for part in parts for name in part.unread)),
        )


def texts(values: Sequence[str]) -> np.ndarray:
    """An object array of str."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def constant(value: str, count: int) -> np.ndarray:
    """An object array that holds one text ``count`` times."""
    array = np.empty(count, dtype=object)
    array[:] = value
    return array
