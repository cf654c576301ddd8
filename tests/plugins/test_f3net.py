"""F3-Net: both transforms against scipy, the bands, the mixing, and the channels of the two streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dfbench_f3net.detector import F3Net, F3NetConfig
from dfbench_f3net.networks import MixBlock
from dfbench_f3net.transforms import Decomposition, LocalStatistics, band, dct_matrix
from scipy.fft import dctn, idctn

from dfbench import Task
from dfbench.testing import DetectorContract

SMALL = {"image_size": 71, "pretrained": False, "middle_blocks": 0}


class TestBandsAlone(DetectorContract):
    """Both streams: tests/plugins/test_contract.py, ``-m slow``."""

    detector = "f3net"
    preset = "lite"
    settings = {**SMALL, "streams": "bands", "epochs": 1, "batch_size": 8}  # noqa: RUF012
    strategies = ("lwf",)
    frames = 1


def cosine(side: int, u: int, v: int) -> torch.Tensor:
    """The picture of one coefficient, (1, 3, side, side), amplitude 1."""
    at = np.arange(side) + 0.5
    picture = np.cos(np.pi * u * at / side)[:, None] * np.cos(np.pi * v * at / side)
    return torch.tensor(picture, dtype=torch.float32).expand(1, 3, side, side)


@pytest.mark.parametrize("side", [8, 10, 71])
def test_the_matrix_is_the_orthonormal_dct(side: int) -> None:
    x, d = torch.rand(side, side), dct_matrix(side)
    assert np.abs((d @ x @ d.T).numpy() - dctn(x.double().numpy(), norm="ortho")).max() < 1e-5
    assert torch.allclose(d.T @ (d @ x @ d.T) @ d, x, atol=1e-5)


def test_the_base_bands_cover_the_spectrum_once_in_the_papers_shares() -> None:
    """The first sixteenth, up to an eighth, and the last seven eighths."""
    low, middle, high, everything = Decomposition(256).filters.base
    assert torch.equal(low + middle + high, everything)
    assert everything.min() == 1
    shares = [float(x.mean()) for x in (low, middle, high)]
    assert shares == pytest.approx([1 / 16, 1 / 16, 7 / 8], abs=2e-3)
    six = LocalStatistics().filters.base
    assert torch.equal(six.sum(0), torch.ones(10, 10))
    assert [int((part.nonzero().sum(1)).min()) for part in six] == [0, 4, 7, 10, 14, 17]


def test_the_bands_sum_to_the_picture_and_a_cosine_is_in_its_own() -> None:
    module = Decomposition(64)
    torch.nn.init.zeros_(module.filters.learned)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    low, middle, high, everything = module(x).detach().unflatten(1, (4, 3)).unbind(1)
    assert torch.allclose(low + middle + high, x, atol=1e-5)
    assert torch.allclose(everything, x, atol=1e-5)
    for (u, v), home in {(5, 9): 0, (11, 14): 1, (28, 3): 1, (20, 20): 2, (63, 63): 2}.items():
        given = cosine(64, u, v)
        parts = module(given).detach().unflatten(1, (4, 3))[0]
        assert torch.allclose(parts[home], given[0], atol=1e-4)
        assert all(parts[other].abs().max() < 1e-4 for other in range(3) if other != home)


def test_learned_filters_are_the_formula_and_stay_within_one_of_their_base() -> None:
    """y = D⁻¹(D(x) ⊙ (base + σ(w))), σ(w) = (1 − e⁻ʷ) / (1 + e⁻ʷ), against scipy."""
    torch.manual_seed(0)
    module = Decomposition(20)
    with torch.no_grad():
        module.filters.learned.mul_(30)
    x = torch.rand(1, 3, 20, 20) * 2 - 1
    w = module.filters.learned.detach().double().numpy()
    filters = module.filters.base.numpy() + (1 - np.exp(-w)) / (1 + np.exp(-w))
    spectrum = dctn(x[0].double().numpy(), axes=(1, 2), norm="ortho")
    expected = np.concatenate([idctn(spectrum * f, axes=(1, 2), norm="ortho") for f in filters])
    assert np.abs(module(x).detach()[0].numpy() - expected).max() < 1e-5
    assert (module.filters() - module.filters.base).abs().max() <= 1


@pytest.mark.parametrize("side", [31, 32])
def test_local_statistics_are_those_of_each_window(side: int) -> None:
    """Window by window with scipy, where no padding is touched."""
    torch.manual_seed(1)
    module = LocalStatistics()
    x = torch.rand(2, 3, side, side) * 2 - 1
    found = module(x).detach().numpy()
    size = (side - 3) // 2 + 1
    assert found.shape == (2, 6, size, size)
    luma = ((x.double() + 1) * 127.5 * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1).numpy()
    filters = np.abs(module.filters().detach().double().numpy())
    for row, column in [(2, 2), (2, 7), (9, 4)]:  # the first pixel of window i is 2 i − 3
        top, left = 2 * row - 3, 2 * column - 3
        window = np.abs(dctn(luma[:, top : top + 10, left : left + 10], axes=(1, 2), norm="ortho"))
        expected = np.log10(1 + (window[:, None] * filters).sum((2, 3)))
        assert np.abs(found[:, :, row, column] - expected).max() < 1e-4


def test_a_local_cosine_is_in_its_band_and_the_picture_of_windows_has_the_papers_size() -> None:
    module = LocalStatistics()
    torch.nn.init.zeros_(module.filters.learned)
    x = cosine(10, 3, 5).tile(1, 1, 4, 4).roll((7, 7), dims=(2, 3))  # window 5 starts at pixel 7, as a tile does
    energies = module(x)[0, :, 5, 5].detach()
    assert int(energies[1:].argmax()) + 1 == 2  # u + v = 8; band 0 has the mean
    assert float(energies[2]) == pytest.approx(np.log10(1 + 127.5 * 5), abs=1e-3)
    assert energies[[1, 3, 4, 5]].max() < 0.05
    assert module(torch.zeros(1, 3, 299, 299)).shape == (1, 6, 149, 149)


def test_transforms_stay_in_float32_under_autocast() -> None:
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    for module in (Decomposition(32), LocalStatistics()):
        outside = module(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(module(x), outside)


def test_mixing_begins_as_nothing_and_then_each_stream_sees_the_other() -> None:
    torch.manual_seed(0)
    block = MixBlock(4).eval()
    a, b = torch.rand(2, 4, 5, 5), torch.rand(2, 4, 5, 5)
    assert all(torch.equal(x, y) for x, y in zip(block(a, b), (a, b), strict=True))
    with torch.no_grad():
        block.weight.fill_(0.5)
    mixed = block(a, b)
    other = block(a, b.flip(1))
    assert not torch.allclose(mixed[0], other[0])
    energy = torch.zeros(2, 4, 5, 5)
    for i, x in enumerate((a, b)):
        energy += torch.einsum("ncij,nckj->ncik", block.query[i](x), block.key[i](x))
    weights = energy.exp() / energy.exp().sum(-1, keepdim=True)
    assert torch.allclose(mixed[1], b + 0.5 * block.into[1](a * weights), atol=1e-5)


@pytest.mark.parametrize("side", [71, 86])
def test_both_streams_have_their_channels_and_every_parameter_gets_a_gradient(side: int) -> None:
    """86: where the two streams would differ in size if windows were not placed as the convolution is."""
    torch.manual_seed(0)
    detector = F3Net(F3NetConfig(**{**SMALL, "image_size": side, "dropout": 0}), Task())
    model = detector.build()
    shapes: list[torch.Size] = []
    for name in ("bands.conv1", "local.conv1", "local.bn1", "bands.bn1"):
        model.get_submodule(name).register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape[1:]))
    with torch.no_grad():
        model.get_parameter("mix_7.weight").fill_(0.1)  # at 0 what is weighted gets no gradient
        model.get_parameter("mix_12.weight").fill_(0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=side == 86):
        logits = model(torch.rand(4, 3, side, side) * 2 - 1).float()
    half = (side - 3) // 2 + 1
    assert sorted(map(tuple, shapes)) == sorted([(12, side, side), (6, half, half), (32, half, half), (32, half, half)])
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert model.get_submodule("head").in_features == 4096


def test_constants_are_in_no_checkpoint_and_bands_of_a_band_are_it() -> None:
    model = F3Net(F3NetConfig(**SMALL, streams="bands"), Task()).build()
    assert [name for name in model.state_dict() if "dct" in name or "base" in name] == []
    assert {"decomposition.dct", "decomposition.filters.base"} <= {name for name, _ in model.named_buffers()}
    assert band(4, 1, 3).tolist() == [[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
