"""Rendering: deterministic, aligned, fair to both classes."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from functools import partial

import cv2
import numpy as np
import pytest

from dfbench.data.samples import Samples
from dfbench.errors import DataError, UsageError
from dfbench.forge import pack, render
from dfbench.forge.clips import make_clip
from dfbench.forge.token import codebook, token

FAMILIES = render.families()
EVERY = (*FAMILIES, *render.held_out())
PEOPLE = [render.identities(split)[3] for split in ("train", "val", "test")]


def digests(person: str) -> dict[str, str]:
    return {
        row["sample"]: hashlib.sha256(np.ascontiguousarray(picture)).hexdigest()
        for family in EVERY
        for row, picture in render.render(person, family)
    }


def test_five_families_in_a_fixed_order():
    assert len(FAMILIES) == 5
    assert {"face_swap", "self_blended", "reenactment", "autoencoder", "upsampling"} == set(FAMILIES)


def test_a_sixth_family_is_held_out_with_a_camera_of_its_own():
    assert render.held_out() == ("token",)
    number, domain = render.HELD_OUT["token"]
    assert number not in {number for number, _ in render.FAMILIES.values()}
    assert domain not in [domain for _, domain in render.FAMILIES.values()]


@pytest.mark.parametrize("family", EVERY)
def test_rows_make_a_sample_table(family):
    rows, pictures = zip(*(r for p in PEOPLE for r in render.render(p, family)), strict=True)
    samples = Samples.from_rows(rows)
    assert set(samples.source) == {"forge5"}
    assert set(samples.method) == {"pristine", family}
    for picture in pictures:
        assert picture.shape == (112, 112, 3)
        assert picture.dtype == np.uint8
    for key in set(samples.pair):
        assert sorted(samples.label[samples.where(pair=key)]) == [0, 1]
    for video in set(samples.video):
        assert len(set(samples.label[samples.where(video=video)])) == 1
        assert len(set(samples.identity[samples.where(video=video)])) == 1


def test_sample_names_are_unique_over_families():
    rows = [row for family in EVERY for row, _ in render.render(PEOPLE[0], family)]
    assert len({row["sample"] for row in rows}) == len(rows)
    assert len({row["video"] for row in rows}) == 2 * len(EVERY)


def test_rendering_twice_gives_the_same_bits():
    assert digests(PEOPLE[0]) == digests(PEOPLE[0])


def test_another_process_on_an_older_processor_gives_the_same_bits():
    """The vector instructions that NumPy, OpenCV, libjpeg and OpenBLAS choose must not show in a pixel."""
    script = "import json, sys; from test_render import digests; print(json.dumps(digests(sys.argv[1])))"
    plain = {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",  # names of x86; elsewhere nothing happens
        "OPENCV_CPU_DISABLE": "AVX,AVX2,AVX512-SKX,FP16,SSE4.1,SSE4.2",
        "OPENBLAS_CORETYPE": "Prescott",
        "JSIMD_FORCESSE2": "1",
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
    }
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, PEOPLE[1]],
        env=os.environ | plain, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(out.stdout) == digests(PEOPLE[1])


@pytest.mark.parametrize("family", EVERY)
def test_a_frame_does_not_depend_on_the_frames_beside_it(family):
    """forge5 takes a few frames of the clips that forge5-clips has in full."""
    alone = render.render(PEOPLE[0], family, [7])
    whole = {row["sample"]: picture for row, picture in render.render(PEOPLE[0], family, range(16))}
    assert len(whole) == 32
    for row, picture in alone:
        assert np.array_equal(picture, whole[row["sample"]])


@pytest.mark.parametrize("family", EVERY)
def test_outside_the_mask_a_fake_is_its_pristine_frame(family):
    for person in PEOPLE:
        clean, fake, mask = render.render_clip(person, family, render.FEW, recorded=False)
        assert np.array_equal(clean[mask == 0], fake[mask == 0])
        assert (mask == 0).mean() > 0.2


@pytest.mark.parametrize("family", EVERY)
def test_each_family_changes_the_inner_face_and_flickers(family):
    changes, courses = [], []
    for person in render.identities("train")[:8]:
        clean, fake, mask = render.render_clip(person, family, range(0, 16, 3), recorded=False)
        for a, b, m in zip(clean, fake, mask, strict=True):
            assert (m > 128).sum() > 500
            changes.append(np.abs(a.astype(int) - b)[m > 128].mean())
        courses.append(np.std(changes[-6:]))
    assert min(changes) > 0.5
    assert np.mean(courses) > 0.02


@pytest.mark.parametrize("family", EVERY)
def test_pristine_and_forged_frames_stay_aligned(family):
    """Beyond the face the two recordings differ by compression alone."""
    clean, fake, mask = render.render_clip(PEOPLE[2], family, render.FEW)
    border = np.ones(mask.shape, bool)
    border[:, 8:-8, 8:-8] = False
    assert np.abs(clean.astype(int) - fake)[border].mean() < 1.5


def test_landmarks_move_with_the_picture():
    """Undoing a clip's landmark motion brings the eyes back to where the portrait has them."""
    person = pack.portrait(PEOPLE[0])
    clip = make_clip(person, np.random.default_rng(0), np.arange(16))
    still = make_clip(person, np.random.default_rng(0), np.arange(16), motion=0.0)
    assert np.abs(still.landmarks - still.landmarks[0]).max() < 1e-9
    assert np.abs(clip.landmarks - clip.landmarks[0]).max() > 1
    nose = pack.mesh().groups["nose"][5]
    patches = []
    for frames, points in ((clip.frames, clip.landmarks), (still.frames, still.landmarks)):
        x, y = np.rint(points[8, nose]).astype(int)
        patch = frames[8, y - 6 : y + 7, x - 6 : x + 7].astype(float).mean(axis=2)
        patches.append((patch - patch.mean()) / patch.std())
    assert (patches[0] * patches[1]).mean() > 0.7


