"""Carried thresholds against figures worked out by hand, and a bootstrap against samples that are repeated."""

import numpy as np
import pytest

from dfbench.errors import DataError
from dfbench.evaluation import further, operating
from dfbench.evaluation.further import figures, parts_of
from dfbench.evaluation.operating import FPR, _Falling, threshold_at
from dfbench.evaluation.scores import Scores


def add(scores: Scores, trained_on: int, tested_on: int, reals: list[float], fakes: list[float], name: str) -> None:
    values = [*reals, *fakes]
    samples = [f"{name}-{n}" for n in range(len(values))]
    labels = [0] * len(reals) + [1] * len(fakes)
    scores.append(
        trained_on, tested_on, samples, [""] * len(values), labels, values, [int(v > 0.5) for v in values],
        [f"{name} person {n % 10}" for n in range(len(values))],
    )  # fmt: skip


def spread(top: float, count: int = 200) -> list[float]:
    """``count`` scores from 0 up to ``top``, evenly."""
    return np.linspace(0, top, count, dtype=np.float32).tolist()


def by_hand() -> tuple[Scores, Scores]:
    """Two experiences; the reals of the second network score twice as high as those of the first."""
    tests, held = Scores(), Scores()
    for trained_on, top in ((0, 0.4), (1, 0.8)):
        for tested_on in (0, 1):
            add(tests, trained_on, tested_on, spread(top), spread(1.0, 50), f"test {tested_on}")
    add(held, 0, 0, spread(0.4), [], "val 0")
    add(held, 1, 0, spread(0.8), [], "val 0")
    add(held, 1, 1, spread(0.8), [], "val 1")
    return tests, held


@pytest.mark.parametrize("count", [1, 20, 99, 100, 101, 199, 200, 240, 1000])
def test_a_threshold_lets_at_most_one_percent_of_its_reals_pass_and_the_next_lower_one_more(count):
    reals = np.random.default_rng(count).permutation(count) / count
    threshold = threshold_at(reals)
    assert (reals > threshold).sum() == count // 100
    assert (reals >= threshold).sum() == count // 100 + 1
    assert (reals >= threshold).mean() > FPR


def test_reals_of_one_score_are_all_below_the_threshold():
    assert threshold_at(np.full(300, 1.0)) == 1.0
    assert np.isnan(threshold_at(np.empty(0)))


def test_rates_of_a_carried_threshold_are_those_worked_out_by_hand():
    tests, held = by_hand()
    found = operating.operating(tests, held, ["a", "b"], "data")
    assert found is not None
    # 200 reals from 0 to .4 in steps of .4 / 199: two above the third highest.
    first = np.float32(0.4 * 197 / 199)
    assert found["thresholds"][0] == pytest.approx(first, abs=1e-7)
    assert found["reals"] == [200, 400]
    # The second network's reals reach .8: above .396 are those from number 99 on, 101 of 200; and of 50 fakes 30.
    assert found["false_positive_rate"] == [[0.01, 101 / 200], [None, 0.01]]
    assert found["true_positive_rate"][0] == [30 / 50, 30 / 50]
    # 400 reals, each score twice: four are above the fifth and sixth highest, which are equal, as are both tests' own.
    assert found["thresholds"][1] == pytest.approx(0.8 * 197 / 199, abs=1e-7)
    assert found["true_positive_rate"][1] == [None, (49 - int(49 * 0.8 * 197 / 199)) / 50]
    assert found["drift"] == pytest.approx(101 / 200 - 0.01)
    assert found["carried_tpr"] == pytest.approx(30 / 50)
    assert found["at_half"]["false_positive_rate"] == [0.0, (199 - int(199 * 0.5 / 0.8)) / 200]
    assert found["at_half"]["true_positive_rate"] == [0.5, 0.5]
    low, high = found["uncertainty"]["drift"]
    assert low < found["drift"] < high
    assert found["uncertainty"]["unit"] == "identity"


def test_recalibration_on_new_reals_brings_the_rate_back_and_few_of_them_less_exactly():
    tests, held = by_hand()
    found = operating.operating(tests, held, ["a", "b"], "data")
    assert found is not None
    few, many = (found["recalibrated"][str(n)]["false_positive_rate"][1] for n in (20, 100))
    # Above the highest of 20 are 180 / 21 of the other 180 on average; above the second highest of 100 the highest,
    # and 2 × 100 / 101 of the other 100.
    assert few == pytest.approx(180 / 21 / 200, abs=0.012)
    assert many == pytest.approx((1 + 200 / 101) / 200, abs=0.003)


def test_weights_count_as_repeated_samples():
    generator = np.random.default_rng(3)
    scores, weights = generator.integers(0, 40, 150) / 40, generator.integers(0, 4, (20, 150))
    falling = _Falling(scores)
    thresholds = falling.threshold(weights.astype(float))
    shares = falling.share_above(thresholds[:, None], weights.astype(float))[:, 0]
    for row, threshold, share in zip(weights, thresholds, shares, strict=True):
        repeated = np.repeat(scores, row)
        assert threshold == threshold_at(repeated)
        assert share == pytest.approx((repeated > threshold).mean())


def test_a_run_that_was_trained_once_has_a_threshold_and_nothing_to_carry():
    tests, held = Scores(), Scores()
    for j in (0, 1):
        add(tests, 1, j, spread(0.4), spread(1.0), f"test {j}")
        add(held, 1, j, spread(0.4), [], f"val {j}")
    found = operating.operating(tests, held, ["a", "b"], "data")
    assert found is not None
    assert found["thresholds"][0] is None
    assert found["false_positive_rate"] == [[None, None], [None, 0.01]]
    assert found["drift"] is None
    assert found["uncertainty"]["drift"] is None


def test_without_validation_reals_there_are_no_operating_points():
    tests, _ = by_hand()
    assert operating.operating(tests, Scores(), ["a", "b"], "data") is None


def test_figures_of_a_run_hold_them_and_fakes_among_the_validation_scores_are_refused():
    tests, held = by_hand()
    groups = [*tests]
    for group in held:
        groups.append(type(group)(group.trained_on, 2 + group.tested_on, *_columns(group)))
    tested = further.tested_of(["a", "b"], [], None)
    found = figures(parts_of(Scores(groups), tested), tested, "auc", 2, "data")
    assert found["metrics"]["fpr_drift"] == found["operating"]["drift"]
    bad = groups[-1]
    labels = bad.labels.copy()
    labels[0] = 1
    groups[-1] = type(bad)(1, 3, bad.samples, bad.videos, labels, bad.scores, bad.predicted, bad.identities)
    with pytest.raises(DataError, match="validation set 1 after experience 1: they are of reals"):
        parts_of(Scores(groups), tested)
    with pytest.raises(DataError, match="validation set 1 after experience 0"):
        parts_of(Scores([*groups[:-1], type(bad)(0, 3, *_columns(bad))]), tested)


def _columns(group):
    return group.samples, group.videos, group.labels, group.scores, group.predicted, group.identities
