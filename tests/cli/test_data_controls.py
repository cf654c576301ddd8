"""``dfbench data controls``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfbench.benchmarks.controls import Controls
from dfbench.errors import DataError, UsageError
from tests.benchmarks.test_controls import ONE, compressed, write
from tests.cli.harness import run_cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_clean_benchmark_ends_with_0_and_its_file_is_what_a_leaderboard_reads(
    capsys: Capture, tmp_path: Path
) -> None:
    write(tmp_path / "swaps", 30)
    (tmp_path / "one.yaml").write_text(ONE)
    done = run_cli(capsys, "data", "controls", tmp_path / "one.yaml", "--to", tmp_path / "controls.json")
    assert done.code == 0
    assert "swap" in done.out
    assert "passed" in done.out
    assert Controls.model_validate(json.loads((tmp_path / "controls.json").read_text())).benchmark == "one"


def test_processing_that_tells_the_classes_apart_ends_with_3(capsys: Capture, tmp_path: Path) -> None:
    write(tmp_path / "swaps", 30, compressed)
    (tmp_path / "one.yaml").write_text(ONE)
    done = run_cli(capsys, "data", "controls", tmp_path / "one.yaml", "--json")
    assert done.code == DataError.exit_code
    assert done.json["failed"] == ["swap"]
    assert "one: the borders of the pictures tell reals from fakes in swap; give both classes one codec" in done.err


def test_an_unknown_benchmark_is_one_line(capsys: Capture) -> None:
    done = run_cli(capsys, "data", "controls", "forge6")
    assert done.code == UsageError.exit_code
    assert "forge5" in done.err
