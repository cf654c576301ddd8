"""Uncertainty of a run's metrics: a bootstrap over people, or over videos where the people are not known.

A *replicate* is the run's matrix R on test sets whose units were resampled with replacement. A unit is a person with
all their pictures, real and fake, in all test sets; where the person is not known a video, where there is none a
sample. The draw depends on the data alone (:func:`strata`), so replicate *b* of two runs on the same data holds the
same people, and the difference of two runs can be taken replicate by replicate. Videos that several test sets share
are drawn once.

``docs/leaderboard.md`` says what the intervals and marks mean. Efron & Tibshirani 1993, chapters 6 and 13.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfbench.errors import DataError
from dfbench.evaluation import continual, detection
from dfbench.evaluation.scores import Group, Scores

REPLICATES = 1000
LEVEL = 0.95
"""Confidence level of the percentile intervals."""

ANY = -1
"""Class of a unit that may have samples of every class: a person."""

_CHUNK = 2_000_000
"""Weights held at a time (replicates × samples): a few tens of megabytes."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights of the units, shape (b, units), to the metric of each replicate, shape (b,)."""


@dataclass(frozen=True)
class Stratum:
    """Units that occur in the same test sets with the same classes; they are drawn among themselves."""

    units: np.ndarray
    """Indices of the units, int64 (n,)."""
    generator: np.random.PCG64

    def draw(self, count: int) -> np.ndarray:
        """How often each unit is drawn in the next ``count`` replicates, int64 (count, n); rows sum to n.

        Raw bits of PCG64, whose stream NumPy promises not to change, so that a record's intervals can be
        recomputed with any version. The bias of the multiplication is below n / 2³².
        """
        n = len(self.units)
        # ⌊u·n / 2³²⌋ for a uniform 32-bit u: NumPy promises the raw bits, not the algorithm of `integers`.
        high = self.generator.random_raw(count * n) >> np.uint64(32)
        chosen = ((high * np.uint64(n)) >> np.uint64(32)).astype(np.int64).reshape(count, n)
        # One bincount for all replicates: row b counts in the range [b·n, (b+1)·n).
        flat = (chosen + n * np.arange(count)[:, None]).ravel()
        return np.bincount(flat, minlength=count * n).reshape(count, n)


class ResamplingUnits:
    """The resampling units of a run: the people of all test sets (else videos, else samples), numbered.

    Attributes:
        numbers: (kind, key, class) → number of the unit. A video with two classes is two units; a person is one, under
            the class :data:`ANY`.
        members: for each unit the (test set, class) pairs that it occurs in.
        of: test set → unit of each of its samples, int64 (n,), in the order of the group ``first``.
        first: test set → its scores after the first model that was tested on it.

    Raises:
        DataError: the samples of a test set differ from one model to the next.
    """

    def __init__(self, scores: Scores) -> None:
        self.numbers: dict[tuple[str, str, int], int] = {}
        self.members: list[set[tuple[int, int]]] = []
        self.of: dict[int, np.ndarray] = {}
        self.first: dict[int, Group] = {}
        for group in scores:
            if group.tested_on in self.first:
                _check_same(self.first[group.tested_on], group)
                continue
            self.first[group.tested_on] = group
            self.of[group.tested_on] = np.array(
                [
                    self._number(key, (group.tested_on, label))
                    for key, label in zip(_keys(group), group.labels.tolist(), strict=True)
                ],
                dtype=np.int64,
            )

    def _number(self, key: tuple[str, str, int], member: tuple[int, int]) -> int:
        number = self.numbers.setdefault(key, len(self.numbers))
        if number == len(self.members):
            self.members.append(set())
        self.members[number].add(member)
        return number

    @property
    def kind(self) -> str:
        """``identity`` if a person is known, else ``video`` if a sample has a video, else ``sample``."""
        kinds = {kind for kind, _, _ in self.numbers}
        return next(kind for kind in ("identity", "video", "sample") if kind in kinds or kind == "sample")


