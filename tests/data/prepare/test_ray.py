"""``--engine ray``: the same set as with local processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.jobs import DetectorChoice
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.run import Prepared, prepare
from dfbench.errors import Interrupted
from tests.conftest import dfbench
from tests.data.prepare.conftest import FINDER, real
from tests.data.prepare.films import write_video
from tests.data.prepare.test_run import contents


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A local Ray of two processors, for all tests here."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'dfbench-deepfake[ray]'")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


def test_the_same_videos_give_the_same_bytes_as_local_processes_and_an_interrupted_set_goes_on(
    ray: Any, films: list[Item], prepared: Prepared, tmp_path: Path
) -> None:
    seen: list[int] = []

    def stop(done: int, total: int, what: str) -> None:
        seen.append(done)
        if done:
            raise KeyboardInterrupt

    options = Options(source="films", frames=6, size=64, faces="finder")
    with pytest.raises(Interrupted):
        prepare(films, tmp_path / "set", options, FINDER, engine="ray", progress=stop)
    assert seen == [0, 2]
    assert not (tmp_path / "set/prepared.json").exists()
    seen.clear()
    done = prepare(films, tmp_path / "set", options, FINDER, engine="ray", progress=lambda n, *_: seen.append(n))
    assert seen[0] >= 2  # a group that was done was not done again
    assert seen[-1] == 6
    assert done.digest == prepared.digest
    assert contents(tmp_path / "set") == contents(prepared.folder)


def test_a_video_that_kills_its_worker_is_given_up_and_the_others_are_cropped(
    ray: Any, films: list[Item], tmp_path: Path
) -> None:
    bright = write_video(tmp_path / "bright.mp4", [np.full((144, 192, 3), 250, np.uint8)] * 8)
    deadly = DetectorChoice("tests.data.prepare.test_run:Deadly", None, "cpu")
    options = Options(source="films", frames=2, size=32)
    done = prepare([films[0], real(bright, "bright")], tmp_path / "out", options, deadly, engine="ray")
    errors = {line["video"]: line["error"] for line in done.lines}
    assert errors["r0"] == ""
    assert "process that read it died" in errors["bright"]


def test_where_ray_is_missing_it_is_said_how_to_get_it_before_anything_is_written(
    films: list[Item], tmp_path: Path
) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('not installed')")
    write_video(tmp_path / "videos/train/real/a.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 4)
    done = dfbench("data", "prepare", "videos", "--root", tmp_path / "videos", "--out", tmp_path / "set", "--faces",
                   "centre", "--engine", "ray", python_path=(tmp_path,))  # fmt: skip
    assert done.code == 2
    assert done.err.strip().endswith("--engine ray needs the package ray: pip install 'dfbench-deepfake[ray]'")
    assert not (tmp_path / "set").exists()
