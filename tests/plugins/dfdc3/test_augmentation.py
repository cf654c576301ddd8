"""What DFDC_3 does to a pair before it trains on it: the same to real and fake, and to all frames of a clip."""

from __future__ import annotations

import contextlib
import random as python_random
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from dfbench_dfdc3.augmentation import View, augment_pair, fitted, padded_rows, scaled, spread
from dfbench_dfdc3.compression import TUNES, Codec, compress, rescaled, thinned
from dfbench_dfdc3.views import cropped, on_device

VIEW = View(height=56, width=48, frames=3, sequence=7, compress=0.0, flip=0.5, auto_augment=1.0)


def moving_clip(length: int = 16, side: int = 64) -> np.ndarray:
    """A smooth picture with a bright bar that moves by two pixels a frame: uint8 (T, H, W, 3)."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    base = np.stack([60 + x, 40 + y, 90 + (x + y) / 2], -1)
    clip = np.stack([base.copy() for _ in range(length)])
    for t in range(length):
        clip[t, 20:40, 2 * t + 8 : 2 * t + 14] += 60
    return clip.clip(0, 255).astype(np.uint8)


def test_frames_of_the_published_clip() -> None:
    assert spread(8, 4, 50).tolist() == [9, 13, 17, 21, 25, 29, 33, 37]
    assert spread(7, 2, 50).tolist() == [19, 21, 23, 25, 27, 29, 31]


@pytest.mark.parametrize("length", range(7, 60))
def test_frames_of_a_shorter_clip_are_inside_it_and_differ(length: int) -> None:
    for count, step in ((7, 2), (2, 4), (7, 4)):
        index = spread(count, step, length)
        assert index.min() >= 0
        assert index.max() < length
        assert len(set(np.diff(index))) == 1
        assert 1 <= np.diff(index)[0] <= step


def test_real_and_fake_get_the_same_augmentation() -> None:
    """A fake that is its real, augmented beside it, stays equal to it whatever is drawn."""
    clip = moving_clip()
    view = View(56, 48, 3, 7, compress=0.5, flip=0.5, auto_augment=0.5)
    changed = set()
    for seed in range(40):
        out = augment_pair(np.stack([clip, clip]), view, np.random.default_rng(seed))
        assert out.shape == (2, 13, 56, 48, 3)
        assert out.dtype == np.uint8
        np.testing.assert_array_equal(out[0], out[1])
        changed.add(out.tobytes())
    assert len(changed) == 40


def test_frames_of_a_clip_share_their_augmentation_and_images_do_not() -> None:
    """On a still clip all seven frames of C must come out alike; A's frames each have a draw of their own."""
    still = np.repeat(moving_clip(1), 16, axis=0)
    different = 0
    for seed in range(30):
        out = augment_pair(np.stack([still, still]), VIEW, np.random.default_rng(seed))
        for frame in out[0, 6:]:
            np.testing.assert_array_equal(frame, out[0, 6])
        different += len({frame.tobytes() for frame in out[0, :3]}) > 1
    assert different > 20


def test_the_draw_decides_and_nothing_else_is_disturbed() -> None:
    clip = np.stack([moving_clip()] * 2)
    view = View(56, 48, 3, 7, compress=1.0, flip=0.5, auto_augment=1.0)
    python_random.seed(1)
    np.random.seed(1)
    expected = python_random.random(), np.random.random()
    python_random.seed(1)
    np.random.seed(1)
    first = augment_pair(clip.copy(), view, np.random.default_rng(8))
    assert (python_random.random(), np.random.random()) == expected
    np.testing.assert_array_equal(first, augment_pair(clip.copy(), view, np.random.default_rng(8)))


def test_flip_crop_and_policy_happen() -> None:
    clip = moving_clip()
    plain = View(56, 48, 1, 7, compress=0, flip=0, auto_augment=0)
    flipped = View(56, 48, 1, 7, compress=0, flip=1, auto_augment=0)

    def crops(view: View) -> set[bytes]:
        return {augment_pair(np.stack([clip] * 2), view, np.random.default_rng(s))[0, 1].tobytes() for s in range(40)}

    one, other = crops(plain), crops(flipped)
    assert 3 < len(one) <= 9  # B: 56 × 56 resized, 48 wide crops: nine places
    assert not one & other
    assert len(crops(replace(VIEW, frames=1))) > 30


