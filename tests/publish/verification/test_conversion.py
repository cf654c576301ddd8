"""A run of an earlier version becomes one of today's, from its scores and its benchmark's data."""

from __future__ import annotations

import shutil
from pathlib import Path

from dfbench.plugins import Registry
from dfbench.publish.conversion import convert
from dfbench.publish.verification.checks import failures, verify
from dfbench.records.finished import FinishedRun
from tests.publish.board_runs import read_record, write_record


def test_a_converted_run_verifies(finished: Path, known: Registry, tiny_stream: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / finished.name))
    record = read_record(folder)
    before = dict(record["uncertainty"])
    record["schema"], record["metrics"]["forgetting"] = 1, 0.9
    record["uncertainty"]["forgetting"] = [0.8, 1.0]
    write_record(folder, record)
    assert [f.what for f in failures(verify(FinishedRun.open(folder), known))] == ["uncertainty"]
    (line,) = convert([folder], known, str(tiny_stream))
    assert line.endswith(f"by {before['unit']}")
    assert failures(verify(FinishedRun.open(folder), known)) == []
    assert read_record(folder)["uncertainty"] == before
