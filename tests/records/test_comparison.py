"""Comparing runs from their records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.errors import DataError, StorageError, UsageError
from dfbench.publish.plotting import matrix_figure
from dfbench.records.comparison import check_comparable, describe_forgetting, most_forgotten
from dfbench.records.record import Record
from tests.records.builder import make_record


def record(strategy: str, matrix: list[list[float | None]], fingerprint: str = "f" * 64, seed: int = 0) -> Record:
    """A run on three experiences."""
    metrics = {"average": 0.7, "forgetting": None if matrix[0][0] is None else 0.2}
    names = ("swap", "sync", "gan")
    return make_record(strategy, matrix, names=names, metrics=metrics, data_fingerprint=fingerprint, seed=seed)


NAIVE = record("naive", [[0.9, 0.5, 0.5], [0.95, 0.8, 0.5], [0.6, 0.7, 0.99]])
REPLAY = record("replay", [[0.9, 0.5, 0.5], [0.9, 0.8, 0.5], [0.88, 0.79, 0.97]])
JOINT = record("joint", [[None] * 3, [None] * 3, [0.95, 0.9, 0.99]])


def test_what_was_forgotten_most_counts_from_its_best() -> None:
    most = most_forgotten(NAIVE)
    assert most is not None
    assert (most.experience, most.best, most.after, most.final) == ("swap", 0.95, "sync", 0.6)
    assert most_forgotten(JOINT) is None


def test_the_sentence_names_what_was_forgotten_and_what_the_others_kept() -> None:
    assert describe_forgetting([REPLAY, NAIVE, JOINT]) == (
        "cnn under naive forgot most of swap: AUC 0.950 after sync, 0.600 after gan; "
        "replay ended at 0.880, joint ended at 0.950."
    )
    other = record("naive", NAIVE.matrix["auc"], seed=1)
    assert "under naive (seed 0) forgot" in describe_forgetting([NAIVE, other])
    assert "naive (seed 1) ended at 0.600" in describe_forgetting([NAIVE, other])
    assert "Nothing can be said" in describe_forgetting([JOINT])
    steady = record("r", [[0.8, 0.5, 0.5], [0.8, 0.8, 0.5], [0.9, 0.9, 0.9]])
    assert "No run forgot" in describe_forgetting([steady])


def test_runs_on_other_data_are_not_compared() -> None:
    with pytest.raises(DataError, match="not comparable"):
        check_comparable([NAIVE, record("replay", NAIVE.matrix["auc"], fingerprint="0" * 64)])


def test_the_picture_shows_every_matrix(tmp_path: Path) -> None:
    matrix_figure([NAIVE, JOINT], tmp_path / "new" / "m.png")
    one = np.asarray(Image.open(tmp_path / "new" / "m.png").convert("RGB"))
    assert one.shape[1] > one.shape[0]
    assert len(np.unique(one.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(StorageError, match="cannot write"):
        matrix_figure([NAIVE], tmp_path / "new" / "m.png" / "x.png")
    with pytest.raises(UsageError, match=r"m\.jpg: a figure is written as \.png, \.svg or \.pdf"):
        matrix_figure([NAIVE], tmp_path / "m.jpg")


def test_a_record_is_read_from_its_folder_or_file(tmp_path: Path) -> None:
    written = NAIVE.write(tmp_path / "record.json")
    assert Record.read(tmp_path) == Record.read(tmp_path / "record.json") == written
    assert written.document() == NAIVE.document()
    with pytest.raises(DataError, match="no record"):
        Record.read(tmp_path / "nothing")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"other\.json: schema: Field required"):
        Record.read(tmp_path / "other.json")
