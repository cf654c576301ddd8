"""Face detectors: a batch of frames of one size to the boxes of the faces in each.

A detector is a class, registered through ``register_face_detectors``::

    class Mine:
        sizes = (480, 960)   # longer sides of the frames that it gets: of every frame, then of those without a face
        def __init__(self, model: Path | None, device: str) -> None: ...
        def detect(self, frames: np.ndarray) -> list[np.ndarray]: ...

``detect`` gets uint8 RGB (N, H, W, 3) and returns N float arrays (k, 5): left, top, right, bottom in pixels of these
frames, and a score from 0 to 1. ``version`` (a text) becomes part of what makes two prepared sets the same.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from dfbench.data.prepare.media import Frame
from dfbench.errors import DataError, PluginError, UsageError

BATCH = 16
"""Frames that a detector gets at a time."""


class FaceDetector(Protocol):
    """See the module's docstring."""

    sizes: tuple[int, ...]
    version: str

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """Boxes (k, 5) of each frame."""
        ...


class Mtcnn:
    """MTCNN (Zhang et al. 2016, arXiv:1604.02878) with the weights of facenet-pytorch.

    It finds faces from 1/20 of the longer side of a frame, and in frames without one from 1/48.

    Args:
        model: None; the weights come with the package.
        device: torch's name of the device.

    Raises:
        UsageError: the package is not installed, or a file is given.
    """

    sizes = (480, 960)
    _SMALLEST: ClassVar = {480: 24, 960: 20}

    def __init__(self, model: Path | None, device: str) -> None:
        if model is not None:
            raise UsageError("face detector 'mtcnn' takes no file: its weights come with facenet-pytorch")
        try:
            import torch
            from facenet_pytorch import MTCNN

            packages = f"facenet-pytorch {metadata.version('facenet-pytorch')}, torch {torch.__version__}"
            self.version = f"{packages}, {torch.device(device).type}"
        except ImportError:
            raise UsageError(
                "face detector 'mtcnn' needs facenet-pytorch: pip install 'dfbench-deepfake[faces]', "
                "or choose another one (--faces yunet=FILE.onnx)"
            ) from None
        self._torch = torch
        self._network = MTCNN(keep_all=True, device=torch.device(device))
        for part in (self._network.pnet, self._network.rnet, self._network.onet):
            part.to(memory_format=torch.channels_last)

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """As in the module's docstring."""
        longer = max(frames.shape[1:3])
        self._network.min_face_size = min(self._SMALLEST.items(), key=lambda each: abs(each[0] - longer))[1]
        # With the colours apart in memory, pictures are reduced faster, to the same bits.
        planes = self._torch.from_numpy(np.array(frames.transpose(0, 3, 1, 2), order="C"))
        with self._torch.inference_mode():
            try:
                boxes, scores = self._network.detect(planes.permute(0, 2, 3, 1))
            except (RuntimeError, ValueError) as error:
                # facenet-pytorch joins a list that is empty where frames are tiny or no candidate lies inside.
                if "non-empty list" in str(error):
                    return [np.empty((0, 5))] * len(frames)
                raise
        return [
            np.empty((0, 5)) if found is None else np.column_stack([found, score]).astype(np.float64)
            for found, score in zip(boxes, scores, strict=True)
        ]


class YuNet:
    """YuNet (Wu et al. 2023) through OpenCV, with the user's copy of its file.

    Args:
        model: ``face_detection_yunet_2023mar.onnx`` of OpenCV's zoo.
        device: only ``cpu`` is used.

    Raises:
        UsageError: no file is given, or OpenCV cannot read it.
    """

    sizes = (640, 1280)

    def __init__(self, model: Path | None, device: str) -> None:
        import cv2

        if model is None:
            raise UsageError("face detector 'yunet' needs its file: --faces yunet=face_detection_yunet_2023mar.onnx")
        try:
            digest = hashlib.sha256(model.read_bytes()).hexdigest()
            self._network: Any = cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.7)
        except (OSError, cv2.error) as error:
            raise UsageError(
                f"face detector 'yunet': {model} cannot be read ({' '.join(str(error).split())})"
            ) from None
        self.version = f"opencv {cv2.__version__}, {digest[:16]}"

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """As in the module's docstring."""
        self._network.setInputSize((frames.shape[2], frames.shape[1]))
        found = (self._network.detect(np.ascontiguousarray(frame[:, :, ::-1]))[1] for frame in frames)
        return [np.empty((0, 5)) if faces is None else _corners(np.asarray(faces, np.float64)) for faces in found]


class Centre:
    """No detection: the largest square in the middle of every frame, for material that is cropped already."""

    sizes = (64,)
    version = "1"

    def __init__(self, model: Path | None, device: str) -> None:
        if model is not None:
            raise UsageError("face detector 'centre' takes no file")

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """As in the module's docstring."""
        _, height, width, _ = frames.shape
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return [np.array([[left, top, left + side, top + side, 1.0]])] * len(frames)


def find_faces(frames: list[Frame], width: int, height: int, detector: FaceDetector) -> list[np.ndarray]:
    """Boxes of the faces in some frames, found on reduced copies.

    Args:
        frames: all of one size.
        width: theirs, in pixels.
        height: theirs, in pixels.
        detector: the detector.

    Returns:
        for each frame float64 (k, 5): left, top, right, bottom in pixels of the whole frame, score.

    Raises:
        PluginError: the detector returned something else.
    """
    found = [np.empty((0, 5))] * len(frames)
    tried = 0
    for longer in detector.sizes:
        scale = min(1.0, longer / max(width, height))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        if max(size) == tried:
            break
        tried = max(size)
        left = [i for i, boxes in enumerate(found) if not len(boxes)]
        for start in range(0, len(left), BATCH):
            rows = left[start : start + BATCH]
            boxes = detector.detect(np.stack([frames[i].pixels(*size) for i in rows]))
            _check(boxes, len(rows), detector)
            for i, each in zip(rows, boxes, strict=True):
                found[i] = each * [width / size[0], height / size[1], width / size[0], height / size[1], 1]
    return found


def _check(boxes: list[np.ndarray], count: int, detector: FaceDetector) -> None:
    good = len(boxes) == count and all(isinstance(b, np.ndarray) and b.ndim == 2 and b.shape[1] == 5 for b in boxes)
    if not good or not all(np.isfinite(each).all() for each in boxes):
        raise PluginError(
            f"{type(detector).__name__}.detect returned something other than {count} finite arrays (k, 5)"
        )


def _corners(faces: np.ndarray) -> np.ndarray:
    left, top, width, height = faces[:, :4].T
    return np.column_stack([left, top, left + width, top + height, faces[:, -1]])


def split_choice(text: str) -> tuple[str, Path | None]:
    """``NAME`` or ``NAME=FILE`` as name and file.

    Raises:
        DataError: the file does not exist.
    """
    name, _, file = text.partition("=")
    if file and not Path(file).is_file():
        raise DataError(f"face detector {name!r}: there is no file {file}")
    return name, Path(file).resolve() if file else None
