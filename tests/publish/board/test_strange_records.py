"""Whatever a stranger changes in a record: it is refused, or everybody's pages, tables and reports still work."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfbench.errors import DataError, DfbenchError
from dfbench.plugins import registry
from dfbench.publish.board.add import add
from dfbench.publish.board.build import pages
from dfbench.publish.board.cells import cells
from dfbench.publish.board.data import table_data
from dfbench.publish.board.table import read_board
from dfbench.publish.hub.push import plan
from dfbench.publish.plotting import style
from dfbench.publish.report.comparison import COMPARISONS
from dfbench.publish.report.figures import FIGURES
from dfbench.publish.report.page import describe, describe_comparison, render
from dfbench.publish.report.runs import gather, load_runs
from dfbench.publish.report.write import write_report
from dfbench.publish.verification.checks import verify
from dfbench.records.comparison import compare
from dfbench.records.finished import FinishedRun
from dfbench.records.record import WEIGHTS, Record
from dfbench.records.spec import RunSpec
from tests.publish.board_runs import make_run, read_record, write_record

VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**63, -(2**70), 1e300, -1e-300, 0.5, "", "x" * 400, "\x1b[31m", "\ud800", "2026-13-45",
    "[" * 500, "\u202eevil", [], [None], {}, {"": 1}, {"a": {"b": []}}, [[1, 2], [3]],
    ["a=2026-13-45", "b=[" + "[" * 300],
]  # fmt: skip
MISSING = object()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A board of two rows, and an honest run that is not on it."""
    folder = tmp_path_factory.mktemp("start")
    runs = [
        make_run(folder / "a", "gem"),
        make_run(folder / "a", "naive", stored=0),
        make_run(folder / "b", "replay", held=12),
    ]
    compute = {"forward": [300] * 3, "backward": [300] * 3, "passes": 900.0}
    for run in runs:
        write_record(run, read_record(run) | {"compute": compute})
    add(runs[:2], folder / "board", registry())
    run = runs[2]
    record = read_record(run)
    record |= {
        "settings": ["epochs=6"],
        "stability": {"auc": {"lowest": 0.5}},
        "tuning": {"chosen": []},
        "mid_training": [
            {"number": 1, "trained_on": 0, "done": 1, "step": 1, "metric": "auc", "values": [0.5, None, 0.5]}
        ],
        "checkpoint": {"repo": "me/small", "revision": None},
    }
    record["memory"]["held"] = [[[1, 1]] * 3] * 3
    write_record(run, record)
    return folder / "board", run


def everything(board: Path) -> None:
    """What others do with the board: build, show, compare, report."""
    read = read_board(board)
    pages(read)
    for table in read.tables:
        json.dumps(table_data(table, table.rows), allow_nan=False).encode()
        for row in table.rows:
            "".join(cells(table, row).line()).encode()
    records = [Record.read(path) for path in sorted((board / "results").glob("*.json"))]
    if all(record.compute is not None for record in records):
        json.dumps(compare(records, 0.1).document(), allow_nan=False)
    str(compare(records)).encode()


def renamed(record: dict[str, Any]) -> None:
    """What a careful forger does after changing the spec: name and identity follow."""
    spec = RunSpec.model_validate(record["spec"])
    record["identity"], record["run"] = spec.identity, spec.run_id


def refused_or_harmless(start: tuple[Path, Path], tmp: Path, change: Callable[[dict[str, Any]], None]) -> bool:
    """Whether the changed record was refused; an assertion fails where it was accepted and does harm."""
    shutil.rmtree(tmp, ignore_errors=True)
    board, run = shutil.copytree(start[0], tmp / "board"), Path(shutil.copytree(start[1], tmp / "run"))
    record = read_record(run)
    change(record)
    write_record(run, record)
    accepted = False
    with contextlib.suppress(DfbenchError):
        add([run], board, registry())
        accepted = True
    if accepted:
        everything(board)
    return not accepted


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            found += places(inner, (*path, index))
    return found


