"""Records to rows, rows to tables: grouping, bounds, marks, and what is refused."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from dfbench.benchmarks.parts import Perturb
from dfbench.errors import DataError
from dfbench.publish.board import view
from dfbench.publish.board.build import pages
from dfbench.publish.board.cells import cells, columns
from dfbench.publish.board.data import details
from dfbench.publish.board.row import BoardRow
from dfbench.publish.board.table import Board, make_board, read_board
from dfbench.publish.board.view import axis, finding
from dfbench.records.record import Record
from tests.publish.board_runs import make_run, make_runs, read_record, write_record

FEW = Perturb(kinds=["noise", "h264"], levels=[1, 5])


def records(*folders: Path) -> list[Record]:
    return [Record.read(f) for f in folders]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_runs(tmp_path_factory.mktemp("runs"))


def named(board: Board) -> dict[str, BoardRow]:
    (table,) = board.tables
    return {row.first.spec.strategy: row for row in table.rows}


def test_seeds_of_one_spec_are_one_row(runs: list[Path]) -> None:
    board = make_board(records(*runs))
    rows = named(board)
    assert [len(row.records) for row in rows.values()] == [3] * 5
    row = rows["replay"]
    averages = [read_record(f)["metrics"]["average"] for f in runs if "replay" in f.name]
    assert row.average is not None
    assert row.average.mean == pytest.approx(sum(averages) / 3)
    assert row.average.spread is not None
    assert row.average.low is not None
    assert row.average.low < row.average.mean
    assert [r.spec.seed for r in row.records] == [0, 1, 2]
    assert {row.id} == {r.spec.row_id for r in row.records}
    assert row.metric("forgetting")[0] == pytest.approx(
        sum(read_record(f)["metrics"]["forgetting"] for f in runs if "replay" in f.name) / 3
    )


def test_the_board_does_not_depend_on_the_order_of_its_records(runs: list[Path]) -> None:
    assert pages(make_board(records(*runs))) == pages(make_board(records(*reversed(runs))))


def test_the_best_continual_row_is_marked_and_those_it_does_not_beat(runs: list[Path]) -> None:
    rows = named(make_board(records(*runs)))
    marks = {name: row.mark for name, row in rows.items()}
    assert (marks["joint"], marks["ewc"], marks["naive"]) == (None, "worse", "worse")
    assert {marks["replay"], marks["gem"]} == {"best", "tied"}
    worse = rows["naive"]
    assert worse.against_best is not None
    assert worse.against_best.high < 0
    assert worse.p is not None
    assert worse.p >= worse.against_best.p  # corrected


def test_bounds_are_told_by_what_they_did(tmp_path: Path) -> None:
    joint = make_run(tmp_path, "one", whole=True, stored=0)
    hoarder = make_run(tmp_path, "two", stored=300)  # all 3 · 100 training samples
    plain = make_run(tmp_path, "three", stored=299)
    rows = named(make_board(records(joint, hoarder, plain)))
    assert {name: row.bound for name, row in rows.items()} == {"one": True, "two": True, "three": False}
    assert {row.mark for row in rows.values()} == {None}  # bounds are not compared, and the one other row is alone
    (table,) = make_board(records(joint, hoarder, plain)).tables
    assert table.bound_words(rows["one"]).startswith("all data at once; compute not counted")
    assert table.bound_words(rows["two"]).startswith("all data so far, kept")


def test_rows_are_compared_within_one_detector_and_memory(tmp_path: Path) -> None:
    """A row that stores more than the stream allows, and another preset's rows, have no part in the ★ of the others."""
    usual = [make_run(tmp_path, name, seed) for name in ("replay", "naive") for seed in range(2)]
    more = [make_run(tmp_path, name, seed, stored=90, strength=4.0) for name in ("gem", "hoard") for seed in range(2)]
    rows = named(make_board(records(*usual, *more)))
    assert {rows[name].group.over_budget for name in ("replay", "naive")} == {False}
    assert {rows[name].group.memory for name in ("gem", "hoard")} == {90}
    best = [[rows[n].mark for n in names].count("best") for names in (("replay", "naive"), ("gem", "hoard"))]
    assert best == [1, 1]


def test_seeds_on_different_processors_have_no_common_time(tmp_path: Path) -> None:
    one, other = records(make_run(tmp_path, "replay", 0), make_run(tmp_path, "replay", 1))
    elsewhere = other.environment.model_copy(update={"threads": 8})
    (table,) = make_board([one, other.model_copy(update={"environment": elsewhere})]).tables
    (row,) = table.rows
    assert row.seconds is None
    assert len(row.times) == 2
    cell = cells(table, row)
    assert (cell.time, cell.seconds) == ("–", "–")
    assert any("8 threads" in each for each in cell.times)
    (together,) = make_board([one, other]).tables
    assert together.rows[0].seconds == 100.0


