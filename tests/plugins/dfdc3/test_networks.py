"""The three networks against the package whose networks the authors trained: ``efficientnet-pytorch`` 0.6.3."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dfbench_dfdc3.folding import folded
from dfbench_dfdc3.networks import Ensemble, TemporalExpansion, frame_network, over_time
from dfbench_dfdc3.snapshots import convert, load_converted, read_snapshot
from dfbench_imagenet import expansions
from torch import nn

from tests.conftest import dfbench

efficientnet = pytest.importorskip("efficientnet_pytorch", reason="pip install efficientnet-pytorch==0.6.3")

FRAMES = 7
SIZE = (224, 192)


class TheirExpansion(nn.Module):
    """The outside's convolution over time: a real Conv3d, its frames given by the clip's length."""

    def __init__(self, old: nn.Conv2d) -> None:
        super().__init__()
        self.conv = nn.Conv3d(old.in_channels, old.out_channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.conv.weight.data = (old.weight.data / 3).unsqueeze(2).repeat(1, 1, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        clips = x.unflatten(0, (-1, FRAMES)).transpose(1, 2)
        return self.conv(clips).transpose(1, 2).flatten(0, 1)


def outside(name: str, clips: bool, seed: int) -> nn.Module:
    """The outside network with random weights, its statistics too, so that nothing is at a neutral value."""
    torch.manual_seed(seed)
    network = efficientnet.EfficientNet.from_name(name, override_params={"num_classes": 1})
    if clips:
        for block in network._blocks:
            if block._block_args.expand_ratio != 1:
                block._expand_conv = TheirExpansion(block._expand_conv)
                block._expand_conv.conv.weight.data += 0.05 * torch.randn_like(block._expand_conv.conv.weight)
    return settled(network)


def settled(network: nn.Module) -> nn.Module:
    """With statistics of random pictures: with those of a fresh network the signal dies out on its way."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.weight.data.uniform_(0.8, 1.2)
        module.bias.data.normal_(0, 0.1)
        module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(2 * FRAMES, 3, *SIZE))
    return network.eval()


def snapshot(network: nn.Module, path: Path, half: bool = False) -> Path:
    """As the authors store it."""
    torch.save({k: v.half() if half and v.is_floating_point() else v for k, v in network.state_dict().items()}, path)
    return path


def compare(name: str, body: str, clips: bool, path: Path) -> tuple[float, int, int]:
    """(largest difference of the outputs, their parameters, ours)."""
    theirs = outside(name, clips, seed=3)
    ours = convert(read_snapshot(snapshot(theirs, path)), body, FRAMES if clips else None, str(path)).eval()
    x = torch.randn(2 * FRAMES, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, got = theirs(x), ours(x)
    assert expected.std() > 0.01  # where every output is the same, equality says nothing
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    return float((expected - got).abs().max()), count(theirs), count(ours)


@pytest.mark.parametrize("clips", [False, True], ids=["frames", "clips"])
def test_a_converted_snapshot_gives_the_outside_networks_outputs(clips: bool, tmp_path: Path) -> None:
    difference, theirs, ours = compare("efficientnet-b0", "tf_efficientnet_b0", clips, tmp_path / "s.pth")
    assert difference < 1e-4
    assert theirs == ours


@pytest.mark.slow
@pytest.mark.parametrize("clips", [False, True], ids=["frames", "clips"])
def test_b7_gives_the_outside_networks_outputs(clips: bool, tmp_path: Path) -> None:
    difference, theirs, ours = compare("efficientnet-b7", "tf_efficientnet_b7", clips, tmp_path / "s.pth")
    print(f"\nB7, {'clips' if clips else 'frames'}: largest difference {difference:.2e}, {ours:,} parameters")
    assert difference < 1e-4
    assert theirs == ours
    assert clips or ours == 63_789_521


def test_b7_has_51_expansions_of_55_blocks() -> None:
    with torch.device("meta"):
        network = frame_network("tf_efficientnet_b7")
    assert len(expansions(network)) == 51
    assert sum(len(stage) for stage in network.blocks) == 55


def test_the_convolution_over_time_starts_as_the_frame_network_on_a_still_clip() -> None:
    """Three taps of a third each: inside a clip of equal frames the output is that of the 2-D kernel."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 6, 1, bias=False)
    over = TemporalExpansion.inflate(convolution, FRAMES)
    assert over.weight.shape == (6, 4, 3, 1, 1)
    frame = torch.randn(1, 4, 5, 5)
    got = over(frame.repeat(FRAMES, 1, 1, 1))
    torch.testing.assert_close(got[1:-1], convolution(frame).expand(FRAMES - 2, -1, -1, -1))
    torch.testing.assert_close(got[0], convolution(frame)[0] * 2 / 3)  # zeros beyond the ends


def test_clips_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    network = settled(over_time(frame_network("tinynet_e"), FRAMES))
    a, b = torch.randn(2, FRAMES, 3, *SIZE)
    with torch.no_grad():
        together, alone = network(torch.cat([a, b])), network(a)
        order = torch.tensor([3, 0, 5, 1, 6, 2, 4])
        shuffled = network(a[order])
    torch.testing.assert_close(together[:FRAMES], alone, rtol=1e-4, atol=1e-5)
    assert (shuffled - alone[order]).abs().max() > 1e-3  # but frames see their neighbours


def test_the_converted_ensemble_keeps_each_networks_probabilities(tmp_path: Path) -> None:
    networks = [outside("efficientnet-b0", clips, seed) for seed, clips in enumerate([False, False, True])]
    files = [snapshot(network, tmp_path / f"{i}.pth", half=True) for i, network in enumerate(networks)]
    done = dfbench("dfdc3", "convert", *files, "--to", tmp_path / "x.safetensors", "--body", "tf_efficientnet_b0")
    assert done.code == 0, done.err
    fresh = [frame_network("tf_efficientnet_b0") for _ in range(3)]
    model = Ensemble(fresh[0], fresh[1], over_time(fresh[2], FRAMES), (1, 1, FRAMES)).eval()
    assert load_converted(model, tmp_path / "x.safetensors") in done.out
    x = torch.randn(1, 2 + FRAMES, 3, *SIZE)
    with torch.no_grad():
        fake = torch.softmax(model(x), 1)[:, 1]
        theirs = torch.cat([networks[0](x[0, :1]), networks[1](x[0, 1:2]), networks[2](x[0, 2:])]).sigmoid()[:, 0]
    torch.testing.assert_close(fake, theirs, rtol=0, atol=2e-3)  # fp16 in the file


@pytest.mark.parametrize("body", ["tf_efficientnet_lite0", "tf_efficientnet_b0"])
def test_folded_networks_predict_the_same(body: str) -> None:
    """Also C, whose convolution over time gets a bias; the network itself stays as it is."""
    torch.manual_seed(0)
    networks = [settled(frame_network(body)), settled(frame_network(body)), settled(over_time(frame_network(body), 7))]
    model = Ensemble(*networks, counts=(1, 1, FRAMES)).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(2, 2 + FRAMES, 3, 112, 96)
    with torch.no_grad():
        plain, fast = (torch.softmax(network(x), dim=1) for network in (model, folded(model)))
    assert plain.std() > 0.01
    torch.testing.assert_close(fast, plain, rtol=0, atol=2e-6)
    assert not [m for m in folded(model).modules() if isinstance(m, nn.BatchNorm2d)]
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
