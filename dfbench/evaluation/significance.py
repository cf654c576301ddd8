"""Statistics of leaderboard rows: the interval of a mean over seeds, and the comparison of two rows.

A row is a group of runs that differ only in their seed. Everything here works on the
headline average of each seed and on its replicates (:mod:`.uncertainty`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfbench.errors import DataError
from dfbench.evaluation.uncertainty import LEVEL, interval


@dataclass(frozen=True)
class SeedVariance:
    """The variance of the headline average over seeds, pooled over several rows."""

    value: float
    freedom: int
    """Degrees of freedom: number of seeds minus number of rows."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its spread and interval."""

    mean: float
    spread: float | None
    """Sample standard deviation over seeds; None for one seed."""
    n: int
    """Number of seeds."""
    low: float | None
    high: float | None
    """The 95 % interval; None without replicates."""


@dataclass(frozen=True)
class Sample:
    """The runs of one row."""

    values: Sequence[float]
    """The headline average of each seed."""
    drawn: Sequence[np.ndarray | None]
    """The replicates of each seed, equally many; None for a record without."""
    seeds: SeedVariance | None = None
    """None if the variance over seeds is unknown; then only that over videos counts."""


@dataclass(frozen=True)
class Comparison:
    """Row a minus row b."""

    difference: float
    low: float
    high: float
    p: float
    """Two-sided p-value."""


def pooled(rows: Sequence[Sequence[float]]) -> SeedVariance | None:
    """The variance within rows, as in an analysis of variance; None if no row has two seeds.

    Three seeds alone estimate their variance poorly; ten rows of three do well. This assumes that all rows have the
    same variance, as Dunnett's comparisons with a control do (1955).
    """
    several = [np.asarray(values, dtype=float) for values in rows if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    return SeedVariance(float(sum(((v - v.mean()) ** 2).sum() for v in several) / freedom), freedom)


def estimate(row: Sample, level: float = LEVEL) -> Estimate:
    """A row's mean, with an interval from the variances over videos and over seeds.

    mean ± t · √(V + s²/n): V the variance of the seeds' mean over replicates, s² the pooled variance over seeds, t with
    the degrees of freedom of Welch and Satterthwaite; clipped to [0, 1]. Without s², the percentile interval of the
    replicates, which leaves out the variance of retraining.
    """
    mean, n = float(np.mean(row.values)), len(row.values)
    spread = float(np.std(row.values, ddof=1)) if n > 1 else None
    known = _known(row)
    if known is None:
        return Estimate(mean, spread, n, None, None)
    averaged = np.mean(known, axis=0)
    if row.seeds is None:
        low, high = interval(averaged, level) or (None, None)
        return Estimate(mean, spread, n, low, high)
    half = _half_width(float(np.var(averaged, ddof=1)), [(row.seeds.value / n, row.seeds.freedom)], level)
    return Estimate(mean, spread, n, max(0.0, mean - half), min(1.0, mean + half))


def compare(a: Sample, b: Sample) -> Comparison:
    """Compare row a with row b on the same videos.

    d = mean(a) − mean(b) is held against √(V + s_a²/n_a + s_b²/n_b) under Student's t: V is the variance over
    replicates of the difference of the seeds' means (paired, since replicate *k* has the same videos in both), s² the
    pooled variance over seeds, degrees of freedom after Welch and Satterthwaite. Without a variance over seeds, only
    the trained networks are compared, not their trainings.

    Raises:
        DataError: one of them lacks replicates, or their numbers of replicates differ.
    """
    known_a, known_b = _known(a), _known(b)
    if known_a is None or known_b is None or len(known_a[0]) != len(known_b[0]):
        raise DataError("two rows can only be compared if both have replicates, and equally many")
    difference = float(np.mean(a.values) - np.mean(b.values))
    videos = float(np.var(np.mean(known_a, axis=0) - np.mean(known_b, axis=0), ddof=1))
    if a.seeds is not None and a.seeds == b.seeds:
        parts = [(a.seeds.value * (1 / len(a.values) + 1 / len(b.values)), a.seeds.freedom)]
    else:
        parts = [(r.seeds.value / len(r.values), r.seeds.freedom) for r in (a, b) if r.seeds is not None]
    half = _half_width(videos, parts, LEVEL)
    return Comparison(difference, difference - half, difference + half, _p_value(difference, videos, parts))


def _known(row: Sample) -> list[np.ndarray] | None:
    """The replicates of every seed; None if a seed has none or another number of them."""
    known = [d for d in row.drawn if d is not None]
    return known if len(known) == len(row.values) and len({len(d) for d in known}) == 1 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    result = np.empty(len(order))
    result[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(order) else scaled
    return [float(p) for p in result]


def _freedom(videos: float, parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom by Welch–Satterthwaite; the variance over videos, of which there are many, adds no limit."""
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return (videos + sum(v for v, _ in parts)) ** 2 / below if below > 0 else math.inf


def _half_width(videos: float, parts: Sequence[tuple[float, int]], level: float) -> float:
    from scipy.special import stdtrit

    freedom = min(_freedom(videos, parts), 1e9)
    return float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(videos + sum(v for v, _ in parts))


def _p_value(difference: float, videos: float, parts: Sequence[tuple[float, int]]) -> float:
    from scipy.special import stdtr

    error = math.sqrt(videos + sum(v for v, _ in parts))
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stdtr(min(_freedom(videos, parts), 1e9), -abs(difference) / error))
