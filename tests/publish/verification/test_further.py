"""Unseen sets and degraded copies: their figures follow from the scores, and the scores are of the benchmark."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfbench import DataError
from dfbench.cli.eval import _further
from dfbench.evaluation.further import figures, parts_of
from dfbench.evaluation.scores import Group, Scores
from dfbench.evaluation.uncertainty import data_key
from dfbench.plugins import Registry, registry
from dfbench.publish.board.add import add
from dfbench.publish.verification.checks import failures, verify
from dfbench.publish.verification.rerun import rerun
from dfbench.publish.verification.samples import SampleCheck
from dfbench.records.comparison import compare
from dfbench.records.finished import FinishedRun
from dfbench.records.packed_scores import PackedRun, read_pack, write_pack
from dfbench.records.record import SCORES, Record
from dfbench.runs.runner import run
from tests.publish.board_runs import read_record, write_record
from tests.publish.verification.test_samples import one_person, other_names, two_labels_exchanged, without_two
from tests.runs.test_further import ask, write_further


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_further(tmp_path_factory.mktemp("further"))


@pytest.fixture(scope="module")
def tested(stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with unseen sets and degraded copies."""
    record = run(ask(stream, tmp_path_factory.mktemp("out")), registry())
    assert record.path is not None
    return record.path.parent


@pytest.fixture
def copy(tested: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tested, tmp_path / tested.name))


@pytest.fixture(scope="module")
def check(stream: Path) -> SampleCheck:
    return SampleCheck(registry(), benchmark=str(stream))


def wrong(folder: Path, check: SampleCheck | None = None) -> dict[str, str]:
    return {each.what: each.detail for each in failures(verify(FinishedRun.open(folder), registry(), check))}


def test_an_honest_run_is_verified(tested: Path, check: SampleCheck) -> None:
    findings = verify(FinishedRun.open(tested), registry(), check)
    assert [each.what for each in findings if each.ok is not True] == []
    assert {"generalisation", "robustness", "operating", "data.perturbed", "samples"} <= {
        each.what for each in findings
    }


def test_a_changed_score_of_an_unseen_set_is_caught(copy: Path) -> None:
    groups = list(Scores.read(copy / SCORES))
    for group in groups:
        if (group.trained_on, group.tested_on) == (1, 2):
            group.scores[group.labels == 1] = 0.9
            group.scores[group.labels == 0] = 0.1
    (copy / SCORES).unlink()
    Scores(groups).write(copy / SCORES)
    assert {*wrong(copy)} == {"scores_sha256", "metrics", "generalisation"}
    record = read_record(copy)
    record["scores_sha256"] = Scores(groups).digest()
    write_record(copy, record)
    assert {*wrong(copy)} == {"metrics", "generalisation"}


def raise_robustness(record: dict[str, Any]) -> None:
    record["robustness"]["by_kind"]["auc"]["jpeg"]["5"] = 1.0


def raise_clean(record: dict[str, Any]) -> None:
    record["robustness"]["clean"]["auc"] = 1.0


def raise_untrained(record: dict[str, Any]) -> None:
    record["generalisation"]["untrained"]["auc"][0] = 0.0


def narrow(record: dict[str, Any]) -> None:
    record["generalisation"]["uncertainty"]["average"] = [0.5, 0.5]


def miscount(record: dict[str, Any]) -> None:
    record["data"]["perturbed"]["test"][0]["real"] += 1


def raise_mean(record: dict[str, Any]) -> None:
    record["metrics"]["generalisation"] = 0.99


def lower_drift(record: dict[str, Any]) -> None:
    record["operating"]["drift"] = record["metrics"]["fpr_drift"] = 0.001


def lower_threshold(record: dict[str, Any]) -> None:
    record["operating"]["thresholds"][0] = 0.1


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (raise_robustness, {"robustness"}),
        (raise_clean, {"robustness"}),
        (raise_untrained, {"generalisation"}),
        (narrow, {"generalisation"}),
        (miscount, {"data.perturbed"}),
        (raise_mean, {"metrics"}),
        (lower_drift, {"metrics", "operating"}),
        (lower_threshold, {"operating"}),
    ],
)
def test_what_was_tampered_with_is_named(change: Callable[[dict[str, Any]], None], what: set[str], copy: Path) -> None:
    record = read_record(copy)
    change(record)
    write_record(copy, record)
    assert {*wrong(copy)} == what


