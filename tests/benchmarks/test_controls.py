"""The controls of a benchmark: borders that differ between the classes are found, equal ones raise no alarm."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfbench.benchmarks.controls import PICTURES, controls
from dfbench.errors import UsageError
from dfbench.forge import render
from tests.benchmarks.conftest import TWO, Load

ONE = """
name: one
description: swaps of embedded faces
defaults: {source: folder, root: swaps, manifest: manifest.csv}
experiences:
  - {name: swap, where: {source: swap}}
"""


def compressed(picture: np.ndarray) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=50)
    return np.asarray(Image.open(data))


def write(root: Path, people: int, change: Callable[[np.ndarray], np.ndarray] = lambda picture: picture) -> None:
    """People in training and as many in test, a real and a fake of each, whose pixels may be changed."""
    root.mkdir()
    lines = [("path", "label", "source", "method", "identity", "video", "split")]
    for split in ("train", "test"):
        for person in render.identities(split)[:people]:
            for row, picture in render.render(person, "face_swap", frames=(2,)):
                label, name = row["label"], f"{person}-{row['label']}.png"
                Image.fromarray(change(picture) if label else picture).save(root / name)
                lines.append((name, label, "swap", "swap" if label else "real", person, name, split))
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def test_fakes_that_were_compressed_once_more_are_found(load: Load, tmp_path: Path) -> None:
    write(tmp_path / "swaps", 40, compressed)
    found = controls(load(ONE), workers=1)
    (swap,) = found.experiences
    assert (swap.reals, swap.fakes) == (40, 40)
    assert swap.auc is not None
    assert swap.auc > 0.9
    assert found.failed == [swap]


def test_equal_processing_raises_no_alarm_and_any_number_of_processes_agrees(load: Load, tmp_path: Path) -> None:
    write(tmp_path / "swaps", 40)
    stream = load(ONE)
    found = controls(stream, workers=1)
    assert not found.failed
    assert found.experiences[0].auc == pytest.approx(0.5, abs=0.2)
    assert found == controls(stream, workers=2)
    assert found.fingerprint == stream.fingerprint


def test_too_few_people_are_not_judged(load: Load, tmp_path: Path) -> None:
    write(tmp_path / "swaps", 5, compressed)
    (swap,) = controls(load(ONE), workers=1).experiences
    assert (swap.auc, swap.reals, swap.told_apart) == (None, 5, False)


def test_pictures_are_drawn_by_their_names(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer pictures are a part of more: another experience or another order changes nothing."""
    from dfbench.benchmarks import controls as module

    write(tmp_path / "swaps", 40)
    stream = load(ONE)
    whole = set(module._drawn(stream, stream.experiences[0], "train").tolist())
    monkeypatch.setattr(module, "PICTURES", 10)
    few = set(module._drawn(stream, stream.experiences[0], "train").tolist())
    assert few < whole
    assert (len(few), len(whole)) == (20, 80)
    assert PICTURES > 40


def test_other_classes_than_real_and_fake_have_no_controls(load: Load, faces: Path) -> None:
    stream = replace(load(TWO), classes=("cat", "dog", "bird"))
    with pytest.raises(UsageError, match="two has 3 classes"):
        controls(stream, workers=1)
