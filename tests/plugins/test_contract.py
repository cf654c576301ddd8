"""Every first-party detector keeps the contract; ``-m slow`` has the larger ones, and all strategies."""

from __future__ import annotations

from typing import ClassVar

import pytest

from dfbench.testing import DetectorContract

OUTPUTS = ("der", "dfil", "cored", "hdp", "sur_lid", "slda", "ranpac", "slca")
"""Strategies that keep outputs of single units."""


class TestSimpleCNN(DetectorContract):
    detector = "simple_cnn"
    settings: ClassVar = {"epochs": 1}
    strategies: ClassVar = ("naive", "replay", "gem", "lwf", "cwr_star", "dfil")


@pytest.mark.slow
class TestSimpleCNNUnderAll(TestSimpleCNN):
    strategies = None


@pytest.mark.slow
class TestXception(DetectorContract):
    detector = "xception"
    preset = "lite"
    settings: ClassVar = {"pretrained": False, "image_size": 71, "middle_blocks": 0, "epochs": 1}
    frames = 2


@pytest.mark.slow
class TestF3Net(DetectorContract):
    detector = "f3net"
    preset = "lite"
    settings: ClassVar = {"pretrained": False, "image_size": 71, "middle_blocks": 0, "epochs": 1}
    frames = 1


@pytest.mark.slow
class TestSRM(TestF3Net):
    detector = "srm"


@pytest.mark.slow
class TestClipVit(DetectorContract):
    detector = "clip_vit"
    settings: ClassVar = {"pretrained": False, "image_size": 32, "depth": 1, "epochs": 2, "lr": 3e-3, "flip": 0}
    strategies: ClassVar = ("naive", "replay", "gem", "lwf", "ranpac", "sprompts", "o_lora", "slca")


@pytest.mark.slow
class TestDFDC3(DetectorContract):
    detector = "dfdc3"
    preset = "lite"
    settings: ClassVar = {"steps": 12}
    refused: ClassVar = OUTPUTS
    pairs, frames, size = 4, 16, 96


@pytest.mark.slow
class TestSBI(DetectorContract):
    detector = "sbi"
    settings: ClassVar = {"pretrained": False, "body": "tf_efficientnet_lite0", "image_size": 96, "epochs": 1}
    refused: ClassVar = OUTPUTS
    rounds = 0  # it makes its fakes itself
    frames = 1


@pytest.mark.slow
class TestEffort(DetectorContract):
    detector = "effort"
    preset = "lite"
    settings: ClassVar = {
        **{"tower": "test_vit", "pretrained": False, "image_size": 32, "depth": 2, "rank": 4},
        **{"epochs": 4, "batch_size": 8, "lr": 1e-2, "flip": 0, "weight_decay": 0},
    }
    refused: ClassVar = ("o_lora",)  # its matrices go beside plain linear layers


@pytest.mark.slow
class TestTall(DetectorContract):
    detector = "tall"
    preset = "lite"
    settings: ClassVar = {
        **{"network": "test_resnet", "pretrained": False, "image_size": 32, "mask": 4},
        **{"epochs": 3, "batch_size": 8, "lr": 3e-3},
    }
    refused: ClassVar = ("o_lora", "sprompts")  # they need a vision transformer
    frames = 8
