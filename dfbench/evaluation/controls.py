"""Reals against reals: does a detector tell two sets apart in which there is nothing to find?

Of two test sets the last network scored the reals. Neither holds a forgery, so an AUC far from ½ between them says that
the score depends on where a picture comes from. A threshold that fits one set does not fit the other then, and part of
what looks like detection may be recognition of the source.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from dfbench.evaluation.detection import by_video
from dfbench.evaluation.scores import Group, Scores


def between_reals(experiences: Scores, size: int) -> dict[str, Any] | None:
    """The ``between_reals`` of a record: AUCs between the reals of two test sets, by the last network.

    Scores of a video's frames are averaged first, so that the counts are of independent samples. Test sets that share
    a real are not compared.

    Args:
        experiences: predictions on the test sets of the T experiences.
        size: T.

    Returns:
        ``auc``, the largest of max(A, 1 − A) over the pairs of test sets; ``of``, the two experiences, from 0; the
        number of ``reals`` in each; and ``mean``, that of max(A, 1 − A) over the pairs. None where no pair can be
        compared.
    """
    groups = {j: group for j in range(size) if (group := experiences.get(size - 1, j)) is not None}
    reals = {j: scores for j, group in groups.items() if len(scores := _reals(group))}
    names = {j: set(group.samples[group.labels == 0].tolist()) for j, group in groups.items()}
    found = {
        (i, j): _auc(reals[i], reals[j]) for i, j in itertools.combinations(reals, 2) if names[i].isdisjoint(names[j])
    }
    if not found:
        return None
    folded = {pair: max(auc, 1 - auc) for pair, auc in found.items()}
    first, second = max(folded, key=folded.__getitem__)
    return {
        "auc": folded[first, second],
        "of": [first, second],
        "reals": [len(reals[first]), len(reals[second])],
        "mean": float(np.mean([*folded.values()])),
    }


def _reals(group: Group) -> np.ndarray:
    """Scores of the real videos of a test set."""
    labels, scores = by_video(group.labels, group.scores, group.videos)
    return scores[labels == 0]


def _auc(one: np.ndarray, other: np.ndarray) -> float:
    """How often a score of ``other`` is the higher one; ties count half."""
    ordered = np.sort(one)
    below, up_to = (np.searchsorted(ordered, other, side=side) for side in ("left", "right"))
    return float((below + up_to).sum() / (2 * len(one) * len(other)))
