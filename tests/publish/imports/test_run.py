"""A row from a file of scores: figures against scikit-learn's, missing predictions, data that are the board's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dfbench.errors import DataError, UsageError
from dfbench.plugins import registry
from dfbench.publish.board.add import add
from dfbench.publish.imports.run import Imported, Request, import_scores
from dfbench.records.imported import ImportedRow
from dfbench.records.packed_scores import read_packed
from tests.publish.board_runs import NAMES, make_run, read_record
from tests.publish.imports.recorded import FOLDER, PAIRS

SCORES = FOLDER / "scores.csv"


def done(board: Path, *files: Path, replace: bool = False, **more: Any) -> Imported:
    return import_scores(Request(files, "linear", "naive", "digits", **more), board, replace)


def table(path: Path, header: str, *lines: str) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def auc_of(row: ImportedRow, number: int = 0) -> list[list[float | None]]:
    return row.seeds[number].matrix["auc"]


# --- Figures -----------------------------------------------------------------------------------------


def test_every_auc_is_the_one_that_scikit_learn_prints(tmp_path: Path) -> None:
    row = done(tmp_path / "board", SCORES).row
    printed = json.loads((FOLDER / "printed.json").read_text())
    assert row.experiences == list(PAIRS)
    assert len(printed) == 9
    for i, trained in enumerate(PAIRS):
        for j, tested in enumerate(PAIRS):
            assert f"{auc_of(row)[i][j]:.4f}" == printed[f"{trained} {tested}"]
    first, learned = float(printed["zero-one zero-one"]), float(printed["two-three two-three"])
    lost = np.mean([first - float(printed["four-five zero-one"]), learned - float(printed["four-five two-three"])])
    assert row.seeds[0].metrics["af"] == pytest.approx(lost, abs=1e-4)
    with SCORES.open() as file:
        final = [line for line in csv.DictReader(file) if line["trained_on"] == line["tested_on"] == "four-five"]
    labels, scores = [int(line["label"]) for line in final], [float(line["score"]) for line in final]
    judged = average_precision_score(labels, scores)
    assert row.seeds[0].per_experience[2]["average_precision"] == pytest.approx(judged, abs=1e-6)
    low, high = row.seeds[0].uncertainty.average or (1, 0)
    assert low < row.seeds[0].metrics["average"] < high  # type: ignore[operator]


def columns_of(path: Path) -> dict[str, list[Any]]:
    with path.open() as file:
        lines = list(csv.DictReader(file))
    found: dict[str, list[Any]] = {name: [line[name] for line in lines] for name in lines[0]}
    return found | {"label": list(map(int, found["label"])), "score": list(map(float, found["score"]))}


def test_csv_parquet_and_npz_give_the_same_row(tmp_path: Path) -> None:
    columns = columns_of(SCORES)
    pq.write_table(pa.table(columns), tmp_path / "scores.bin")  # told by its content, not by its name
    np.savez_compressed(tmp_path / "scores.npz", **{name: np.array(values) for name, values in columns.items()})
    rows = [done(tmp_path / name, path).row for name, path in
            [("a", SCORES), ("b", tmp_path / "scores.bin"), ("c", tmp_path / "scores.npz")]]  # fmt: skip
    assert len({row.seeds[0].scores_sha256 for row in rows}) == 1
    assert len({row.run for row in rows}) == 1


def test_numbers_that_became_floats_are_whole_numbers_still(tmp_path: Path) -> None:
    """pandas makes floats of a column of whole numbers that had a gap."""
    columns = {"trained_on": [0.0, 0.0], "tested_on": [0.0, 0.0], "sample": [7.0, 8.0], "label": [0.0, 1.0],
               "score": [0.2, 0.9], "seed": [3.0, 3.0]}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    found = done(tmp_path / "board", tmp_path / "s.parquet")
    assert (found.row.experiences, found.row.seeds[0].seed) == (["0"], 3)
    scores = read_packed(found.row.pack(tmp_path / "board"), found.row.seeds[0].scores_sha256)
    assert [group.samples.tolist() for group in scores] == [["7", "8"]]


def test_logits_become_probabilities(tmp_path: Path) -> None:
    plain = done(tmp_path / "a", SCORES).row
    called = {"score": "logit"}
    logits = done(tmp_path / "b", SCORES, called=called, logits=True).row
    assert np.array_equal(auc_of(logits), auc_of(plain))
    assert logits.seeds[0].metrics["average"] == plain.seeds[0].metrics["average"]
    with pytest.raises(DataError, match=r"no probability .*--logits"):
        done(tmp_path / "c", SCORES, called=called)


def test_logits_that_are_one_number_in_float32_are_noted(tmp_path: Path) -> None:
    """Both 40 and 41 are P(fake) = 1 in float32: the file's AUC is 1, that of the stored scores ½."""
    path = table(tmp_path / "s.csv", "sample,label,score", "a,0,40", "b,1,41")
    row = done(tmp_path / "board", path, logits=True).row
    assert auc_of(row) == [[0.5]]
    assert row.notes == [
        "stored as P(fake) in float32, in which some scores of the file are one number: an AUC is 0.5000 off"
    ]


