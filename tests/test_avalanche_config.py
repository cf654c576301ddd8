"""The home folder does not matter: Avalanche's settings file may be missing, damaged or impossible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = (
    "import dfbench, avalanche.benchmarks.datasets as d, os\n"
    "print(d.default_dataset_location('x')); print(os.environ['HOME'])"
)


def location(home: Path | str) -> str:
    """Where Avalanche keeps data set x, of a process with that home folder."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env={**os.environ, "HOME": str(home)}, capture_output=True, text=True, check=True
    )
    found, after = done.stdout.splitlines()
    assert after == str(home)
    return found


@pytest.mark.parametrize("content", [None, "", "[1]", '{"dataset_location": 3}'], ids=str)
def test_a_missing_or_damaged_file_is_no_error_and_is_left_alone(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / ".avalanche" / "config.json"
    if content is not None:
        file.parent.mkdir()
        file.write_text(content)
    assert location(tmp_path) == str(tmp_path / ".avalanche" / "data" / "x")
    assert (file.read_text() if file.exists() else None) == content


def test_a_home_that_is_no_folder_is_no_error() -> None:
    assert location("/dev/null") == "/dev/null/.avalanche/data/x"


def test_the_users_choice_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".avalanche").mkdir()
    (tmp_path / ".avalanche" / "config.json").write_text(json.dumps({"dataset_location": "/mine"}))
    assert location(tmp_path) == "/mine/x"
