"""Detection metrics: equal to scikit-learn, to cases computed by hand, and to their own symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from dfbench.errors import DataError
from dfbench.evaluation import detection as d

GRID = 64
"""Scores in 64ths: ties are common, and sums of them are exact whatever the order."""


@st.composite
def samples(draw: st.DrawFn, both: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores; with ``both``, at least one sample of each class."""
    rows = draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, GRID)), min_size=1, max_size=40))
    if both:
        rows += [(0, draw(st.integers(0, GRID))), (1, draw(st.integers(0, GRID)))]
    labels, scores = zip(*rows, strict=True)
    return np.array(labels), np.array(scores) / GRID


def sklearn_eer(labels: np.ndarray, scores: np.ndarray) -> float:
    """The definition on scikit-learn's curve; the mean where two thresholds are equally near."""
    fpr, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    gap = np.abs(1 - tpr - fpr)
    return float(fpr[gap <= gap.min() + 1e-9].mean())


@given(samples())
def test_equal_to_scikit_learn(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = sample
    called = scores > 0.5
    assert d.auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    assert d.average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores))
    assert d.eer(labels, scores).rate == pytest.approx(sklearn_eer(labels, scores), abs=1e-12)
    assert d.accuracy(labels, scores) == pytest.approx(sk.accuracy_score(labels, called))
    assert d.accuracy_fake(labels, scores) == pytest.approx(sk.recall_score(labels, called))
    assert d.accuracy_real(labels, scores) == pytest.approx(sk.recall_score(labels, called, pos_label=0))
    assert d.balanced_accuracy(labels, scores) == pytest.approx(sk.balanced_accuracy_score(labels, called))
    assert d.log_loss(labels, scores) == pytest.approx(sk.log_loss(labels, np.clip(scores, 0.01, 0.99)))
    assert d.brier(labels, scores) == pytest.approx(sk.brier_score_loss(labels, scores))


def test_equal_to_scikit_learn_on_many_continuous_scores() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    scores = (0.3 * labels + 0.7 * rng.random(20_000)).astype(np.float32)
    assert d.auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    assert d.average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores))
    assert d.eer(labels, scores).rate == pytest.approx(sklearn_eer(labels, scores), abs=1e-12)


