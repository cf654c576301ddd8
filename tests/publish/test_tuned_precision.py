"""What ran in bf16 is nowhere said to be fp32: not on the board's page, not in a report, not on a model card."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.plugins import Registry
from dfbench.publish.board.data import table_data
from dfbench.publish.board.table import read_board
from dfbench.publish.hub.card import model_card
from dfbench.publish.report.write import write_report
from dfbench.publish.zoo.from_run import entry_from_run
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from tests.publish.board_runs import make_run, read_record, write_record
from tests.records.builder import make_record

BOARD = Path(__file__).parents[2] / "leaderboard"


def test_a_spec_says_what_training_ran_in() -> None:
    config = {"lr": 0.1, "precision": "fp32"}
    for tuned, shown in ((), "fp32"), (("channels_last",), "fp32"), (("bf16", "compile"), "bf16"):
        spec = make_record("s", [[1.0]], detector_config=config, tuned=tuned).spec
        assert spec.shown["detector_config"] == {"lr": 0.1, "precision": shown}
        assert spec.detector_config == config


def test_the_board_s_rows_say_it() -> None:
    rows = [row for table in read_board(BOARD).tables for row in table_data(table, table.rows)["rows"]]
    assert {row["detector_config"]["precision"] for row in rows if "bf16" in row["tuned"]} == {"bf16"}
    assert {row["detector_config"]["precision"] for row in rows if not row["tuned"]} == {"fp32"}


@pytest.fixture(scope="module")
def tuned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose record says that it was trained in bf16."""
    folder = make_run(tmp_path_factory.mktemp("runs"))
    record = read_record(folder)
    record["spec"]["tuned"] = ["bf16"]
    record["spec"]["detector_config"]["precision"] = "fp32"
    spec = Record.parse(record, folder).spec
    write_record(folder, {**record, "run": spec.run_id, "identity": spec.identity})
    return folder


def test_a_report_says_it(tuned_run: Path, tmp_path: Path) -> None:
    page = write_report([tuned_run], tmp_path).page.read_text(encoding="utf-8")
    spec = page.partition(">Spec<")[2].partition(">Environment<")[0]
    assert "bf16" in spec
    assert "fp32" not in spec
    assert "--tune bf16" in page


def test_a_model_card_says_it(finished: Path, known: Registry) -> None:
    run = FinishedRun.open(finished)
    entry = entry_from_run(run, known)
    plain = model_card(entry, run.record, "me/small").decode()
    assert "| precision | fp32 in training |" in plain
    tuned = run.record.model_copy(update={"spec": run.record.spec.model_copy(update={"tuned": ("bf16",)})})
    assert "| precision | bf16 in training (tuned: bf16) |" in model_card(entry, tuned, "me/small").decode()