@pytest.mark.parametrize("missing", [(0, 2), (1, 11)])
def test_a_set_that_is_left_out_is_missed(copy: Path, missing: tuple[int, int]) -> None:
    scores = Scores(g for g in Scores.read(copy / SCORES) if (g.trained_on, g.tested_on) != missing)
    (copy / SCORES).unlink()
    scores.write(copy / SCORES)
    what = "unseen set 0 after experience 0" if missing == (0, 2) else "degraded copy 7 after experience 1"
    assert wrong(copy)["metrics"] == f"scores on {what} are missing, or should not be there"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_two, "2 of 12 samples were not scored"),
        (two_labels_exchanged, "the label of "),
        (other_names, "12 of 12 samples were not scored"),
        (one_person, "the person of "),
    ],
)
def test_scores_of_other_samples_are_caught_by_the_data(
    copy: Path, check: SampleCheck, change: Callable[[Group], Group], message: str
) -> None:
    """Every figure computed from them, as their forger would write it; only the first unseen set is forged."""
    scores = Scores(change(g) if g.tested_on == 2 else g for g in Scores.read(copy / SCORES))
    rewrite(copy, scores)
    assert {*wrong(copy)} <= {"matrix"}
    found = wrong(copy, check)["samples"]
    assert found.startswith("test set of 'new': ")
    assert message in found


def test_a_degraded_copy_of_chosen_samples_is_caught_by_the_data(copy: Path, check: SampleCheck) -> None:
    """Half of what is degraded is left out, in every copy of the first experience."""
    from tests.publish.verification.test_samples import taken

    scores = Scores(taken(g, [0, len(g) - 1]) if 4 <= g.tested_on < 8 else g for g in Scores.read(copy / SCORES))
    rewrite(copy, scores)
    assert wrong(copy, check)["samples"].startswith("test set of 's0 noise 1': 4 of 6 samples were not scored")


def rewrite(folder: Path, scores: Scores) -> None:
    (folder / SCORES).unlink()
    scores.write(folder / SCORES)
    record = read_record(folder)
    run = Record.read(folder)
    key = data_key(run.data.fingerprint, "test")
    parts = parts_of(scores, run.tested)
    record |= figures(parts, run.tested, "auc", 2, key) | {"scores_sha256": scores.digest()}
    first = {copy.of: group for copy, group in zip(run.tested.copies, parts.copies, strict=True)}
    record["data"]["perturbed"]["test"] = [
        {"real": int((group.labels == 0).sum()), "fake": int((group.labels == 1).sum())} for group in first.values()
    ]
    write_record(folder, record)


def test_other_unseen_data_are_said_and_not_called_wrong(tested: Path, stream: Path, tmp_path: Path) -> None:
    other = stream.with_name("other.yaml")
    other.write_text(stream.read_text().replace("samples: 6", "samples: 4"))
    check = SampleCheck(registry(), benchmark=str(other))
    (found,) = [f for f in verify(FinishedRun.open(tested), registry(), check) if f.what == "samples"]
    assert (found.ok, found.detail) == (None, "not checked: tiny has other unseen sets or degraded copies here")


def test_a_rerun_scores_the_same(tested: Path, stream: Path, tmp_path: Path) -> None:
    finished = FinishedRun.open(tested)
    found = rerun(finished, registry(), None, tmp_path / "again", benchmark=str(stream))
    assert found.agreement == "identical"
    assert Record.read(found.path).robustness == finished.record.robustness


def test_a_record_from_before_the_further_tests_is_rerun_and_checked(stream: Path, tmp_path: Path) -> None:
    """The benchmark's file has got unseen sets since; its data and what the run trained on are the same."""
    before = stream.with_name("before.yaml")
    before.write_text(stream.read_text().partition("unseen:")[0])
    old = run(ask(before, tmp_path / "old", "naive"), registry())
    assert (old.spec.further_tests, old.spec.skipped_tests) == (None, ())
    assert old.path is not None
    finished = FinishedRun.open(old.path)
    findings = verify(finished, registry(), SampleCheck(registry(), benchmark=str(stream)))
    assert [each.what for each in findings if each.ok is not True] == []
    again = rerun(finished, registry(), None, tmp_path / "again", benchmark=str(stream))
    assert again.agreement == "identical"


