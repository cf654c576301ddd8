"""Evaluations in the middle of trainings: they change nothing, and are kept."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dfbench.cli import cli
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.stability import stability
from dfbench.plugins import registry
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.randomness import restored, seed_everything
from dfbench.runs.runner import run
from dfbench.runs.session import Session
from tests.conftest import ODD, dfbench

SMALL = ["image_size=32", "epochs=2", "batch_size=8", "width=4"]


def ask(stream: Path, out: Path, strategy: str, **more) -> Request:
    return Request("simple_cnn", strategy, str(stream), settings=SMALL, device="cpu", out=out, **more)


@pytest.mark.parametrize("strategy", ["replay", "gem", "ewc", "cwr_star"])
def test_the_training_does_not_notice(tiny_stream: Path, tmp_path: Path, strategy: str) -> None:
    plain = run(ask(tiny_stream, tmp_path, strategy), registry())
    watched = run(ask(tiny_stream, tmp_path, strategy, eval_every=2, eval_samples=6), registry())
    assert watched.run != plain.run
    assert (watched.scores_sha256, watched.weights_sha256) == (plain.scores_sha256, plain.weights_sha256)
    assert (watched.compute, watched.effects) == (plain.compute, plain.effects)
    assert plain.mid_training is None
    assert len(watched.seconds.mid_training) == 3


def test_points_are_at_their_steps_and_the_last_is_the_matrix(tiny_stream: Path, tmp_path: Path) -> None:
    record = run(ask(tiny_stream, tmp_path, "replay", eval_every=4), registry())
    points = record.mid_training or []
    mine = [p for p in points if p.metric == "auc"]
    assert record.steps == [6, 6, 6]
    assert [(p.number, p.trained_on, p.done, p.step) for p in mine] == [
        (k + 1, k, done, 6 * k + done) for k in range(3) for done in (0, 4, 6)
    ]
    assert [p.values for p in mine if p.done == 6] == record.matrix["auc"]
    assert mine[0].values != mine[1].values != mine[2].values
    assert record.stability is not None
    assert record.stability["auc"] == stability([p.model_dump() for p in points], "auc", 3)
    assert record.stability["auc"]["min_acc"] is not None


def test_a_part_of_the_test_sets_is_of_both_classes(tiny_stream: Path, tmp_path: Path) -> None:
    session = Session(prepare(ask(tiny_stream, tmp_path, "naive", eval_every=4, eval_samples=4), registry()))
    assert session.mid_training is not None
    part = session.mid_training.tests
    whole, few = Scores(), Scores()
    for tests, scores in ((session.tests, whole), (part, few)):
        tests.add_scores(scores, 0, tests.predict(session.template.model, session.template.autocast))
    for group in few:
        assert np.bincount(group.labels).tolist() == [2, 2]
        other = whole.get(0, group.tested_on)
        assert other is not None
        expected = dict(zip(other.samples, other.scores, strict=True))
        assert np.allclose([expected[name] for name in group.samples], group.scores)


def test_a_killed_run_keeps_what_it_measured(tiny_stream: Path, tmp_path: Path) -> None:
    def evaluate(out: Path, **env: str):
        options = ("-d", "mortal", "-s", "replay", "-b", tiny_stream, "--out", out, "--device", "cpu", "--json")
        return dfbench("eval", *options, "--eval-every", "2", python_path=(ODD,), **env)

    whole = evaluate(tmp_path / "a")
    assert whole.code == 0, whole.err
    assert evaluate(tmp_path / "b", MORTAL_AT="1", MORTAL_SIGNAL="SIGKILL").code == -9
    resumed = evaluate(tmp_path / "b")
    assert resumed.json["stability"] == whole.json["stability"]
    assert resumed.json["compute"] == whole.json["compute"]
    assert "going on after 1 of 3" in resumed.err


def test_samples_go_with_every() -> None:
    result = CliRunner().invoke(cli, ["eval", "-d", "simple_cnn", "-s", "naive", "--eval-samples", "4"])
    assert result.exit_code != 0
    assert "--eval-every" in str(result.exception) + result.output


def test_nothing_that_is_drawn_inside_is_noticed() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    seed_everything(3, 1)
    expected = draw()
    seed_everything(3, 1)
    with restored():
        assert draw() == expected
    assert draw() == expected


def test_a_tuned_run_is_measured_as_it_predicts(tiny_stream: Path, tmp_path: Path) -> None:
    record = run(ask(tiny_stream, tmp_path, "naive", eval_every=4, tune="bf16"), registry())
    assert record.spec.tuned == ("bf16",)
    plain = run(ask(tiny_stream, tmp_path, "naive", eval_every=4), registry())
    assert record.mid_training is not None
    assert plain.mid_training is not None
    assert (
        record.mid_training[0].values == plain.mid_training[0].values
    )  # nothing is trained yet: in bf16 the scores would differ
