"""The file of chosen options: it holds what the choice follows from, and nothing that is not validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError, DfbenchError, UsageError
from dfbench.publish.verification.choice import choice_findings
from dfbench.records.choice import (
    ChoiceFile,
    better,
    check_metric,
    chosen_path,
    options_from,
    parse_choice,
    read_choice,
)
from dfbench.records.command import command
from dfbench.records.finished import FinishedRun
from dfbench.records.parts import ChosenFrom
from dfbench.records.record import CHOSEN, Record
from dfbench.records.spec import RunSpec
from dfbench.records.verdict import verdicts
from dfbench.runs.sweep.choose import choose
from dfbench.runs.sweep.plan import Job
from tests.records.builder import make_record

R: list[list[float | None]] = [[0.9, None], [0.8, 0.9]]
VALUES = {(0.1, 0): 0.7, (0.1, 1): 0.8, (0.5, 0): 0.9, (0.5, 1): 0.6}
"""(lr, seed) → average AUC: lr=.5 has the best seed, lr=.1 the better mean or not."""


def runs(folder: Path, values: Mapping[tuple[float, int], float | None], **spec: Any) -> dict[str, tuple[Job, Path]]:
    """Finished runs with these values, as a sweep has them."""
    found = {}
    for (lr, seed), value in values.items():
        options = {"detector_config": {"lr": lr}, "seed": seed, "split": "val", **spec}
        record = make_record("replay", R, metrics={"average_auc": value, "forgetting": value}, **options)
        path = folder / record.run / "record.json"
        record.write(path)
        (path.parent / "spec.json").write_text(json.dumps(record.spec.document()))
        job = Job(record.spec.asked, record.run, (), record.spec, {})
        found[job.key] = (job, path.parent)
    return found


def chosen(folder: Path, values: Mapping[tuple[float, int], float | None] = VALUES, metric: str = "average_auc",
           **spec: Any) -> ChoiceFile:  # fmt: skip
    found = runs(folder, values, **spec)
    jobs = [job for job, _ in found.values()]
    return choose("grid", metric, jobs, {key: path for key, (_, path) in found.items()})


def test_the_best_mean_over_seeds_is_chosen_not_the_best_seed(tmp_path: Path) -> None:
    file = chosen(tmp_path, {**VALUES, (0.1, 1): 0.85})
    (choice,) = file.choices
    assert choice.best.spec.detector_config == {"lr": 0.1}
    assert [c.mean for c in choice.candidates] == pytest.approx([0.775, 0.75])
    assert [[run.value for run in c.runs] for c in choice.candidates] == [[0.7, 0.85], [0.9, 0.6]]
    for candidate in choice.candidates:
        for run in candidate.runs:
            assert run.identity == candidate.spec.model_copy(update={"seed": run.seed}).identity


def test_of_what_is_lost_less_is_better_and_of_equals_the_first_is_taken(tmp_path: Path) -> None:
    assert better("forgetting") == "lower"
    assert chosen(tmp_path / "a", metric="forgetting").choices[0].best.spec.detector_config == {"lr": 0.1}  # a tie
    lower = {**VALUES, (0.5, 0): 0.1}
    assert chosen(tmp_path / "b", lower, "forgetting").choices[0].best.spec.detector_config == {"lr": 0.5}
    assert chosen(tmp_path / "c", lower, "average_auc").choices[0].best.spec.detector_config == {"lr": 0.1}


def test_nothing_is_chosen_while_a_run_is_missing_or_has_no_value(tmp_path: Path) -> None:
    found = runs(tmp_path, VALUES)
    jobs = [job for job, _ in found.values()]
    done = {key: path for key, (_, path) in found.items()}
    del done[jobs[-1].key]
    with pytest.raises(DfbenchError, match="nothing is chosen while 1 of 4 runs are missing"):
        choose("grid", "average_auc", jobs, done)
    with pytest.raises(DataError, match="average_auc is undefined"):
        chosen(tmp_path / "b", {**VALUES, (0.1, 0): None})


def test_runs_that_were_scored_on_test_splits_choose_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scored on the test split, which options are never chosen by"):
        chosen(tmp_path, VALUES, split="test")


def test_the_same_runs_give_the_same_file(tmp_path: Path) -> None:
    assert chosen(tmp_path / "a").content() == chosen(tmp_path / "b").content()
    assert parse_choice(chosen(tmp_path / "a").content(), "file") == chosen(tmp_path / "b")


def damaged(document: dict[str, Any], change: str) -> None:
    choice = document["choices"][0]
    first = choice["candidates"][0]
    match change:
        case "another is chosen":
            choice["chosen"] = 1 - choice["chosen"]
        case "a value is raised":
            first["runs"][0]["value"] = 0.99
        case "value and mean are raised":
            first["runs"][0]["value"], first["mean"], first["spread"] = 0.99, (0.99 + 0.8) / 2, 0.1343502884254441
            choice["chosen"] = 1
        case "an option is changed":
            first["spec"]["detector_config"]["lr"] = 7.0
        case "it was scored on test":
            first["spec"]["split"] = "test"
        case "a seed is left out":
            first["runs"] = first["runs"][1:]
            first["mean"], first["spread"] = first["runs"][0]["value"], None
        case "less is better":
            document["better"] = "lower"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("another is chosen", "is not the best one"),
        ("a value is raised", "mean or spread is not that of its values"),
        ("value and mean are raised", "is not the best one"),
        ("an option is changed", "its identity is not that of the candidate's spec"),
        ("it was scored on test", "options are chosen on val alone"),
        ("a seed is left out", "different seeds"),
        ("less is better", "average_auc: higher is better"),
    ],
)
def test_a_file_whose_choice_does_not_follow_is_refused(change: str, said: str, tmp_path: Path) -> None:
    document = json.loads(chosen(tmp_path).content())
    damaged(document, change)
    (tmp_path / "file.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="not a file of 'dfbench sweep --choose'") as raised:
        read_choice(tmp_path / "file.json")
    assert said in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"schema": 1}'])
def test_what_is_no_such_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_choice(tmp_path / "x.json")
    assert str(raised.value).startswith(str(tmp_path / "x.json"))
    with pytest.raises(DataError, match="cannot be read"):
        read_choice(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("metric", "said"),
    [("average_acu", "did you mean 'average_auc'"), ("robustness", "never looked at"), ("generalisation", "never"),
     ("auc", "unknown metric 'auc'")],
)  # fmt: skip
def test_a_metric_must_be_one_of_validation_runs(metric: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_metric(metric)


def written(folder: Path, **spec: Any) -> Path:
    path = folder / "chosen-by-me.json"
    path.write_bytes(chosen(folder, {**VALUES, (0.1, 1): 0.85}, **spec).content())
    return path


def test_options_are_found_by_detector_strategy_and_benchmark(tmp_path: Path) -> None:
    found = options_from(written(tmp_path), "cnn", "replay", "some")
    assert (found.settings, found.preset, found.file.name) == (["lr=0.1"], "p", "chosen-by-me.json")
    assert options_from(written(tmp_path), "cnn", "replay", "a/stream.yaml").settings == ["lr=0.1"]
    for wanted in (("cnn", "naive", "some"), ("cnn", "replay", "other"), ("xcnn", "replay", None)):
        with pytest.raises(UsageError, match=r"has no options for .*; it has them for cnn p replay some"):
            options_from(written(tmp_path), *wanted)


def spec_of(**more: Any) -> RunSpec:
    options: dict[str, Any] = {"detector_config": {"lr": 0.1}, **more}
    return make_record("replay", R, **options).spec


def test_a_run_must_be_on_the_data_that_the_options_were_chosen_on(tmp_path: Path) -> None:
    found = options_from(written(tmp_path), "cnn", "replay", None)
    for free in ({}, {"seed": 9}, {"split": "test"}, {"initial_weights": {"pretrained": True}}, {"eval_every": 3}):
        found.check(spec_of(**free))
    with pytest.raises(DataError, match="options were chosen on other data than those of some"):
        found.check(spec_of(data_fingerprint="a" * 64))
    with pytest.raises(DataError, match="differs from what was chosen in detector_config, memory"):
        found.check(spec_of(detector_config={"lr": 0.2}, memory=3))


# --- On records --------------------------------------------------------------------------------------


def a_run(folder: Path, path: Path, **spec: Any) -> FinishedRun:
    """A test run that names the file."""
    about = options_from(path, "cnn", "replay", "some").file
    record = make_record("replay", R, metrics={}, **{"detector_config": {"lr": 0.1}, **spec})
    record = record.model_copy(update={"chosen_from": about})
    record = Record.parse(json.loads(json.dumps(record.document())), "record")
    record.write(folder / record.run / "record.json")
    (folder / record.run / CHOSEN).write_bytes(path.read_bytes())
    return FinishedRun.open(folder / record.run)


def test_a_record_without_it_is_the_document_that_it_was(tmp_path: Path) -> None:
    record = make_record("replay", R)
    assert "chosen_from" not in record.document()
    run = a_run(tmp_path, written(tmp_path))
    assert run.record.document()["chosen_from"].keys() == {"name", "sha256", "metric"}
    assert run.record.identity == spec_of().identity  # nor is the spec another one with it


def test_the_line_that_makes_a_record_again_needs_no_file(tmp_path: Path) -> None:
    """It names every option, so that it holds where the file is not at hand."""
    run = a_run(tmp_path, written(tmp_path))
    plain = run.record.model_copy(update={"chosen_from": None})
    assert command(run.record) == command(plain)
    assert "--set lr=0.1" in command(run.record)


def test_verify_follows_a_record_to_its_evidence(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert choice_findings(FinishedRun.open(a_run(tmp_path, path).path)) == choice_findings(a_run(tmp_path, path))
    (found,) = choice_findings(a_run(tmp_path, path))
    assert (found.what, found.ok) == ("chosen_from", True)
    (found,) = choice_findings(a_run(tmp_path, path, detector_config={"lr": 0.5}))
    assert (found.ok, found.detail) == (
        False, "the file did not choose these options for this detector, strategy and data"
    )  # fmt: skip
    run = a_run(tmp_path, path)
    (run.folder / CHOSEN).write_bytes(path.read_bytes() + b"\n")
    assert choice_findings(run)[0].ok is False
    (run.folder / CHOSEN).unlink()
    assert choice_findings(run)[0].ok is None
    assert choice_findings(FinishedRun(run.path, make_record("replay", R))) == []


def test_verify_compares_validation_runs_that_lie_next_to_it(tmp_path: Path) -> None:
    run = a_run(tmp_path, written(tmp_path))
    path = next(tmp_path.glob("*/spec.json")).parent / "record.json"
    record = Record.read(path)
    lr = record.spec.detector_config["lr"]
    best = next(p for p in tmp_path.glob("*/record.json") if Record.read(p).spec.detector_config == {"lr": 0.1}
                and Record.read(p).spec.split == "val")  # fmt: skip
    Record.read(best).model_copy(update={"metrics": {"average_auc": 0.1}}).write(best)
    assert lr in (0.1, 0.5)
    (found,) = choice_findings(run)
    assert found.ok is False
    assert "the file has other scores of" in found.detail


def test_on_a_board_the_file_is_called_by_its_digest(tmp_path: Path) -> None:
    path = written(tmp_path)
    run = a_run(tmp_path, path)
    about = run.record.chosen_from
    assert about is not None
    board = tmp_path / "board"
    run.record.write(board / "results" / f"{run.record.run}.json")
    on_board = FinishedRun.open(board / "results" / f"{run.record.run}.json")
    assert choice_findings(on_board)[0].ok is None
    place = chosen_path(board, about)
    place.parent.mkdir()
    place.write_bytes(path.read_bytes())
    assert choice_findings(on_board)[0].ok is True


@pytest.mark.parametrize(
    ("parts", "status", "detail"),
    [
        ({"chosen_from": ChosenFrom(name="f.json", sha256="a" * 64, metric="average_auc")}, "passed",
         "chosen by average AUC on validation data (f.json, sha256 aaaaaaaa)"),
        ({"settings": ["lr=3"]}, "failed", "1 set by hand; no file says that validation data chose them"),
        ({"settings": []}, "not checked", "never chosen on validation data here"),
        ({"trained": False}, "not checked", "nothing was trained"),
    ],
)  # fmt: skip
def test_the_board_says_whose_options_were_chosen(parts: dict[str, Any], status: str, detail: str) -> None:
    records = [make_record("replay", R, seed=seed).model_copy(update=parts) for seed in range(3)]
    (found,) = [each for each in verdicts(records) if each.name == "options"]
    assert found.status == status
    assert detail in found.detail
    by_hand = make_record("replay", R, seed=3).model_copy(update={"settings": ["lr=3"]})
    if status == "passed":  # one seed without the file is enough
        assert {each.name: each.status for each in verdicts([*records, by_hand])}["options"] == "failed"
