"""A shortened long stream, from the file to the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.benchmarks.flow import scored_after
from dfbench.errors import UsageError
from dfbench.evaluation.further import parts_of
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.summary import evaluate
from dfbench.plugins import registry
from dfbench.publish.verification.checks import failures, verify
from dfbench.publish.verification.samples import SampleCheck
from dfbench.records.comparison import describe_forgetting
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.session import Session

STREAM = """\
name: short
memory: 20
defaults: {source: forge50, experiences: 6, people: 3}
series: 6
flow: {one_pass: true, tests: 1}
"""
SMALL = ["width=4", "batch_size=8", "image_size=32"]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFBENCH_CACHE", str(folder / "cache"))
        path = folder / "short.yaml"
        path.write_text(STREAM)
        yield path


def ask(stream: Path, out: Path, strategy: str = "naive", *more: str) -> Request:
    return Request("simple_cnn", strategy, str(stream), settings=[*SMALL, *more], device="cpu", out=out)


@pytest.fixture(scope="module")
def record(stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(ask(stream, tmp_path_factory.mktemp("runs")), registry())


def test_R_has_what_the_rule_says_and_nothing_else(record: Record) -> None:
    measured = [[j for j, value in enumerate(row) if value is not None] for row in record.matrix["auc"]]
    assert measured == [scored_after(row, record.names, 1) for row in range(6)]
    assert sum(map(len, measured)) == 2 + 3 + 4 + 4 + 4 + 6
    assert any("only the test sets of the first, the present and the next" in note for note in record.notes)


def test_what_a_sampled_R_defines(record: Record) -> None:
    metrics = record.metrics
    for name in ("average", "bwt", "af", "fwt", "learning_accuracy", "next"):
        assert metrics[name] is not None, name
    for name in ("forgetting", "average_incremental", "whole"):
        assert metrics[name] is None, name
    assert metrics["forgetting_at_least"] >= metrics["af"]
    assert 0 < metrics["average_incremental_estimate"] < 1
    assert record.uncertainty.bwt is not None
    assert record.uncertainty.forgetting is None


def test_words_about_forgetting_admit_the_gaps(record: Record) -> None:
    text = describe_forgetting([record])
    assert text.endswith("Not every test set was scored after every training: more may have been lost.")


def test_every_figure_follows_from_the_scores(record: Record) -> None:
    finished = FinishedRun(record.path, record)
    assert not failures(verify(finished, registry()))
    scores = parts_of(finished.scores, record.tested).experiences
    found = evaluate(scores, record.names, "auc", 2)["metrics"]
    assert {name: record.metrics[name] for name in found} == found


def test_a_test_set_that_was_left_out_is_noticed(record: Record, stream: Path) -> None:
    check, scores = SampleCheck(registry(), benchmark=str(stream)), FinishedRun(record.path, record).scores
    assert check(record, scores).ok
    rest = Scores(group for group in scores if (group.trained_on, group.tested_on) != (3, 0))
    found = check(record, rest)
    assert not found.ok
    assert found.detail == "'step01' is not scored after 'step04', unlike what the benchmark's flow says"


def test_every_sample_is_seen_once(record: Record) -> None:
    pictures = [sum(experience.train.values()) for experience in record.data.experiences]
    assert pictures == [3 * 3 * 2] * 6
    assert record.compute is not None
    assert record.compute.backward == pictures
    assert record.steps == [3] * 6  # of 8, 8 and 2


def test_what_could_repeat_samples_is_refused(stream: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--set epochs=3: short is seen once \(flow: one_pass\); leave it out"):
        prepare(ask(stream, tmp_path, "naive", "epochs=3"), registry())
    with pytest.raises(UsageError, match="detector dfdc3 has no option epochs"):
        prepare(Request("dfdc3", "naive", str(stream), device="cpu", out=tmp_path), registry())


def test_stopped_and_gone_on_with_it_ends_in_the_same_scores(
    stream: Path, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Session.train

    def stopping(session: Session, number: int) -> None:
        if number == 4:
            raise KeyboardInterrupt
        train(session, number)

    monkeypatch.setattr(Session, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(ask(stream, tmp_path), registry())
    monkeypatch.setattr(Session, "train", train)
    again = run(ask(stream, tmp_path), registry())
    assert again.resumed == 1
    assert again.scores_sha256 == record.scores_sha256


@pytest.mark.parametrize("policy", ["harmonic", "decaying"])
def test_the_memory_leans_to_what_was_seen_last(stream: Path, tmp_path: Path, policy: str) -> None:
    found = run(ask(stream, tmp_path, "replay", f"strategy.policy={policy}"), registry())
    held = [sum(counts) for counts in found.memory.held[-1]]
    # 20 · (1/n) / 2.45 is 8.2, 4.1, 2.7, 2.0, 1.6, 1.4; 20 · (1/2ⁿ⁻¹) / 1.97 is 10.2, 5.1, 2.5, 1.3, .6, .3
    assert held[::-1] == {"harmonic": [9, 5, 2, 2, 1, 1], "decaying": [11, 6, 2, 1, 0, 0]}[policy]
