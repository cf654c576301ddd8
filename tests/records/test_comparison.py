"""Comparing runs from their records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfbench.errors import DataError, StorageError
from dfbench.publish.plotting import matrix_figure
from dfbench.records.comparison import check_comparable, largest_loss, read_record, sentence


def record(strategy: str, matrix: list[list[float | None]], fingerprint: str = "f") -> dict[str, Any]:
    """The parts of a record that comparisons read."""
    return {
        "run": f"cnn-{strategy}",
        "headline": "auc",
        "spec": {"detector": "cnn", "strategy": strategy, "seed": 0, "split": "test", "preset": "p"},
        "metrics": {"average_auc": 0.7, "forgetting": None if matrix[0][0] is None else 0.2},
        "matrix": {"auc": matrix},
        "data": {"fingerprint": fingerprint, "experiences": [{"name": n} for n in ("swap", "sync", "gan")]},
    }


NAIVE = record("naive", [[0.9, 0.5, 0.5], [0.95, 0.8, 0.5], [0.6, 0.7, 0.99]])
REPLAY = record("replay", [[0.9, 0.5, 0.5], [0.9, 0.8, 0.5], [0.88, 0.79, 0.97]])
JOINT = record("joint", [[None] * 3, [None] * 3, [0.95, 0.9, 0.99]])


def test_the_largest_loss_counts_from_the_best() -> None:
    loss = largest_loss(NAIVE)
    assert loss is not None
    assert (loss.experience, loss.best, loss.after, loss.final) == ("swap", 0.95, "sync", 0.6)
    assert largest_loss(JOINT) is None


def test_the_sentence_names_what_was_forgotten_and_what_the_others_kept() -> None:
    assert sentence([REPLAY, NAIVE, JOINT]) == (
        "cnn under naive forgot most of swap: auc 0.950 after sync, 0.600 after gan; "
        "replay ended at 0.880, joint ended at 0.950."
    )
    other = {**NAIVE, "spec": {**NAIVE["spec"], "seed": 1}}
    assert "under naive (seed 0) forgot" in sentence([NAIVE, other])
    assert "naive (seed 1) ended at 0.600" in sentence([NAIVE, other])
    assert "Nothing can be said" in sentence([JOINT])
    assert "No run forgot" in sentence([record("r", [[0.8, 0.5, 0.5], [0.8, 0.8, 0.5], [0.9, 0.9, 0.9]])])


def test_runs_on_other_data_are_not_compared() -> None:
    with pytest.raises(DataError, match="not comparable"):
        check_comparable([NAIVE, record("replay", NAIVE["matrix"]["auc"], fingerprint="other")])


def test_the_picture_shows_every_matrix(tmp_path: Path) -> None:
    matrix_figure([NAIVE, JOINT], tmp_path / "new" / "m.png")
    one = np.asarray(Image.open(tmp_path / "new" / "m.png").convert("RGB"))
    assert one.shape[1] > one.shape[0]
    assert len(np.unique(one.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(StorageError, match="cannot write"):
        matrix_figure([NAIVE], tmp_path / "new" / "m.png" / "x.png")


def test_a_record_is_read_from_its_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps(NAIVE))
    assert read_record(tmp_path) == read_record(tmp_path / "record.json") == NAIVE
    with pytest.raises(DataError, match="no record"):
        read_record(tmp_path / "nothing")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="not a record"):
        read_record(tmp_path / "other.json")
