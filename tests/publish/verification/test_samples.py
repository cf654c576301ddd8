"""Scores that every figure follows from, and that are not of the benchmark's own samples."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dfbench.errors import DataError
from dfbench.evaluation.scores import Group, Scores
from dfbench.evaluation.summary import evaluate
from dfbench.evaluation.uncertainty import data_key, uncertainty
from dfbench.plugins import Registry
from dfbench.publish.board.add import add
from dfbench.publish.verification.checks import Finding, failures, verify
from dfbench.publish.verification.rerun import agreement, attach
from dfbench.publish.verification.samples import SampleCheck
from dfbench.records.finished import FinishedRun
from dfbench.records.record import SCORES
from tests.publish.board_runs import read_record, write_record


def forged(finished: Path, to: Path, change: Callable[[Group], Group]) -> FinishedRun:
    """The run with other scores and every figure computed from them, as its forger would write it.

    Validation reals are left out, as in runs from before they were scored.
    """
    folder = Path(shutil.copytree(finished, to / finished.name))
    size = len(read_record(folder)["data"]["experiences"])
    scores = Scores(change(group) for group in Scores.read(folder / SCORES) if group.tested_on < size)
    (folder / SCORES).unlink()
    scores.write(folder / SCORES)
    record = read_record(folder)
    names, key = [e["name"] for e in record["data"]["experiences"]], data_key(record["data"]["fingerprint"], "test")
    record |= evaluate(scores, names, "auc", 2)
    record |= {"uncertainty": uncertainty(scores, names, "auc", 2, key), "scores_sha256": scores.digest()}
    del record["operating"], record["between_reals"]
    write_record(folder, record)
    return FinishedRun.open(folder)


def taken(group: Group, rows: np.ndarray | list[int]) -> Group:
    columns = ("samples", "videos", "labels", "scores", "predicted", "identities")
    return replace(group, **{name: getattr(group, name)[rows] for name in columns})


def without_two(group: Group) -> Group:
    """The same ones each time, as somebody who drops what is hard would do it."""
    return taken(group, np.arange(2, len(group)))


def two_labels_exchanged(group: Group) -> Group:
    labels = group.labels.copy()
    labels[:2] = 1 - labels[:2]
    return replace(group, labels=labels)


def other_names(group: Group) -> Group:
    return replace(group, samples=np.array([f"{name}x" for name in group.samples], dtype=object))


def one_person(group: Group) -> Group:
    return replace(group, identities=np.array(["somebody"] * len(group), dtype=object))


def one_video(group: Group) -> Group:
    return replace(group, videos=np.array([f"v{label}" for label in group.labels], dtype=object))


def samples_finding(run: FinishedRun, known: Registry, check: SampleCheck) -> Finding:
    findings = verify(run, known, check)
    return next(f for f in findings if f.what == "samples")


@pytest.fixture(scope="session")
def check(known: Registry, tiny_stream: Path) -> SampleCheck:
    return SampleCheck(known, benchmark=str(tiny_stream))


def test_an_honest_run_has_the_samples_of_its_benchmark(finished: Path, known: Registry, check: SampleCheck) -> None:
    assert samples_finding(FinishedRun.open(finished), known, check) == Finding("samples", True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_two, "2 of 12 samples were not scored"),
        (two_labels_exchanged, "the label of"),
        (other_names, "12 of 12 samples were not scored"),
        (one_video, "the video of"),
        (one_person, "the person of"),
    ],
)
def test_other_samples_or_labels_are_wrong_though_every_figure_follows(
    change: Callable[[Group], Group], said: str, finished: Path, known: Registry, check: SampleCheck, tmp_path: Path
) -> None:
    run = forged(finished, tmp_path, change)
    without = [f for f in failures(verify(run, known)) if not f.what.startswith("matrix.")]
    assert not without  # nothing else shows it
    found = samples_finding(run, known, check) if not failures(verify(run, known)) else check(run.record, run.scores)
    assert found.ok is False
    assert said in found.detail
    with pytest.raises(DataError):
        add([run.folder], tmp_path / "board", known, samples=check)


def test_data_that_are_not_here_are_reported_as_not_checked(finished: Path, known: Registry, tmp_path: Path) -> None:
    run = FinishedRun.open(finished)
    found = samples_finding(run, known, SampleCheck(known))
    assert found.ok is None
    assert found.detail.startswith("not checked: the data are not available (")
    (tmp_path / "other.yaml").write_text("name: tiny\nexperiences: [{name: a, source: folder, root: nowhere}]\n")
    assert samples_finding(run, known, SampleCheck(known, benchmark=str(tmp_path / "other.yaml"))).ok is None


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [("steps", 1, "steps"), ("memory.samples", 1, "memory.samples"), ("memory.bytes", 1, "memory.bytes"),
     ("compute", 3, "compute")],
)  # fmt: skip
def test_a_rerun_with_other_counts_does_not_reproduce(
    field: str, value: int, what: str, finished: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / finished.name))
    record = read_record(folder)
    if field == "compute":
        record["compute"]["forward"][0] += 3
        record["compute"]["passes"] += 1
    else:
        *outer, last = field.split(".")
        inner = record[outer[0]] if outer else record
        inner[last][0] += value
    write_record(folder, record)
    found = agreement(FinishedRun.open(folder), FinishedRun.open(finished))
    assert (found.agreement, found.counts) == ("differs", (what,))
    assert what in found.sentence
    with pytest.raises(ValueError, match="gives no status"):
        attach(FinishedRun.open(folder).record, found, None)
