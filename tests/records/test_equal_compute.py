"""Comparing runs that computed equally much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError
from dfbench.records.comparison import equal_compute
from dfbench.records.record import Record
from tests.cli.harness import run_cli
from tests.records.builder import make_record
from tests.records.test_intransigence import CUMULATIVE, JOINT, RUN


def costing(passes: float | None, name: str = "some", **config: Any) -> Record:
    return make_record(name, RUN.matrix["auc"], stored=5, passes=passes, detector_config=config)


def test_runs_within_the_tolerance_stay_and_the_others_hear_how_long_to_train() -> None:
    dear, near, cheap = costing(1000, epochs=6), costing(900, epochs=9), costing(500, epochs=6)
    kept, left = equal_compute([cheap, dear, near], 0.1)
    assert kept == [dear, near]
    assert [(u.run, u.relative, u.length) for u in left] == [(cheap, 0.5, {"epochs": 12})]
    assert equal_compute([cheap, dear, near], 0.05)[0] == [dear]
    assert equal_compute([cheap, dear], 0.5) == ([cheap, dear], [])


def test_the_length_may_be_steps_or_unknown() -> None:
    _, left = equal_compute([costing(300), costing(100, steps=50), costing(100, epochs=None)], 0)
    assert [u.length for u in left] == [{"steps": 150}, {}]


def test_runs_on_all_data_are_bounds_and_not_rivals() -> None:
    joint = make_record("once", JOINT.matrix["auc"], passes=100)
    bounds = [joint, make_record("all", CUMULATIVE.matrix["auc"], stored=20, passes=3000)]
    run = costing(1000)
    assert equal_compute([*bounds, run], 0.1) == ([*bounds, run], [])
    assert equal_compute(bounds, 0.1) == (bounds, [])


def test_a_run_whose_compute_was_not_counted_is_named() -> None:
    with pytest.raises(DataError, match=f"{RUN.run}: its compute was not counted"):
        equal_compute([costing(1), RUN], 0.1)


def test_the_command_leaves_out_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = dict.fromkeys(("average_auc", "average_accuracy", "forgetting", "bwt", "learning_accuracy"), 0.5)
    names = {"a": 77760, "twice": 155520}
    for name, passes in names.items():
        settings = {"detector_config": {"epochs": 6}, "metrics": metrics, "run": name}
        make_record("replay", RUN.matrix["auc"], passes=passes, **settings).write(tmp_path / name)
    runs = [str(tmp_path / name) for name in names]
    done = run_cli(capsys, "compare", *runs, "--equal-compute", "10", "--json")
    found = json.loads(done.out)
    assert [r["run"] for r in found["runs"]] == ["twice"]
    (left,) = found["left_out"]
    assert left["relative_compute"] == 0.5
    assert left["length"] == {"epochs": 12}
    done = run_cli(capsys, "compare", *runs, "--equal-compute", "10")
    assert "computed 0.50 × the costliest; about equal with --set epochs=12" in " ".join(done.out.split())
