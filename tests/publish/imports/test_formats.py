"""Files as AI-GenBench and deepfake-workbench write them, made here from the description of their formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dfbench.errors import DataError, UsageError
from dfbench.publish.imports import dfwb
from dfbench.publish.imports.formats import format_of
from dfbench.publish.imports.predictions import NO_SEED
from dfbench.publish.imports.run import Request, import_scores
from dfbench.records.imported import ImportedRow

GENERATORS = ["real", "GAN one", "GAN two", "Diffusion one", "Diffusion two"]
WINDOWS = [["GAN one", "GAN two"], ["Diffusion one", "Diffusion two"]]
EACH = 12
"""Fakes per generator, and as many reals that are paired with them."""


def window_file(folder: Path, window: int, name: str = "predictions_test_epoch=2-step=90.npz", **more: Any) -> Path:
    """One file: three crops of each picture, one after another; pictures shuffled."""
    rng = np.random.default_rng([window, 1])
    generator = np.repeat([1, 2, 3, 4, 0, 0, 0, 0], EACH)
    paired = np.repeat([1, 2, 3, 4, 1, 2, 3, 4], EACH)
    identifier = np.random.default_rng(9).permutation(len(generator)) + 1000  # the same pictures in every window
    crops = np.repeat(np.arange(len(generator)), 3)
    score = rng.uniform(size=len(crops)) * 0.5 + 0.4 * (generator[crops] > 0) * rng.uniform(size=len(crops))
    arrays = {
        "crop_scores": score.astype(np.float32),
        "crop_identifiers": identifier[crops],
        "crop_generator_ids": generator[crops],
        "crop_labels": (generator > 0)[crops],
        "identifier": identifier,
        "pairing": np.where(generator == 0, paired, -1),
        "generator_id_to_name": np.array(GENERATORS),
        "windows_timeline": np.array(WINDOWS),
    } | more
    path = folder / f"window_{window}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def imported(board: Path, *files: Path, **more: Any) -> ImportedRow:
    return import_scores(Request(files, "a detector", "fine-tuning", "ai-genbench", **more), board).row


def test_windows_of_ai_genbench_are_experiences(tmp_path: Path) -> None:
    for window in (0, 1):
        window_file(tmp_path / "logs", window)
    row = imported(tmp_path / "board", tmp_path / "logs")
    assert row.format == "ai-genbench"
    assert row.experiences == ["GAN one, GAN two", "Diffusion one, Diffusion two"]
    for i in (0, 1):
        with np.load(tmp_path / "logs" / f"window_{i}" / "predictions_test_epoch=2-step=90.npz") as data:
            means = data["crop_scores"].reshape(-1, 3).mean(1)
            generator, pairing = data["crop_generator_ids"][::3], data["pairing"]
        for j, members in enumerate(([1, 2], [3, 4])):
            own = np.isin(generator, members) | ((generator == 0) & np.isin(pairing, members))
            judged = roc_auc_score(generator[own] > 0, means[own])
            assert row.seeds[0].matrix["auc"][i][j] == pytest.approx(judged, abs=1e-6)
    assert row.data.per_set["GAN one, GAN two"] == {"real": 2 * EACH, "fake": 2 * EACH}


def test_the_last_step_of_the_test_split_is_taken(tmp_path: Path) -> None:
    window_file(tmp_path / "logs", 0, "predictions_test_epoch=0-step=5.npz")
    window_file(tmp_path / "logs", 0, "predictions_validate_epoch=9-step=999.npz")
    kept = window_file(tmp_path / "logs", 0, "predictions_test_epoch=1-step=10.npz")
    window_file(tmp_path / "logs", 1)
    row = imported(tmp_path / "board", tmp_path / "logs")
    assert [each.name for each in row.files] == [kept.name, "predictions_test_epoch=2-step=90.npz"]


def test_two_columns_are_a_softmax(tmp_path: Path) -> None:
    logits = np.random.default_rng(3).normal(size=(8 * EACH * 3, 2)).astype(np.float32)
    files = [window_file(tmp_path / "logs", w, crop_scores=logits) for w in (0, 1)]
    row = imported(tmp_path / "board", *files)
    means = logits.astype(float).reshape(-1, 3, 2).mean(1)
    with np.load(files[1]) as data:
        generator, pairing = data["crop_generator_ids"][::3], data["pairing"]
    own = np.isin(generator, [1, 2]) | ((generator == 0) & np.isin(pairing, [1, 2]))
    judged = roc_auc_score(generator[own] > 0, (means[:, 1] - means[:, 0])[own])
    assert row.seeds[0].matrix["auc"][1][0] == pytest.approx(judged, abs=1e-6)


def test_what_is_wrong_with_a_file_of_ai_genbench_is_said(tmp_path: Path) -> None:
    classes = window_file(tmp_path / "a", 0, crop_multiclass_predictions=np.zeros((3, 5)))
    with pytest.raises(DataError, match="predictions of generators"):
        imported(tmp_path / "board", classes)
    nowhere = window_file(tmp_path / "b", 0)
    nowhere = nowhere.rename(tmp_path / nowhere.name)
    with pytest.raises(DataError, match="lies in no folder window_0 to window_1"):
        imported(tmp_path / "board", nowhere)
    alone = window_file(tmp_path / "c", 0, pairing=np.full(8 * EACH, -1))
    with pytest.raises(DataError, match="belongs to no window, or has no partner"):
        imported(tmp_path / "board", alone)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folder window_N"):
        imported(tmp_path / "board", tmp_path / "empty")


DFWB = "dataset,key,compression,label,score,status,x_note"


def dfwb_file(folder: Path, *lines: str, seed: object = 4) -> Path:
    path = folder / "v1.scores.csv"
    path.write_text("\n".join([DFWB, *lines]) + "\n")
    (folder / "v1.scores.meta.json").write_text(json.dumps({"schema": "dfwb.scores/1", "seed": seed}))
    return path


LINES = ["cdf,real/0,,0,0.1,ok,", "cdf,fake/0,,1,0.8,ok,", "cdf,fake/1,,1,,missing,no clip", "ff,a,c23,0,0.4,ok,",
         "ff,b,c23,1,0.2,ok,"]  # fmt: skip


def test_score_files_of_dfwb(tmp_path: Path) -> None:
    path = dfwb_file(tmp_path, *LINES)
    assert format_of(path) == "dfwb"
    with pytest.raises(DataError, match=r"1 of 5 predictions are missing \(the first: sample 'fake/1'"):
        imported(tmp_path / "board", path)
    row = imported(tmp_path / "board", path, missing="worst", headline="video_auc")
    assert (row.experiences, row.seeds[0].seed) == (["cdf", "ff c23"], 4)
    assert row.seeds[0].matrix["video_auc"][1] == [0.5, 0.0]
    assert row.seeds[0].uncertainty.unit == "video"


def test_a_seed_that_is_none_is_not_taken(tmp_path: Path) -> None:
    assert dfwb.read(dfwb_file(tmp_path, *LINES, seed="4")).seeds.tolist() == [NO_SEED] * 5


def test_a_status_contradicts_a_score(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: the status is 'error', the score 0\.1"):
        imported(tmp_path / "board", dfwb_file(tmp_path, "cdf,a,,0,0.1,error,", *LINES[1:]))


def test_formats_are_not_mixed_and_columns_not_renamed(tmp_path: Path) -> None:
    path = dfwb_file(tmp_path, *LINES)
    other = tmp_path / "other.csv"
    other.write_text("sample,label,score\na,0,.1\n")
    with pytest.raises(UsageError, match="several formats"):
        imported(tmp_path / "board", path, other)
    with pytest.raises(UsageError, match="--column renames columns of the format 'columns'"):
        imported(tmp_path / "board", path, called={"score": "logit"})
    # The same file as a plain table, when that is asked for.
    called = {"tested_on": "dataset", "sample": "key"}
    row = imported(tmp_path / "board", path, form="columns", called=called, missing="drop")
    assert row.experiences == ["cdf", "ff"]
