"""The detector ``timm``: timm's own network, its own mean, deviation and size, its own head."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from dfbench_timm.detector import Timm, TimmConfig
from torch import nn

from dfbench import Batch, Task
from dfbench.testing import DetectorContract
from tests.cli.harness import run_cli, the_error

SMALL: dict[str, Any] = {"pretrained": False, "image_size": 32, "batch_size": 8, "lr": 3e-3, "epochs": 3}


class TestAResNet(DetectorContract):
    detector = "timm"
    settings = {"network": "test_resnet", **SMALL}  # noqa: RUF012
    strategies = ("naive", "gem", "lwf", "cwr_star")


class TestAVisionTransformer(DetectorContract):
    detector = "timm"
    settings = {"network": "test_vit", **SMALL, "drop_path": 0.1}  # noqa: RUF012
    strategies = ("naive", "cwr_star")


def made(network: str, **options: Any) -> tuple[Timm, nn.Module]:
    detector = Timm(TimmConfig(network=network, pretrained=False, **options), Task())
    torch.manual_seed(0)
    return detector, detector.build().eval()


@pytest.mark.parametrize(
    "network", ["resnet18", "test_vit", "test_convnext", "mobilenetv3_small_050", "efficientnet_b0"]
)
def test_it_is_timms_network_with_timms_normalisation(network: str) -> None:
    detector, model = made(network, image_size=64)
    own = {"img_size": 64} if network == "test_vit" else {}
    theirs = timm.create_model(network, num_classes=2, **own).eval()
    theirs.load_state_dict(model.state_dict())
    cfg = theirs.pretrained_cfg
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    zeros = torch.zeros(3, dtype=torch.int64)
    x = (pixels.movedim(-1, 1) / 255 - torch.tensor(cfg["mean"]).view(3, 1, 1)) / torch.tensor(cfg["std"]).view(3, 1, 1)
    with torch.no_grad():
        found = detector.predict(model, Batch(pixels, zeros, zeros, zeros))
        assert (found - theirs(x).softmax(1)).abs().max() < 1e-5
    assert detector.head == cfg["classifier"]
    head = model.get_submodule(detector.head)
    assert isinstance(head, nn.Linear)
    assert head.out_features == 2


def test_the_size_is_the_networks_own_unless_given() -> None:
    assert made("resnet18")[0].image_size == (224, 224)
    assert made("test_vit", image_size=96)[0].image_size == (96, 96)
    assert Timm(TimmConfig(**Timm.presets["efficientnet_b4"]), Task()).image_size == (256, 256)


def test_the_final_layer_starts_small() -> None:
    """timm draws that of an EfficientNet between ±1/√outputs, ±.7 for two classes."""
    head = made("efficientnet_b0")[1].get_submodule("classifier")
    assert float(head.weight.abs().max()) <= head.in_features**-0.5


def test_lite_starts_from_weights_that_a_package_has() -> None:
    detector = Timm(TimmConfig(**Timm.presets["lite"]), Task())
    model = detector.build()
    assert detector.facts["pretrained"] is True
    assert "579344248a93e230" in detector.facts["imagenet"]
    torch.manual_seed(0)
    other = made("tf_efficientnet_lite0")[1]
    assert not torch.equal(model.state_dict()["conv_stem.weight"], other.state_dict()["conv_stem.weight"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("network=resnet81", "has no network 'resnet81'; did you mean resnet18"),
        ("network=qqqqqq", "has no network 'qqqqqq'; python -c 'import timm"),
    ],
)
def test_a_network_that_timm_lacks_is_one_line(
    setting: str, said: str, tiny_stream, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["eval", "-d", "timm", "-s", "naive", "-b", tiny_stream, "--out", tmp_path, "--set", setting]
    assert said in the_error(run_cli(capsys, *args), 2)


def test_what_a_network_does_not_take_is_one_line(tiny_stream, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["eval", "-d", "timm", "-s", "naive", "-b", tiny_stream, "--out", tmp_path, "--device", "cpu"]
    options = ["--set", "network=vgg11", "--set", "pretrained=false", "--set", "drop_path=0.1"]
    error = the_error(run_cli(capsys, *args, *options), 2)
    assert error.startswith("timm cannot make vgg11 with num_classes=2, drop_path_rate=0.1: ")
