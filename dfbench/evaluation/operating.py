"""Operating points: what becomes of a threshold that was fixed on validation reals and is carried on.

After experience *i* an operator fixes the threshold at which 1 % of the validation reals seen so far are called fake.
The detector is then trained on; the threshold stays. Every rate here is of the network after experience *k*: the mean
over the test sets of the experiences up to *k* that were scored then, each counting the same. A sample is called fake
when its score is *above* the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dfbench.evaluation import continual
from dfbench.evaluation.detection import THRESHOLD
from dfbench.evaluation.scores import Group, Scores
from dfbench.evaluation.uncertainty import LEVEL, REPLICATES, ResamplingUnits, aligned, drawn_weights, interval, strata

FPR = 0.01
"""The false-positive rate that a threshold is fixed for."""

NEW_REALS = (20, 100)
"""How many validation reals of the newest experience a threshold is fixed on again."""

DRAWS = 100
"""Random choices of these reals; the rates are means over them."""


class Rates(NamedTuple):
    """Of several replicates, float64, nan where undefined; each [.., i, k] for k ≥ i."""

    thresholds: np.ndarray
    """Fixed after experience i, (b, T)."""
    fpr: np.ndarray
    """(b, T + 1, T); the last line is that of the threshold .5."""
    tpr: np.ndarray
    """(b, T + 1, T)."""


class _Falling:
    """Scores of one class in a test set, from the highest down, with the weight of those above any threshold."""

    def __init__(self, scores: np.ndarray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.negative = -scores[self.order]

    def share_above(self, thresholds: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Share of the weight (b, n) above thresholds (b, m); weights (1, n) serve all lines; nan for no weight."""
        cumulative = np.zeros((len(weights), len(self.order) + 1))
        np.cumsum(weights[:, self.order], axis=1, out=cumulative[:, 1:])
        above = np.searchsorted(self.negative, -thresholds, side="left")
        found = np.take_along_axis(np.broadcast_to(cumulative, (len(above), cumulative.shape[1])), above, axis=1)
        total = np.broadcast_to(cumulative[:, -1:], found.shape)
        missing = np.isnan(thresholds) | (total <= 0)
        return np.where(missing, np.nan, found / np.where(total > 0, total, 1))

    def threshold(self, weights: np.ndarray, fpr: float = FPR) -> np.ndarray:
        """The lowest score that no more than ``fpr`` of the weight (b, n) lies above, (b,); nan for no weight."""
        cumulative = np.cumsum(weights[:, self.order], axis=1)
        allowed = fpr * cumulative[:, -1:] * (1 + 1e-9)
        first = (cumulative > allowed).argmax(1) if cumulative.shape[1] else np.zeros(len(weights), dtype=int)
        found = -self.negative[first] if len(self.negative) else np.full(len(weights), np.nan)
        return np.where(cumulative[:, -1] > 0, found, np.nan) if cumulative.shape[1] else found


def threshold_at(reals: np.ndarray, fpr: float = FPR) -> float:
    """The lowest score of some reals, (n,), that no more than ``fpr`` of them lie above; nan for none.

    Of fewer than 1 / ``fpr`` reals it is the highest.
    """
    return float(_Falling(np.asarray(reals, dtype=np.float64)).threshold(np.ones((1, len(reals))), fpr)[0])


def operating(
    tests: Scores, validation: Scores, names: Sequence[str], data: str, count: int = REPLICATES
) -> dict[str, Any] | None:
    """The ``operating`` of a record, or None where no validation real was scored.

    Args:
        tests: predictions on the test sets of the T experiences.
        validation: predictions on the validation reals; ``tested_on`` is their experience.
        names: of the experiences, in order.
        data: see :func:`dfbench.evaluation.uncertainty.data_key`.
        count: replicates of the bootstrap, which resamples people in both.

    Returns:
        ``fpr``, the aim; ``thresholds`` (T values) and the ``reals`` that each was fixed on; ``false_positive_rate``
        and ``true_positive_rate``: T lines, one per threshold, of T values, one per network, None where it is older
        than the threshold or a set was not scored; ``at_half``, the same rates at .5 (T values); ``recalibrated``:
        number of new reals → rates (T values) of thresholds fixed again on so many validation reals of the experience
        that has just been learned; ``drift``: mean of |false-positive rate − aim| over the networks that are newer
        than their threshold; ``carried_tpr``: mean true-positive rate over the same; ``uncertainty`` of these two.

    Raises:
        DataError: the samples of a set differ from one model to the next.
    """
    if not len(validation):
        return None
    size = len(names)
    shifted = [replace(group, tested_on=size + group.tested_on) for group in validation]
    whole = Scores([*tests, *shifted])
    units = ResamplingUnits(whole)
    rates_of = _rates_of(tests, validation, units, size)
    point = rates_of(np.ones((1, len(units.numbers))))
    drawn = strata(units, [*names, *(f"{name} (validation)" for name in names)], data)
    replicates = np.full((2, count), np.nan)
    for chosen, weights in drawn_weights(units, drawn, count, results=2 * size * (size + 1)):
        found = rates_of(weights)
        replicates[:, chosen] = _drift(found.fpr), _carried(found.tpr)
    return {
        "fpr": FPR,
        "thresholds": _values(point.thresholds[0]),
        "reals": [sum(len(g) for g in validation if g.trained_on == i and g.tested_on <= i) for i in range(size)],
        "false_positive_rate": [_values(row) for row in point.fpr[0, :-1]],
        "true_positive_rate": [_values(row) for row in point.tpr[0, :-1]],
        "at_half": {
            "false_positive_rate": _values(point.fpr[0, -1]),
            "true_positive_rate": _values(point.tpr[0, -1]),
        },
        "recalibrated": {str(n): _recalibrated(tests, validation, n, size) for n in NEW_REALS},
        "drift": continual.defined(_drift(point.fpr)[0]),
        "carried_tpr": continual.defined(_carried(point.tpr)[0]),
        "uncertainty": {
            "unit": units.kind,
            "count": count,
            "level": LEVEL,
            "drift": interval(replicates[0]),
            "carried_tpr": interval(replicates[1]),
        },
    }


