"""Statistics of leaderboard rows: the interval of a mean over seeds, and the comparison of two rows.

A row is a group of runs that differ only in their seed. Everything here works on the
headline average of each seed and on its replicates (:mod:`.uncertainty`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dfbench.errors import DataError
from dfbench.evaluation.uncertainty import LEVEL, interval

_TAU = np.linspace(0.2, 4.0, 16)
"""Standard deviations of log σ² over rows that are considered, all alike before the rows are seen."""
_CENTRE = np.linspace(-6.0, 6.0, 33)
"""log s₀² around the mean of the rows' log s²: it may be anything."""
_LEAST = 1e-4
"""The smallest variance over seeds, in those of the middle row."""
_SMALLEST = -30.0
"""log of the smallest p."""


@dataclass(frozen=True)
class SeedVariance:
    """The variance of a row's headline average over seeds, as far as it is known."""

    value: float
    freedom: float
    """Degrees of freedom; σ² is about ``value`` · ``freedom`` / χ²(``freedom``)."""


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
    """None if the variance over seeds is unknown; then only that over the test data counts."""


@dataclass(frozen=True)
class Comparison:
    """Row a minus row b."""

    difference: float
    low: float
    high: float
    p: float
    """Two-sided p-value."""


def moderated(rows: Sequence[Sequence[float]], alone: Sequence[Sequence[float]] = ()) -> list[SeedVariance | None]:
    """Each row's variance over seeds, shrunk towards those of the others; None for all if no row has two seeds.

    Three seeds alone estimate their variance poorly, and one pooled variance is wrong where rows vary unalike. So the
    variances σ² are taken to come from one distribution, 1/σ² ~ χ²(ν₀) / (ν₀ s₀²), as in limma (Smyth 2004,
    doi 10.2202/1544-6115.1027, section 3): given ν₀ and s₀², a row of variance s² with d = n − 1 degrees of freedom has
    (ν₀ s₀² + d s²) / (ν₀ + d) with ν₀ + d. limma fits ν₀ and s₀² once; a table of few rows says too little for that, so
    here they are averaged over, weighted by the likelihood of the rows' variances. A row of one seed gets what the
    others say of a further row.

    Args:
        rows: the values of each row's seeds.
        alone: those of further rows. Each is judged by ``rows`` and by itself, and no other row by it.

    Returns:
        For each row the scaled inverse χ² with the posterior's mean and variance of log σ²; those of ``alone`` last.
    """
    variances, freedom = _variances(rows)
    several = freedom > 0
    if not several.any():
        return [*[None] * len(rows), *(moderated([each])[0] for each in alone)]
    if not (variances > 0).any():
        plain = SeedVariance(0.0, float(freedom.sum()))
        return [*[plain] * len(rows), *(moderated([*rows, each])[-1] for each in alone)]
    least = _LEAST * np.median(variances[variances > 0])  # two equal seeds are no proof of a variance of 0
    variances = np.where(several, np.maximum(variances, least), 0.0)
    # Axes: ν₀ (by τ, the spread of log σ² over rows), log s₀², rows.
    prior = np.array([_chi_freedom(tau**2) for tau in _TAU])[:, None, None]
    centre = (np.log(variances[several]).mean() + _CENTRE)[None, :, None]
    known = _likelihood(variances[several], freedom[several], prior, centre).sum(-1, keepdims=True)
    found = _posterior(variances, freedom, prior, centre, known)
    if alone:
        variances, freedom = _variances(alone)
        variances = np.where(freedom > 0, np.maximum(variances, least), 0.0)
        own = _likelihood(np.where(freedom > 0, variances, 1.0), np.maximum(freedom, 1.0), prior, centre)
        found += _posterior(variances, freedom, prior, centre, known + np.where(freedom > 0, own, 0.0))
    return [*found]