def set_at(record: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    inner: Any = record
    for step in path[:-1]:
        inner = inner[step]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = copy.deepcopy(value)


def test_an_honest_record_is_accepted(start: tuple[Path, Path], tmp_path: Path) -> None:
    assert not refused_or_harmless(start, tmp_path / "x", lambda record: None)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_a_record_with_one_strange_value_is_refused_or_does_no_harm(
    data: st.DataObject, start: tuple[Path, Path], tmp_path: Path
) -> None:
    record = read_record(start[1])
    recomputed = {"metrics", "matrix", "per_experience", "uncertainty", "identity", "run", "headline"}
    first = data.draw(st.sampled_from(sorted({str(path[0]) for path in places(record)} - recomputed)))
    path = data.draw(st.sampled_from([path for path in places(record) if path[0] == first]))
    value = data.draw(st.sampled_from(VALUES))

    def change(record: dict[str, Any]) -> None:
        set_at(record, path, value)
        if path[0] == "spec":
            try:
                renamed(record)
            except (ValueError, UnicodeError):
                return

    refused_or_harmless(start, tmp_path / "x", change)


STEPS: dict[str, Callable[[list[Path]], Any]] = {
    "compare": lambda runs: compare(runs).document() and str(compare(runs)).encode(),
    "verify": lambda runs: [verify(FinishedRun.open(run), registry()) for run in runs],
    "report on one": lambda runs: drawn(runs[-1:]),
    "report on two": lambda runs: drawn(runs),
    "zoo push": lambda runs: plan(runs[-1], "me/small", registry()),
}


def drawn(paths: list[Path]) -> None:
    """All of a report but writing its pictures."""
    runs = load_runs(paths)
    methods = gather(runs)
    single = runs[0] if len(runs) == 1 else None
    with style():
        for name, draw in (FIGURES if single else COMPARISONS).items():
            if (figure := draw(single or methods)) is not None:
                describe(name, single) if single else describe_comparison(name, methods)
                plt.close(figure)
    render(methods, []).encode()


def read_by(step: str, start: tuple[Path, Path], tmp: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record that lies next to its scores, and read it together with an honest one: an error, or a result."""
    shutil.rmtree(tmp, ignore_errors=True)
    runs = [Path(shutil.copytree(run, tmp / str(n))) for n, run in enumerate((start[0].parent / "a").glob("*gem*"))]
    runs.append(Path(shutil.copytree(start[1], tmp / "run")))
    (runs[-1] / WEIGHTS).write_bytes(b"weights")
    record = read_record(runs[-1])
    change(record)
    write_record(runs[-1], record)
    with contextlib.suppress(DfbenchError):
        STEPS[step](runs)


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_a_record_that_was_not_put_on_a_board_is_read_or_refused(
    step: str, data: st.DataObject, start: tuple[Path, Path], tmp_path: Path
) -> None:
    path = data.draw(st.sampled_from(places(read_record(start[1]))))
    value = data.draw(st.sampled_from([*VALUES, MISSING]))

    def change(record: dict[str, Any]) -> None:
        set_at(record, path, value)
        if path[0] == "spec":
            with contextlib.suppress(ValueError, UnicodeError):
                renamed(record)

    read_by(step, start, tmp_path / "x", change)


def no_average_accuracy(record: dict[str, Any]) -> None:
    del record["metrics"]["average_accuracy"]


def no_eer(record: dict[str, Any]) -> None:
    del record["per_experience"][0]["eer"]
    record["per_experience"][1]["eer"] = None


def two_data_sets(record: dict[str, Any]) -> None:
    record["spec"]["data_fingerprint"] = "none"
    renamed(record)


def more_than_all_reals(record: dict[str, Any]) -> None:
    record["per_experience"][1]["accuracy_real"] = 1e17


def no_parameters(record: dict[str, Any]) -> None:
    record["detector"]["parameters"] = 0


@pytest.mark.parametrize("change", [no_average_accuracy, no_eer, two_data_sets, more_than_all_reals, no_parameters])
@pytest.mark.parametrize("step", STEPS)
def test_what_a_record_lacks_or_overstates_ends_in_one_line(
    step: str, change: Callable[[dict[str, Any]], None], start: tuple[Path, Path], tmp_path: Path
) -> None:
    read_by(step, start, tmp_path / "x", change)


def other_headline(record: dict[str, Any]) -> None:
    record["headline"] = "accuracy"


def other_experience(record: dict[str, Any]) -> None:
    record["data"]["experiences"][0]["name"] = record["per_experience"][0]["experience"] = "other"


def other_counts(record: dict[str, Any]) -> None:
    record["data"]["experiences"][0]["test"]["fake"] -= 1


def same_training_measured_otherwise(record: dict[str, Any]) -> None:
    record["spec"] |= {"strategy": "gem", "eval_every": 5}
    renamed(record)


def an_option_like_a_date(record: dict[str, Any]) -> None:
    record["spec"]["detector_config"]["start"] = "2026-13-45"
    renamed(record)


def a_setting_like_a_date(record: dict[str, Any]) -> None:
    record["settings"] = ["lr=2026-13-45"]


def a_setting_of_brackets(record: dict[str, Any]) -> None:
    record["settings"] = ["lr=" + "[" * 900]


def no_steps(record: dict[str, Any]) -> None:
    record["steps"] = []


def too_few_stored(record: dict[str, Any]) -> None:
    record["memory"]["samples"] = [30]


def endless_seconds(record: dict[str, Any]) -> None:
    record["seconds"]["train"] = [1e308] * 3


def no_passes(record: dict[str, Any]) -> None:
    record["compute"] = {"forward": [1, 1, 1], "backward": [0, 0, 0], "passes": 1e-300}


def half_a_character(record: dict[str, Any]) -> None:
    record["data"]["notes"] = ["\ud800"]


def a_terminal_escape(record: dict[str, Any]) -> None:
    record["spec"]["preset"] = "\x1b[2Jdefault"
    renamed(record)


def a_negative_count(record: dict[str, Any]) -> None:
    record["memory"]["bytes"][0] = -1


def an_entry_in_letters(record: dict[str, Any]) -> None:
    record["per_experience"][0]["n_more"] = "many"


HARMFUL = [
    other_headline, other_experience, other_counts, same_training_measured_otherwise, no_steps, too_few_stored,
    endless_seconds, no_passes, half_a_character, a_terminal_escape, a_negative_count, an_entry_in_letters,
]  # fmt: skip


@pytest.mark.parametrize("change", HARMFUL)
def test_what_does_harm_is_refused(
    change: Callable[[dict[str, Any]], None], start: tuple[Path, Path], tmp_path: Path
) -> None:
    assert refused_or_harmless(start, tmp_path / "x", change)


@pytest.mark.parametrize("change", [an_option_like_a_date, a_setting_like_a_date, a_setting_of_brackets])
def test_what_yaml_stumbles_over_is_only_text(
    change: Callable[[dict[str, Any]], None], start: tuple[Path, Path], tmp_path: Path
) -> None:
    refused_or_harmless(start, tmp_path / "x", change)


def test_runs_with_one_fingerprint_and_other_experiences_are_not_compared(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "gem", names=("one", "two"))]
    with pytest.raises(DataError, match="not comparable"):
        compare(runs)
    with pytest.raises(DataError, match="not comparable"):
        write_report(runs, tmp_path / "report")
