"""simple_cnn takes pictures of every size."""

from __future__ import annotations

import pytest
import torch

from dfbench.plugins import registry
from dfbench.training.detector import Task


@pytest.mark.parametrize(
    ("native", "wanted"),
    [((17, 33), (18, 34)), ((15, 15), (16, 16)), ((1, 128), (16, 128)), ((64, 48), None), ((129, 9), (128, 128))],
)
def test_simple_cnn_takes_pictures_of_every_size(native: tuple[int, int], wanted: tuple[int, int] | None) -> None:
    kind = registry().detectors.load("simple_cnn")
    detector = kind(kind.Config(), Task(classes=("real", "fake"), native_size=native, experiences=1))
    assert detector.image_size == wanted
    assert detector.build().eval()(torch.zeros(1, 3, *(wanted or native))).shape == (1, 2)