def _variances(rows: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """(s², d) of each row; both 0 for one seed."""
    freedom = np.array([max(len(values) - 1, 0) for values in rows], dtype=float)
    return np.array([np.var(values, ddof=1) if len(values) > 1 else 0.0 for values in rows]), freedom


def _likelihood(s2: np.ndarray, d: np.ndarray, prior: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """log p(s²) of each row for each ν₀ and s₀²: s² / s₀² ~ F(d, ν₀)."""
    from scipy.special import gammaln

    log_f = np.log(s2) - centre
    found: np.ndarray = (
        gammaln((d + prior) / 2) - gammaln(d / 2) - gammaln(prior / 2)
        + d / 2 * (np.log(d / prior) + log_f) - (d + prior) / 2 * np.log1p(d / prior * np.exp(log_f))
    )  # fmt: skip
    return found


def _posterior(
    s2: np.ndarray, d: np.ndarray, prior: np.ndarray, centre: np.ndarray, likelihood: np.ndarray
) -> list[SeedVariance]:
    """Each row's variance, averaged over ν₀ and s₀² by their likelihood: one for all rows, or one per row."""
    from scipy.special import digamma, polygamma

    weight = np.exp(likelihood - likelihood.max((0, 1)))
    weight /= weight.sum((0, 1))
    total = prior + d
    log_mean = np.log((prior * np.exp(centre) + d * s2) / 2) - digamma(total / 2)
    mean = (weight * log_mean).sum((0, 1))
    spread = (weight * (polygamma(1, total / 2) + log_mean**2)).sum((0, 1)) - mean**2
    found = []
    for log_value, variance in zip(mean.tolist(), spread.tolist(), strict=True):
        nu = _chi_freedom(variance)
        found.append(SeedVariance(2 * math.exp(log_value + float(digamma(nu / 2))) / nu, nu))
    return found


@functools.cache
def _chi_freedom(variance: float) -> float:
    """ν for which log χ²(ν) has this variance: trigamma(ν/2) = variance."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    return float(2 * np.exp(brentq(lambda x: np.log(polygamma(1, np.exp(x))) - np.log(variance), -15.0, 25.0)))


def estimate(row: Sample, level: float = LEVEL) -> Estimate:
    """A row's mean, with an interval from the variances over people (or videos) and over seeds.

    mean ± √(V z² + s²/n · t²): V the variance of the seeds' mean over replicates, s² the row's variance over seeds
    (:func:`moderated`), quantiles as in :func:`compare`; clipped to [0, 1]. Without s², the percentile interval of the
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
    """Compare row a with row b on the same test data.

    d = mean(a) − mean(b) ± √(V z² + s_a²/n_a · t_a² + s_b²/n_b · t_b²): V is the variance over replicates of the
    difference of the seeds' means (paired, since replicate *k* has the same people in both), s² each row's own variance
    over seeds (:func:`moderated`), t its quantile of Student's t with its own degrees of freedom, z the normal one.
    Such an interval covers at least as often as it says (Banerjee 1961, doi 10.1093/biomet/48.1-2.219). Welch and
    Satterthwaite's degrees of freedom, which add up those of both rows, hold for plain s²; with moderated ones equal
    rows are called different too often. Without a variance over seeds, only the trained networks are compared.

    Raises:
        DataError: one of them lacks replicates, or their numbers of replicates differ.
    """
    known_a, known_b = _known(a), _known(b)
    if known_a is None or known_b is None or len(known_a[0]) != len(known_b[0]):
        raise DataError("two rows can only be compared if both have replicates, and equally many")
    difference = float(np.mean(a.values) - np.mean(b.values))
    videos = float(np.var(np.mean(known_a, axis=0) - np.mean(known_b, axis=0), ddof=1))
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


def _half_width(videos: float, parts: Sequence[tuple[float, float]], level: float) -> float:
    """√(Σ v_i t_i²) over the parts' variances v_i, t_i the quantile with a part's own degrees of freedom (Banerjee).

    That of the test data, whose variance is taken as known, is the normal one.
    """
    from scipy.special import ndtri, stdtrit

    tail = (1 - level) / 2
    return math.sqrt(videos * float(ndtri(tail)) ** 2 + sum(v * float(stdtrit(nu, tail)) ** 2 for v, nu in parts))


def _p_value(difference: float, videos: float, parts: Sequence[tuple[float, float]]) -> float:
    """The level at which the interval around the difference just reaches 0."""
    from scipy.optimize import brentq

    def missing(log_p: float) -> float:
        return _half_width(videos, parts, 1 - math.exp(log_p)) - abs(difference)

    if difference == 0:
        return 1.0
    if missing(_SMALLEST) <= 0:
        return math.exp(_SMALLEST)
    return math.exp(float(brentq(missing, _SMALLEST, 0.0)))