def test_a_is_resized_to_the_width_and_reflected_b_to_the_height() -> None:
    """The picture's rows are numbered: above row 0 come rows 4, 3, 2, 1, not black and not row 0 twice."""
    frames = np.broadcast_to(np.arange(48, dtype=np.uint8)[:, None, None], (1, 48, 48, 3))
    whole = fitted(frames, 56, 48, whole=True)
    assert whole.shape == (1, 56, 48, 3)
    assert whole[0, :, 7, 1].tolist() == [4, 3, 2, 1, *range(48), 46, 45, 44, 43]
    assert fitted(frames, 56, 48, whole=False).shape == (1, 56, 56, 3)
    assert fitted(np.zeros((1, 100, 60, 3), np.uint8), 56, 48, whole=True).shape == (1, 80, 48, 3)


@pytest.mark.parametrize(("rows", "height"), [(192, 224), (193, 224), (5, 14), (1, 4), (224, 224), (300, 224)])
def test_padding_is_reflection_without_the_edge(rows: int, height: int) -> None:
    """As OpenCV's BORDER_REFLECT_101, which the original's ``PadIfNeeded`` uses; an odd row goes below."""
    missing = max(0, height - rows)
    column = np.arange(rows, dtype=np.float32)[:, None]
    expected = cv2.copyMakeBorder(column, missing // 2, missing - missing // 2, 0, 0, cv2.BORDER_REFLECT_101)
    np.testing.assert_array_equal(padded_rows(rows, height), expected[:, 0])


@pytest.mark.parametrize("side", [64, 600])
@pytest.mark.parametrize("whole", [True, False])
def test_pictures_are_resized_linearly_in_training_and_test(side: int, whole: bool) -> None:
    """Shrunk without a filter, as in the original: area averages and antialiasing would differ by tens of levels."""
    frame = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    new = scaled((side, side), 224, 192, whole)
    linear = cv2.resize(frame, new[::-1], interpolation=cv2.INTER_LINEAR)
    top = (224 - new[0]) // 2 if whole else 0
    np.testing.assert_array_equal(fitted(frame[None], 224, 192, whole)[0, top : top + new[0]], linear)
    left = (new[1] - 192) // 2
    middle = linear[:224, left : left + 192]
    tested = cropped(torch.from_numpy(frame[None]), 224, 192, whole)[0].numpy()
    np.testing.assert_array_equal(tested[top : top + new[0]], middle)
    elsewhere = on_device(torch.from_numpy(frame[None]), 224, 192, whole)[0, :, left : left + 192].numpy()
    assert np.abs(elsewhere[: len(tested)].astype(int) - tested).max() <= 1
    area = cv2.resize(frame, new[::-1], interpolation=cv2.INTER_AREA)
    assert side < 224 or np.abs(area.astype(int) - linear).max() > 20


def test_frames_left_at_another_rate_are_those_of_ffmpeg() -> None:
    """All rates that are drawn, against the filter ``fps`` itself."""
    for fps in range(15, 31):
        for length in (16, 33, 50):
            assert thinned(length, fps).tolist() == ffmpeg_fps(length, fps)


def ffmpeg_fps(length: int, fps: int) -> list[int]:
    graph = av.filter.Graph()
    source = graph.add_buffer(width=16, height=16, format=av.VideoFormat("gray"), time_base=Fraction(1, 30))
    sink = graph.add("buffersink")
    chosen = graph.add("fps", f"fps={fps}")
    source.link_to(chosen)
    chosen.link_to(sink)
    graph.configure()
    for number in range(length):
        frame = av.VideoFrame.from_ndarray(np.full((16, 16), number, np.uint8), format="gray")
        frame.pts, frame.time_base, frame.duration = number, Fraction(1, 30), 1
        source.push(frame)
    source.push(None)
    left = []
    with contextlib.suppress(av.error.EOFError):
        while True:
            left.append(int(sink.pull().to_ndarray()[0, 0]))
    return left


def test_frame_indices_follow_a_change_of_the_frame_rate() -> None:
    """15 of 30 frames a second: frames 19, 21, … are 9.5, 10.5, … of 25, and halves go to the even neighbour."""
    kept = thinned(50, 15)
    np.testing.assert_array_equal(kept, np.arange(0, 50, 2))
    seen = rescaled(np.arange(19, 32, 2), 50, 25)
    assert kept[seen].tolist() == [20, 20, 24, 24, 28, 28, 32]
    for fps in range(15, 30):
        kept = thinned(50, fps)
        place = rescaled(np.arange(50), 50, len(kept))
        assert place.max() == len(kept) - 1
        assert np.abs(kept[place] - np.arange(50)).max() <= 2  # the same moment of the clip, to two frames


def test_the_bar_is_where_the_frame_rate_says() -> None:
    clip = moving_clip()
    out = compress(clip, Codec(crf=17, tune="film", fps=15))
    assert out.shape == (8, 64, 64, 3)
    for place, frame in enumerate(range(0, 16, 2)):
        row = out[place, 30, :, 0].astype(int) - (60 + np.arange(64))
        assert abs(int(np.flatnonzero(row > 30).mean()) - (2 * frame + 10)) <= 1


@pytest.mark.parametrize("tune", TUNES)
def test_a_clip_is_coded_the_same_each_time(tune: str) -> None:
    """x264 left to itself gave up to a dozen results in 60, on a processor with AVX-512."""
    results = {compress(moving_clip(), Codec(26, tune)).tobytes() for _ in range(15)}
    assert len(results) == 1


@pytest.mark.parametrize("tune", TUNES)
def test_compression_loses_more_at_a_higher_factor(tune: str) -> None:
    clip = moving_clip()
    noisy = np.clip(clip + np.random.default_rng(0).normal(0, 12, clip.shape), 0, 255).astype(np.uint8)
    fine, coarse = (np.abs(compress(noisy, Codec(crf, tune)).astype(int) - noisy).mean() for crf in (17, 39))
    assert 0 < fine < coarse


def test_scale_and_frame_rate_change_the_shape() -> None:
    assert compress(moving_clip(), Codec(30, "grain", 20, 0.25)).shape == (11, 16, 16, 3)
    assert compress(moving_clip(8, 63), Codec(30, "grain", 30, 0.5)).shape == (8, 32, 32, 3)  # 31.5 is rounded to 32
    assert compress(moving_clip(8, 63), Codec(30, "grain")).shape == (8, 62, 62, 3)  # and 63 down to an even side


def test_compression_keeps_the_resolution_of_colour() -> None:
    """Columns of red and blue, one pixel wide: with colour at half the resolution both would come back purple."""
    stripes = np.zeros((8, 32, 32, 3), np.uint8)
    stripes[:, :, ::2] = (200, 0, 0)
    stripes[:, :, 1::2] = (0, 0, 200)
    coded = compress(stripes, Codec(17, "film")).astype(int)
    assert (coded[:, :, ::2, 0] - coded[:, :, 1::2, 0]).mean() > 120
    assert np.abs(coded - stripes).mean() < 12


def test_the_drawn_settings_are_the_published_ones() -> None:
    draws = [Codec.draw(np.random.default_rng(i)) for i in range(4000)]
    assert {d.crf for d in draws} == set(range(17, 40))
    assert {d.tune for d in draws} == {"film", "animation", "grain", "stillimage", "fastdecode", "zerolatency"}
    assert {d.fps for d in draws} == set(range(15, 31))
    assert np.mean([d.fps == 30 for d in draws]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([d.scale == 1 for d in draws]) == pytest.approx(0.5, abs=0.03)
    scales = [d.scale for d in draws if d.scale != 1]
    assert min(scales) == pytest.approx(0.25, abs=0.01)
    assert np.mean(scales) == pytest.approx(0.625, abs=0.02)


def test_half_of_the_pairs_are_compressed() -> None:
    clip = np.stack([moving_clip()] * 2)
    view = View(64, 64, 1, 7, compress=0.5, flip=0, auto_augment=0)
    plain = augment_pair(clip.copy(), View(64, 64, 1, 7, 0, 0, 0), np.random.default_rng(0))
    touched = [
        not np.array_equal(augment_pair(clip.copy(), view, np.random.default_rng(s))[0, 2:], plain[0, 2:])
        for s in range(120)
    ]
    assert np.mean(touched) == pytest.approx(0.5, abs=0.13)
