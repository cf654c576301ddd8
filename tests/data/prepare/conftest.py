"""Small data sets of real videos, and a way to prepare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.jobs import DetectorChoice
from dfbench.data.prepare.options import Options
from dfbench.data.prepare.run import Engine, Prepared, prepare
from tests.data.prepare.films import forged, moving, write_video

FINDER = DetectorChoice("tests.data.prepare.films:Finder", None, "cpu")


def real(path: Path, name: str, split: str = "train", identity: str | None = None, **more: Any) -> Item:
    return Item(path, name, 0, split, "real", identity, None, None, **more)


def fake(
    path: Path, name: str, pair: str | None = None, split: str = "train", method: str = "Swap", **more: Any
) -> Item:
    return Item(path, name, 1, split, method, None, pair, more.pop("mask", None), **more)


def crop(items: Sequence[Item], out: Path, workers: int = 0, engine: Engine = "local", **options: Any) -> Prepared:
    """Prepare items with the films' own face finder, in this process unless workers are wanted."""
    chosen = Options(**{"source": "films", "frames": 6, "size": 64, "faces": "finder", **options})
    return prepare(items, out, chosen, FINDER, workers=workers, engine=engine)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Three reals and a fake of each, in two splits."""
    folder = tmp_path_factory.mktemp("films")
    items = []
    for number, split in enumerate(("train", "train", "test")):
        frames = moving(number)
        name = f"r{number}"
        items.append(real(write_video(folder / f"{name}.mp4", frames), name, split, f"person{number}"))
        items.append(fake(write_video(folder / f"f{number}.mp4", forged(frames)), f"f{number}", name, split))
    return items


@pytest.fixture(scope="session")
def prepared(films: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The films, prepared."""
    return crop(films, tmp_path_factory.mktemp("prepared") / "set")