@given(samples())
def test_auc_depends_on_the_order_of_the_scores_alone(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = sample
    assert d.auc(labels, 3 * scores - 7) == d.auc(labels, scores)
    assert d.auc(labels, np.exp(4 * scores)) == d.auc(labels, scores)


@given(samples())
def test_auc_is_mirrored_by_a_flip_of_labels_or_of_scores(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = sample
    assert d.auc(1 - labels, scores) == pytest.approx(1 - d.auc(labels, scores), abs=1e-12)
    assert d.auc(labels, 1 - scores) == pytest.approx(1 - d.auc(labels, scores), abs=1e-12)
    assert d.auc(1 - labels, 1 - scores) == d.auc(labels, scores)


@given(samples())
def test_auc_is_the_share_of_pairs_in_order_a_tie_being_half(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = sample
    difference = np.subtract.outer(scores[labels == 1], scores[labels == 0])
    assert d.auc(labels, scores) == pytest.approx(((difference > 0) + (difference == 0) / 2).mean(), abs=1e-12)


@given(samples(both=False), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(sample: tuple[np.ndarray, np.ndarray], random) -> None:
    labels, scores = sample
    videos = [f"{label}/{i % 5}" for i, label in enumerate(labels)]
    order = list(range(len(labels)))
    random.shuffle(order)
    before = d.detection_metrics(labels, scores, videos)
    after = d.detection_metrics(labels[order], scores[order], [videos[i] for i in order])
    assert after == {name: pytest.approx(value, nan_ok=False) for name, value in before.items()}


@given(samples())
def test_the_eer_threshold_gives_the_least_gap(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = sample
    rate, threshold = d.eer(labels, scores)
    assert threshold in scores

    def gap(at: float) -> float:
        return abs((scores[labels == 1] < at).mean() - (scores[labels == 0] >= at).mean())

    assert gap(threshold) <= min(gap(at) for at in [*scores, math.inf]) + 1e-12
    assert 0 <= rate <= 1


def test_eer_by_hand() -> None:
    assert d.eer([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == (0.0, 0.8)
    assert d.eer([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]).rate == 1.0
    # From the top: fake, real, fake, real. Calling two of them fake misses one fake and takes in one real.
    assert d.eer([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6]) == (0.5, 0.8)


def test_eer_of_a_constant_score_is_a_half() -> None:
    assert d.eer([0, 0, 0, 1], [0.3] * 4) == (0.5, pytest.approx(0.3))


def test_eer_between_two_equally_near_thresholds_is_half_way() -> None:
    # At .7: FPR 0, FNR 1/2; at .5: FPR 1/2, FNR 0.
    assert d.eer([1, 1, 0, 0], [0.7, 0.5, 0.5, 0.1]) == (0.25, 0.7)


@given(samples(), st.sampled_from([0.02, 0.1, 0.5, 0.99]))
def test_partial_auc_is_that_of_scikit_learn(sample: tuple[np.ndarray, np.ndarray], end: float) -> None:
    labels, scores = sample
    assert d.partial_auc(labels, scores, end) == pytest.approx(sk.roc_auc_score(labels, scores, max_fpr=end), abs=1e-12)


@given(samples(), st.sampled_from([0.05, 0.1, 0.5]))
def test_tpr_at_fpr_is_the_highest_of_scikit_learns_curve(sample: tuple[np.ndarray, np.ndarray], fpr: float) -> None:
    labels, scores = sample
    found = d.tpr_at_fpr(labels, scores, fpr)
    if (labels == 0).sum() < 1 / fpr:
        assert math.isnan(found)
        return
    rates, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    assert found == pytest.approx(tpr[rates <= fpr + 1e-12].max())


def test_average_precision_by_hand() -> None:
    # Fakes at rank 1 and 3: 1/2 * 1/1 + 1/2 * 2/3.
    assert d.average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6]) == pytest.approx(0.5 + 1 / 3)
    assert d.average_precision([1, 0, 0, 0], [0.5] * 4) == pytest.approx(0.25)  # a tie is one threshold


def test_a_score_of_exactly_a_half_is_called_real() -> None:
    assert d.accuracy_real([0, 1], [0.5, 0.5]) == 1.0
    assert d.accuracy_fake([0, 1], [0.5, 0.5]) == 0.0
    assert d.accuracy([0, 1], [0.3, 0.4], threshold=0.35) == 1.0


def test_balanced_accuracy_shows_what_accuracy_hides() -> None:
    labels = [0] * 90 + [1] * 10  # a detector that calls everything real
    assert d.accuracy(labels, [0.1] * 100) == pytest.approx(0.9)
    assert d.balanced_accuracy(labels, [0.1] * 100) == pytest.approx(0.5)


def test_log_loss_is_clipped_and_brier_is_not() -> None:
    assert d.log_loss([1], [0.0]) == pytest.approx(-math.log(0.01))
    assert d.log_loss([0, 1], [0.5, 0.5]) == pytest.approx(math.log(2))
    assert d.brier([1, 0], [0.0, 0.5]) == pytest.approx((1 + 0.25) / 2)


def test_ece_by_hand() -> None:
    assert d.ece([0, 1], [0.0, 1.0]) == 0.0
    assert d.ece([1, 0], [0.0, 1.0]) == 1.0
    # Bin [.4, .4667): mean score .42, half are fake; bin [.9333, 1]: mean .95, none is.
    assert d.ece([0, 1, 0, 0], [0.41, 0.43, 0.95, 0.95]) == pytest.approx(0.5 * 0.08 + 0.5 * 0.95)
    assert d.ece([1, 0], [0.2, 0.8], bins=1) == pytest.approx(0.0)


@given(samples(both=False))
def test_ece_equals_its_definition_bin_by_bin(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = sample
    expected = 0.0
    for k in range(15):
        inside = (scores * 15 >= k) & ((scores * 15 < k + 1) | (k == 14))
        if inside.any():
            expected += inside.mean() * abs(scores[inside].mean() - labels[inside].mean())
    assert d.ece(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_by_video_averages_probabilities_and_keeps_stills_apart() -> None:
    labels, scores = d.by_video([1, 0, 1, 0, 0], [0.9, 0.2, 0.5, 0.1, 0.3], ["b", "a", "b", "", ""])
    np.testing.assert_array_equal(labels, [1, 0, 0, 0])
    assert scores == pytest.approx([0.7, 0.2, 0.1, 0.3])


def test_by_video_names_a_video_with_two_labels() -> None:
    with pytest.raises(DataError, match="video '000' has real and fake frames"):
        d.by_video([0, 1, 1], [0.1, 0.9, 0.8], ["000", "000", "001"])
    with pytest.raises(DataError, match="1 video keys for 2 scores"):
        d.by_video([0, 1], [0.1, 0.9], ["000"])


@given(samples(both=False))
def test_videos_of_one_frame_are_the_frames(sample: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = sample
    for videos in ([""] * len(labels), [str(i) for i in range(len(labels))]):
        video_labels, video_scores = d.by_video(labels, scores, np.array(videos))
        np.testing.assert_array_equal(video_labels, labels)
        np.testing.assert_array_equal(video_scores, scores)


def test_detection_metrics_of_two_videos_and_a_still() -> None:
    found = d.detection_metrics([0, 0, 1, 1, 1], [0.2, 0.7, 0.6, 0.9, 0.4], ["r", "r", "f", "f", ""])
    assert (found["n_frames"], found["n_videos"], found["n_real"], found["n_fake"]) == (5, 3, 2, 3)
    assert found["frame_auc"] == pytest.approx(4 / 6)
    assert found["video_auc"] == pytest.approx(0.5)  # videos: real .45, fake .75, fake .4
    assert found["video_accuracy"] == pytest.approx(2 / 3)
    assert found["accuracy_real"] == pytest.approx(1 / 2)


def test_without_videos_the_video_figures_are_none() -> None:
    found = d.detection_metrics([0, 1], [0.2, 0.9])
    assert found["frame_auc"] == 1.0
    few = {*d.OPERATING}  # of one real
    assert {name for name, value in found.items() if value is None} == few | {n for n in found if "video" in n}


def test_one_class_has_what_it_can_and_none_for_the_rest() -> None:
    found = d.detection_metrics([1, 1], [0.2, 0.9], ["a", "b"])
    undefined = {name for name, value in found.items() if value is None}
    ranking = {"frame_auc", "average_precision", "eer", "eer_threshold", "partial_auc", *d.OPERATING}
    of_videos = {"video_auc", "video_average_precision", "video_eer"}
    assert undefined == ranking | of_videos | {"accuracy_real", "balanced_accuracy"}
    assert found["accuracy_fake"] == 0.5


def test_an_empty_test_set_has_counts_alone() -> None:
    found = d.detection_metrics([], [], [])
    assert {name: value for name, value in found.items() if value is not None} == {
        "n_frames": 0, "n_videos": 0, "n_real": 0, "n_fake": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.5], "one length"),
        ([[0, 1]], [[0.5, 0.6]], "one length"),
        ([0, 2], [0.5, 0.6], "a label is 2"),
        ([0, 1], [0.5, math.nan], "a score is nan"),
        ([0, 1], [-math.inf, 0.5], "a score is -inf"),
    ],
)
def test_what_is_no_label_or_score_is_refused(labels: list, scores: list, message: str) -> None:
    for metric in (d.auc, d.average_precision, d.eer, d.brier, d.detection_metrics):
        with pytest.raises(DataError, match=message):
            metric(labels, scores)


def test_logits_may_be_ranked_but_are_no_probabilities() -> None:
    assert d.auc([0, 1], [-3.0, 8.0]) == 1.0
    for metric in (d.accuracy, d.log_loss, d.brier, d.ece):
        with pytest.raises(DataError, match=r"scores run from -3 to 8: P\(fake\)"):
            metric([0, 1], [-3.0, 8.0])
