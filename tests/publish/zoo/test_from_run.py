"""From a run to its entry: every fact is the record's, the detector's or the files'."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dfbench.errors import DataError, UsageError
from dfbench.evaluation.scores import Scores
from dfbench.plugins import Registry
from dfbench.publish.zoo.entry import CheckpointEntry
from dfbench.publish.zoo.from_run import NAME, _normalisation, checkpoint_name, entry_from_run, package_run
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from tests.publish.hub.hub_server import sha256


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / finished.name)


def rewrite(folder: Path, change: Any) -> None:
    record = json.loads((folder / "record.json").read_text())
    change(record)
    (folder / "record.json").write_text(json.dumps(record))


def entry_of(folder: Path, known: Registry, **facts: Any) -> CheckpointEntry:
    return entry_from_run(FinishedRun.open(folder), known, **facts)


def test_the_facts_are_those_of_the_record(finished: Path, known: Registry) -> None:
    entry = entry_of(finished, known, scores=True)
    record = Record.read(finished)
    spec = record.spec
    assert (entry.detector, entry.preset, entry.config) == ("simple_cnn", "default", spec.detector_config)
    assert (entry.training.strategy, entry.training.strategy_config) == ("replay", spec.strategy_config)
    assert (entry.training.memory, entry.training.seed) == (12, 0)
    assert entry.training.fingerprint == record.data.fingerprint
    assert entry.training.experiences == ("s0", "s1", "s2")
    assert entry.records == (record.run,)
    assert entry.parameters == record.detector.parameters
    assert list(entry.results.per_experience.values()) == record.matrix["auc"][-1]
    assert (entry.results.average, entry.results.forgetting) == (
        record.metrics["average_auc"],
        record.metrics["forgetting"],
    )
    for file in entry.files:
        content = (finished / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(content), sha256(content))
    assert [f.path for f in entry.files] == ["model.safetensors", "record.json", "scores.parquet"]


def test_the_input_recipe_is_measured(finished: Path, known: Registry) -> None:
    recipe = entry_of(finished, known).input
    assert (recipe.native_size, recipe.size, recipe.unit) == ((32, 32), None, ())
    assert recipe.normalisation is not None
    assert (recipe.normalisation.mean, recipe.normalisation.std) == ((0.5,) * 3, (0.5,) * 3)


def test_a_false_positive_rate_and_a_calibration_error_are_stated(finished: Path, known: Registry) -> None:
    decision = entry_of(finished, known).decision
    rows = Record.read(finished).per_experience
    reals = [row["accuracy_real"] for row in rows]
    assert decision.false_positive_rate == pytest.approx(1 - sum(reals) / 3, abs=1e-6)
    assert decision.ece == pytest.approx(sum(row["ece"] for row in rows) / 3, abs=1e-6)


def test_a_licence_of_the_weights_is_never_assumed(finished: Path, known: Registry) -> None:
    entry = entry_of(finished, known)
    assert entry.licence.weights == "unknown"
    assert entry.licence.code == "Apache-2.0"


@pytest.mark.parametrize("name", ["model.safetensors", "record.json"])
def test_a_run_that_is_not_finished(name: str, folder: Path, known: Registry) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=r"finished"):
        entry_of(folder, known)


def test_scores_that_were_tampered_with(folder: Path, known: Registry) -> None:
    path = folder / "scores.parquet"
    Scores(list(Scores.read(path))[1:]).write(path)
    with pytest.raises(DataError, match=r"scores.parquet is damaged or of another run"):
        entry_of(folder, known, scores=True)


def test_weights_that_were_tampered_with_are_not_packaged(folder: Path, known: Registry, tmp_path: Path) -> None:
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match=r"has sha256 .* and not .*; it is not used"):
        package_run(folder, tmp_path / "zoo", known)
    assert not (tmp_path / "zoo").exists()


def test_a_detector_that_is_not_here(folder: Path, known: Registry) -> None:
    rewrite(folder, lambda record: record["spec"].update(detector="gone"))
    with pytest.raises(DataError, match="its detector 'gone' is not installed"):
        entry_of(folder, known)


def test_a_normalisation_is_stated_only_where_it_is_one(known: Registry) -> None:
    from dfbench import Detector, DetectorConfig, Task, normalize

    class Odd(Detector):
        Config = DetectorConfig
        way = "channels"

        def inputs(self, batch: Any, training: bool) -> Any:
            if self.way == "fails":
                raise ValueError("clips only")
            x = normalize(batch.pixels, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
            return {"channels": x, "bends": x**3, "cuts": x[..., :8], "mixes": x.flip(3)}[self.way]

    detector = Odd(DetectorConfig(), Task())
    found = _normalisation(detector, (16, 12))
    assert found is not None
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    for way in ("bends", "cuts", "mixes", "fails"):
        detector.way = way
        assert _normalisation(detector, (16, 12)) is None, way


# --- Names -------------------------------------------------------------------------------------------------------


ODD_NAMES = ["my stream", "FF++", "Celeb-DF (v2)", "换脸", "表情", "a/b", "../x", "x" * 200, "y" + "x" * 199]


def test_every_benchmark_gives_a_plain_name_of_its_own(finished: Path) -> None:
    spec = Record.read(finished).spec
    assert checkpoint_name(spec) == "simple_cnn-replay-tiny"
    names = [checkpoint_name(spec.model_copy(update={"benchmark": name})) for name in ODD_NAMES]
    assert all(NAME.fullmatch(name) for name in names)
    assert len(set(names)) == len(ODD_NAMES)
    assert names[0].startswith("simple_cnn-replay-my-stream-")


def test_a_run_on_a_benchmark_of_any_name_is_packaged(folder: Path, known: Registry, tmp_path: Path) -> None:
    def rename(record: dict[str, Any]) -> None:
        record["spec"]["benchmark"] = record["data"]["benchmark"] = "换脸 (c40)"

    rewrite(folder, rename)
    path = package_run(folder, tmp_path / "zoo", known)
    assert path.name.startswith("simple_cnn-replay-c40-")
    assert "换脸 (c40)" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", "my net", "-x", "x" * 97, "网"])
def test_a_name_that_cannot_be_is_refused(name: str, finished: Path, known: Registry) -> None:
    with pytest.raises(UsageError, match=r"--name .* begins with a letter or a digit"):
        entry_of(finished, known, name=name)