def strata(units: ResamplingUnits, names: Sequence[str], data: str) -> list[Stratum]:
    """Group the units by test sets and classes that they occur in, each group with its own stream of random bits.

    A stream's seed is the SHA-256 of ``data`` (fingerprint and split), the names of the test sets, the classes and the
    number of replicates, and units are sorted by their keys: nothing of a model enters. People who are alone with
    their test sets and classes are drawn with the others of whom that is true: nobody is held fixed.
    """
    found: dict[tuple[tuple[tuple[int, int], ...], int], list[tuple[str, str]]] = {}
    for (kind, key, label), number in units.numbers.items():
        found.setdefault((tuple(sorted(units.members[number])), label), []).append((kind, key))
    alone = [group for group, keys in found.items() if group[1] == ANY and len(keys) == 1]
    if alone:
        rest = tuple(sorted({member for members, _ in alone for member in members}))
        keys = [key for group in alone for key in found.pop(group)]
        found.setdefault((rest, ANY), []).extend(keys)
    result = []
    for (members, label), keys in sorted(found.items()):
        classes = [str(c) for _, c in members] if label == ANY else [str(label)]
        text = "\0".join(["dfbench.uncertainty.1", data, *(names[j] for j, _ in members), *classes, str(REPLICATES)])
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        numbers = [units.numbers[kind, key, label] for kind, key in sorted(keys)]
        result.append(Stratum(np.array(numbers, dtype=np.int64), np.random.PCG64(seed)))
    return result


def data_key(fingerprint: str, split: str) -> str:
    """The text that, with the names of people and videos, determines the draw."""
    return f"{fingerprint} {split}"


def replicates(
    scores: Scores,
    experiences: Sequence[str],
    metric: str,
    classes: int,
    data: str,
    count: int = REPLICATES,
    rows: int | None = None,
) -> np.ndarray:
    """R of every replicate, float64 (count, rows, T); nan where it was not measured or has a single class.

    Args:
        scores: of the whole run.
        experiences: names of the T experiences in order.
        metric: "auc", "video_auc" or "accuracy", as in :func:`summary.evaluate`.
        classes: number of classes.
        data: the result of :func:`data_key`; equal texts draw equal people and videos.
        count: number of replicates.
        rows: of R, one for each model; T unless given.

    Raises:
        DataError: the samples of a test set differ from one model to the next.
    """
    units = ResamplingUnits(scores)
    drawn = strata(units, experiences, data)
    statistics = {
        (g.trained_on, g.tested_on): _statistic(aligned(g, units.first[g.tested_on]), units, metric, classes)
        for g in scores
        if g.trained_on >= 0
    }
    result = np.full((count, len(experiences) if rows is None else rows, len(experiences)), np.nan)
    for chosen, weights in drawn_weights(units, drawn, count):
        for (i, j), statistic in statistics.items():
            result[chosen, i, j] = statistic(weights)
    return result


