"""``verify``: a checkpoint that is not what its entry says is found out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dfbench.files import sha256_of
from dfbench.plugins import Registry
from dfbench.publish.zoo.checkpoint import LocatedEntry
from dfbench.publish.zoo.resolve import resolve
from dfbench.publish.zoo.verification import verify


@pytest.fixture
def located(finished: Path, known: Registry, tmp_path: Path) -> LocatedEntry:
    return resolve(str(shutil.copytree(finished, tmp_path / finished.name)), known)


def found_by(
    located: LocatedEntry, known: Registry, stream: Path | None = None, **options: Any
) -> dict[str, tuple[str, str]]:
    benchmark = None if stream is None else str(stream)
    checks = verify(located, known, benchmark=benchmark, device="cpu", **options)
    return {check.name: (check.status, check.detail) for check in checks}


def with_results(located: LocatedEntry, **change: Any) -> LocatedEntry:
    results = located.entry.results.model_copy(update=change)
    weights_only = located.entry.files[:1]
    return LocatedEntry(located.entry.model_copy(update={"results": results, "files": weights_only}), located.folder)


def test_a_right_one_passes_and_its_scores_are_recomputed(
    located: LocatedEntry, known: Registry, tiny_stream: Path
) -> None:
    found = found_by(located, known, tiny_stream)
    assert {name: status for name, (status, _) in found.items()} == {
        "files": "ok",
        "network": "ok",
        "record": "ok",
        "scores": "ok",
    }
    assert f"average auc {located.entry.results.average:.6f}" in found["scores"][1]


def test_a_better_score_than_it_has_is_found_out(located: LocatedEntry, known: Registry, tiny_stream: Path) -> None:
    results = located.entry.results
    name, value = next(iter(results.per_experience.items()))
    assert value is not None
    lied = with_results(located, per_experience={**results.per_experience, name: value - 0.01})
    status, detail = found_by(lied, known, tiny_stream)["scores"]
    assert status == "failed"
    assert f"auc on {name} is {value:.4f}, and {value - 0.01:.4f} was recorded" in detail


def test_a_better_average_is_found_out(located: LocatedEntry, known: Registry, tiny_stream: Path) -> None:
    lied = with_results(located, average=located.entry.results.average - 0.01)
    assert found_by(lied, known, tiny_stream)["scores"][0] == "failed"


def test_other_weights_are_found_out(located: LocatedEntry, known: Registry, tiny_stream: Path) -> None:
    """With a hash that fits them: the scores tell."""
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file(located.weights)
    state["head.weight"] = torch.flip(state["head.weight"], (0,))
    save_file(state, located.weights)
    weights = located.entry.weights.model_copy(
        update={"sha256": sha256_of(located.weights), "size": located.weights.stat().st_size}
    )
    entry = located.entry.model_copy(update={"files": (weights,)})
    found = found_by(LocatedEntry(entry, located.folder), known, tiny_stream)
    assert [found[n][0] for n in ("files", "network", "record", "scores")] == ["ok", "ok", "skipped", "failed"]


def test_a_wrong_hash_ends_it(located: LocatedEntry, known: Registry, tiny_stream: Path) -> None:
    located.weights.write_bytes(located.weights.read_bytes() + b"x")
    assert [(n, s) for n, (s, _) in found_by(located, known, tiny_stream).items()] == [("files", "failed")]


def test_a_record_of_another_run_is_found_out(located: LocatedEntry, known: Registry) -> None:
    path = located.folder / "record.json"
    record = json.loads(path.read_text())
    record["spec"]["seed"] = 7
    path.write_text(json.dumps(record))
    files = tuple(
        f.model_copy(update={"sha256": sha256_of(path), "size": path.stat().st_size}) if f.path == "record.json" else f
        for f in located.entry.files
    )
    changed = LocatedEntry(located.entry.model_copy(update={"files": files}), located.folder)
    assert found_by(changed, known)["record"] == ("failed", "seed of record.json is not that of the entry")


def test_without_the_benchmark_the_scores_are_skipped(located: LocatedEntry, known: Registry) -> None:
    status, detail = found_by(located, known)["scores"]
    assert status == "skipped"
    assert "not available: unknown benchmark 'tiny'" in detail
    assert "scores" not in found_by(located, known, scores=False)


def test_other_data_are_found_out(located: LocatedEntry, known: Registry, tmp_path: Path) -> None:
    from dfbench.testing import write_stream

    other = tmp_path / "other"
    other.mkdir()
    status, detail = found_by(located, known, write_stream(other, pairs=11))["scores"]
    assert status == "failed"
    assert "holds other data" in detail
