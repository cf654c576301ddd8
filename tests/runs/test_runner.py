"""From a request to a record, on small real pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dfbench.errors import DataError, StorageError, UsageError
from dfbench.evaluation.further import parts_of
from dfbench.evaluation.summary import evaluate
from dfbench.files import sha256_of
from dfbench.plugins import Registry, registry
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.storage import RunFolder

SMALL = ["image_size=32", "epochs=1", "batch_size=8", "width=4"]


def ask(stream: Path | str, out: Path, strategy: str = "replay", settings: list[str] | None = None, **more) -> Request:
    return Request("simple_cnn", strategy, str(stream), settings=settings or SMALL, device="cpu", out=out, **more)


def test_every_metric_of_a_record_can_be_computed_from_its_scores(tiny_stream: Path, tmp_path: Path) -> None:
    record = run(ask(tiny_stream, tmp_path), registry())
    scores = FinishedRun(record.path, record).scores
    tests = parts_of(scores, record.tested).experiences
    again = evaluate(tests, ["s0", "s1", "s2"], "auc", 2)
    assert again["metrics"] == {name: record.metrics[name] for name in again["metrics"]}
    assert all(again["matrix"][name] == record.matrix[name] for name in again["matrix"])
    assert {"ap", "balanced_accuracy"} < set(record.matrix)
    assert len(tests) == 4 * 3 * 12  # untrained and three trainings, three test sets, 12 pictures each
    assert len(scores) == len(tests) + 6 * 6  # six reals of each validation set, of one, of two, and of all three


def test_a_record_says_what_was_run_where(tiny_stream: Path, tmp_path: Path) -> None:
    record = run(ask(tiny_stream, tmp_path, seed=3), registry())
    assert Record.read(record.path) == record
    spec, environment = record.spec, record.environment
    assert spec.seed == 3
    assert spec.detector_config["epochs"] == 1
    assert spec.memory == 12
    assert spec.data_fingerprint == record.data.fingerprint
    assert {"torch", "avalanche-lib", "dfbench-deepfake"} <= set(environment.packages)
    assert environment.device == "cpu"
    assert record.peak_memory.host_bytes > 10**7
    assert record.memory.bytes == [12 * 32 * 32 * 3] * 3
    assert record.data.experiences[0].train == {"real": 12, "fake": 12}
    assert len(record.seconds.train) == 3
    assert record.seconds.total > 0
    assert record.weights_sha256 == sha256_of(record.path.with_name("model.safetensors"))
    assert record.git is None or len(record.git.commit) == 40


def test_a_run_is_a_function_of_its_spec(tiny_stream: Path, tmp_path: Path) -> None:
    first = run(ask(tiny_stream, tmp_path / "a"), registry())
    second = run(ask(tiny_stream, tmp_path / "b"), registry())
    other = run(ask(tiny_stream, tmp_path / "b", seed=1), registry())
    assert (first.weights_sha256, first.scores_sha256) == (second.weights_sha256, second.scores_sha256)
    assert first.run == second.run != other.run
    assert first.matrix != other.matrix


def test_hyperparameters_can_be_chosen_on_the_validation_split(tiny_stream: Path, tmp_path: Path) -> None:
    test = run(ask(tiny_stream, tmp_path), registry())
    val = run(ask(tiny_stream, tmp_path, split="val"), registry())
    assert val.spec.split == "val"
    assert val.run != test.run
    names = {g.samples[0].split("-")[1][:3] for g in FinishedRun(val.path, val).scores}
    assert names == {"val"}


@pytest.mark.parametrize(
    ("budget", "setting", "samples"),
    [
        ("memory: 8", [], 8),
        ("memory_per_experience: 4", [], 12),
        ("", [], 200),
        ("memory: 8", ["strategy.memory=10"], 10),
    ],
)
def test_the_memory_is_the_users_the_benchmarks_or_the_default(
    tiny_stream: Path, tmp_path: Path, budget: str, setting: list[str], samples: int
) -> None:
    text = tiny_stream.read_text().replace("memory: 12", budget).replace("root: .", f"root: {tiny_stream.parent}")
    stream = tmp_path / "s.yaml"
    stream.write_text(text)
    assert prepare(ask(stream, tmp_path, settings=SMALL + setting), registry()).spec.memory == samples


def test_a_benchmarks_epochs_are_the_detectors_unless_the_user_says(tiny_stream: Path, tmp_path: Path) -> None:
    text = tiny_stream.read_text().replace("root: .", f"root: {tiny_stream.parent}") + "epochs: 3\n"
    stream = tmp_path / "s.yaml"
    stream.write_text(text)
    plain = prepare(ask(stream, tmp_path, settings=["image_size=32"]), registry())
    assert plain.detector.config.epochs == 3
    assert prepare(ask(stream, tmp_path), registry()).detector.config.epochs == 1


def write_cifar10(tmp_path: Path) -> Path:
    """CIFAR-10's Parquet layout, ten noisy classes, as two i.i.d. experiences: the stream's file."""
    rng = np.random.default_rng(0)
    (tmp_path / "cifar10").mkdir()
    for split, count in (("train", 80), ("test", 30)):
        labels = np.arange(count) % 10
        images = []
        for i, label in enumerate(labels):
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[3 * label : 3 * label + 3] += 150
            path = tmp_path / "x.png"
            Image.fromarray(pixels).save(path)
            images.append({"bytes": path.read_bytes(), "path": f"{split}{i}.png"})
        table = pa.table({"img": images, "label": labels})
        pq.write_table(table, tmp_path / "cifar10" / f"{split}-00000-of-00001.parquet")
    stream = tmp_path / "two.yaml"
    stream.write_text("name: two\nmetric: accuracy\ndefaults: {source: cifar10}\nsplit: {parts: 2}\n")
    return stream


def test_many_classes_are_scored_in_accuracy(tmp_path: Path) -> None:
    stream = write_cifar10(tmp_path)
    settings = ["epochs=12", "batch_size=8", "width=8", "flip=false"]
    record = run(ask(stream, tmp_path / "out", settings=settings, data_root=tmp_path), registry())
    assert record.headline == "accuracy"
    assert set(record.matrix) == {"accuracy"}
    assert record.metrics["average_auc"] is None
    assert record.metrics["average_accuracy"] > 0.5  # chance is .1
    assert record.data.classes[3] == "cat"


def test_the_last_whole_checkpoint_is_found(tiny_stream: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, prepare(ask(tiny_stream, tmp_path), registry()).spec)
    assert folder.finished() == 0
    for number in (9, 10, 99, 100, 101):
        folder.save(number, {"number": number})
        assert folder.finished() == number
    (folder.path / "checkpoints" / "102.part").mkdir()
    (folder.path / "checkpoints" / "102.part" / "state.json").write_text("{}")
    (folder.path / "checkpoints" / "103").mkdir()
    assert folder.load(folder.finished())["number"] == 101


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}'])
def test_a_damaged_record_says_how_to_start_again(content: str, tiny_stream: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, prepare(ask(tiny_stream, tmp_path), registry()).spec)
    assert folder.record() is None
    folder.path.mkdir()
    (folder.path / "record.json").write_text(content)
    with pytest.raises(StorageError, match=r"record\.json.*--fresh"):
        run(ask(tiny_stream, tmp_path), registry())
    assert Record.read(run(ask(tiny_stream, tmp_path, fresh=True), registry()).path) == folder.record()


def test_what_cannot_be_scored_is_refused_before_training(tmp_path: Path, tiny_stream: Path) -> None:
    lines = (tiny_stream.parent / "manifest.csv").read_text().splitlines()
    (tmp_path / "manifest.csv").write_text("\n".join(line for line in lines if ",val" not in line))
    for split in ("train", "test"):
        (tmp_path / split).symlink_to(tiny_stream.parent / split)
    stream = tmp_path / "tiny.yaml"
    stream.write_text(tiny_stream.read_text())
    with pytest.raises(DataError, match="has no val split to score"):
        run(ask(stream, tmp_path / "out", split="val"), registry())


def test_a_memory_too_small_for_the_stream_is_refused(tiny_stream: Path, tmp_path: Path) -> None:
    for strategy in ("replay", "gem", "agem"):
        with pytest.raises(UsageError, match=r"strategy\.memory"):
            run(ask(tiny_stream, tmp_path, strategy, [*SMALL, "strategy.memory=2"]), registry())


def test_pairs_are_charged_for_both_samples(tiny_stream: Path, tmp_path: Path, with_odd: Registry) -> None:
    request = Request("odd", "replay", str(tiny_stream), device="cpu", out=tmp_path)
    record = run(request, with_odd)
    assert record.memory.samples == [12, 12, 12]  # 6 pairs
    assert record.effects["replayed_units"] > 0
