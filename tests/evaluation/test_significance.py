"""Rows of a leaderboard: means over seeds, and whether two of them differ."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from dfbench.errors import DataError
from dfbench.evaluation.significance import Sample, SeedVariance, compare, estimate, holm, moderated

COUNT = 400


def rows(
    rng: np.random.Generator, means: list[float], n: int = 3, seeds: float = 0.02, videos: float = 0.01
) -> list[Sample]:
    """Rows of ``n`` seeds: one error of the videos that all share, one of each seed, and paired replicates."""
    shared, drawn = rng.normal(0, videos), rng.normal(0, videos, COUNT)
    values = [mean + shared + rng.normal(0, seeds, n) for mean in means]
    return [
        Sample(v, [x + drawn + rng.normal(0, 0.002, COUNT) for x in v], variance)
        for v, variance in zip(values, moderated(values), strict=True)
    ]


def test_equal_methods_are_told_apart_about_as_often_as_stated() -> None:
    """Ten equal rows of three seeds. Resampling the three seeds instead calls them different thrice as often."""
    rng = np.random.default_rng(0)
    ours, resampled, trials = 0, 0, 400
    for _ in range(trials):
        table = rows(rng, [0.8] * 10)
        ours += compare(table[0], table[1]).p < 0.05
        resampled += _hierarchical(rng, table[0], table[1]) < 0.05
    assert 0.015 <= ours / trials <= 0.075
    assert resampled / trials > 0.12


SPREADS = [0.045, 0.022, 0.015, 0.01, 0.01, 0.008, 0.004, 0.003, 0.002]
"""Of seeds, over rows: about those of the committed rows of one detector."""


@pytest.mark.parametrize("seeds", [(3,), (5,), (1, 3, 5)])
def test_equal_rows_of_unequal_spreads_are_seldom_called_different(seeds: tuple[int, ...]) -> None:
    """At most 6 % of pairs at the 5 % level, here within two standard errors; ``perf.significance`` makes more tables.

    One pooled variance fails in the pairs with the row of the widest spread.
    """
    rng = np.random.default_rng(3)
    false: dict[str, list[bool]] = {"moderated": [], "pooled": [], "moderated, widest": [], "pooled, widest": []}
    for _ in range(60):
        values = [0.8 + rng.normal(0, 0.004) + rng.normal(0, spread, rng.choice(seeds)) for spread in SPREADS]
        drawn = [rng.normal(0, 0.004, 50) for _ in SPREADS]
        freedom = sum(len(v) - 1 for v in values)
        one = SeedVariance(sum(((v - v.mean()) ** 2).sum() for v in values) / freedom, freedom)
        for name, variances in (("moderated", moderated(values)), ("pooled", [one] * len(values))):
            table = [Sample(v, [x + d for x in v], s) for v, d, s in zip(values, drawn, variances, strict=True)]
            for i, j in combinations(range(len(table)), 2):
                found = compare(table[i], table[j])
                false[name].append(not found.low <= 0 <= found.high)
                if i == 0:
                    false[f"{name}, widest"].append(false[name][-1])
    shares = {name: float(np.mean(each)) for name, each in false.items()}
    assert shares["moderated"] <= 0.07, shares
    assert shares["moderated, widest"] <= 0.13, shares
    assert shares["pooled, widest"] > 0.2, shares


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
    values = [0.80, 0.82, 0.84]
    flat = Sample(values, [np.full(COUNT, v) for v in values], SeedVariance(float(np.var(values, ddof=1)), 2))
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    found = estimate(flat)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert found.spread == pytest.approx(0.02)
    zero = Sample([0.9], [np.full(COUNT, 0.9)], SeedVariance(0.0, 2))
    assert compare(flat, zero).p == pytest.approx(stats.ttest_1samp(values, 0.9).pvalue, rel=1e-6)


def test_a_p_value_is_the_level_whose_interval_ends_at_0() -> None:
    rng = np.random.default_rng(5)
    a, b = rows(rng, [0.80, 0.81])
    found = compare(a, b)
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    wide = Sample([0.1], [np.full(COUNT, 0.1)]), Sample([0.9], [np.full(COUNT, 0.9)])
    assert compare(*wide).p < 1e-12


def test_a_row_keeps_its_variance_where_others_vary_otherwise_and_shares_it_where_they_agree() -> None:
    quiet, loud = [0.800, 0.801, 0.802], [0.80, 0.85, 0.90]
    alone = moderated([loud])[0]
    assert alone is not None
    assert alone.value == pytest.approx(np.var(loud, ddof=1), rel=0.1)
    assert alone.freedom == pytest.approx(2, abs=0.2)
    rng = np.random.default_rng(0)
    alike = moderated([rng.normal(0.8, 0.01, 3) for _ in range(20)])
    assert all(v is not None and v.freedom > 5 for v in alike)
    unlike = moderated([quiet, loud] * 4)
    assert all(v is not None and v.freedom < 5 for v in unlike)
    assert unlike[0] is not None
    assert unlike[1] is not None
    assert unlike[1].value > 100 * unlike[0].value


def test_a_row_of_one_seed_has_what_the_others_say_and_fewer_degrees_of_freedom() -> None:
    rng = np.random.default_rng(1)
    several = [rng.normal(0.8, 0.01, 5).tolist() for _ in range(8)]
    *rest, single = moderated([*several, [0.7]])
    assert single is not None
    assert 0.003**2 < single.value < 0.02**2
    assert all(v is not None and v.freedom > single.freedom for v in rest)
    assert moderated([[0.1], [0.2]]) == [None, None]
    assert moderated([]) == []
    assert moderated([[0.5, 0.5], [0.6, 0.6]]) == [SeedVariance(0.0, 2.0)] * 2


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
