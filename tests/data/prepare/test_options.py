"""Which frames of a video are taken, and what is cut out of them."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dfbench.data.prepare.crops import around, encode, square
from dfbench.data.prepare.options import difference, spread


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(1, 300), st.sampled_from([0, 2, 3, 8, 16]))
def test_frames_are_spread_over_the_whole_video(count: int, frames: int, clip: int) -> None:
    clips = spread(count, frames, clip)
    length = clip or 1
    assert len(clips) == min(-(-frames // length), count // length)
    flat = [number for each in clips for number in each]
    assert flat == sorted(set(flat))
    assert all(0 <= number < count for number in flat)
    assert all(each == list(range(each[0], each[0] + length)) for each in clips)
    if len(clips) > 1:
        starts = np.diff([each[0] for each in clips])
        assert starts.max() - starts.min() <= 1  # evenly
        assert clips[0][0] <= count / len(clips)
        assert clips[-1][-1] >= count - count / len(clips) - 1  # the first N would end long before


@settings(deadline=None)
@given(
    st.floats(-50, 400), st.floats(-50, 300), st.floats(1, 500), st.floats(1, 500), st.floats(1, 4),
    st.integers(20, 400), st.integers(20, 300),
)  # fmt: skip
def test_a_square_lies_inside_the_frame(left, top, wide, high, margin, width, height) -> None:
    where = square(np.array([left, top, left + wide, top + high]), margin, width, height)
    assert 0 <= where.x <= where.x + where.side <= width
    assert 0 <= where.y <= where.y + where.side <= height
    assert where.side == min(max(round(max((left + wide) - left, (top + high) - top) * margin), 1), width, height)


def test_a_square_is_centred_on_its_box() -> None:
    assert square(np.array([40, 30, 60, 60.0]), 1.5, 200, 200) == (28, 22, 45)


def test_the_box_of_a_clip_holds_the_face_in_its_mean_place() -> None:
    assert around(np.array([[0, 0, 10, 20], [10, 0, 22, 20.0]])).tolist() == [4.5, 0, 16.5, 20]


def test_a_crop_is_a_jpeg_of_what_is_in_the_square() -> None:
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[20:40, 30:50] = [200, 40, 90]
    crop = Image.open(io.BytesIO(encode(frame, square(np.array([30, 20, 50, 40.0]), 1, 80, 60), 32, 95)))
    assert (crop.format, crop.size, crop.mode) == ("JPEG", (32, 32), "RGB")
    assert np.abs(np.asarray(crop).reshape(-1, 3).mean(axis=0) - [200, 40, 90]).max() < 3


def test_a_difference_of_options_says_what_was_and_what_is() -> None:
    assert difference({"size": 256, "clip": 0}, {"size": 224, "clip": 0, "new": 1}) == (
        "size 256, now 224; new unset, now 1"
    )
