"""Codecs without a file: sequences of any size come back whole, in order and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from dfbench.data.codecs import h264, jpeg


def moving(count: int, height: int, width: int) -> np.ndarray:
    """A bright bar that moves over a ramp, so that frames differ and lossy codecs keep them recognisable."""
    frames = np.tile(np.linspace(40, 120, width).astype(np.uint8)[None, None, :, None], (count, height, 1, 3))
    for number in range(count):
        frames[number, :, number * width // count : (number + 1) * width // count] = 220
    return frames


@pytest.mark.parametrize("size", [(64, 64), (63, 41), (7, 9), (1, 1)])
def test_every_size_comes_back_with_its_shape(size: tuple[int, int]) -> None:
    frames = moving(3, *size)
    decoded = h264(frames, crf="20")
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - frames).mean() < 12
    assert jpeg(frames[0], 90).shape == frames[0].shape


def test_frames_of_a_sequence_stay_in_order_though_x264_reorders_them() -> None:
    frames = moving(8, 48, 64)
    decoded = h264(frames, preset="medium", crf="25").astype(int)
    errors = np.abs(decoded[:, None] - frames[None]).mean(axis=(2, 3, 4))
    assert (errors.argmin(axis=1) == np.arange(8)).all()


def test_a_sequence_is_encoded_as_a_whole() -> None:
    """A frame of a clip differs from the same frame alone: it is predicted from its neighbours."""
    frames = moving(8, 48, 64) + np.random.default_rng(0).integers(0, 25, (8, 48, 64, 3), dtype=np.uint8)
    alone = np.concatenate([h264(frame[None], crf="35") for frame in frames])
    assert not np.array_equal(h264(frames, crf="35")[1:], alone[1:])
    assert np.array_equal(h264(frames, crf="35"), h264(frames, crf="35"))