def test_bytes_are_of_pictures_and_of_all_other_state(tmp_path: Path) -> None:
    found = Record.read(make_run(tmp_path, "replay"))
    memory = found.memory.model_copy(update={"state_bytes": 44_000_000})
    (table,) = make_board([found.model_copy(update={"memory": memory})]).tables
    (row,) = table.rows
    assert row.held_bytes == found.memory.bytes[-1] + 44_000_000
    line = dict(zip(columns(table), cells(table, row).line(), strict=True))
    assert line["bytes"].startswith("44")
    assert line["AF"] != "–"


def further(tmp_path: Path, strategy: str, seed: int = 0, **tests: Any) -> Path:
    return make_run(tmp_path, strategy, seed, **{"unseen": ("new", "newer"), "perturb": FEW, **tests})


def test_unseen_sets_and_degraded_copies_are_columns_where_a_row_has_them(tmp_path: Path) -> None:
    runs = [further(tmp_path, "replay", seed) for seed in (0, 1)]
    (table,) = make_board(records(*runs, make_run(tmp_path, "naive"))).tables
    heads = columns(table)
    assert heads[heads.index("learning") + 1 : heads.index("stored")] == ["generalisation", "robustness"]
    rows = {row.first.spec.strategy: row for row in table.rows}
    found = [Record.read(run) for run in runs]
    for name, before in (
        ("generalisation", [sum(r.generalisation.untrained["auc"]) / 2 for r in found]),
        ("robustness", [r.robustness.clean["auc"] for r in found]),
    ):
        change = getattr(rows["replay"], name)
        values = [r.metrics[name] for r in found]
        assert change.mean == pytest.approx(sum(values) / 2)
        assert change.spread == pytest.approx(statistics.stdev(values))
        assert change.before == pytest.approx(sum(before) / 2)
        assert getattr(rows["naive"], name) is None
    line = dict(zip(heads, cells(table, rows["naive"]).line(), strict=True))
    assert (line["generalisation"], line["robustness"]) == ("–", "–")
    words = cells(table, rows["replay"])
    assert words.generalisation_words.startswith("new, newer: 0.")
    assert "undegraded → 0." in words.robustness_words
    (plain,) = make_board(records(make_run(tmp_path / "plain", "naive"))).tables
    assert "generalisation" not in columns(plain)
    assert "robustness" not in columns(plain)


def test_seeds_with_other_tests_are_not_averaged_and_fewer_sets_are_said(tmp_path: Path) -> None:
    odd = [further(tmp_path, "replay"), further(tmp_path, "replay", 1, unseen=("new",), perturb=None)]
    fewer = further(tmp_path, "naive", unseen=("new",), perturb=None)
    (table,) = make_board(records(*odd, fewer, further(tmp_path, "ewc"))).tables
    rows = {row.first.spec.strategy: row for row in table.rows}
    assert rows["replay"].generalisation is None
    assert cells(table, rows["naive"]).generalisation_sets == "1 of 2 sets"
    assert cells(table, rows["ewc"]).generalisation_sets == ""


def test_seeds_from_before_there_were_such_tests_are_left_out_and_said(tmp_path: Path) -> None:
    earlier = [make_run(tmp_path / "earlier", "replay", seed) for seed in (1, 2)]
    (table,) = make_board(records(further(tmp_path, "replay"), *earlier)).tables
    (row,) = table.rows
    (tested,) = [r for r in row.records if r.generalisation]
    for change, name in ((row.generalisation, "generalisation"), (row.robustness, "robustness")):
        assert change is not None
        assert (change.mean, change.spread, change.seeds) == (tested.metrics[name], None, 1)
    words = cells(table, row)
    assert words.generalisation_words.endswith("(1 of 3 seeds)")
    assert words.robustness_words.endswith("(1 of 3 seeds)")


def test_rows_of_one_method_say_how_they_differ(tmp_path: Path) -> None:
    usual = [make_run(tmp_path, name) for name in ("replay", "naive")]
    odd = make_run(tmp_path, "replay", lr=0.01)
    (table,) = make_board(records(*usual, odd)).tables
    assert sorted(row.options for row in table.rows) == [(), (), ("lr=0.01",)]


def test_rows_from_other_initial_weights_are_distinguished(tmp_path: Path) -> None:
    """Random and pretrained weights are two rows, whatever their seeds, and each says which it is."""
    drawn = make_run(tmp_path, "replay", 0, initial_weights={"pretrained": False})
    given = make_run(tmp_path, "replay", 1, initial_weights={"pretrained": True})
    (table,) = make_board(records(drawn, given)).tables
    assert sorted(row.options for row in table.rows) == [("pretrained=false",), ("pretrained=true",)]


