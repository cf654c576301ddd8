"""What is said of a row's checks: each passes, fails and is not made for its own reason."""

from __future__ import annotations

from typing import Any

import pytest

from dfbench.benchmarks.controls import Controls
from dfbench.records.record import Record
from dfbench.records.verdict import NAMES, QUESTIONS, Verdict, verdicts
from tests.records.builder import FINGERPRINT, make_record

R = [[0.9, None], [0.8, 0.9]]


def changed(record: Record, **parts: Any) -> Record:
    return Record.parse(record.document() | parts, "changed")


def three(spec: dict[str, Any] | None = None, **parts: Any) -> list[Record]:
    return [changed(make_record("replay", R, seed=seed, **(spec or {})), **parts) for seed in range(3)]


def controls(auc: float | None, fingerprint: str = FINGERPRINT, split: str = "test") -> Controls:
    names = [{"name": name, "auc": value, "reals": 80, "fakes": 80} for name, value in (("a", auc), ("b", auc and 0.5))]
    return Controls(version=1, benchmark="some", fingerprint=fingerprint, split=split, experiences=names)


def of(name: str, records: list[Record], known: Controls | None = None) -> Verdict:
    found = {each.name: each for each in verdicts(records, known)}
    assert tuple(found) == NAMES == tuple(QUESTIONS)
    return found[name]


def test_leaks() -> None:
    data = three()[0].document()["data"]
    assert of("leaks", three()).status == "passed"
    leaking = three(data=data | {"allowed_leaks": ["faces: 3 people occur in two splits", "faces: a video does"]})
    assert of("leaks", leaking)[1:] == ("failed", "faces: 3 people occur in two splits; 2 in all")
    unknown = three(uncertainty=three()[0].document()["uncertainty"] | {"unit": "sample"})
    assert of("leaks", unknown).status == "not checked"


@pytest.mark.parametrize(
    ("known", "status", "detail"),
    [
        (None, "not checked", "no controls of these data"),
        (controls(0.95, "a" * 64), "not checked", "no controls of these data"),
        (controls(0.95, split="val"), "not checked", "no controls of these data"),
        (controls(None), "not checked", "too few pictures"),
        (controls(0.55), "passed", "AUC of borders at most 0.550 (a)"),
        (controls(0.69), "passed", "0.690"),
        (controls(0.71), "failed", "AUC of borders at most 0.710 (a)"),
    ],
)
def test_processing(known: Controls | None, status: str, detail: str) -> None:
    found = of("processing", three(), known)
    assert found.status == status
    assert detail in found.detail


@pytest.mark.parametrize(
    ("auc", "reals", "status"),
    [
        (0.6, [80, 80], "passed"),
        (0.69, [800, 800], "passed"),
        (0.7, [80, 80], "failed"),
        (0.85, [20, 20], "passed"),  # less than four standard errors (.091 each) above ½
        (0.9, [20, 20], "failed"),
    ],
)
def test_reals_against_reals(auc: float, reals: list[int], status: str) -> None:
    """The worst seed counts."""
    assert of("reals", three()).status == "not checked"
    records = three(between_reals={"auc": 0.55, "of": [0, 1], "reals": [80, 80], "mean": 0.55})
    records[1] = changed(records[1], between_reals={"auc": auc, "of": [0, 1], "reals": reals, "mean": auc})
    found = of("reals", records)
    assert found.status == status
    assert found.detail == f"AUC at most {auc:.3f} (a and b)"


def test_seeds() -> None:
    assert of("seeds", three())[1:] == ("passed", "3 of at least 3")
    assert of("seeds", three()[:2])[1:] == ("failed", "2 of at least 3")


def operating(drift: float | None) -> dict[str, Any]:
    rates = {"false_positive_rate": [0.0, 0.0], "true_positive_rate": [0.5, 0.5]}
    half = [[0.01, 0.05], [None, 0.01]]
    sure = {"unit": "video", "count": 0, "level": 0.95, "drift": None, "carried_tpr": None}
    return {
        "fpr": 0.01, "thresholds": [0.5, 0.5], "reals": [5, 10], "false_positive_rate": half,
        "true_positive_rate": half, "at_half": rates, "recalibrated": {"20": rates}, "drift": drift,
        "carried_tpr": 0.5, "uncertainty": sure,
    }  # fmt: skip


def test_a_threshold_that_is_carried_on() -> None:
    """The mean over the seeds that measured it."""
    assert of("threshold", three()).status == "not checked"
    records = [
        changed(record, operating=operating(drift)) for record, drift in zip(three(), (0.02, 0.05), strict=False)
    ]
    assert of("threshold", [*records, three()[2]])[1:] == ("passed", "3.5 points from its aim")
    records = three(operating=operating(0.04))
    assert of("threshold", records)[1:] == ("failed", "4.0 points from its aim")
    assert of("threshold", three(operating=operating(None))).status == "not checked"


def generalisation(low: float) -> dict[str, Any]:
    return {
        "untrained": {"auc": [0.5]}, "matrix": {"auc": [[0.6], [0.7]]},
        "per_set": [{"set": "token", "n": 10, "frame_auc": 0.7}],
        "uncertainty": {"unit": "video", "metric": "auc", "count": 100, "level": 0.95, "average": [low, 0.8],
                        "per_set": [[low, 0.8]]},
    }  # fmt: skip


def test_sets_that_it_was_never_trained_on() -> None:
    data = three()[0].document()["data"] | {"unseen": [{"name": "token", "test": {"real": 5, "fake": 5}}]}
    metrics = {"generalisation": 0.7}
    assert of("unseen", three()).status == "not checked"
    spec = {"further_tests": "e" * 64}
    better = three(spec, data=data, metrics=metrics, generalisation=generalisation(0.6))
    assert of("unseen", better)[1:] == ("passed", "0.700")
    worse = [*better[:2], three(spec, data=data, metrics=metrics, generalisation=generalisation(0.49))[2]]
    assert of("unseen", worse)[1:] == ("failed", "0.700, an interval holds .5")
