"""Sets that are never trained on and degraded copies: scored next to the experiences, which do not notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfbench.errors import DataError, UsageError
from dfbench.evaluation.detection import auc
from dfbench.evaluation.further import figures, parts_of
from dfbench.evaluation.scores import UNTRAINED, Scores
from dfbench.plugins import Registry, registry
from dfbench.records.record import RECORD, SCORES, WEIGHTS, Record
from dfbench.runs.events import Evaluated, Event, Listener, Notice
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import write_stream
from tests.benchmarks.test_stream import write_cifar
from tests.conftest import ODD, dfbench

FURTHER = """
unseen:
  - {name: new, where: {source: s2}}
  - {name: newer, where: {source: s3}}
perturb: {kinds: [noise, jpeg], levels: [1, 5], samples: 6}
"""
CLIPS: Any = {
    "preset": "lite",
    "settings": {
        "body": "tinynet_e",
        "pretrained": False,
        "height": 32,
        "width": 32,
        "steps": 2,
        "warm_up": 1,
        "fps": 15,
    },
}
SMALL = {"epochs": 1, "width": 4, "image_size": 16}


def write_further(folder: Path, further: str = FURTHER, **options: int) -> Path:
    """Two experiences and, in ``s2`` and ``s3``, what they do not train on; the path of the stream."""
    path = write_stream(folder, experiences=4, pairs=8, **options)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "name: s2" not in line and "name: s3" not in line) + further)
    return path


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_further(tmp_path_factory.mktemp("further"))


@pytest.fixture(scope="module")
def finished(stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(ask(stream, tmp_path_factory.mktemp("out")), registry())


def ask(stream: Path, out: Path, strategy: str = "replay", **more: Any) -> Request:
    return Request("simple_cnn", strategy, str(stream), settings=SMALL, device="cpu", out=out, **more)


def scores_of(record: Record) -> Scores:
    assert record.path is not None
    return Scores.read(record.path.with_name(SCORES))


@pytest.mark.parametrize("strategy", ["naive", "dfil"])
def test_a_training_does_not_notice_what_is_tested_next_to_it(stream: Path, tmp_path: Path, strategy: str) -> None:
    tested = run(ask(stream, tmp_path, strategy), registry())
    plain = run(ask(stream, tmp_path, strategy, skip_tests=["all"]), registry())
    assert tested.path != plain.path
    assert tested.weights_sha256 == plain.weights_sha256
    assert tested.data.fingerprint == plain.data.fingerprint
    assert tested.matrix == plain.matrix
    assert tested.uncertainty == plain.uncertainty
    assert {k: v for k, v in tested.metrics.items() if k in plain.metrics} == plain.metrics
    assert {*tested.metrics} - {*plain.metrics} == {"generalisation", "robustness"}
    own = Scores(group for group in scores_of(tested) if group.tested_on < 2)
    assert own.digest() == Scores(g for g in scores_of(plain) if g.tested_on < 2).digest()
    assert tested.spec.row_id == plain.spec.row_id
    assert (plain.spec.further_tests, plain.spec.skipped_tests) == (None, ("new", "newer", "perturbed"))
    assert (plain.generalisation, plain.robustness) == (None, None)


def test_the_record_says_what_was_tested(finished: Record, stream: Path) -> None:
    assert finished.unseen_names == ["new", "newer"]
    assert finished.data.unseen[0].test == {"real": 6, "fake": 6}
    every = [(of, kind, level) for of in ("s0", "s1") for kind in ("noise", "jpeg") for level in (1, 5)]
    assert [*finished.tested.copies] == every
    assert finished.data.perturbed is not None
    assert finished.data.perturbed.test == [{"real": 3, "fake": 3}] * 2
    assert finished.seconds.perturbed is not None
    assert finished.seconds.total > sum(finished.seconds.train + finished.seconds.evaluate)
    pairs = scores_of(finished).pairs
    reals = [(0, 12), (1, 12), (1, 13)]  # of the validation sets, by networks that have learned them
    assert pairs == sorted(
        [*((i, j) for i in (UNTRAINED, 0, 1) for j in range(4)), *((1, j) for j in range(4, 12)), *reals]
    )


def test_every_figure_follows_from_the_scores(finished: Record) -> None:
    scores, new, degraded = scores_of(finished), finished.generalisation, finished.robustness
    assert new is not None
    assert degraded is not None

    def of(i: int, j: int) -> float:
        group = scores.get(i, j)
        assert group is not None
        return auc(group.labels, group.scores)

    assert new.untrained["auc"] == [of(UNTRAINED, 2), of(UNTRAINED, 3)]
    assert new.matrix["auc"] == [[of(i, 2), of(i, 3)] for i in (0, 1)]
    assert [(each["set"], each["frame_auc"]) for each in new.per_set] == [("new", of(1, 2)), ("newer", of(1, 3))]
    assert finished.metrics["generalisation"] == pytest.approx((of(1, 2) + of(1, 3)) / 2)
    values = np.array([of(1, j) for j in range(4, 12)]).reshape(2, 2, 2)  # experience, kind, level
    stated = [[*levels.values()] for levels in degraded.by_kind["auc"].values()]
    assert np.array(stated) == pytest.approx(values.mean(0))
    assert finished.metrics["robustness"] == pytest.approx(values.mean())
    clean = []
    for j in (0, 1):
        whole, copy = scores.get(1, j), scores.get(1, 4 + 4 * j)
        assert whole is not None
        assert copy is not None
        kept = np.isin(whole.samples, copy.samples)
        assert whole.samples[kept].tolist() == copy.samples.tolist()
        assert whole.scores[kept].tolist() != copy.scores.tolist()
        clean.append(auc(whole.labels[kept], whole.scores[kept]))
    assert degraded.clean["auc"] == pytest.approx(np.mean(clean))
    for part in (new, degraded):
        low, high = part.uncertainty.average or (1.0, 0.0)
        mean = finished.metrics["generalisation" if part is new else "robustness"]
        assert mean is not None
        assert 0 <= low <= mean <= high <= 1
        assert part.uncertainty.unit == "identity"


def test_a_stronger_degradation_is_another_picture(finished: Record) -> None:
    scores = scores_of(finished)
    found = [scores.get(1, j) for j in range(4, 8)]
    assert len({group.scores.tobytes() for group in found if group is not None}) == 4


def test_a_run_that_trains_once_scores_its_unseen_sets_before_and_after(stream: Path, tmp_path: Path) -> None:
    record = run(ask(stream, tmp_path, "joint"), registry())
    assert record.trained_at_once
    assert record.generalisation is not None
    first, last = record.generalisation.matrix["auc"]
    assert first == [None, None]
    assert None not in last
    assert None not in record.generalisation.untrained["auc"]
    assert record.metrics["robustness"] is not None


def test_clips_are_degraded_as_clips(tmp_path: Path) -> None:
    further = FURTHER.replace("[noise, jpeg]", "[h264]").replace("6}", "4}")
    stream = write_further(tmp_path / "clips", further, frames=8, tests=3)
    record = run(Request("dfdc3", "naive", str(stream), **CLIPS, device="cpu", out=tmp_path / "runs"), registry())
    assert record.input.unit == (7,)  # what the detector samples of a video, at 15 frames per second
    assert record.data.perturbed is not None
    assert [*record.data.perturbed.test] == [{"real": 2, "fake": 2}] * len(record.names)
    assert record.data.unseen[0].test == {"real": 24, "fake": 24}
    assert record.robustness is not None
    assert record.metrics["robustness"] is not None


def test_degraded_copies_of_a_stream_of_ten_classes(tmp_path: Path) -> None:
    """Its experiences share one test set, of which the same pictures are degraded in each."""
    write_cifar(tmp_path / "c10")
    (tmp_path / "ten.yaml").write_text(
        "name: ten\nmetric: accuracy\ndefaults: {source: cifar10, root: c10}\nsplit: {parts: 2}\n"
        "perturb: {kinds: [blur], levels: [1, 5], samples: 15}\n"
    )
    record = run(ask(tmp_path / "ten.yaml", tmp_path / "runs", "naive"), registry())
    assert len(record.data.classes) == 10
    assert record.data.perturbed is not None
    assert sorted(record.data.perturbed.test[0].values()) == [1] * 5 + [2] * 5
    copies = [scores_of(record).get(1, j) for j in range(2, 6)]
    assert len({tuple(group.samples) for group in copies if group is not None}) == 1
    assert record.robustness is not None
    assert [*record.robustness.by_kind] == [*record.robustness.clean] == ["accuracy"]
    share = [float(np.mean(group.predicted == group.labels)) for group in copies if group is not None]
    assert record.robustness.by_kind["accuracy"]["blur"] == {
        "1": (share[0] + share[2]) / 2,
        "5": (share[1] + share[3]) / 2,
    }
    assert record.metrics["robustness"] == pytest.approx(np.mean(share))
    assert record.generalisation is None


def test_middle_evaluations_stay_on_the_experiences(stream: Path, tmp_path: Path) -> None:
    record = run(ask(stream, tmp_path, eval_every=2), registry())
    assert record.mid_training
    assert all(len(point.values) == 2 for point in record.mid_training)


def test_loggers_get_the_unseen_figures(stream: Path, tmp_path: Path) -> None:
    class Follower(Listener):
        def __init__(self) -> None:
            self.events: list[Event] = []

        def event(self, event: Event) -> None:
            self.events.append(event)

    follower = Follower()
    record = run(ask(stream, tmp_path, "naive"), registry(), follower)
    found = [event for event in follower.events if isinstance(event, Evaluated)]
    assert record.generalisation is not None
    assert [list(event.metrics["auc"]) for event in found] == [["s0", "s1"]] * 3
    assert [list(event.unseen["auc"].values()) for event in found] == [
        record.generalisation.untrained["auc"],
        *record.generalisation.matrix["auc"],
    ]


def test_a_set_without_validation_rows_is_passed_over_with_a_notice(tmp_path: Path) -> None:
    stream = write_further(tmp_path / "data")
    manifest = stream.with_name("manifest.csv")
    rows = [row for row in manifest.read_text().splitlines() if not ("s2," in row and row.endswith("val"))]
    manifest.write_text("\n".join(rows) + "\n")
    notices: list[str] = []

    class Reader(Listener):
        def event(self, event: Event) -> None:
            notices.extend([event.text] if isinstance(event, Notice) else [])

    record = run(ask(stream, tmp_path / "runs", "naive", split="val"), registry(), Reader())
    assert "unseen sets without a val split are not scored: new" in notices
    assert record.unseen_names == ["newer"]
    assert record.metrics["generalisation"] is not None


def test_what_is_skipped_is_on_the_record(stream: Path, tmp_path: Path) -> None:
    record = run(ask(stream, tmp_path, "naive", skip_tests=["perturbed", "new"]), registry())
    assert record.spec.skipped_tests == ("new", "perturbed")
    assert record.spec.further_tests is not None
    assert record.unseen_names == ["newer"]
    assert record.robustness is None
    assert record.metrics["generalisation"] is not None
    with pytest.raises(UsageError, match="unknown test to skip 'never'"):
        run(ask(stream, tmp_path, skip_tests=["never"]), registry())


def test_an_unseen_set_that_is_not_here_is_one_line_and_nothing_is_trained(tmp_path: Path) -> None:
    stream = write_further(tmp_path / "data", FURTHER.replace("perturb", "  - {name: away, root: nowhere}\nperturb"))
    with pytest.raises(DataError) as caught:
        run(ask(stream, tmp_path / "runs"), registry())
    message = str(caught.value)
    assert "unseen set 'away': source 'folder': the root " in message
    assert message.endswith("nowhere does not exist; --skip-tests away leaves it out")
    assert "\n" not in message
    assert not (tmp_path / "runs").exists()


def test_a_run_that_was_killed_ends_in_the_same_scores(stream: Path, tmp_path: Path, with_odd: Registry) -> None:
    """Killed in the last training, when unseen sets were scored twice already."""
    words = ("eval", "-d", "mortal", "-s", "replay", "-b", stream, "--out", tmp_path / "b", "--device", "cpu", "-q")
    killed = dfbench(*words, python_path=(ODD,), MORTAL_AT="1", MORTAL_SIGNAL="SIGKILL")
    assert killed.code == -9, killed.err
    undisturbed, resumed = (
        run(Request("mortal", "replay", str(stream), device="cpu", out=tmp_path / out), with_odd) for out in "ab"
    )
    assert (undisturbed.resumed, resumed.resumed) == (0, 1)
    assert scores_of(undisturbed).digest() == scores_of(resumed).digest()
    for name in ("metrics", "generalisation", "robustness"):
        assert getattr(undisturbed, name) == getattr(resumed, name)


def test_scored_copies_are_not_scored_again(stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record cannot be written: what was scored before is a part of its own, which the next run reads."""
    from dfbench.runs.session import Session

    first = run(ask(stream, tmp_path / "a", "naive"), registry())

    def full(*_: Any) -> Record:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Record, "of", full)
        with pytest.raises(OSError, match="No space left"):
            run(ask(stream, tmp_path / "b", "naive"), registry())
    monkeypatch.setattr(Session, "evaluate_perturbed", full)
    second = run(ask(stream, tmp_path / "b", "naive"), registry())
    assert scores_of(first).digest() == scores_of(second).digest()
    assert second.seconds.perturbed is None
    assert second.robustness == first.robustness