def test_a_run_from_before_validation_reals_were_scored_is_verified_and_rerun(
    copy: Path, stream: Path, check: SampleCheck, tmp_path: Path
) -> None:
    record, first = read_record(copy), 4 + 8
    kept = Scores(g for g in Scores.read(copy / SCORES) if g.tested_on < first)
    (copy / SCORES).unlink()
    kept.write(copy / SCORES)
    record["scores_sha256"] = kept.digest()
    del record["operating"]
    for name in ("fpr_drift", "carried_tpr", "average_partial_auc", "average_tpr_at_1_fpr"):
        del record["metrics"][name]
    for each in record["per_experience"]:
        for name in ("partial_auc", "tpr_at_1_fpr", "tpr_at_01_fpr"):
            del each[name]
    write_record(copy, record)
    assert wrong(copy, check) == {}
    again = rerun(FinishedRun.open(copy), registry(), None, tmp_path / "again", benchmark=str(stream))
    assert again.agreement == "identical"
    assert Record.read(again.path).operating is not None


def test_validation_reals_that_were_chosen_are_caught_by_the_data(copy: Path, check: SampleCheck) -> None:
    from tests.publish.verification.test_samples import taken

    scores = Scores.read(copy / SCORES)
    rewrite(copy, Scores(taken(g, list(range(len(g) - 1))) if g.tested_on >= 4 + 8 else g for g in scores))
    assert wrong(copy, check)["samples"].startswith("val set of 's0': 1 of 6 samples were not scored")


def test_a_pack_holds_all_scores(tested: Path, tmp_path: Path) -> None:
    finished = FinishedRun.open(tested)
    packed = PackedRun(finished.record.run, finished.record.scores_sha256)
    write_pack(tmp_path / "pack.parquet", {packed: finished.scores})
    assert read_pack(tmp_path / "pack.parquet")[packed].digest() == finished.record.scores_sha256


def test_a_row_with_further_tests_is_added_to_a_board(tested: Path, tmp_path: Path, known: Registry) -> None:
    add([tested], tmp_path / "board", known)
    (file,) = (tmp_path / "board" / "results").glob("*.json")
    found = FinishedRun.open(file)
    assert found.record.generalisation == Record.read(tested).generalisation
    assert failures(verify(found, known)) == []
    assert found.replicates.shape == (1000, 2, 2)


def test_the_terminal_says_before_and_after(tested: Path) -> None:
    record = Record.read(tested)
    lines = _further(record)
    before, after = lines["generalisation"].split(" → ")
    assert record.generalisation is not None
    assert record.robustness is not None
    assert float(before) == pytest.approx(sum(map(float, record.generalisation.untrained["auc"])) / 2, abs=6e-4)
    assert float(after) == pytest.approx(record.metrics["generalisation"], abs=6e-4)
    assert lines["robustness"].endswith(f"(undegraded {record.robustness.clean['auc']:.3f})")