def drawn_weights(
    units: ResamplingUnits, drawn: Sequence[Stratum], count: int, results: int = 1
) -> Iterator[tuple[slice, np.ndarray]]:
    """Which replicates, and how often each unit is drawn in them, (b, units); as many at a time as memory holds.

    ``results`` are the numbers that a caller computes for each. What is drawn does not depend on it.
    """
    # Memory is bounded by replicates per chunk × the longest row of weights: units, or samples of a test set.
    widest = max([len(units.numbers), results, *(len(of) for of in units.of.values())])
    for start, stop in _chunks(count, max(1, _CHUNK // widest)):
        weights = np.zeros((stop - start, len(units.numbers)))
        for stratum in drawn:
            weights[:, stratum.units] = stratum.draw(stop - start)
        yield slice(start, stop), weights


def uncertainty(scores: Scores, experiences: Sequence[str], metric: str, classes: int, data: str) -> dict[str, Any]:
    """The ``uncertainty`` of a record: percentile intervals and replicates.

    An interval is [low, high] in the unit of R, to six digits, or None where the figure is undefined. ``replicates``
    is the headline average of each replicate as base64 of little-endian float32 (see :func:`decode`), or None.
    """
    R = replicates(scores, experiences, metric, classes, data)
    scalars = {
        "average": continual.average,
        "forgetting": continual.forgetting,
        "bwt": continual.bwt,
        "learning_accuracy": continual.learning_accuracy,
    }
    values = {name: np.array([function(matrix) for matrix in R]) for name, function in scalars.items()}
    return {
        "method": "percentile bootstrap",
        "unit": ResamplingUnits(scores).kind,
        "metric": metric,
        "count": REPLICATES,
        "level": LEVEL,
        **{name: interval(value) for name, value in values.items()},
        "per_experience": [interval(R[:, -1, j]) for j in range(len(experiences))],
        "replicates": encode(values["average"]),
    }


def interval(values: np.ndarray, level: float = LEVEL) -> list[float] | None:
    """The percentile interval of replicates, or None if one of them is undefined."""
    if not values.size or np.isnan(values).any():
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return [round(float(low), 6), round(float(high), 6)]


def encode(values: np.ndarray) -> str | None:
    """Replicates as base64 of little-endian float32; None if one is undefined."""
    if np.isnan(values).any():
        return None
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def decode(text: str | None) -> np.ndarray | None:
    """The inverse of :func:`encode`, float64 (count,).

    Raises:
        DataError: the text is not such an encoding.
    """
    if text is None:
        return None
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(float)
    except ValueError as error:
        raise DataError(f"the replicates of a record are not base64 of float32 ({error})") from error
    if not np.isfinite(values).all():
        raise DataError("the replicates of a record hold numbers that are not finite")
    return values


def weighted_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC with each sample counted ``weights`` times, shape (b,) for weights (b, n); nan if a class has no weight.

    Equal to :func:`detection.auc` with the samples repeated: reals are sorted once, and the weight below each fake is
    read from a cumulative sum.
    """
    return _auc_statistic(labels == 1, scores)(weights)


def _auc_statistic(fake: np.ndarray, scores: np.ndarray) -> Statistic:
    real = np.flatnonzero(~fake)
    real = real[np.argsort(scores[real], kind="stable")]
    fakes = np.flatnonzero(fake)
    below = np.searchsorted(scores[real], scores[fakes], side="left")
    not_above = np.searchsorted(scores[real], scores[fakes], side="right")

    def statistic(weights: np.ndarray) -> np.ndarray:
        cumulative = np.zeros((len(weights), len(real) + 1))
        np.cumsum(weights[:, real], axis=1, out=cumulative[:, 1:])
        of_fakes = weights[:, fakes]
        won = np.einsum("bf,bf->b", of_fakes, cumulative[:, below] + cumulative[:, not_above])
        pairs = 2 * of_fakes.sum(1) * cumulative[:, -1]
        return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)

    return statistic


def _mean_statistic(correct: np.ndarray) -> Statistic:
    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(1)
        return np.divide(weights @ correct, total, out=np.full(len(weights), np.nan), where=total > 0)

    return statistic


def _statistic(group: Group, units: ResamplingUnits, metric: str, classes: int) -> Statistic:
    """The metric of one pair (trained on, tested on) as a function of the units' weights."""
    of = units.of[group.tested_on]
    values = group.scores.astype(np.float64)
    if metric == "video_auc":
        labels, means = detection.by_video(group.labels, values, group.videos)
        first: dict[str | int, int] = {}  # row of each video's first frame, in the order of by_video's means
        for row, video in enumerate(group.videos.tolist()):
            first.setdefault(video or row, row)
        members, inner = of[list(first.values())], _auc_statistic(labels == 1, means)
    else:
        members = of
        if metric == "auc":
            inner = _auc_statistic(group.labels == 1, values)
        elif classes > 2:
            inner = _mean_statistic((group.predicted == group.labels).astype(float))
        else:
            inner = _mean_statistic(((values > detection.THRESHOLD) == (group.labels == 1)).astype(float))
    return lambda weights: inner(weights[:, members])


def _keys(group: Group) -> Iterator[tuple[str, str, int]]:
    columns = (group.identities, group.samples, group.videos, group.labels)
    for person, sample, video, label in zip(*(column.tolist() for column in columns), strict=True):
        if person:
            yield "identity", person, ANY
        else:
            yield ("video", video, label) if video else ("sample", sample, label)


def _check_same(first: Group, group: Group) -> None:
    if set(zip(first.samples, first.labels, strict=True)) != set(zip(group.samples, group.labels, strict=True)):
        raise DataError(
            f"the scores on experience {group.tested_on} after experience {group.trained_on} are of other samples "
            f"than those after experience {first.trained_on}: one test set must be scored whole each time"
        )


def aligned(group: Group, first: Group) -> Group:
    """The group, with its rows in the order of ``first``, which has the same samples."""
    if np.array_equal(group.samples, first.samples):
        return group
    at = {name: row for row, name in enumerate(group.samples.tolist())}
    rows = np.array([at[name] for name in first.samples.tolist()])
    columns = (group.samples, group.videos, group.labels, group.scores, group.predicted, group.identities)
    return Group(group.trained_on, group.tested_on, *(column[rows] for column in columns))


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    yield from ((start, min(start + size, count)) for start in range(0, count, size))
