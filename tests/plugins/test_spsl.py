"""SPSL: the phase image against numpy, what it does not see, and the network's four channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dfbench_spsl.detector import SPSL, SPSLConfig, phase_image

from dfbench import Task
from dfbench.testing import DetectorContract

SMALL = {"image_size": 71, "pretrained": False, "middle_blocks": 0}


class TestSPSL(DetectorContract):
    detector = "spsl"
    preset = "lite"
    settings = {**SMALL, "epochs": 1, "batch_size": 8}  # noqa: RUF012
    strategies = ("naive", "lwf")
    frames = 1


@pytest.mark.parametrize("shape", [(24, 24), (23, 30), (15, 15)])
def test_the_phase_image_is_the_inverse_transform_of_the_phases(shape: tuple[int, int]) -> None:
    pictures = torch.rand(3, 3, *shape) * 2 - 1
    expected = []
    for picture in pictures.double().numpy():  # one by one: no picture depends on another
        phases = np.angle(np.fft.fft2(picture.mean(0)))
        expected.append(np.fft.ifft2(np.exp(1j * phases)).real * np.sqrt(np.prod(shape)))
    found = phase_image(pictures)
    assert found.shape == (3, 1, *shape)
    assert found.dtype == torch.float32
    assert np.abs(found[:, 0].numpy() - np.stack(expected)).max() < 1e-3
    assert found.square().mean(dim=(1, 2, 3)).sqrt().numpy() == pytest.approx(1, abs=1e-4)


def test_it_sees_where_things_are_and_not_how_strong() -> None:
    """A gain changes nothing, a circular shift shifts it, and a single bright pixel is that pixel."""
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.allclose(phase_image(x), phase_image(0.3 * x), atol=1e-4)
    moved = phase_image(x.roll((5, 3), dims=(2, 3)))
    assert torch.allclose(moved, phase_image(x).roll((5, 3), dims=(2, 3)), atol=1e-4)
    point = torch.zeros(1, 3, 32, 32)
    point[..., 7, 9] = 1
    image = phase_image(point)
    assert float(image[0, 0, 7, 9]) == pytest.approx(32, rel=1e-4)
    assert float(image.abs().sum()) == pytest.approx(32, rel=1e-3)


def test_a_flat_picture_has_no_noise_blown_up_and_its_gradient_is_finite() -> None:
    flat = torch.full((1, 3, 64, 64), 0.3, requires_grad=True)
    image = phase_image(flat)
    assert (image - image.mean()).abs().max() < 0.1  # the phases of rounding errors would give about 1
    image.square().sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_the_transform_stays_in_float32_under_autocast() -> None:
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    outside = phase_image(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(phase_image(x), outside)
    assert torch.allclose(phase_image(x.bfloat16()), phase_image(x.bfloat16().float()))


def test_the_network_takes_four_channels_and_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    detector = SPSL(SPSLConfig(**SMALL), Task())
    model = detector.build()
    seen: list[torch.Tensor] = []
    first = model.get_submodule("body.conv1")
    first.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    x = torch.rand(4, 3, 71, 71) * 2 - 1
    logits = model(x)
    assert torch.equal(seen[0][:, :3], x)
    assert torch.equal(seen[0][:, 3:], phase_image(x))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert first.weight.grad is not None
    assert first.weight.grad[:, 3].abs().sum() > 0


def test_the_presets_differ_in_depth() -> None:
    blocks = {name: SPSLConfig(**preset).middle_blocks for name, preset in SPSL.presets.items()}
    assert blocks == {"paper": 0, "deepfakebench": 8, "lite": 0}
