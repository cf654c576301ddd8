"""Generalisation and robustness: what a run scores next to its experiences, and the figures that follow.

*Generalisation* is the headline metric on sets that are tested and never trained on, before any training and after
each. *Robustness* is the same on degraded copies of the experiences' test sets after the last training. *Operating
points* carry thresholds on that were fixed on validation reals (:mod:`dfbench.evaluation.operating`). None of these
enters the matrix R, nor any metric of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from dfbench.errors import DataError
from dfbench.evaluation import continual
from dfbench.evaluation.controls import between_reals
from dfbench.evaluation.operating import operating
from dfbench.evaluation.scores import UNTRAINED, Group, Scores
from dfbench.evaluation.summary import TWO_CLASS_METRICS, evaluate, final_metrics, group_metrics
from dfbench.evaluation.uncertainty import LEVEL, REPLICATES, ResamplingUnits, interval, replicates, uncertainty


class Ways(Protocol):
    """How test sets are degraded: each in each kind and level."""

    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def levels(self) -> Sequence[int]: ...


class Copy(NamedTuple):
    """A degraded copy of an experience's test set."""

    of: str
    """The experience."""
    kind: str
    level: int

    @property
    def name(self) -> str:
        """``face_swap jpeg 3``."""
        return f"{self.of} {self.kind} {self.level}"


class Tested(NamedTuple):
    """What a run scores, in the order of ``tested_on``."""

    experiences: Sequence[str]
    unseen: Sequence[str] = ()
    copies: Sequence[Copy] = ()


class Parts(NamedTuple):
    """The scores of a run by what was tested; in each part ``tested_on`` counts from 0."""

    experiences: Scores
    unseen: Scores
    copies: Scores
    validation: Scores
    """On validation reals, by experience; empty in runs from before they were scored, or where there are none."""


def tested_of(experiences: Sequence[str], unseen: Sequence[str], perturb: Ways | None) -> Tested:
    """What a run on these sets scores: with perturbations a copy per experience, kind and level, in this order."""
    ways = [] if perturb is None else itertools.product(experiences, perturb.kinds, perturb.levels)
    return Tested(experiences, unseen, [Copy(*each) for each in ways])


def figures(parts: Parts, tested: Tested, metric: str, classes: int, data: str) -> dict[str, Any]:
    """All of a record that follows from its scores, by the names of its fields.

    Args:
        parts: the scores.
        tested: what they are on.
        metric: the headline.
        classes: number of classes.
        data: see :func:`dfbench.evaluation.uncertainty.data_key`.

    Raises:
        UsageError, DataError: as :func:`~dfbench.evaluation.summary.evaluate` and :func:`robustness`.
    """
    names = list(tested.experiences)
    found = evaluate(parts.experiences, names, metric, classes)
    found |= {"uncertainty": uncertainty(parts.experiences, names, metric, classes, data)}
    found |= {"generalisation": None, "robustness": None, "operating": None}
    found |= {"between_reals": between_reals(parts.experiences, len(names)) if classes == 2 else None}
    if tested.unseen:
        new = generalisation(parts.unseen, tested.unseen, len(names), metric, classes, data)
        found |= {"generalisation": new}
        found["metrics"]["generalisation"] = mean_of(new["matrix"][metric][-1])
    if tested.copies:
        new = robustness(parts.copies, tested.copies, parts.experiences, names, metric, classes, data)
        found |= {"robustness": new}
        found["metrics"]["robustness"] = mean_of([v for row in new["by_kind"][metric].values() for v in row.values()])
    carried = operating(parts.experiences, parts.validation, names, data)
    if carried is not None:
        found |= {"operating": carried}
        found["metrics"] |= {"fpr_drift": carried["drift"], "carried_tpr": carried["carried_tpr"]}
    return found


def parts_of(scores: Scores, tested: Tested) -> Parts:
    """The scores of a run by what was tested.

    Args:
        scores: of the whole run.
        tested: T experiences; unseen sets, each scored by every model that the experiences are; degraded copies, each
            scored by the last model. Validation reals follow them, scored by models that have learned them.

    Raises:
        DataError: the scores are of another stream, or one of these is missing.
    """
    experiences, unseen, copies = map(len, tested)
    ends = np.cumsum([experiences, unseen, copies, experiences]).tolist()
    groups: list[list[Group]] = [[], [], [], []]
    for group in scores:
        place = next((i for i, end in enumerate(ends) if group.tested_on < end), None)
        if place is None:
            raise DataError(
                f"scores on test set {group.tested_on}: the stream has {experiences} experiences, {unseen} unseen sets "
                f"and {copies} degraded copies, and as many validation sets as experiences, counted from 0"
            )
        groups[place].append(replace(group, tested_on=group.tested_on - (0, *ends)[place]))
    found = Parts(*map(Scores, groups))
    models = sorted({trained_on for trained_on, _ in found.experiences.pairs})
    for what, part, count, wanted in (
        ("unseen set", found.unseen, unseen, models),
        ("degraded copy", found.copies, copies, [experiences - 1]),
    ):
        if odd := sorted({*part.pairs} ^ {(i, j) for i in wanted for j in range(count)}):
            raise DataError(
                f"scores on {what} {odd[0][1]} after experience {odd[0][0]} are missing, or should not be there"
            )
    for group in found.validation:
        if group.trained_on not in models or not 0 <= group.tested_on <= group.trained_on or group.labels.any():
            raise DataError(
                f"scores on validation set {group.tested_on} after experience {group.trained_on}: they are of reals, "
                "by models that have learned the experience"
            )
    return found


