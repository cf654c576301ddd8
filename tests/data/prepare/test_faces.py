"""The face detectors that come with dfbench."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfbench.data.prepare.faces import Centre, Mtcnn, YuNet, find_faces, split_choice
from dfbench.data.prepare.stills import StillFrame
from dfbench.errors import DataError, PluginError, UsageError
from tests.data.prepare.films import face, scene
from tests.data.prepare.tiny_yunet import write_tiny_yunet


@pytest.fixture(scope="module")
def mtcnn() -> Mtcnn:
    return Mtcnn(None, "cpu")


def test_mtcnn_finds_each_face_of_a_batch_where_it_is_and_none_in_an_empty_frame(mtcnn: Mtcnn) -> None:
    size = (640, 400)
    frames = [
        scene((face(0, 200), 100, 120), size=size),
        scene(size=size),
        scene((face(1, 160), 60, 150), (face(2, 140), 400, 80), size=size),
    ]
    one, none, two = find_faces([StillFrame(frame) for frame in frames], *size, mtcnn)
    assert none.shape == (0, 5)
    assert len(one) == 1
    assert 100 < one[0, 0] < one[0, 2] < 300
    assert 120 < one[0, 1] < one[0, 3] < 320
    assert one[0, 4] > 0.95
    assert sorted(float(each[0]) // 300 for each in two) == [0, 1]


def test_a_small_face_is_found_at_the_second_size(mtcnn: Mtcnn) -> None:
    size = (1920, 1080)
    frame = scene((face(0, 56), 900, 300), size=size)
    (boxes,) = find_faces([StillFrame(frame)], *size, mtcnn)
    assert len(boxes) == 1
    assert 900 < boxes[0, 0] < boxes[0, 2] < 956
    mtcnn.sizes, sizes = mtcnn.sizes[:1], mtcnn.sizes
    (without,) = find_faces([StillFrame(frame)], *size, mtcnn)
    mtcnn.sizes = sizes
    assert len(without) == 0


def test_boxes_are_those_of_facenet_pytorch_to_the_bit(mtcnn: Mtcnn) -> None:
    """Frames are laid out anew for speed alone; what comes in may be read-only and is left as it is."""
    frames = np.stack([scene((face(k, 160), 60 * k, 90), size=(420, 300)) for k in range(3)])
    frames.flags.writeable = False
    expected, scores = mtcnn._network.detect(frames)
    for found, boxes, sure in zip(mtcnn.detect(frames), expected, scores, strict=True):
        assert len(found) == 1
        np.testing.assert_array_equal(found, np.column_stack([boxes, sure]))


@pytest.mark.parametrize("side", [8, 20, 47])
def test_tiny_frames_have_no_face_and_raise_nothing(mtcnn: Mtcnn, side: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, side, side, 3)).astype(np.uint8)
    assert [len(boxes) for boxes in mtcnn.detect(noise)] == [0, 0, 0]


def test_the_centre_is_the_largest_square() -> None:
    (boxes,) = find_faces([StillFrame(scene(size=(200, 100)))], 200, 100, Centre(None, "cpu"))
    assert boxes.tolist() == [[50, 0, 150, 100, 1]]


def test_yunet_finds_faces_through_opencv_in_pixels_of_the_frame(tmp_path: Path) -> None:
    yunet = YuNet(write_tiny_yunet(tmp_path / "tiny.onnx"), "cpu")
    frames = np.zeros((3, 320, 640, 3), np.uint8)
    frames[1, 32:64, 96:128, 0] = 255
    frames[2, 32:64, 96:128, 2] = 255  # blue: frames are RGB
    for boxes, expected in zip(yunet.detect(frames), ([], [[96, 32, 128, 64, 1]], []), strict=True):
        assert boxes.shape == (len(expected), 5)
        np.testing.assert_allclose(boxes, np.reshape(expected, (-1, 5)), atol=0.01)
    large = np.kron(frames[1], np.ones((3, 3, 1), np.uint8))
    (found,) = find_faces([StillFrame(large)], 1920, 960, yunet)
    np.testing.assert_allclose(found[:, :4], [[288, 96, 384, 192]], atol=0.1)
    assert len(yunet.version.split()[-1]) == 16  # of the file's hash: another file makes another set


def test_detectors_say_what_they_need(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs its file"):
        YuNet(None, "cpu")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(UsageError, match="cannot be read"):
        YuNet(tmp_path / "model.onnx", "cpu")
    with pytest.raises(UsageError, match="takes no file"):
        Mtcnn(tmp_path / "model.onnx", "cpu")
    with pytest.raises(DataError, match="there is no file"):
        split_choice(f"yunet={tmp_path}/absent.onnx")
    assert split_choice("mtcnn") == ("mtcnn", None)


def test_a_detector_that_breaks_the_contract_is_named() -> None:
    class Wrong(Centre):
        def detect(self, frames: np.ndarray) -> list[np.ndarray]:
            return [np.full((1, 4), np.nan)] * len(frames)

    with pytest.raises(PluginError, match=r"Wrong\.detect returned"):
        find_faces([StillFrame(scene())], 192, 144, Wrong(None, "cpu"))
