"""Rows of a leaderboard: means over seeds, and whether two of them differ."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dfbench.errors import DataError
from dfbench.evaluation.significance import Sample, SeedVariance, compare, estimate, holm, pooled

COUNT = 400


def rows(
    rng: np.random.Generator, means: list[float], n: int = 3, seeds: float = 0.02, videos: float = 0.01
) -> list[Sample]:
    """Rows of ``n`` seeds: one error of the videos that all share, one of each seed, and paired replicates."""
    shared, drawn = rng.normal(0, videos), rng.normal(0, videos, COUNT)
    values = [mean + shared + rng.normal(0, seeds, n) for mean in means]
    variance = pooled(values)
    return [Sample(v, [x + drawn + rng.normal(0, 0.002, COUNT) for x in v], variance) for v in values]


def test_equal_methods_are_told_apart_about_as_often_as_stated() -> None:
    """Ten equal rows of three seeds. Resampling the three seeds instead calls them different thrice as often."""
    rng = np.random.default_rng(0)
    ours, resampled, trials = 0, 0, 600
    for _ in range(trials):
        table = rows(rng, [0.8] * 10)
        ours += compare(table[0], table[1]).p < 0.05
        resampled += _hierarchical(rng, table[0], table[1]) < 0.05
    assert 0.02 <= ours / trials <= 0.085
    assert resampled / trials > 0.12


def _hierarchical(rng: np.random.Generator, a: Sample, b: Sample) -> float:
    """The two-sided p of a bootstrap that draws seeds and videos: what this project does not do."""
    means = []
    for row in (a, b):
        drawn = np.array(row.drawn, dtype=float)
        chosen = rng.integers(0, len(drawn), (COUNT, len(drawn)))
        means.append(drawn[chosen, np.arange(COUNT)[:, None]].mean(axis=1))
    below = float(np.mean(means[0] - means[1] < 0))
    return 2 * min(below, 1 - below)


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(1)
    found = [compare(*rows(rng, [0.80, 0.88] + [0.8] * 8)[:2]) for _ in range(100)]
    assert sum(c.p < 0.05 for c in found) > 90
    assert all(c.low <= c.difference <= c.high for c in found)
    assert np.mean([c.difference for c in found]) == pytest.approx(-0.08, abs=0.01)


def test_pairing_takes_the_videos_difficulty_out() -> None:
    """Both rows suffer from the same hard videos; only their difference counts."""
    rng = np.random.default_rng(2)
    drawn = rng.normal(0, 0.05, COUNT)
    a, b = (Sample([m], [m + drawn + rng.normal(0, 0.001, COUNT)]) for m in (0.80, 0.82))
    assert compare(a, b).p < 1e-6
    apart = Sample([0.80], [0.80 + rng.normal(0, 0.05, COUNT)])
    assert compare(apart, b).p > 0.3


def test_without_videos_error_it_is_students_t() -> None:
    values = [[0.80, 0.82, 0.84], [0.85, 0.86, 0.90]]
    flat = [np.full(COUNT, v) for v in values[0]], [np.full(COUNT, v) for v in values[1]]
    variance = pooled(values)
    a, b = (Sample(v, d, variance) for v, d in zip(values, flat, strict=True))
    assert compare(a, b).p == pytest.approx(stats.ttest_ind(*values).pvalue, rel=1e-9)
    own = [Sample(v, d, pooled([v])) for v, d in zip(values, flat, strict=True)]
    assert compare(*own).p == pytest.approx(stats.ttest_ind(*values, equal_var=False).pvalue, rel=1e-9)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values[0]), scale=stats.sem(values[0]))
    found = estimate(own[0])
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.spread == pytest.approx(0.02)


def test_the_variance_over_seeds_is_pooled() -> None:
    assert pooled([[0.1], [0.2]]) is None
    assert pooled([[0.1, 0.3], [0.5], [0.5, 0.6, 0.7]]) == SeedVariance(pytest.approx((0.02 + 0.02) / 3), 3)


def test_one_seed_alone_has_the_interval_of_its_videos() -> None:
    drawn = np.linspace(0.7, 0.9, 1000)
    found = estimate(Sample([0.8], [drawn]))
    assert found.spread is None
    assert (found.low, found.high) == pytest.approx((0.705, 0.895), abs=1e-3)
    wider = estimate(Sample([0.8], [drawn], SeedVariance(0.01, 20)))
    assert wider.low is not None
    assert wider.low < 0.705
    assert wider.high is not None
    assert wider.high <= 1.0


def test_rows_without_replicates_have_a_mean_and_no_interval() -> None:
    found = estimate(Sample([0.8, 0.9], [None, np.ones(10)]))
    assert (found.mean, found.low) == (pytest.approx(0.85), None)
    with pytest.raises(DataError, match="equally many"):
        compare(Sample([0.8], [np.ones(10)]), Sample([0.8], [np.ones(11)]))


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_identical_rows_do_not_differ() -> None:
    row = Sample([0.8], [np.linspace(0.7, 0.9, 50)])
    found = compare(row, row)
    assert (found.difference, found.p) == (0.0, 1.0)
