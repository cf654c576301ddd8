"""``dfbench zoo calibrate``: what it stores, what it refuses, and that the figures are those of other people."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dfbench.errors import DataError, UsageError
from dfbench.evaluation.calibration import Platt
from dfbench.evaluation.detection import ece
from dfbench.evaluation.scores import Scores
from dfbench.plugins import Registry
from dfbench.publish.predict.run import training_features
from dfbench.publish.zoo.calibrated import calibrate_and_store
from dfbench.publish.zoo.checkpoint import load_located
from dfbench.publish.zoo.decided import BANK, CALIBRATION
from dfbench.publish.zoo.entry import read_entry
from dfbench.publish.zoo.from_run import entry_from_run, package_run
from dfbench.publish.zoo.resolve import resolve
from dfbench.records.finished import FinishedRun
from dfbench.records.record import SCORES
from dfbench.testing import write_stream


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / finished.name))


def test_a_run_is_calibrated_on_validation_people_and_measured_on_test_people(
    run_folder: Path, tiny_stream: Path, known: Registry
) -> None:
    found = calibrate_and_store(run_folder, known, str(tiny_stream), device="cpu").calibration
    scores = Scores.read(run_folder / SCORES)
    groups = [scores.get(2, j) for j in range(3)]
    labels = np.concatenate([group.labels for group in groups if group])
    values = np.concatenate([group.scores for group in groups if group])
    p = Platt(found.slope, found.intercept)(values)
    assert (found.samples, found.people) == (36, 18)  # 6 validation pairs of each of three experiences
    assert found.ece_before == pytest.approx(ece(labels, values), abs=1e-4)
    assert found.ece_after == pytest.approx(ece(labels, p), abs=1e-4)
    assert found.false_positive_rate.value == pytest.approx((p[labels == 0] > found.fake_above).mean(), abs=1e-6)
    assert found.false_negative_rate.value == pytest.approx((p[labels == 1] < found.real_below).mean(), abs=1e-6)


def test_the_entry_of_a_calibrated_run_has_it_and_the_bank_among_its_files(
    run_folder: Path, tiny_stream: Path, known: Registry
) -> None:
    assert entry_from_run(FinishedRun.open(run_folder), known).decision.calibration == "none"
    found = calibrate_and_store(run_folder, known, str(tiny_stream), device="cpu")
    entry = entry_from_run(FinishedRun.open(run_folder), known)
    assert entry.decision.calibration == found.calibration
    assert entry.decision.familiarity == found.familiarity
    assert BANK in [file.path for file in entry.files]
    assert "not calibrated" not in entry.limits
    load_located(resolve(str(run_folder), known), known)


def test_an_entry_next_to_its_weights_is_rewritten(
    run_folder: Path, tiny_stream: Path, known: Registry, tmp_path: Path
) -> None:
    path = package_run(run_folder, tmp_path / "zoo", known, name="small")
    before = read_entry(path)
    found = calibrate_and_store(path, known, str(tiny_stream), device="cpu")
    after = read_entry(path)
    assert after.decision.calibration == found.calibration
    assert after.weights == before.weights
    resolve(str(path), known).check()


def test_a_calibrated_run_is_packaged_with_its_features(
    run_folder: Path, tiny_stream: Path, known: Registry, tmp_path: Path
) -> None:
    found = calibrate_and_store(run_folder, known, str(tiny_stream), device="cpu")
    path = package_run(run_folder, tmp_path / "zoo", known, name="small")
    assert read_entry(path).decision.calibration == found.calibration
    assert training_features(resolve(str(path), known).check()) is not None


def test_what_was_measured_on_other_weights_does_not_count(
    run_folder: Path, tiny_stream: Path, known: Registry
) -> None:
    calibrate_and_store(run_folder, known, str(tiny_stream), device="cpu")
    path = run_folder / CALIBRATION
    text = path.read_text()
    sha256 = FinishedRun.open(run_folder).record.weights_sha256
    path.write_text(text.replace(sha256, "0" * 64))
    assert entry_from_run(FinishedRun.open(run_folder), known).decision.calibration == "none"
    path.write_text(text.replace('"slope": ', '"slope": -'))
    with pytest.raises(DataError, match=r"calibration\.json: calibration\.slope"):
        entry_from_run(FinishedRun.open(run_folder), known)


def test_other_data_and_other_places_are_refused(run_folder: Path, known: Registry, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the folder of a finished run"):
        calibrate_and_store(tmp_path / "nowhere", known)
    other = write_stream(tmp_path / "other", tests=4)
    with pytest.raises(DataError, match="other data"):
        calibrate_and_store(run_folder, known, str(other), device="cpu")
    assert not (run_folder / CALIBRATION).exists()