def test_the_scores_of_a_run_give_its_record(tmp_path: Path) -> None:
    """With sets that were never trained on, and the untrained network."""
    run = make_run(tmp_path / "runs", unseen=("new",), seed=3)
    record = read_record(run)
    row = done(tmp_path / "board", run / "scores.parquet", experiences=NAMES).row
    assert row.experiences == list(NAMES)
    assert row.unseen == ["3"]
    found = row.seeds[0]
    for name in ("average", "forgetting", "af", "bwt", "fwt", "next", "generalisation"):
        assert found.metrics[name] == pytest.approx(record["metrics"][name], abs=1e-12), name
    assert auc_of(row) == record["matrix"]["auc"]
    assert found.uncertainty.unit == record["uncertainty"]["unit"] == "video"


def test_seeds_of_one_file_are_one_row(tmp_path: Path) -> None:
    lines = [f"{seed},{s},{y},{p}" for seed, flip in ((0, 0.3), (7, 0.8)) for s, y, p in
             [("r", 0, 0.1), ("q", 0, 0.5), ("f", 1, 0.9), ("g", 1, flip)]]  # fmt: skip
    row = done(tmp_path / "board", table(tmp_path / "s.csv", "seed,sample,label,score", *lines)).row
    assert [seed.seed for seed in row.seeds] == [0, 7]
    assert [auc_of(row, n) for n in (0, 1)] == [[[0.75]], [[1.0]]]


