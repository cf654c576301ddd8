"""MesoNet: the paper's networks, its loss, its schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dfbench_mesonet.detector import MesoNet, MesoNetConfig
from dfbench_mesonet.networks import Inception, Meso

from dfbench import Batch, Task, UsageError
from dfbench.testing import DetectorContract
from tests.cli.harness import run_cli, the_error


class TestMeso4(DetectorContract):
    detector = "mesonet"
    preset = "lite"
    settings = {"network": "meso4", "image_size": 32, "batch_size": 8}  # noqa: RUF012
    strategies = ("naive", "gem", "lwf", "cwr_star")


class TestMesoInception4AsInThePaper(DetectorContract):
    detector = "mesonet"
    settings = {"image_size": 32, "batch_size": 8, "epochs": 6}  # noqa: RUF012
    strategies = ("naive",)


def batch(side: int, count: int = 4) -> Batch:
    zeros = torch.zeros(count, dtype=torch.int64)
    pixels = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8)
    return Batch(pixels, torch.arange(count) % 2, zeros, zeros)


@pytest.mark.parametrize(("inception", "published"), [(False, 27_977), (True, 28_615)])
def test_the_networks_have_the_papers_number_of_parameters(inception: bool, published: int) -> None:
    """Afchar et al. 2018, section III: 27 977 and 28 615 at 256 pixels."""
    network = Meso(inception, 256)
    assert sum(p.numel() for p in network.parameters()) == published
    assert network(torch.rand(2, 3, 256, 256)).shape == (2, 1)
    assert network.features(torch.rand(1, 3, 256, 256)).shape == (1, 1024)


def test_branches_see_as_far_as_their_dilation() -> None:
    """A single pixel reaches 0, 1, 2 and 3 pixels."""
    module = Inception(1, (1, 1, 1, 1))
    with torch.no_grad():
        for p in module.parameters():
            p.fill_(1.0 if p.dim() > 1 else 0.0)
    x = torch.zeros(1, 1, 15, 15)
    x[0, 0, 7, 7] = 1
    reach = [int((channel[7] != 0).nonzero().max()) - 7 for channel in module(x)[0].detach()]
    assert reach == [0, 1, 2, 3]


def test_the_lifted_network_predicts_what_the_one_logit_does_and_the_loss_is_the_squared_error() -> None:
    torch.manual_seed(0)
    detector = MesoNet(MesoNetConfig(image_size=64), Task())
    torch.manual_seed(1)
    model = detector.build().eval()
    torch.manual_seed(1)
    plain = Meso(True, 64).eval()
    given = batch(64)
    with torch.no_grad():
        p = torch.sigmoid(plain(given.pixels.movedim(-1, 1) / 255))[:, 0]
        assert (detector.predict(model, given)[:, 1] - p).abs().max() < 1e-6
        assert float(detector.loss(model, given)) == pytest.approx(float(((p - given.labels) ** 2).mean()), rel=1e-4)


def test_the_rate_falls_to_a_tenth_after_each_thousand_steps_and_no_further() -> None:
    rates: list[float] = []

    class FakeLoop:
        """Takes what the loop would."""

        model = MesoNet(MesoNetConfig(image_size=32), Task()).build()
        batches_per_epoch = 1

        def optimize(self, optimizer: Any, schedulers: Any) -> None:
            optimizer.step()
            for _ in range(4500):
                rates.append(optimizer.param_groups[0]["lr"])
                schedulers[0].step()

        def epochs(self, count: int) -> range:
            return range(0)

    MesoNet(MesoNetConfig(image_size=32), Task()).train(FakeLoop())  # type: ignore[arg-type]
    assert [rates[i] for i in (0, 999, 1000, 2000, 3000, 4400)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-6])


def test_augmentation_is_for_training_alone_and_stays_a_picture() -> None:
    detector = MesoNet(MesoNetConfig(image_size=64), Task())
    given = batch(64)
    plain, changed = detector.inputs(given, False), detector.inputs(given, True)
    assert torch.allclose(plain, given.pixels.movedim(-1, 1) / 255)
    assert changed.shape == plain.shape
    assert (changed != plain).any(dim=(1, 2, 3)).all()
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_wrong_settings_are_one_line(tiny_stream, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["eval", "-d", "mesonet", "-s", "naive", "-b", tiny_stream, "--out", tmp_path, "--set"]
    assert "must be a multiple of 32" in the_error(run_cli(capsys, *args, "image_size=100"), 2)
    with pytest.raises(UsageError, match="mesonet has one output; this stream has 3 classes"):
        MesoNet(MesoNetConfig(), Task(classes=("a", "b", "c"))).build()
