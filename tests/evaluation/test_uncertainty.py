"""The bootstrap over people or videos: exact weighted metrics, paired draws, intervals that cover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dfbench.errors import DataError
from dfbench.evaluation import detection
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import evaluate
from dfbench.evaluation.uncertainty import (
    REPLICATES,
    ResamplingUnits,
    decode,
    encode,
    interval,
    replicates,
    strata,
    uncertainty,
    weighted_auc,
)


def stream(seed: int = 0, sets: int = 2, videos: int = 8, frames: int = 3, shared: bool = False) -> Scores:
    """``sets`` test sets scored after each of ``sets`` trainings; ``shared``: all have the same real videos."""
    rng, scores = np.random.default_rng(seed), Scores()
    for i in range(sets):
        for j in range(sets):
            video = np.repeat(np.arange(videos), frames)
            labels = video % 2
            keys = [f"real{v}" if shared and v % 2 == 0 else f"{j}/{v}" for v in video]
            p = np.clip(0.5 + 0.2 * (labels - 0.5) + rng.normal(0, 0.2, len(video)), 0, 1).round(2)  # with ties
            scores.append(i, j, [f"{k}/{n}" for n, k in enumerate(keys)], keys, labels, p, p > 0.5)
    return scores


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=30
    ).filter(lambda rows: len({r[0] for r in rows if r[2]}) == 2)
)  # fmt: skip
def test_the_weighted_auc_is_that_of_repeated_samples(rows: list[tuple[bool, int, int]]) -> None:
    labels, values, counts = (np.array(column) for column in zip(*rows, strict=True))
    found = weighted_auc(labels.astype(int), values / 4, counts[None, :].astype(float))[0]
    repeated = np.repeat(labels, counts), np.repeat(values, counts)
    assert found == pytest.approx(roc_auc_score(*repeated), abs=1e-12)
    assert found == pytest.approx(detection.auc(repeated[0].astype(int), repeated[1]), abs=1e-12)


def test_a_draw_that_lacks_a_class_has_no_auc() -> None:
    assert np.isnan(weighted_auc(np.array([0, 1]), np.array([0.1, 0.9]), np.array([[1.0, 0.0]])))[0]


@pytest.mark.parametrize("metric", ["auc", "video_auc", "accuracy"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_replicate_is_the_matrix_of_the_videos_drawn(metric: str, shared: bool) -> None:
    """Against a naive loop: every drawn video's frames are written out as often as it was drawn."""
    scores, names = stream(shared=shared), ["a", "b"]
    found = replicates(scores, names, metric, 2, "data", count=7)
    units = ResamplingUnits(scores)
    draws = np.zeros((7, len(units.numbers)), dtype=int)
    for stratum in strata(units, names, "data"):
        draws[:, stratum.units] = stratum.draw(7)
    for b in range(7):
        for group in scores:
            labels, values, videos = [], [], []
            for row, unit in enumerate(units.of[group.tested_on]):
                for copy in range(draws[b, unit]):
                    labels.append(int(group.labels[row]))
                    values.append(float(group.scores[row]))
                    videos.append(f"{group.videos[row]}#{copy}")
            expected = _metric(metric, labels, values, videos)
            assert found[b, group.trained_on, group.tested_on] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def _metric(name: str, labels: list[int], values: list[float], videos: list[str]) -> float:
    if name == "video_auc":
        return detection.auc(*detection.by_video(labels, values, videos))
    return detection.auc(labels, values) if name == "auc" else detection.accuracy(labels, values)


def test_classes_keep_their_sizes_and_shared_videos_are_drawn_once() -> None:
    scores = stream(shared=True)
    units = ResamplingUnits(scores)
    found = strata(units, ["a", "b"], "data")
    assert sorted(len(s.units) for s in found) == [4, 4, 4]  # reals of both sets at once, fakes of each
    for stratum in found:
        assert (stratum.draw(50).sum(axis=1) == len(stratum.units)).all()


