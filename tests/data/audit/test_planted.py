"""Ten shortcuts and faults are planted in trees of embedded faces and found; a hundred clean trees raise no alarm."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from dfbench.data.audit import audit
from dfbench.data.audit.shortcuts import file_names
from dfbench.data.prepare.item import Item
from dfbench.forge import render

PEOPLE = 30
FAMILIES = ("autoencoder", "face_swap", "reenactment", "self_blended")
"""Each forges the inner face alone, and compresses reals as it compresses fakes."""


@cache
def pictures(person: str, family: str) -> tuple[np.ndarray, np.ndarray]:
    """A real and the fake of it, RGB."""
    found = {row["label"]: image for row, image in render.render(person, family, frames=(2,))}
    return found[0], found[1]


def split_of(n: int) -> str:
    return "train" if n < PEOPLE // 2 else "val" if n < 3 * PEOPLE // 4 else "test"


def write(path: Path, picture: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


def clean_tree(root: Path, seed: int) -> list[Item]:
    """Thirty people, a real and a fake of each, as pictures of one kind and size under names without a meaning."""
    rng, family = np.random.default_rng(seed), FAMILIES[seed % len(FAMILIES)]
    names = rng.choice(10_000, 2 * PEOPLE, replace=False).reshape(PEOPLE, 2)
    items = []
    for n, person in enumerate(rng.permutation(render.identities("train"))[:PEOPLE].tolist()):
        for label, picture in enumerate(pictures(person, family)):
            video = f"set/{names[n, label]:04d}"
            path = write(root / f"{video}.png", picture)
            partner = f"set/{names[n, 0]:04d}" if label else None
            method = family if label else "real"
            items.append(Item(path, video, label, split_of(n), method, person, partner, None, "picture"))
    return items


def failed(items: list[Item], **options: object) -> set[str]:
    return {check.name for check in audit(items, workers=1, **options).failed}


def alarms(root: Path, seeds: range) -> dict[int, set[str]]:
    """Seed of a clean tree → the checks that fail on it; trees without are left out."""
    found = {seed: failed(clean_tree(root / str(seed), seed)) for seed in seeds}
    return {seed: names for seed, names in found.items() if names}


def test_clean_trees_raise_no_alarm(tmp_path: Path) -> None:
    assert not alarms(tmp_path, range(8))


@pytest.mark.slow
def test_a_hundred_clean_trees_raise_no_alarm(tmp_path: Path) -> None:
    assert not alarms(tmp_path, range(100))


def fakes(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[list[Item], Path], list[Item]]:
    """Writes the fakes once more, each picture changed."""

    def plant(items: list[Item], root: Path) -> list[Item]:
        for item in items:
            if item.label:
                write(item.path, change(np.asarray(Image.open(item.path))))
        return items

    return plant


def jpeg(picture: np.ndarray) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=60)
    return np.asarray(Image.open(data))


def resampled(picture: np.ndarray) -> np.ndarray:
    small = cv2.resize(picture, (84, 84), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (112, 112), interpolation=cv2.INTER_LINEAR)


def cast(picture: np.ndarray) -> np.ndarray:
    return (picture * np.array([0.8, 1.0, 1.0])).astype(np.uint8)


def larger(picture: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(picture, 4, 4, 4, 4, cv2.BORDER_REFLECT_101)


def with_profile(items: list[Item], root: Path) -> list[Item]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for item in items:
        if item.label:
            write(item.path, np.asarray(Image.open(item.path)), icc_profile=profile)
    return items


def in_another_container(items: list[Item], root: Path) -> list[Item]:
    """The fakes as lossless WebP: the same pixels."""
    found = []
    for item in items:
        path = item.path
        if item.label:
            path = write(path.with_suffix(".webp"), np.asarray(Image.open(path)), lossless=True)
        found.append(replace(item, path=path))
    return found


def as_finer_jpegs(items: list[Item], root: Path) -> list[Item]:
    """Everything as JPEG, the fakes in another quality."""
    found = []
    for item in items:
        pixels = np.asarray(Image.open(item.path))
        path = write(item.path.with_suffix(".jpg"), pixels, quality=75 if item.label else 90)
        found.append(replace(item, path=path))
    return found


def of_more_frames(items: list[Item], root: Path) -> list[Item]:
    found = []
    for item in items:
        folder = item.path.with_suffix("")
        for frame in range(3 if item.label else 4):
            write(folder / f"{frame}.png", np.asarray(Image.open(item.path)))
        found.append(replace(item, path=folder, kind="frames"))
    return found


def with_telling_names(items: list[Item], root: Path) -> list[Item]:
    """Reals are numbered up to 199, fakes from 200 on."""
    reals, found = [item for item in items if not item.label], []
    number = {item.video: f"set/{100 + n}" for n, item in enumerate(reals)}
    number |= {item.video: f"set/{200 + n}" for n, item in enumerate(items) if item.label}
    for item in items:
        found.append(replace(item, video=number[item.video], pair=item.pair and number[item.pair]))
    return found


def with_somebody_twice(items: list[Item], root: Path) -> list[Item]:
    return [replace(item, identity=items[0].identity) if item.split == "test" else item for item in items]


def with_a_near_duplicate(items: list[Item], root: Path) -> list[Item]:
    """A training picture, compressed once more, is a test picture."""
    test = next(item for item in items if item.split == "test" and not item.label)
    write(test.path, jpeg(np.asarray(Image.open(items[0].path))))
    return items


def with_inverted_labels(items: list[Item], root: Path) -> list[Item]:
    """The folders say real where the label says fake."""
    place = {item.video: f"{'real' if item.label else 'fake'}/{item.video}" for item in items}
    return [replace(item, video=place[item.video], pair=item.pair and place[item.pair]) for item in items]


PLANTED = {
    "JPEG on fakes only": (fakes(jpeg), "traces"),
    "JPEG of another quality": (as_finer_jpegs, "shortcuts"),
    "size": (fakes(larger), "shortcuts"),
    "frame count": (of_more_frames, "shortcuts"),
    "file name": (with_telling_names, "file names"),
    "resampling": (fakes(resampled), "traces"),
    "colour profile": (with_profile, "shortcuts"),
    "colour cast": (fakes(cast), "traces"),
    "identity": (with_somebody_twice, "identities across splits"),
    "near duplicate": (with_a_near_duplicate, "near-duplicates across splits"),
    "container": (in_another_container, "shortcuts"),
    "inverted label": (with_inverted_labels, "labels"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_is_found(kind: str, tmp_path: Path) -> None:
    plant, check = PLANTED[kind]
    assert check in failed(plant(clean_tree(tmp_path, 1), tmp_path))


def test_names_that_state_the_class_by_the_set_s_own_scheme_are_no_alarm(tmp_path: Path) -> None:
    items = with_telling_names(clean_tree(tmp_path, 1), tmp_path)
    result = audit(items, names="fakes are numbered from 200 on", workers=1)["file names"]
    assert result.status == "not checked"
    assert "numbered from 200 on" in result.detail
    assert audit(items, names=None, workers=1)["file names"].status == "not checked"


def test_many_names_are_judged_by_a_part_of_them(tmp_path: Path) -> None:
    """Nobody reads the files: they are not there."""
    names = [f"{value:08x}" for value in np.random.default_rng(0).integers(0, 1 << 32, 9000)]
    fake = np.random.default_rng(1).integers(0, 2, 9000).tolist()
    items = [
        Item(tmp_path / f"{n}.png", f"set/{name}", label, "train", "swap" if label else "real", None, None, None)
        for n, (name, label) in enumerate(zip(names, fake, strict=True))
    ]
    assert file_names(items, "").status == "passed"
    telling = [replace(item, video=f"{item.video}{'f' if item.label else 'r'}") for item in items]
    assert file_names(telling, "").status == "failed"


def test_pictures_that_are_too_small_have_no_traces(tmp_path: Path) -> None:
    items = clean_tree(tmp_path, 1)
    for item in items:
        write(item.path, np.asarray(Image.open(item.path))[:9, :9])
    result = audit(items, workers=1)["traces"]
    assert (result.status, result.detail) == ("not checked", "no frames were decoded, or all are too small")