def generalisation(
    unseen: Scores, names: Sequence[str], experiences: int, metric: str, classes: int, data: str
) -> dict[str, Any]:
    """The ``generalisation`` of a record; all figures are fractions, None is undefined or was not measured.

    Args:
        unseen: the part of :func:`parts_of`.
        names: of the U unseen sets, in order.
        experiences: T.
        metric: the headline.
        classes: number of classes.
        data: see :func:`dfbench.evaluation.uncertainty.data_key`.

    Returns:
        ``untrained`` (metric → U values), ``matrix`` (metric → T rows of U), ``per_set`` (the final model's metrics on
        each set, with n) and ``uncertainty``, a bootstrap of the final model's values over people.
    """
    rows = {name: np.full((experiences + 1, len(names)), np.nan) for name in metrics_of(classes)}
    for group in unseen:  # row −1, the last, is the untrained network
        for name, value in group_metrics(group, classes).items():
            rows[name][group.trained_on, group.tested_on] = value
    final = {group.tested_on: group for group in unseen if group.trained_on == experiences - 1}
    return {
        "untrained": {name: _defined(values[UNTRAINED]) for name, values in rows.items()},
        "matrix": {name: [_defined(row) for row in values[:-1]] for name, values in rows.items()},
        "per_set": [{"set": name} | final_metrics(final.get(j), classes) for j, name in enumerate(names)],
        "uncertainty": _uncertainty(final.values(), names, metric, classes, data, each=True),
    }


def robustness(
    copies: Scores, of: Sequence[Copy], experiences: Scores, names: Sequence[str], metric: str, classes: int, data: str
) -> dict[str, Any]:
    """The ``robustness`` of a record; all figures are fractions, None is undefined.

    Args:
        copies: the part of :func:`parts_of`.
        of: what each copy is, in order.
        experiences: the part of :func:`parts_of`.
        names: of the T experiences.
        metric: the headline.
        classes: number of classes.
        data: see :func:`dfbench.evaluation.uncertainty.data_key`.

    Returns:
        ``by_kind`` (metric → kind → level → mean over the experiences), ``clean`` (metric → mean over the experiences
        of the same samples undegraded) and ``uncertainty``, a bootstrap of the mean over people. The figures of a copy
        follow from the scores: ``group_metrics(copies.get(T - 1, number of the copy), classes)``.

    Raises:
        DataError: a copy holds other samples than its experience, or than the other copies of it.
    """
    figures, clean = [], {}
    for group, copy in zip(copies, of, strict=True):
        if copy.of not in clean:
            clean[copy.of] = _same_samples(experiences.get(len(names) - 1, names.index(copy.of)), group, copy)
        if not np.array_equal(clean[copy.of].samples, group.samples):
            raise DataError(f"scores on {copy.name}: other samples than in the other copies of {copy.of!r}")
        figures.append(group_metrics(group, classes))
    undegraded = [group_metrics(group, classes) for group in clean.values()]

    def mean(name: str, chosen: Callable[[Copy], bool]) -> float | None:
        return _mean([found[name] for found, copy in zip(figures, of, strict=True) if chosen(copy)])

    kinds, levels = dict.fromkeys(copy.kind for copy in of), dict.fromkeys(copy.level for copy in of)
    return {
        "by_kind": {
            name: {
                kind: {
                    str(level): mean(name, lambda c, kind=kind, level=level: (c.kind, c.level) == (kind, level))  # type: ignore[misc]
                    for level in levels
                }
                for kind in kinds
            }
            for name in metrics_of(classes)
        },
        "clean": {name: _mean([found[name] for found in undegraded]) for name in metrics_of(classes)},
        "uncertainty": _uncertainty(copies, [copy.name for copy in of], metric, classes, data),
    }


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is undefined."""
    return None if None in values else _mean([value for value in values if value is not None])


def metrics_of(classes: int) -> tuple[str, ...]:
    """The metrics that a matrix is kept of."""
    return TWO_CLASS_METRICS if classes == 2 else ("accuracy",)


def _uncertainty(
    groups: Any, names: Sequence[str], metric: str, classes: int, data: str, *, each: bool = False
) -> dict[str, Any]:
    """Percentile intervals of the mean over sets that one model was tested on, and of each set if asked for."""
    scores = Scores(replace(group, trained_on=0) for group in groups)
    drawn = replicates(scores, names, metric, classes, data, rows=1)[:, 0]
    return {
        "unit": ResamplingUnits(scores).kind,
        "metric": metric,
        "count": REPLICATES,
        "level": LEVEL,
        "average": interval(drawn.mean(1)),
    } | ({"per_set": [interval(drawn[:, j]) for j in range(len(names))]} if each else {})


def _same_samples(whole: Group | None, part: Group, copy: Copy) -> Group:
    """The rows of an experience's test set that a copy of it has, in its order."""
    at = {} if whole is None else {name: row for row, name in enumerate(whole.samples.tolist())}
    rows = [at.get(name, -1) for name in part.samples.tolist()]
    if whole is None or -1 in rows or not np.array_equal(whole.labels[rows], part.labels):
        raise DataError(f"scores on {copy.name}: its samples are not those of experience {copy.of!r}")
    columns = ("samples", "videos", "labels", "scores", "predicted", "identities")
    return replace(whole, **{name: getattr(whole, name)[rows] for name in columns})


def _mean(values: Sequence[float]) -> float | None:
    return continual.defined(float(np.mean(values))) if values else None


def _defined(row: np.ndarray) -> list[float | None]:
    return [continual.defined(value) for value in row.tolist()]