def test_two_runs_on_the_same_data_are_given_the_same_videos() -> None:
    """The pairing: two copies of one model differ by nothing in any replicate, whatever order their rows have."""
    one = stream(3)
    order = np.random.default_rng(0)
    other = Scores()
    for group in one:
        rows = order.permutation(len(group))
        other.append(
            group.trained_on, group.tested_on, group.samples[rows], group.videos[rows], group.labels[rows],
            group.scores[rows], group.predicted[rows],
        )  # fmt: skip
    a, b = (replicates(s, ["a", "b"], "auc", 2, "data", count=50) for s in (one, other))
    np.testing.assert_allclose(a, b, atol=1e-12)
    assert not np.allclose(a, replicates(one, ["a", "b"], "auc", 2, "other data", count=50))
    better = replicates(stream(4), ["a", "b"], "auc", 2, "data", count=50)
    assert np.std(a[:, -1, 0] - better[:, -1, 0]) > 0


def test_the_bits_drawn_are_the_same_with_every_version() -> None:
    """A record's intervals must be recomputable in years: the draws themselves are pinned here."""
    scores = stream()
    first = strata(ResamplingUnits(scores), ["a", "b"], "data")[0].draw(3)
    assert first.tolist() == PINNED


PINNED = [[0, 3, 0, 1], [1, 0, 1, 2], [2, 0, 1, 1]]


def test_frames_of_a_video_stay_together() -> None:
    """A bootstrap over frames would call a hundred copies of one frame a hundred observations."""
    rng = np.random.default_rng(0)
    wide, narrow = Scores(), Scores()
    p = rng.uniform(0.2, 0.8, 40)
    labels = np.arange(40) % 2
    for scores, copies in ((narrow, 1), (wide, 10)):
        keys = np.repeat([f"v{k}" for k in range(40)], copies)
        scores.append(0, 0, [f"{k}/{n}" for n, k in enumerate(keys)], keys, np.repeat(labels, copies), np.repeat(p, copies), np.repeat(p, copies) > 0.5)  # fmt: skip # noqa: E501
    a, b = (uncertainty(s, ["a"], "auc", 2, "data")["average"] for s in (narrow, wide))
    assert a == b


def people(seed: int = 0, sets: int = 2, count: int = 8, videos: int = 6) -> Scores:
    """``count`` people with ``videos`` real and as many fake ones in each test set; some people are easy, some hard."""
    rng, scores = np.random.default_rng(seed), Scores()
    easy = rng.normal(0, 1, count)
    for j in range(sets):
        person = np.repeat(np.arange(count), 2 * videos)
        labels = np.arange(len(person)) % 2
        p = 1 / (1 + np.exp(-(labels - 0.5) * (1 + 2 * easy[person]) - rng.normal(0, 0.3, len(person))))
        names = [f"{j}/{n}" for n in range(len(person))]
        for i in range(sets):
            scores.append(i, j, names, names, labels, p, p > 0.5, [f"face{k}" for k in person])
    return scores


def anonymous(scores: Scores) -> Scores:
    return Scores(replace(group, identities=np.array([""] * len(group), dtype=object)) for group in scores)


@pytest.mark.parametrize("metric", ["auc", "video_auc", "accuracy"])
def test_a_person_is_drawn_whole_real_and_fake_in_all_test_sets(metric: str) -> None:
    scores, names = people(), ["a", "b"]
    units = ResamplingUnits(scores)
    assert units.kind == "identity"
    (stratum,) = strata(units, names, "data")
    draws = stratum.draw(5)
    assert draws.shape == (5, 8)
    found = replicates(scores, names, metric, 2, "data", count=5)
    for b in range(5):
        for group in scores:
            times = draws[b, [int(name[4:]) for name in group.identities]]
            labels, values = np.repeat(group.labels, times), np.repeat(group.scores.astype(float), times)
            videos = [f"{v}#{copy}" for v, n in zip(group.videos, times, strict=True) for copy in range(n)]
            expected = _metric(metric, labels.tolist(), values.tolist(), videos)
            assert found[b, group.trained_on, group.tested_on] == pytest.approx(expected, abs=1e-12)


def test_few_people_with_many_videos_make_wider_intervals_than_as_many_strangers() -> None:
    scores = people()
    known, unknown = (uncertainty(s, ["a", "b"], "auc", 2, "data") for s in (scores, anonymous(scores)))
    assert (known["unit"], unknown["unit"]) == ("identity", "video")
    width = [found["average"][1] - found["average"][0] for found in (known, unknown)]
    assert width[0] > 1.5 * width[1]