def test_one_lucky_seed_is_no_best_row(tmp_path: Path) -> None:
    several = [make_run(tmp_path, "replay", seed) for seed in range(3)]
    lucky = make_run(tmp_path, "gem", strength=4.0)
    rows = named(make_board(records(*several, lucky)))
    assert rows["gem"].average is not None
    assert rows["replay"].average is not None
    assert rows["gem"].average.mean > rows["replay"].average.mean
    assert (rows["replay"].mark, rows["gem"].mark) == ("best", "tied")


def test_rows_without_replicates_are_not_compared(tmp_path: Path) -> None:
    rows = named(make_board(records(make_run(tmp_path, "replay"), make_run(tmp_path, "naive", sure=False))))
    assert rows["naive"].mark is None
    assert rows["naive"].average is not None
    assert rows["naive"].average.low is None


def test_other_data_of_the_same_name_are_another_table(tmp_path: Path) -> None:
    other = make_run(tmp_path / "b", fingerprint="f" * 64)
    board = make_board(records(make_run(tmp_path / "a"), other))
    assert sorted(table.key for table in board.tables)[1] == "three-ffffffff"
    assert all(table.benchmark == "three" for table in board.tables)


def test_a_row_is_the_least_verified_of_its_runs(runs: list[Path]) -> None:
    found = records(*runs[:3])
    statuses = ("reproduced", "recomputed", "reproduced")
    board = make_board([r.model_copy(update={"status": s}) for r, s in zip(found, statuses, strict=True)])
    assert board.tables[0].rows[0].status == "recomputed"


def test_one_training_is_not_on_the_board_twice(runs: list[Path]) -> None:
    found = records(*runs[:2])
    measured = found[0].spec.model_copy(update={"eval_every": 5})  # the same weights, another record
    with pytest.raises(DataError, match="the same training is on the board twice"):
        make_board([*found, found[0].model_copy(update={"spec": measured, "run": measured.run_id})])


def test_validation_results_have_no_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="val split"):
        make_board(records(make_run(tmp_path, split="val")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 3}, "schema"),
        ({"identity": "short"}, "identity"),
        ({"matrix": {"auc": [[0.5]]}}, "3×3"),
        ({"matrix": {"video_auc": [[0.5] * 3] * 3}}, "lacks the headline"),
        ({"headline": "charm"}, "headline"),
        ({"memory": {}}, "memory"),
        ({"status": "believe me"}, "status"),
        ({"scores_sha256": "x"}, "scores_sha256"),
        ({"files": {}}, "files"),
        ({"uncertainty": None}, "uncertainty"),
        ({"spec": {"detector": "x"}}, "spec"),
        ({"metrics": {"average": "much"}}, "metrics"),
    ],
)
def test_a_record_that_breaks_the_schema_is_named_with_the_field(change: dict, said: str, tmp_path: Path) -> None:
    value = {**read_record(make_run(tmp_path)), **change}
    with pytest.raises(DataError, match=said) as error:
        Record.parse(value, "there.json")
    assert str(error.value).startswith("there.json: ")