def _rates_of(tests: Scores, validation: Scores, units: ResamplingUnits, size: int) -> Callable[[np.ndarray], Rates]:
    """The rates as a function of the units' weights, (b, units)."""
    pools: dict[int, tuple[_Falling, np.ndarray]] = {}
    for i in range(size):
        places = [g.tested_on for g in validation if g.trained_on == i and g.tested_on <= i]
        if places:
            pooled = [_scores(validation.get(i, j), units.first[size + j]) for j in places]
            pools[i] = _Falling(np.concatenate(pooled)), np.concatenate([units.of[size + j] for j in places])
    classes: dict[tuple[int, int], list[tuple[_Falling, np.ndarray]]] = {}
    for g in tests:
        if 0 <= g.tested_on <= g.trained_on:
            first, of = units.first[g.tested_on], units.of[g.tested_on]
            scores, fake = _scores(g, first), first.labels == 1
            classes[g.trained_on, g.tested_on] = [(_Falling(scores[c]), of[c]) for c in (~fake, fake)]

    def rates(weights: np.ndarray) -> Rates:
        b = len(weights)
        thresholds = np.full((b, size + 1), np.nan)
        thresholds[:, size] = THRESHOLD
        for i, (falling, of) in pools.items():
            thresholds[:, i] = falling.threshold(weights[:, of])
        found = np.full((2, b, size + 1, size), np.nan)
        for k in range(size):
            lines = [*range(k + 1), size]
            sets = [classes[k, j] for j in range(k + 1) if (k, j) in classes]
            for c in (0, 1) if sets else ():
                above = [
                    falling.share_above(thresholds[:, lines], weights[:, of]) for falling, of in (s[c] for s in sets)
                ]
                found[c][:, lines, k] = np.mean(above, axis=0)
        return Rates(thresholds[:, :size], found[0], found[1])

    return rates


def _recalibrated(tests: Scores, validation: Scores, count: int, size: int) -> dict[str, list[float | None]]:
    """Rates after each experience, of thresholds fixed on ``count`` of its validation reals, scored by the new network.

    They are drawn without repetition, :data:`DRAWS` times; None where there are not so many.
    """
    found = np.full((2, size), np.nan)
    for k in range(size):
        new = validation.get(k, k)
        groups = [group for j in range(k + 1) if (group := tests.get(k, j)) is not None]
        if new is None or len(new) < count or not groups:
            continue
        keys = np.random.PCG64(k).random_raw(DRAWS * len(new)).reshape(DRAWS, len(new))
        chosen = new.scores.astype(np.float64)[np.argsort(keys, axis=1)[:, :count]]
        thresholds = np.array([threshold_at(reals) for reals in chosen])[:, None]
        for c in (0, 1):
            shares = []
            for group in groups:
                scores = group.scores[group.labels == c].astype(np.float64)
                shares.append(_Falling(scores).share_above(thresholds, np.ones((1, len(scores)))).mean())
            found[c, k] = np.mean(shares)
    return {"false_positive_rate": _values(found[0]), "true_positive_rate": _values(found[1])}


def _drift(fpr: np.ndarray) -> np.ndarray:
    """Mean of |rate − aim| over networks newer than their threshold, (b,); nan where one is undefined."""
    return _over_later(np.abs(fpr[:, :-1] - FPR))


def _carried(tpr: np.ndarray) -> np.ndarray:
    return _over_later(tpr[:, :-1])


def _over_later(values: np.ndarray) -> np.ndarray:
    i, k = np.triu_indices(values.shape[1], 1)
    return values[:, i, k].mean(1) if len(i) else np.full(len(values), math.nan)


def _scores(group: Group | None, first: Group) -> np.ndarray:
    """The scores of a group in the order of ``first``, float64."""
    assert group is not None
    return aligned(group, first).scores.astype(np.float64)


def _values(row: np.ndarray) -> list[float | None]:
    return [continual.defined(value) for value in row.tolist()]
