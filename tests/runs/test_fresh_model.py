"""Streams with ``fresh_model``: every experience trains a new network."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.evaluation.scores import Scores
from dfbench.plugins import Registry, registry
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import write_stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("four"), experiences=4).parent


def stream(folder: Path, name: str, sources: str, key: str = "fresh_model: true") -> Path:
    """A stream of these sources, one letter each, in this order."""
    lines = [f"name: {name}", key, "memory: 12", "defaults: {source: folder, root: ., manifest: manifest.csv}"]
    lines += ["experiences:", *(f"  - {{name: s{s}, where: {{source: s{s}}}}}" for s in sources)]
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def record(path: Path, out: Path, known: Registry, detector: str = "mortal", strategy: str = "naive") -> Record:
    return run(Request(detector, strategy, str(path), device="cpu", out=out), known)


def scores(record: Record) -> Scores:
    return FinishedRun(record.path, record).scores


def last(record: Record, row: int) -> list[float]:
    """What the last network says of the last test set."""
    group = scores(record).get(row, row)
    assert group is not None
    return group.scores.tolist()


def test_nothing_of_the_earlier_experiences_is_left(folder: Path, tmp_path: Path, with_odd: Registry) -> None:
    fresh = [record(stream(folder, n, n[1:]), tmp_path, with_odd) for n in ("x02", "x12")]
    assert last(fresh[0], 1) == last(fresh[1], 1)
    assert fresh[0].weights_sha256 == fresh[1].weights_sha256
    kept = [record(stream(folder, n, n[1:], ""), tmp_path, with_odd) for n in ("y02", "y12")]
    assert last(kept[0], 1) != last(kept[1], 1)


def test_each_experience_has_a_network_of_its_own(folder: Path, tmp_path: Path, with_odd: Registry) -> None:
    """The same pictures twice: as new a network, other first weights; the first is that of any run."""
    twice = folder / "twice.yaml"
    twice.write_text(stream(folder, "z0", "0").read_text() + "  - {name: again, where: {source: s0}}\n")
    found = record(twice, tmp_path, with_odd)
    first, second = scores(found).get(0, 0), scores(found).get(1, 0)
    assert first is not None
    assert second is not None
    assert first.scores.tolist() != second.scores.tolist()
    usual = scores(record(stream(folder, "u01", "01", ""), tmp_path, with_odd)).get(0, 0)
    assert usual is not None
    assert usual.scores.tolist() == pytest.approx(first.scores.tolist(), abs=1e-6)  # batches of another size


def test_a_strategy_keeps_what_it_keeps(folder: Path, tmp_path: Path) -> None:
    found = record(stream(folder, "r012", "012"), tmp_path, registry(), "simple_cnn", "replay")
    assert found.memory.samples == [12, 12, 12]
    assert found.effects["replayed_units"] > 0


def test_interrupted_it_ends_in_the_same_scores(
    folder: Path, tmp_path: Path, with_odd: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stream(folder, "i0123", "0123")
    undisturbed = record(path, tmp_path / "a", with_odd)
    monkeypatch.setenv("MORTAL_SIGNAL", "SIGINT")
    monkeypatch.setenv("MORTAL_AT", "2")
    with pytest.raises(KeyboardInterrupt):
        record(path, tmp_path / "b", with_odd)
    monkeypatch.delenv("MORTAL_AT")
    resumed = record(path, tmp_path / "b", with_odd)
    assert resumed.resumed == 1
    assert scores(resumed).digest() == scores(undisturbed).digest()