def test_runs_are_compared_in_generalisation_where_they_have_it(tested: Path, stream: Path, tmp_path: Path) -> None:
    record = Record.read(tested)
    one = compare([record])
    assert one.columns[9:12] == ["next", "generalisation", "robustness"]
    assert not [note for note in one.notes if "not comparable" in note]
    less = run(ask(stream, tmp_path, "naive", skip_tests=["new", "perturbed"]), registry())
    both = compare([record, less])
    assert "generalisation is not comparable: the runs scored different unseen sets" in both.notes
    assert both.rows[1][both.columns.index("robustness")] == "–"
    assert (
        "generalisation" not in compare([run(ask(stream, tmp_path, "naive", skip_tests=["all"]), registry())]).columns
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(generalisation=None), "generalisation and data.unseen do not go together"),
        (lambda r: r["data"].update(unseen=[]), "generalisation and data.unseen do not go together"),
        (lambda r: r["data"].pop("perturbed"), "robustness and data.perturbed do not go together"),
        (lambda r: r["data"]["unseen"][0].update(name="s0"), "data.unseen: a name is there twice"),
        (
            lambda r: r["data"]["unseen"][0]["test"].update(cat=3),
            "data.unseen.0: 'cat' is not a class of the data",
        ),
        (lambda r: r["data"]["perturbed"]["test"][0].update(cat=3), "data.perturbed.test.0: 'cat' is not a class"),
        (lambda r: r["generalisation"]["matrix"]["auc"].pop(), "generalisation.matrix 'auc': not one column per unse"),
        (lambda r: r["generalisation"]["matrix"]["auc"][0].pop(), "generalisation.matrix 'auc': not one column per"),
        (
            lambda r: r["generalisation"]["matrix"]["auc"][0].__setitem__(0, 1.5),
            "matrix 'auc' has a value outside 0 to",
        ),
        (lambda r: r["generalisation"]["matrix"].pop("auc"), "generalisation.matrix lacks the headline metric 'auc'"),
        (
            lambda r: r["generalisation"]["untrained"]["auc"].append(0.5),
            "generalisation.untrained 'auc': not one column",
        ),
        (lambda r: r["generalisation"]["untrained"].pop("auc"), "generalisation.untrained lacks the headline metric"),
        (lambda r: r["generalisation"]["per_set"].pop(), "generalisation.per_set does not name the unseen sets in th"),
        (lambda r: r["generalisation"]["per_set"][0].update(eer="low"), "per_set.0.eer: 'low' is not a number"),
        (
            lambda r: r["generalisation"]["per_set"][0].update(accuracy=7),
            "per_set.0.accuracy has a value outside 0 to 1",
        ),
        (lambda r: r["generalisation"]["uncertainty"]["per_set"].pop(), "per_set: 1 intervals for 2 sets"),
        (lambda r: r["data"]["perturbed"]["test"].pop(), "data.perturbed.test: 1 entries for 2 experiences"),
        (
            lambda r: r["data"]["perturbed"]["kinds"].append("rain"),
            "data.perturbed.kinds.2: Input should be 'saturation'",
        ),
        (
            lambda r: r["data"]["perturbed"]["levels"].append(9),
            "data.perturbed.levels.2: Input should be 1, 2, 3, 4 or 5",
        ),
        (lambda r: r["data"]["perturbed"]["levels"].append(1), "data.perturbed.levels: one is there twice"),
        (
            lambda r: r["robustness"]["by_kind"]["auc"].pop("jpeg"),
            "by_kind 'auc': not the kinds and levels of data.pert",
        ),
        (
            lambda r: r["robustness"]["by_kind"]["auc"]["jpeg"].update({"9": 1}),
            "robustness.by_kind.auc.jpeg.9.[key]: Str",
        ),
        (
            lambda r: r["robustness"]["by_kind"]["auc"]["jpeg"].update({"1": -1}),
            "by_kind 'auc' has a value outside 0 to",
        ),
        (lambda r: r["robustness"]["by_kind"].pop("auc"), "robustness lacks the headline metric 'auc'"),
        (lambda r: r["robustness"]["clean"].update(auc=3), "robustness.clean 'auc' has a value outside 0 to 1"),
        (lambda r: r["robustness"].update(note="hi"), "robustness.note: Extra inputs are not permitted"),
        (lambda r: r["operating"]["thresholds"].pop(), "operating.thresholds: 1 entries for 2 experiences"),
        (lambda r: r["operating"]["false_positive_rate"][0].pop(), "operating.false_positive_rate is not 2×2"),
        (
            lambda r: r["operating"]["recalibrated"]["20"]["true_positive_rate"].append(0.5),
            "operating.recalibrated.20.true_positive_rate: 3 entries for 2 experiences",
        ),
        (lambda r: r["operating"].update(fpr=2), "operating.fpr: Input should be less than or equal to 1"),
        (lambda r: r["spec"].pop("further_tests"), "spec.further_tests: missing, though data.unseen or data.perturb"),
    ],
)
def test_a_record_whose_further_parts_do_not_fit_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    record = read_record(copy)
    change(record)
    write_record(copy, record)
    with pytest.raises(DataError) as caught:
        Record.read(copy)
    assert message in str(caught.value)