def test_a_detector_that_cannot_use_an_unseen_set_is_told_how_to_leave_it_out(tmp_path: Path) -> None:
    stream = write_further(tmp_path / "data", frames=8, tests=2)
    manifest = stream.with_name("manifest.csv")
    short = [row for row in manifest.read_text().splitlines() if ",s3," not in row or "-0.png" in row]
    manifest.write_text("\n".join(short) + "\n")
    with pytest.raises(DataError, match=r"unseen set 'newer', test: .*; --skip-tests NAME leaves a set"):
        run(Request("dfdc3", "naive", str(stream), **CLIPS, device="cpu", out=tmp_path / "runs"), registry())


def test_without_further_tests_a_spec_is_what_it_was(finished: Record) -> None:
    document = finished.spec.document()
    assert document["further_tests"] == finished.spec.further_tests
    assert "skipped_tests" not in document
    bare = finished.spec.model_copy(update={"further_tests": None})
    assert "further_tests" not in bare.document()
    assert bare.row_id == finished.spec.row_id
    assert bare.identity != finished.spec.identity
    assert finished.path is not None
    written = json.loads(finished.path.read_text())
    assert written["spec"] == document
    assert finished.path.with_name(WEIGHTS).exists()
    assert finished.path.name == RECORD


def test_validation_reals_so_far_are_scored_after_each_training(stream: Path, finished: Record) -> None:
    scores, first = scores_of(finished), len(finished.names) + len(finished.unseen_names) + len(finished.tested.copies)
    held = [group for group in scores if group.tested_on >= first]
    assert [(g.trained_on, g.tested_on - first) for g in held] == [(0, 0), (1, 0), (1, 1)]
    for group in held:
        assert not group.labels.any()
        assert len(group) == finished.data.experiences[group.tested_on - first].val["real"]
        assert all("-val" in name for name in group.samples)
    assert finished.operating is not None
    assert finished.operating.reals == [6, 12]
    assert finished.metrics["fpr_drift"] == finished.operating.drift is not None


def test_a_run_on_the_validation_sets_fixes_no_thresholds_on_them(stream: Path, tmp_path: Path) -> None:
    assert run(ask(stream, tmp_path, "naive", split="val", skip_tests=["all"]), registry()).operating is None


def test_a_run_resumed_from_before_validation_reals_were_scored_has_no_drift(stream: Path, tmp_path: Path) -> None:
    whole = run(ask(stream, tmp_path, "naive"), registry())
    scores = scores_of(whole)
    first = len(whole.names) + len(whole.unseen_names) + len(whole.tested.copies)
    kept = Scores(g for g in scores if g.tested_on < first or g.trained_on == 1)
    parts = parts_of(kept, whole.tested)
    found = figures(parts, whole.tested, "auc", 2, "data")
    assert found["operating"]["drift"] is None
    assert found["operating"]["thresholds"][0] is None
    assert found["operating"]["false_positive_rate"][1][1] is not None
