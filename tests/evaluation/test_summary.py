"""From scores to the record: matrices, metrics and what is null."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.errors import DataError, UsageError
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import evaluate

LABELS = np.array([0] * 10 + [1] * 10)
NAMES = ["celeb-df", "face2face", "dfdc"]


def predict(scores: Scores, trained_on: int, tested_on: int, right: int) -> None:
    """A test set of 10 reals at .2 and 10 fakes, ``right`` of them at .8 and the others at .1.

    So frame AUC is right/10, and accuracy (10 + right)/20. Two frames make a video.
    """
    values = np.where(LABELS == 0, 0.2, np.where(np.arange(20) < 10 + right, 0.8, 0.1))
    samples = [f"{tested_on}/{k}" for k in range(20)]
    videos = [f"{tested_on}/video{k // 2}" for k in range(20)]
    scores.append(trained_on, tested_on, samples, videos, LABELS, values, (values > 0.5).astype(int))


def run(rights: dict[int, list[int | None]]) -> Scores:
    """The scores of a run, from the fakes found: trained_on -> one number for each test set."""
    scores = Scores()
    for trained_on, row in rights.items():
        for tested_on, right in enumerate(row):
            if right is not None:
                predict(scores, trained_on, tested_on, right)
    return scores


FULL = {-1: [5, 4, 4], 0: [6, 4, 5], 1: [9, 8, 6], 2: [7, 6, 10]}


def test_a_whole_run_gives_every_matrix_and_metric() -> None:
    found = evaluate(run(FULL), NAMES, "auc", 2)
    assert found["headline"] == "auc"
    assert found["matrix"]["auc"] == [pytest.approx([x / 10 for x in FULL[i]]) for i in range(3)]
    assert found["matrix"]["accuracy"] == [pytest.approx([0.5 + x / 20 for x in FULL[i]]) for i in range(3)]
    assert found["metrics"] == {
        "average_auc": pytest.approx((0.7 + 0.6 + 1) / 3),
        # Two frames a video: 7 fakes found are 3 videos at .8, one at .45 and one at .1.
        "average_video_auc": pytest.approx((0.8 + 0.6 + 1) / 3),
        "average_accuracy": pytest.approx((0.85 + 0.8 + 1) / 3),
        "average": pytest.approx((0.7 + 0.6 + 1) / 3),
        "average_incremental": pytest.approx((0.6 + (0.9 + 0.8) / 2 + (0.7 + 0.6 + 1) / 3) / 3),
        "learning_accuracy": pytest.approx((0.6 + 0.8 + 1) / 3),
        "next": pytest.approx((0.4 + 0.6) / 2),
        "whole": pytest.approx((0.6 + 0.4 + 0.5 + 0.9 + 0.8 + 0.6 + 0.7 + 0.6 + 1) / 9),
        "bwt": pytest.approx((0.1 - 0.2) / 2),
        "fwt": pytest.approx((0 + 0.2) / 2),
        "forgetting": pytest.approx((0.2 + 0.2) / 2),
        "af": pytest.approx((-0.1 + 0.2) / 2),
        # The curve is level at the share of fakes found; chance has .005 of the .1 up to a false-positive rate of .1.
        "average_partial_auc": pytest.approx((1 + (0.1 * (0.7 + 0.6 + 1) / 3 - 0.005) / 0.095) / 2),
        "average_tpr_at_1_fpr": None,  # ten reals
    }


def test_the_rest_is_computed_on_the_headline_metric() -> None:
    on_accuracy = evaluate(run(FULL), NAMES, "accuracy", 2)["metrics"]
    assert on_accuracy["forgetting"] == pytest.approx(0.1)
    assert on_accuracy["fwt"] == pytest.approx(0.05)
    assert on_accuracy["average"] == on_accuracy["average_accuracy"]
    on_videos = evaluate(run(FULL), NAMES, "video_auc", 2)["metrics"]
    assert on_videos["average"] == on_videos["average_video_auc"]


def test_the_final_model_is_described_on_every_test_set() -> None:
    entries = evaluate(run(FULL), NAMES, "auc", 2)["per_experience"]
    assert [entry["experience"] for entry in entries] == NAMES
    assert [entry["frame_auc"] for entry in entries] == pytest.approx([0.7, 0.6, 1.0])
    assert [(entry["n"], entry["n_videos"], entry["n_fake"]) for entry in entries] == [(20, 10, 10)] * 3
    assert entries[0]["accuracy_real"] == 1.0
    assert entries[0]["accuracy_fake"] == pytest.approx(0.7)


def test_without_the_untrained_network_there_is_no_forward_transfer() -> None:
    found = evaluate(run({i: row for i, row in FULL.items() if i >= 0}), NAMES, "auc", 2)
    assert found["metrics"]["fwt"] is None
    assert found["metrics"]["bwt"] is not None


def test_a_joint_run_is_its_last_row() -> None:
    found = evaluate(run({2: [9, 9, 9]}), NAMES, "auc", 2)
    assert found["matrix"]["auc"] == [[None] * 3, [None] * 3, pytest.approx([0.9] * 3)]
    defined = {name for name, value in found["metrics"].items() if value is not None}
    of_last = {"average_auc", "average_video_auc", "average_accuracy", "average", "average_partial_auc"}
    assert defined == of_last  # too few reals for a true-positive rate at 1 %


def test_a_lower_triangle_has_null_above_the_diagonal() -> None:
    found = evaluate(run({0: [6], 1: [9, 8], 2: [7, 6, 10]}), NAMES, "auc", 2)
    assert found["matrix"]["auc"][0] == [0.6, None, None]
    assert found["metrics"]["forgetting"] == pytest.approx(0.2)
    assert found["metrics"]["fwt"] is None


def test_an_unfinished_run_has_no_final_model() -> None:
    found = evaluate(run({0: [6, 4, 5]}), NAMES, "auc", 2)
    assert found["metrics"]["average_auc"] is None
    assert found["per_experience"][0]["n"] == 0
    assert found["per_experience"][0]["frame_auc"] is None
    json.dumps(found, allow_nan=False)


def test_one_experience_has_averages_alone() -> None:
    found = evaluate(run({0: [7]}), ["celeb-df"], "auc", 2)
    assert found["matrix"]["auc"] == [[0.7]]
    assert found["metrics"]["average_auc"] == 0.7
    assert found["metrics"]["forgetting"] is found["metrics"]["bwt"] is found["metrics"]["af"] is None


def test_a_stream_of_ten_classes_is_measured_in_accuracy_alone() -> None:
    scores = Scores()
    labels = np.arange(10)
    for i in range(2):
        for j in range(2):
            predicted = np.where(labels < (6, 8)[i], labels, 0)
            names = [f"{j}/{k}" for k in labels]
            scores.append(i, j, names, [""] * 10, labels, np.full(10, 0.3), predicted)
    found = evaluate(scores, ["first", "second"], "accuracy", 10)
    assert found["matrix"] == {"accuracy": [[0.6, 0.6], [0.8, 0.8]]}
    assert found["metrics"]["average_accuracy"] == found["metrics"]["average"] == 0.8
    assert found["metrics"]["average_auc"] is None
    assert found["per_experience"] == [
        {"experience": "first", "n": 10, "accuracy": 0.8},
        {"experience": "second", "n": 10, "accuracy": 0.8},
    ]
    json.dumps(evaluate(Scores(), ["first"], "accuracy", 10), allow_nan=False)


def test_a_test_set_of_one_class_has_no_auc_and_says_so() -> None:
    scores = Scores()
    scores.append(0, 0, ["a", "b"], ["a", "b"], [1, 1], [0.9, 0.2], [1, 0])
    found = evaluate(scores, ["only-fakes"], "auc", 2)
    assert found["matrix"] == {"auc": [[None]], "video_auc": [[None]], "accuracy": [[0.5]]}
    assert found["metrics"]["average_auc"] is None


def test_scores_of_another_stream_are_refused() -> None:
    with pytest.raises(DataError, match="the stream has 2 experiences"):
        evaluate(run(FULL), NAMES[:2], "auc", 2)
    scores = Scores()
    scores.append(0, 0, ["a"], [""], [3], [0.9], [1])
    with pytest.raises(DataError, match="class 3 in a stream of 2 classes"):
        evaluate(scores, ["a"], "auc", 2)
    with pytest.raises(UsageError, match="no metric 'auc'; it has accuracy"):
        evaluate(scores, ["a"], "auc", 10)
    with pytest.raises(UsageError, match="no metric 'f1'"):
        evaluate(scores, ["a"], "f1", 2)
    with pytest.raises(UsageError, match="a stream has an experience"):
        evaluate(scores, [], "auc", 2)


def test_a_video_of_two_labels_is_named() -> None:
    scores = Scores()
    scores.append(0, 0, ["a", "b"], ["033_097"] * 2, [0, 1], [0.1, 0.9], [0, 1])
    with pytest.raises(DataError, match="'033_097' has real and fake frames"):
        evaluate(scores, ["ff++"], "auc", 2)


@given(
    st.sets(st.tuples(st.integers(-1, 2), st.integers(0, 2))),
    st.sampled_from(["auc", "video_auc", "accuracy"]),
)
def test_whatever_was_measured_the_result_is_json(pairs: set[tuple[int, int]], metric: str) -> None:
    scores = Scores()
    for trained_on, tested_on in pairs:
        predict(scores, trained_on, tested_on, 7)
    found = json.loads(json.dumps(evaluate(scores, NAMES, metric, 2), allow_nan=False))
    measured = {(i, j) for i in range(3) for j in range(3) if found["matrix"][metric][i][j] is not None}
    assert measured == {pair for pair in pairs if pair[0] >= 0}


def test_a_sampled_R_has_names_of_its_own_and_no_other_run_has() -> None:
    """Below the diagonal one pair of a run of four is not measured; a joint run and a whole triangle have none such."""
    names = [*NAMES, "more"]
    own = {"forgetting_at_least", "average_incremental_estimate"}
    for missing, expected in ([], set()), ([(2, 0)], own), ([(2, 2)], set()), ([(0, 2)], set()):
        scores = Scores()
        for pair in [(i, j) for i in range(4) for j in range(4) if (i, j) not in missing]:
            predict(scores, *pair, 7)
        assert set(evaluate(scores, names, "auc", 2)["metrics"]) & own == expected
    joint = Scores()
    for j in range(4):
        predict(joint, 3, j, 7)
    assert not set(evaluate(joint, names, "auc", 2)["metrics"]) & own