def test_real_and_fake_are_recorded_with_the_same_settings(monkeypatch):
    """Each clip's two versions go through one codec at one quality, and every domain draws a range of them."""
    from dfbench.forge import domains

    seen: list[tuple[str, int]] = []
    for name in ("jpeg", "h264"):
        real = getattr(domains, name)
        monkeypatch.setattr(
            domains, name, lambda x, q, _real=real, _name=name: (seen.append((_name, q)), _real(x, q))[1]
        )
    settings = set()
    for person in render.identities("val")[:12]:
        seen.clear()
        render.render(person, FAMILIES[0], [0])
        assert len(seen) == 2
        assert seen[0] == seen[1]
        settings.add(seen[0])
    assert len(settings) > 4
    assert {name for name, _ in settings} == {"jpeg", "h264"}


def test_the_codebook_of_tokens_is_whole_numbers_of_training_faces():
    """In float64 their products are exact, so that the nearest code is the same on every processor."""
    codes = codebook()
    assert codes.shape == (1024, 6 * 6 * 3)
    assert codes.dtype == np.int64
    assert np.abs(codes).max() <= 255
    assert len(np.unique(codes, axis=0)) > 1000


def test_tokens_repeat_a_few_parts_and_keep_the_energy_of_the_detail():
    """Decoded detail is no softer than the face it replaces, and the same grid elsewhere gives other parts."""
    person = pack.portrait(PEOPLE[0])
    clip = make_clip(person, np.random.default_rng(0), np.arange(16))
    forged, masks = token(clip.frames, clip.landmarks, np.random.default_rng(1))
    inside = masks > 250
    sharpness = [
        np.concatenate([cv2.Laplacian(f, cv2.CV_32F)[m].ravel() for f, m in zip(frames, inside, strict=True)]).std()
        for frames in (clip.frames, forged)
    ]
    assert 0.6 < sharpness[1] / sharpness[0] < 1.6
    again, _ = token(clip.frames, clip.landmarks, np.random.default_rng(2))
    assert np.abs(again.astype(int) - forged)[inside].mean() > 1


def test_donors_come_from_the_same_split_and_are_somebody_else():
    split_of = {name: split for split in ("train", "val", "test") for name in render.identities(split)}
    donors = {name: render.donor(name) for name in render.identities()[::3]}
    for name, other in donors.items():
        assert other != name
        assert split_of[other] == split_of[name]
    assert Counter(donors.values()).most_common(1)[0][1] < len(donors) / 8


def test_each_experience_films_the_person_anew():
    first, second = (render.render(PEOPLE[0], family, [5])[0][1] for family in FAMILIES[:2])
    assert not np.array_equal(first, second)


def test_the_work_can_be_mapped_over_processes():
    assert pickle.loads(pickle.dumps(partial(render.render, family=FAMILIES[0])))(PEOPLE[0])


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="did you mean 'face_swap'"):
        render.render(PEOPLE[0], "faceswap")
    with pytest.raises(DataError, match="nobody"):
        render.render("nobody", FAMILIES[0])