def test_nan_is_no_number(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    place = tmp_path / "board" / "results"
    place.mkdir(parents=True)
    text = (folder / "record.json").read_text().replace('"total": 100.0', '"total": NaN')
    assert "NaN" in text
    (place / f"{folder.name}.json").write_text(text)
    with pytest.raises(DataError, match="NaN"):
        read_board(tmp_path / "board")


def test_a_changed_spec_is_refused_when_the_board_is_read(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    record = read_record(folder)
    record["spec"]["detector_config"]["epochs"] = 1
    place = tmp_path / "board" / "results"
    place.mkdir(parents=True)
    (place / f"{folder.name}.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="the record was changed"):
        read_board(tmp_path / "board")


def test_a_folder_that_is_no_board(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no leaderboard here"):
        read_board(tmp_path)


def test_the_data_of_the_page_hold_every_run_once(runs: list[Path]) -> None:
    (table,) = make_board(records(*runs)).tables
    parts = details(table)
    found = {identity: row for part in parts.values() for identity, row in part["rows"].items()}
    assert set(found) == {row.id for row in table.rows}
    assert all(identity.startswith(name) for name, part in parts.items() for identity in part["rows"])
    assert sorted(run["run"] for row in found.values() for run in row["runs"]) == sorted(f.name for f in runs)
    for part in parts.values():
        assert len(part["environments"]) == 1  # shared
        assert {run["environment"] for row in part["rows"].values() for run in row["runs"]} == {0}


def test_the_benchmark_with_most_rows_stands_first(tmp_path: Path, runs: list[Path]) -> None:
    other = make_run(tmp_path, "replay", benchmark="a", fingerprint="e" * 64, names=("a", "b"))
    assert [table.key for table in make_board(records(other, *runs)).tables] == ["three", "a"]


def test_an_undefined_average_sorts_last(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "odd")
    record = read_record(folder)
    record["metrics"]["average"] = None
    write_record(folder, record)
    board = make_board(records(folder, make_run(tmp_path, "replay")))
    assert [row.first.spec.strategy for row in board.tables[0].rows] == ["replay", "odd"]


def test_the_finding_says_what_the_marks_come_to(runs: list[Path], tmp_path: Path) -> None:
    (table,) = make_board(records(*runs)).tables
    tied = [row.mark for row in table.rows].count("tied")
    assert finding(table) == (
        f"{tied} of the other 3 continual rows cannot be distinguished from the best with these seeds."
    )
    apart = records(*(f for f in runs if "replay" in f.name or "naive" in f.name or "ewc" in f.name))
    assert finding(make_board(apart).tables[0]) == "All 2 other continual rows are significantly worse than the best."
    assert finding(make_board(apart[:1]).tables[0]) == ""


def test_the_axis_fits_the_continual_rows_and_leaves_out_what_lies_far_below(runs: list[Path], tmp_path: Path) -> None:
    (table,) = make_board(records(*runs)).tables
    ends = [v for row in table.rows if row.average and not row.bound for v in (row.average.low, row.average.high) if v]
    scale = axis(table)
    assert scale.low <= min(ends) + 0.05
    lost = make_run(tmp_path, "lost", strength=0.0)
    (wider,) = make_board(records(*runs, lost)).tables
    row = next(row for row in wider.rows if row.first.spec.strategy == "lost")
    assert row.average is not None
    assert row.average.mean < axis(wider).low  # at the edge, as an arrow


def test_passes_are_those_of_the_seeds_that_counted_them(tmp_path: Path) -> None:
    """Records of older versions counted none; the passes follow from the settings, not from the seed."""
    made = [make_run(tmp_path, "replay", seed, passes=passes) for seed, passes in enumerate([None, 21600.0, 21600.0])]
    (row,) = make_board(records(*made)).tables[0].rows
    assert row.passes == 21600
    (row,) = make_board(records(made[0])).tables[0].rows
    assert row.passes is None


def test_carried_thresholds_are_columns_of_the_page_where_a_row_has_them(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "replay", held=120), make_run(tmp_path, "replay", 1), make_run(tmp_path, "naive")]
    (table,) = make_board(records(*runs)).tables
    assert {"fpr_drift", "carried_tpr"} <= {column.key for column in view.columns(table)}
    rows = {row.first.spec.strategy: row for row in table.rows}
    drift = Record.read(runs[0]).metrics["fpr_drift"]
    assert drift is not None
    assert rows["replay"].metric("fpr_drift") == (drift, None)  # of the seed that has it
    assert rows["naive"].metric("fpr_drift") == (None, None)
    (plain,) = make_board(records(*runs[1:])).tables
    assert "fpr_drift" not in {column.key for column in view.columns(plain)}


def controls(fingerprint: str, auc: float) -> dict[str, Any]:
    one = {"name": "a", "auc": auc, "reals": 80, "fakes": 80}
    return {"version": 1, "benchmark": "three", "fingerprint": fingerprint, "split": "test", "experiences": [one]}


def test_controls_of_a_board_s_data_are_part_of_what_was_checked(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "controls").mkdir()
    known = records(*runs)
    for record in known:
        record.write(tmp_path / "results" / f"{record.run}.json")
    (row, *_), (table,) = read_board(tmp_path).tables[0].rows, read_board(tmp_path).tables
    before = {each.name: each for each in table.verdicts(row)}
    assert before["processing"].status == "not checked"
    passed = sum(each.status == "passed" for each in before.values())
    assert cells(table, row).checks == f"{passed}/7"
    file = tmp_path / "controls" / "three.json"
    file.write_text(json.dumps(controls(known[0].data.fingerprint, 0.9)))
    (table,) = read_board(tmp_path).tables
    assert {each.name: each for each in table.verdicts(row)}["processing"].status == "failed"
    assert cells(table, row).checks == f"{passed}/7 ✗ processing"
    file.write_text(json.dumps(controls("0" * 64, 0.9)))  # of other data
    assert read_board(tmp_path).tables[0].controls is None
    file.write_text(json.dumps(controls(known[0].data.fingerprint, 2.0)))
    with pytest.raises(DataError, match=r"three\.json: experiences\.0\.auc.*data controls --to"):
        read_board(tmp_path)
