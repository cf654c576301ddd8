"""A tampered score, metric, hash or spec is caught; a run is made again, exactly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError
from dfbench.evaluation.scores import Scores
from dfbench.plugins import registry
from dfbench.publish.board.add import add
from dfbench.publish.verification.checks import difference, failures, verify
from dfbench.publish.verification.rerun import agreement, attach, rerun
from dfbench.records.finished import FinishedRun
from dfbench.records.packed_scores import PackedRun, write_pack
from dfbench.records.text import number
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from tests.publish.board_runs import hash_of, make_run, read_record, write_record

SMALL = ["image_size=32", "epochs=1", "batch_size=8", "width=4"]


def found_wrong(folder: Path) -> dict[str, str]:
    return {f.what: f.detail for f in failures(verify(FinishedRun.open(folder), registry()))}


def test_an_honest_record_is_right(tmp_path: Path) -> None:
    findings = verify(FinishedRun.open(make_run(tmp_path)), registry())
    assert {f.what for f in findings if f.ok} == {
        "identity", "run", "data", "scores_sha256", "matrix", "metrics", "per_experience", "uncertainty",
        "between_reals",
    }  # fmt: skip
    assert [f.what for f in findings if f.ok is None] == ["weights_sha256"]  # not there
    assert not failures(findings)


def tampered_scores(folder: Path) -> None:
    """One score of the last model is raised, as by somebody who wants a better AUC."""
    path = folder / "scores.parquet"
    scores = Scores()
    for group in Scores.read(path):
        values = group.scores.copy()
        if group.trained_on == 2 and group.tested_on == 0:
            values[1::3] = (values[1::3] + group.labels[1::3]) / 2
        scores.append(
            group.trained_on, group.tested_on, group.samples, group.videos, group.labels, values, values > 0.5
        )
    path.unlink()
    scores.write(path)


def test_a_tampered_score_is_caught_by_its_hash_and_by_every_figure(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    tampered_scores(folder)
    wrong = found_wrong(folder)
    assert set(wrong) == {"scores_sha256", "matrix", "metrics", "per_experience", "uncertainty", "between_reals"}
    assert "matrix.auc[2][0]: the record says" in wrong["matrix"]


def test_tampered_scores_with_their_new_hash_are_caught_by_the_figures(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    tampered_scores(folder)
    record = read_record(folder)
    record["scores_sha256"] = Scores.read(folder / "scores.parquet").digest()
    write_record(folder, record)
    assert set(found_wrong(folder)) == {"matrix", "metrics", "per_experience", "uncertainty", "between_reals"}


def raise_metric(record: dict[str, Any]) -> None:
    record["metrics"]["average"] += 1e-6


def lower_forgetting(record: dict[str, Any]) -> None:
    record["metrics"]["forgetting"] = 0.0


def change_matrix(record: dict[str, Any]) -> None:
    record["matrix"]["auc"][0][1] = 0.99


def hide_entry(record: dict[str, Any]) -> None:
    record["matrix"]["video_auc"][1][1] = None


def change_experience(record: dict[str, Any]) -> None:
    record["per_experience"][1]["eer"] = 0.01


def narrow_interval(record: dict[str, Any]) -> None:
    record["uncertainty"]["average"][0] += 0.01


def other_replicates(record: dict[str, Any]) -> None:
    text = record["uncertainty"]["replicates"]
    record["uncertainty"]["replicates"] = text[8:] + text[:8]


def calm_reals(record: dict[str, Any]) -> None:
    record["between_reals"]["auc"] = 0.5


def change_hash(record: dict[str, Any]) -> None:
    record["scores_sha256"] = "0" * 64


def change_spec(record: dict[str, Any]) -> None:
    record["spec"]["detector_config"]["epochs"] = 1


def change_seed(record: dict[str, Any]) -> None:
    record["spec"]["seed"] = 5


def change_fingerprint(record: dict[str, Any]) -> None:
    record["data"]["fingerprint"] = record["spec"]["data_fingerprint"] = "1" * 64


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (raise_metric, {"metrics"}),
        (lower_forgetting, {"metrics"}),
        (change_matrix, {"matrix"}),
        (hide_entry, {"matrix"}),
        (change_experience, {"per_experience"}),
        (narrow_interval, {"uncertainty"}),
        (other_replicates, {"uncertainty"}),
        (calm_reals, {"between_reals"}),
        (change_hash, {"scores_sha256"}),
        (change_spec, {"identity", "run"}),
        (change_seed, {"identity", "run"}),
        (change_fingerprint, {"identity", "run", "uncertainty"}),
    ],
)
def test_what_was_tampered_with_is_named(
    change: Callable[[dict[str, Any]], None], what: set[str], tmp_path: Path
) -> None:
    folder = make_run(tmp_path)
    record = read_record(folder)
    change(record)
    write_record(folder, record)
    assert set(found_wrong(folder)) == what


def test_other_weights_than_recorded_are_caught(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert set(found_wrong(folder)) == {"weights_sha256"}
    record = read_record(folder)
    record["weights_sha256"] = hash_of(folder / "model.safetensors")
    write_record(folder, record)
    assert not found_wrong(folder)


def test_damaged_and_missing_scores_are_reported(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    path = folder / "scores.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    assert "damaged" in found_wrong(folder)["scores_sha256"]
    path.unlink()
    assert "is not next to the record" in found_wrong(folder)["scores_sha256"]


def test_scores_that_a_leaderboard_leaves_out_are_not_checked_and_those_of_another_run_are_wrong(
    tmp_path: Path,
) -> None:
    board = tmp_path / "board"
    (added,) = add([make_run(tmp_path)], board, registry())
    (pack,) = board.glob("scores/*.parquet")
    other = FinishedRun.open(make_run(tmp_path / "b", strength=2.5))
    write_pack(pack, {PackedRun(added.run, other.record.scores_sha256): other.scores})
    assert "does not hold these scores" in found_wrong(added.path)["scores_sha256"]
    pack.write_bytes(pack.read_bytes()[:-100])
    assert "damaged" in found_wrong(added.path)["scores_sha256"]
    pack.unlink()
    findings = {f.what: f for f in verify(FinishedRun.open(added.path), registry())}
    assert not failures(list(findings.values()))
    assert findings["scores_sha256"].ok is None
    assert "dfbench leaderboard pull" in findings["scores_sha256"].detail
    assert findings["identity"].ok


def test_differences_say_where() -> None:
    assert difference({"a": [1.0, 2.0]}, {"a": [1.0, 2.0]}, "x") is None
    assert difference({"a": [1.0, 2.0]}, {"a": [1.0, 2.5]}, "x") == "x.a[1]: the record says 2, the scores give 2.5"
    assert difference({"a": None}, {"a": 1.0}, "x") == "x.a: the record says None, the scores give 1.0"
    assert difference({"a": 1, "b": 1}, {"a": 1}, "x") == "x: has ['b'] too much or too little"
    assert difference([1], [1, 2], "x") == "x: 1 entries, not 2"
    assert difference({"a": 1.0}, {"a": True}, "x") is not None


@pytest.fixture(scope="module")
def trained(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, really trained."""
    out = tmp_path_factory.mktemp("trained")
    request = Request("simple_cnn", "replay", str(tiny_stream), settings=SMALL, device="cpu", out=out, seed=3)
    run(request, registry())
    (folder,) = out.iterdir()
    return folder


