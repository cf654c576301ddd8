"""SRM: the residuals against numpy and scipy, the attention, the loss, and that all parts are trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from dfbench_srm.detector import SRM, SRMConfig
from dfbench_srm.networks import CrossAttention, FeatureResiduals, Fusion, ResidualAttention, Residuals, srm_kernels
from scipy.signal import correlate2d
from torch import nn

from dfbench import Batch, Task
from tests.cli.harness import run_cli, the_error

SMALL = {"image_size": 71, "pretrained": False, "middle_blocks": 0}
SQUARE = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]
"""The published 5×5 filter, times 12."""


def test_the_kernels_are_the_published_ones() -> None:
    square_3, square_5, second = srm_kernels()
    assert torch.equal(square_5, torch.tensor(SQUARE) / 12)
    assert (square_3 * 4)[1:4, 1:4].tolist() == [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]
    assert (second * 2)[2].tolist() == [0, 1, -2, 1, 0]
    assert int((square_3 != 0).sum()) == 9
    assert int((second != 0).sum()) == 3


def test_residuals_are_the_correlation_of_the_sum_of_colours_cut_at_three() -> None:
    x = torch.rand(2, 3, 20, 20) * 2 - 1
    x[0] *= 5
    found = Residuals()(x).numpy()
    for i in range(2):
        for j, kernel in enumerate(srm_kernels().numpy()):
            expected = np.clip(correlate2d(x[i].sum(0).numpy(), kernel, mode="same"), -3, 3)
            assert np.abs(found[i, j] - expected).max() < 1e-5
    assert np.abs(found).max() == 3


def test_smooth_colour_leaves_no_residual() -> None:
    """What the method is for: a flat or evenly rising picture is removed, a single odd pixel stays."""
    ramp = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    inside = Residuals()(ramp)[..., 3:-3, 3:-3]
    assert inside.abs().max() < 1e-5
    odd = ramp.clone()
    odd[..., 16, 16] += 0.2
    assert (Residuals()(odd)[..., 16, 16] + 0.6).abs().max() < 1e-5  # all filters have −1 in the middle


def test_residuals_of_features_are_three_of_each_channel() -> None:
    module = FeatureResiduals(4)
    x = torch.rand(1, 4, 12, 12)
    seen: list[torch.Tensor] = []
    module.merge.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert module(x).shape == x.shape
    for channel in range(4):
        for j, kernel in enumerate(srm_kernels().numpy()):
            expected = correlate2d(x[0, channel].numpy(), kernel, mode="same")
            assert np.abs(seen[0][0, 3 * channel + j].numpy() - expected).max() < 1e-5


def test_residuals_stay_in_float32_under_autocast() -> None:
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    outside = Residuals()(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Residuals()(x), outside)


def test_attention_looks_where_residuals_are_and_fits_the_second_convolution() -> None:
    torch.manual_seed(0)
    module = ResidualAttention().eval()
    x = torch.zeros(1, 3, 71, 71)
    x[..., 40:50, 40:50] = torch.randn(3, 10, 10)
    weights = module(x)
    assert weights.shape == (1, 1, 33, 33)
    assert weights.min() > 0
    assert weights.max() < 1
    changed = (weights - module(torch.zeros_like(x))).abs()[0, 0]
    assert changed[:12].max() < 1e-6
    assert changed[20:24, 20:24].max() > 1e-3


def test_cross_attention_begins_as_nothing_and_is_the_formula() -> None:
    torch.manual_seed(0)
    block = CrossAttention(16, 3)
    x, y = torch.rand(2, 16, 3, 3), torch.rand(2, 16, 3, 3)
    assert all(torch.equal(a, b) for a, b in zip(block(x, y), (x, y), strict=True))
    with torch.no_grad():
        block.weight.copy_(torch.tensor([0.5, 2.0]))
    keys = [block.shared(key(z)).flatten(2) for key, z in zip(block.key, (x, y), strict=True)]
    affinity = torch.einsum("ncp,ncq->npq", *keys)
    scores = affinity @ block.positions[0].weight.T + block.positions[0].bias
    attention = scores.exp() / scores.exp().sum(2, keepdim=True)
    expected = torch.einsum("npq,ncq->ncp", attention, block.value[0](y).flatten(2))
    assert torch.allclose(block(x, y)[0], x + 0.5 * expected.view_as(x), atol=1e-5)
    back = torch.softmax(affinity.transpose(1, 2) @ block.positions[1].weight.T + block.positions[1].bias, 2)
    expected = torch.einsum("nqp,ncp->ncq", back, block.value[1](x).flatten(2))
    assert torch.allclose(block(x, y)[1], y + 2 * expected.view_as(y), atol=1e-5)


def test_fusion_weights_channels_by_their_mean_and_largest_value() -> None:
    module = Fusion(32).eval()
    x, y = torch.rand(2, 32, 4, 4), torch.rand(2, 32, 4, 4)
    joined = module.join(torch.cat([x, y], 1))
    weight = torch.sigmoid(module.scale(joined.mean((2, 3))) + module.scale(joined.flatten(2).max(2).values))
    assert torch.allclose(module(x, y), (joined * weight[..., None, None]).mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("side", [71, 86])
def test_every_parameter_gets_a_gradient_and_both_streams_matter(side: int) -> None:
    torch.manual_seed(0)
    model = SRM(SRMConfig(**{**SMALL, "image_size": side}), Task()).build()
    with torch.no_grad():  # at 0 what is weighted gets no gradient
        model.get_parameter("cross_3.weight").fill_(0.1)
        model.get_parameter("cross_7.weight").fill_(0.1)
    inputs = {}
    for name in ("rgb.conv1", "noise.conv1"):
        model.get_submodule(name).register_forward_pre_hook(lambda _, given, n=name: inputs.update({n: given[0]}))
    x = torch.rand(4, 3, side, side) * 2 - 1
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=side == 86):
        logits = model(x)
    nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 0, 1])).backward()
    assert torch.equal(inputs["rgb.conv1"], x)
    assert torch.equal(inputs["noise.conv1"], Residuals()(x))
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert [name for name in model.state_dict() if "kernels" in name] == []


def test_the_loss_has_the_margin_at_the_label_alone() -> None:
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.2, 0.1], [0.3, 0.5]])

    zeros = torch.zeros(2, dtype=torch.int64)
    batch = Batch(torch.zeros(2, 71, 71, 3, dtype=torch.uint8), torch.tensor([0, 1]), zeros, zeros)
    both = [math.log(1 + math.exp(30 * (0.1 - (0.2 - 0.45)))), math.log(1 + math.exp(30 * (0.3 - (0.5 - 0.45))))]
    found = SRM(SRMConfig(**SMALL), Task()).loss(Fixed().eval(), batch)
    assert float(found) == pytest.approx(sum(both) / 2, rel=1e-5)
    plain = SRM(SRMConfig(**SMALL, loss="cross_entropy"), Task()).loss(Fixed().eval(), batch)
    assert float(plain) == pytest.approx((math.log(1 + math.exp(-0.1)) + math.log(1 + math.exp(-0.2))) / 2, rel=1e-5)


def test_wrong_settings_are_one_line(tiny_stream, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["eval", "-d", "srm", "-s", "naive", "-b", tiny_stream, "--out", tmp_path, "--set"]
    assert "image_size" in the_error(run_cli(capsys, *args, "image_size=64"), 2)