def test_nobody_is_held_fixed_for_being_alone_with_their_test_sets() -> None:
    """One person is in both test sets, one in the first alone, one in the second: three signatures, one stratum."""
    scores = Scores()
    for j, faces in enumerate((["x", "y"], ["x", "z"])):
        person = np.repeat(faces, 4)
        labels = np.arange(8) % 2
        names = [f"{j}/{n}" for n in range(8)]
        scores.append(0, j, names, [""] * 8, labels, np.linspace(0.1, 0.9, 8), labels, person.tolist())
    (stratum,) = strata(ResamplingUnits(scores), ["a", "b"], "data")
    assert len(stratum.units) == 3


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 test sets of 40 + 40 videos whose true AUC is known (normal deviates one apart: Φ(1/√2) = .7602)."""
    rng = np.random.default_rng(1)
    truth, covered, trials = 0.7602, 0, 200
    labels = np.arange(80) % 2
    names = [f"v{k}" for k in range(80)]
    for trial in range(trials):
        p = 1 / (1 + np.exp(-rng.normal(labels, 1)))
        scores = Scores()
        scores.append(0, 0, names, names, labels, p, p > 0.5)
        low, high = interval(replicates(scores, ["a"], "auc", 2, str(trial), count=400)[:, 0, 0]) or (1, 0)
        covered += low <= truth <= high
    assert 0.89 <= covered / trials <= 0.985  # .95 ± 4 standard errors, and the percentile interval's slight shortness


def test_many_classes_are_drawn_by_class() -> None:
    scores = Scores()
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    predicted = np.where(rng.random(60) < 0.7, labels, (labels + 1) % 3)
    scores.append(0, 0, [f"s{k}" for k in range(60)], [""] * 60, labels, rng.random(60), predicted)
    found = uncertainty(scores, ["a"], "accuracy", 3, "data")
    low, high = found["average"]
    assert found["unit"] == "sample"
    assert low < float(np.mean(predicted == labels)) < high
    assert found["forgetting"] is None  # one experience has nothing to forget


def test_what_a_record_keeps() -> None:
    scores = stream(videos=30)
    found = uncertainty(scores, ["a", "b"], "auc", 2, "data")
    metrics = evaluate(scores, ["a", "b"], "auc", 2)["metrics"]
    for name in ("average", "forgetting", "bwt", "learning_accuracy"):
        low, high = found[name]
        assert low <= metrics[name] <= high
    drawn = decode(found["replicates"])
    assert drawn is not None
    assert drawn.shape == (REPLICATES,)
    assert interval(drawn) == pytest.approx(found["average"], abs=1e-6)
    assert len(found["replicates"]) < 6000
    assert uncertainty(scores, ["a", "b"], "auc", 2, "data") == found


def test_a_joint_run_has_an_average_and_no_forgetting() -> None:
    scores = Scores(g for g in stream() if g.trained_on == 1)
    found = uncertainty(scores, ["a", "b"], "auc", 2, "data")
    assert found["average"] is not None
    assert found["forgetting"] is found["bwt"] is found["learning_accuracy"] is None


def test_replicates_survive_being_written() -> None:
    values = np.array([0.1, 0.25, 1.0])
    np.testing.assert_allclose(decode(encode(values)), values, atol=1e-7)
    assert encode(np.array([0.5, np.nan])) is None
    assert decode(None) is None
    for text in ("not base64!", "AAAAAAA=", encode(np.array([np.inf]))):
        with pytest.raises(DataError):
            decode(text)


def test_a_test_set_that_changes_between_trainings_is_refused() -> None:
    scores = Scores()
    scores.append(0, 0, ["a", "b"], ["", ""], [0, 1], [0.1, 0.9], [0, 1])
    scores.append(1, 0, ["a", "c"], ["", ""], [0, 1], [0.1, 0.9], [0, 1])
    with pytest.raises(DataError, match="of other samples"):
        replicates(scores, ["a", "b"], "auc", 2, "data", count=2)