def test_a_real_run_is_right_with_plugins_metrics_and_weights(trained: Path) -> None:
    findings = verify(FinishedRun.open(trained), registry())
    assert all(f.ok for f in findings), findings
    assert {"matrix.ap", "matrix.balanced_accuracy", "weights_sha256"} <= {f.what for f in findings}


def test_a_small_row_is_made_again_exactly(trained: Path, tiny_stream: Path, tmp_path: Path) -> None:
    source = FinishedRun.open(trained)
    found = rerun(source, registry(), None, tmp_path, benchmark=str(tiny_stream))
    assert found.agreement == "identical"
    assert found.difference == found.largest == 0
    again = FinishedRun.open(found.path)
    assert again.path.parent != trained
    assert again.record.scores_sha256 == source.record.scores_sha256
    assert again.record.weights_sha256 == source.record.weights_sha256
    written = attach(source.record, found, "somebody")
    assert written.status == "reproduced"
    assert written.verification is not None
    assert written.verification.environment == again.record.environment
    assert written.verification.by == "somebody"


def test_a_run_with_evaluations_in_its_trainings_is_made_again(tiny_stream: Path, tmp_path: Path) -> None:
    request = Request(
        "simple_cnn", "naive", str(tiny_stream), settings=SMALL, device="cpu", out=tmp_path / "first", eval_every=2
    )
    record = run(request, registry())
    assert record.path is not None
    found = rerun(FinishedRun.open(record.path), registry(), None, tmp_path / "again", benchmark=str(tiny_stream))
    assert found.agreement == "identical"