def test_one_column_may_stand_for_several(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", "name,truth,p,set", "a,real,.2,x", "b,fake,.9,x")
    called = {"sample": "name", "video": "name", "label": "truth", "score": "p", "tested_on": "set"}
    row = done(tmp_path / "board", path, called=called).row
    assert (auc_of(row), row.seeds[0].uncertainty.unit) == ([[1.0]], "video")


# --- The stream --------------------------------------------------------------------------------------

ONE = ["a,x,0,.2", "b,x,1,.9", "a,y,0,.6", "b,y,1,.5"]


def test_one_model_has_the_last_row_alone(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", "sample,tested_on,label,score", *ONE)
    row = done(tmp_path / "board", path).row
    assert row.experiences == ["x", "y"]
    assert auc_of(row) == [[None, None], [1.0, 0.0]]
    assert row.seeds[0].metrics["forgetting"] is None
    assert row.one_model


def test_what_a_single_model_was_trained_on_is_kept(tmp_path: Path) -> None:
    lines = [f"ff++,{line}" for line in ONE]
    row = done(tmp_path / "board", table(tmp_path / "s.csv", "trained_on,sample,tested_on,label,score", *lines)).row
    assert (row.experiences, row.trained_once) == (["x", "y"], "ff++")
    assert auc_of(row)[1] == [1.0, 0.0]


def test_a_training_set_that_is_tested_leaves_the_others_unseen(tmp_path: Path) -> None:
    lines = [f"x,{line}" for line in ONE]
    row = done(tmp_path / "board", table(tmp_path / "s.csv", "trained_on,sample,tested_on,label,score", *lines)).row
    assert (row.experiences, row.unseen) == (["x"], ["y"])
    assert row.seeds[0].metrics["generalisation"] == 0.0


def test_the_order_of_experiences_can_be_given(tmp_path: Path) -> None:
    order = ["four-five", "two-three", "zero-one"]
    row = done(tmp_path / "board", SCORES, experiences=order).row
    assert row.experiences == order
    assert f"{auc_of(row)[0][2]:.4f}" == json.loads((FOLDER / "printed.json").read_text())["four-five zero-one"]
    with pytest.raises(UsageError, match=r"unknown experience .*'two-three'"):
        done(tmp_path / "board", SCORES, experiences=["zero-one", "two-tree", "four-five"])


# --- Missing predictions -----------------------------------------------------------------------------

HEAD = "trained_on,tested_on,sample,label,score"
HOLES = ["x,x,a,0,.1", "x,x,b,0,.4", "x,x,c,1,.3", "x,x,d,1,.8",
         "y,x,a,0,.1", "y,x,b,0,.6", "y,x,d,1,.5",
         "y,y,e,0,.2", "y,y,f,1,"]  # fmt: skip
HOLES += ["y,y,g,1,.9"]


def test_missing_predictions_are_refused_with_their_number_and_the_first(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", HEAD, *HOLES)
    with pytest.raises(DataError) as error:
        done(tmp_path / "board", path)
    assert "2 of 11 predictions are missing (the first: sample 'c', test set 'x' after training on 'y')" in str(
        error.value
    )
    assert not (tmp_path / "board").exists()


def test_dropped_samples_are_dropped_for_every_model(tmp_path: Path) -> None:
    row = done(tmp_path / "board", table(tmp_path / "s.csv", HEAD, *HOLES), missing="drop").row
    # x without c: .8 above both .1 and .4; .5 above .1 and below .6. y without f: .9 above .2.
    assert auc_of(row) == [[1.0, None], [0.5, 1.0]]
    assert (row.coverage.expected, row.coverage.predicted) == (11, 9)
    assert [(each.expected, each.scored) for each in row.coverage.per_set] == [(4, 3), (3, 2)]


def test_missing_predictions_count_as_wrong(tmp_path: Path) -> None:
    row = done(tmp_path / "board", table(tmp_path / "s.csv", HEAD, *HOLES), missing="worst").row
    # after y, x: c at 0 loses to both reals, d at .5 wins one of two. y: f at 0 loses, g wins.
    assert auc_of(row) == [[0.75, None], [0.25, 0.5]]
    assert [(each.expected, each.scored) for each in row.coverage.per_set] == [(4, 4), (3, 3)]
    real = [*HOLES[:5], "y,x,b,0,nan", "y,x,c,1,.7", *HOLES[6:8], "y,y,f,1,.3", HOLES[9]]
    row = done(tmp_path / "other", table(tmp_path / "t.csv", HEAD, *real), missing="worst").row
    assert auc_of(row)[1][0] == 0.5  # b at 1 is above both fakes


def test_a_list_of_samples_says_what_should_be_there(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", "sample,label,score", "a,0,.1", "b,1,.9")
    wanted = table(tmp_path / "all.csv", "sample,label", "a,0", "b,1", "c,1", "d,0")
    with pytest.raises(DataError, match=r"2 of 4 predictions are missing \(the first: sample 'c', test set .digits.\)"):
        done(tmp_path / "board", path, samples=wanted)
    row = done(tmp_path / "board", path, samples=wanted, missing="worst").row
    assert auc_of(row) == [[0.25]]
    assert row.coverage.listed
    for listed, said in [(["a,0"], "'b' of test set 'digits' is not in the list"),
                         (["a,0", "b,0"], "two values of label: 0 and 1")]:  # fmt: skip
        with pytest.raises(DataError, match=said):
            done(tmp_path / "board", path, samples=table(tmp_path / "all.csv", "sample,label", *listed))


def test_the_final_model_is_tested_on_everything(tmp_path: Path) -> None:
    lines = ["x,x,a,0,.1", "x,x,b,1,.9", "y,y,c,0,.1", "y,y,d,1,.9"]
    path = table(tmp_path / "s.csv", HEAD, *lines)
    with pytest.raises(DataError, match=r"2 of 6 .*'a', test set 'x' after training on 'y'"):
        done(tmp_path / "board", path)
    with pytest.raises(DataError, match="test set 'x': 0 samples of one class are left"):
        done(tmp_path / "board", path, missing="drop")
    assert auc_of(done(tmp_path / "board", path, missing="worst").row)[1] == [0.0, 1.0]


# --- What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["sample,label", "a,0"], "no column 'score' .*--column score=NAME"),
        (["sample,label,score", "a,2,.1"], "row 1: the label '2' is none of 0, 1, real, fake"),
        (["sample,label,score", "a,0,.1", "b,1,high"], "row 2: score is 'high', no number"),
        (["sample,label,score", "a,0,.1", "b,1,1.5"], "score of sample 'b' .* is 1.5, no probability"),
        (["sample,label,score", "a,0,.1", "a,0,.2", "b,1,.3"], "sample 'a' is there twice"),
        (["sample,label,score", "a,0,.1", ",1,.3"], "row 2: a name is empty"),
        (["sample,label,score", "a,0,.1", "b,0,.3"], "samples of one class are left"),
        (["sample,label,score"], "there is not one prediction"),
        (["sample,sample,score", "a,0,.1"], "names its columns, each once"),
        (["sample,label,score,seed", "a,0,.1,-2", "b,1,.1,0"], "row 1: a seed is -2"),
        (["sample,label,score,video", "a,0,.1,v", "b,1,.9,v"], "video 'v' has real and fake frames"),
        (["sample,label,score,trained_on", "a,0,.1,x", "b,1,.9,"], "some rows have no trained_on"),
        (["sample,label,score", "a,0,.1,7"], "cannot be read"),
        (["sample,tested_on,label,score", "a,x,0,.1", "b,x,1,.1", "a,x,1,.1"], "two values of label"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(tmp_path: Path, lines: Sequence[str], said: str) -> None:
    with pytest.raises((DataError, UsageError), match=said) as error:
        done(tmp_path / "board", table(tmp_path / "s.csv", *lines))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "board").exists()


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    for name, content in {"a": b"PK\x03\x04 no archive", "b": b"PAR1 no parquet", "c": b"\xff\xfe\x00"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="neither CSV") as error:
            done(tmp_path / "board", tmp_path / name)
        assert "\n" not in str(error.value)
    np.savez(tmp_path / "o.npz", sample=np.array([{}], dtype=object), label=[1], score=[0.5])
    with pytest.raises(DataError, match="cannot be read"):  # what would have to be unpickled is not
        done(tmp_path / "board", tmp_path / "o.npz")


# --- On a board --------------------------------------------------------------------------------------


def test_a_row_is_written_once_and_replaced_when_asked(tmp_path: Path) -> None:
    board = tmp_path / "board"
    first = done(board, SCORES)
    again = done(board, SCORES)
    assert (first.new, again.new, again.row) == (True, False, first.row)
    assert done(board, SCORES, source="a paper").row.source == "a paper"
    other = tmp_path / "other.csv"
    other.write_text(SCORES.read_text().replace(",0.9", ",0.8"))
    with pytest.raises(DataError, match="other scores is there; --replace"):
        done(board, other)
    changed = done(board, other, replace=True).row
    assert changed.seeds[0].scores_sha256 != first.row.seeds[0].scores_sha256
    assert len(list((board / "imported").iterdir())) == len(list((board / "scores").iterdir())) == 1
    assert read_packed(changed.pack(board), changed.seeds[0].scores_sha256).digest() == changed.seeds[0].scores_sha256
    with pytest.raises(DataError, match="does not hold"):
        read_packed(changed.pack(board), first.row.seeds[0].scores_sha256)
    assert json.loads((board / "scores.json").read_text())[f"scores/imported-{changed.run}.parquet"]["runs"] == {
        changed.run: changed.seeds[0].scores_sha256
    }


def test_the_samples_are_compared_with_the_board_s_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    add([run], tmp_path / "board", registry())
    fingerprint = read_record(run)["data"]["fingerprint"]

    def compared(name: str, board: Path = tmp_path / "board") -> ImportedRow:
        request = Request([tmp_path / name], "d", "s", "three", experiences=NAMES)
        return import_scores(request, board).row

    scores = pq.read_table(run / "scores.parquet")
    pq.write_table(scores, tmp_path / "same.parquet")
    fewer = scores.filter(pa.compute.not_equal(scores["sample"].cast("string"), "face_swap/fake1/3"))
    assert len(fewer) == len(scores) - 4
    pq.write_table(fewer, tmp_path / "fewer.parquet")
    assert compared("same.parquet").data.same_as == fingerprint
    other = compared("fewer.parquet").data
    assert (other.same_as, other.compared) == (None, True)
    for pack in (tmp_path / "board" / "scores").glob("simple_cnn*"):
        pack.unlink()
    assert not compared("same.parquet").data.compared


def test_auc_of_a_random_file_is_scikit_learns(tmp_path: Path) -> None:
    """With ties, and in an order of its own."""
    rng = np.random.default_rng(5)
    labels, scores = rng.integers(0, 2, 500), rng.integers(0, 40, 500) / 40
    lines = [f"s{n},{label},{score}" for n, (label, score) in enumerate(zip(labels, scores, strict=True))]
    row = done(tmp_path / "board", table(tmp_path / "s.csv", "sample,label,score", *lines)).row
    assert auc_of(row)[0][0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