def test_scores_that_no_training_gave_are_not_reproduced(trained: Path, tiny_stream: Path, tmp_path: Path) -> None:
    """Consistent throughout, and still false: every score is that of a perfect detector."""
    fake = tmp_path / trained.name
    shutil.copytree(trained, fake)
    scores = Scores()
    for g in Scores.read(fake / "scores.parquet"):
        scores.append(g.trained_on, g.tested_on, g.samples, g.videos, g.labels, g.labels * 0.8 + 0.1, g.labels)
    (fake / "scores.parquet").unlink()
    scores.write(fake / "scores.parquet")
    again = FinishedRun.open(trained)
    found = agreement(FinishedRun.open(fake), again)
    assert found.agreement == "identical" or found.difference == 0  # its record still claims the true metrics
    record = read_record(fake)
    record["metrics"]["average"] = 1.0
    record["matrix"]["auc"] = [[1.0] * 3] * 3
    write_record(fake, record)
    found = agreement(FinishedRun.open(fake), again)
    assert found.agreement == "differs"
    assert "NOT reproduced" in found.sentence


def test_what_cannot_be_made_again_is_refused_before_training(trained: Path, tmp_path: Path, tiny_stream: Path) -> None:
    other = tmp_path / "other.yaml"
    text = tiny_stream.read_text().replace("root: .", f"root: {tiny_stream.parent}")
    other.write_text(text.replace("memory: 12", "memory: 10"))
    with pytest.raises(DataError, match=r"the data are others.*memory was 12, is 10"):
        rerun(FinishedRun.open(trained), registry(), None, tmp_path / "out", benchmark=str(other))
    assert not (tmp_path / "out").exists()


def test_another_environment_is_named(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / trained.name
    shutil.copytree(trained, other)
    record = read_record(other)
    record["environment"]["packages"]["torch"] = "2.14.0"
    record["environment"]["threads"] = 8
    write_record(other, record)
    found = agreement(FinishedRun.open(other), FinishedRun.open(trained))
    assert found.agreement == "identical"
    assert "threads 8 → 1" in found.changed
    assert any(text.startswith("torch 2.14.0 → ") for text in found.changed)


def test_a_rerun_says_how_far_each_metric_is(trained: Path, tmp_path: Path) -> None:
    """Not only that the difference is allowed: .0199 of .02 would be so, too."""
    other = tmp_path / trained.name
    shutil.copytree(trained, other)
    record = read_record(other)
    scores = Scores()
    for g in Scores.read(other / "scores.parquet"):
        scores.append(g.trained_on, g.tested_on, g.samples, g.videos, g.labels, g.scores * 0.999, g.predicted)
    (other / "scores.parquet").unlink()
    scores.write(other / "scores.parquet")
    record["metrics"]["average"] += 0.00123
    record["metrics"]["forgetting"] -= 0.01004
    record["environment"]["packages"]["torch"] = "2.14.0"
    write_record(other, record)
    found = agreement(FinishedRun.open(other), FinishedRun.open(trained))
    here = read_record(trained)
    now = here["environment"]["packages"]["torch"]
    assert found.agreement == "tolerance"
    assert found.closeness == f"within 0.0101 (torch 2.14.0 → {now})"
    then = record["metrics"]["forgetting"]
    assert f"forgetting {number(then, 4)} → {number(here['metrics']['forgetting'], 4)}" in found.sentence
    assert found.metrics["average"] == (record["metrics"]["average"], here["metrics"]["average"])
