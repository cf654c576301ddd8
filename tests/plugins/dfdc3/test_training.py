"""DFDC_3's training procedure, part by part: each test fails without its part."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dfbench_dfdc3.detector import DFDC3, DFDC3Config
from dfbench_dfdc3.networks import Ensemble, frame_network, over_time
from dfbench_dfdc3.views import MEAN, STD
from torch import nn

from dfbench import Task, lift_one_logit
from dfbench.data.loader import Batch, UnitLoader
from dfbench.data.units import Units
from dfbench.errors import DataError, UsageError
from dfbench.plugins import registry
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.training.dataset import experiences_of, unit_dataset
from dfbench.training.template import LoopTemplate
from tests.conftest import dfbench
from tests.training.harness import ArrayPixels

SMALL = {
    "body": "tinynet_e", "pretrained": False, "height": 32, "width": 32, "frames": 2, "clip_length": 8,
    "batch_size": 2, "steps": 10, "warm_up": 3, "lr": 0.01, "dropout": 0.0, "drop_path": 0.0,
    "fps": 15,
}  # fmt: skip


def detector(**options: Any) -> DFDC3:
    return DFDC3(DFDC3Config.model_validate({**SMALL, **options}), Task(native_size=(32, 32)))


def batch(count: int = 4, frames: int = 11) -> Batch:
    """Pairs of which the real is black and the fake is white."""
    pixels = torch.zeros(count, 2, frames, 32, 32, 3, dtype=torch.uint8)
    pixels[:, 1] = 255
    return Batch(pixels, torch.tensor([[0, 1]]).repeat(count, 1), torch.arange(count), torch.zeros(count))


def test_mixing_is_beta_an_image_for_a_and_b_and_a_clip_for_c() -> None:
    torch.manual_seed(0)
    it = detector()
    x, share = it.mix(batch(600))
    assert share.shape == (600, 11)
    drawn = share[:, :5]
    # Beta(½, ½): mean ½, variance 1/8, and P(t < x) = 2/π·asin √x, so a fifth lies below .0955.
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.var().item() == pytest.approx(0.125, abs=0.006)
    assert (drawn < 0.0955).float().mean().item() == pytest.approx(0.2, abs=0.02)
    correlation = np.corrcoef(drawn.T.numpy())
    assert np.abs(correlation - np.eye(5)).max() < 0.15  # every image of A and B has a draw of its own
    assert (share[:, 4:] == share[:, 4:5]).all()  # and every clip of C one
    black, white = (0 - 0.485) / 0.229, (1 - 0.485) / 0.229
    torch.testing.assert_close(x[:, :, 0].mean((-1, -2)), black + share * (white - black), rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_binary_cross_entropy_of_each_network_with_the_soft_label() -> None:
    it = detector(erase=0.0)
    torch.manual_seed(1)
    model = it.build().eval()
    data = batch(3)
    torch.manual_seed(5)
    x, share = it.mix(data)
    z = torch.cat([model.a(x[:, :2].flatten(0, 1)), model.b(x[:, 2:4].flatten(0, 1)), model.c(x[:, 4:].flatten(0, 1))])
    z = z[:, 1] - z[:, 0]
    targets = [share[:, :2].flatten(), share[:, 2:4].flatten(), share[:, 4:].flatten()]
    expected = sum(
        F.binary_cross_entropy_with_logits(part, t) for part, t in zip(z.split([6, 6, 21]), targets, strict=True)
    )
    torch.manual_seed(5)
    torch.testing.assert_close(it.loss(model, data), expected)


def test_a_batch_of_one_pair_has_a_loss() -> None:
    it = detector(erase=1.0)
    assert torch.isfinite(it.loss(it.build().train(), batch(1)))


def test_erasing_is_for_network_b_in_training_alone() -> None:
    it = detector(erase=1.0)
    seen: list[torch.Tensor] = []

    class Spy(Ensemble):
        def forward(self, x: torch.Tensor, counts: Any = None) -> torch.Tensor:
            seen.append(x.clone())
            return super().forward(x, counts)

    networks = [frame_network("tinynet_e") for _ in range(3)]
    model = Spy(networks[0], networks[1], over_time(networks[2], 7), (2, 2, 7))
    levels = torch.tensor([(0 - m) / s for m, s in zip(MEAN, STD, strict=True)])
    span = torch.tensor([1 / s for s in STD])
    for training in (True, False):
        torch.manual_seed(4)
        it.loss(model.train(training), batch())
        # Of a black and a white picture, what is mixed is one grey level: noise is where it is not.
        x = (seen.pop() - levels[:, None, None]) / span[:, None, None]
        changed = (x - x.flatten(3).median(dim=3).values[..., None, None]).abs().flatten(3).amax((2, 3)) > 1e-3
        assert changed[:, 2:4].any() == training
        assert not changed[:, :2].any()
        assert not changed[:, 4:].any()


def test_real_and_fake_are_erased_in_one_place_with_two_noises_before_they_are_mixed() -> None:
    """So the mixture's noise has a deviation of √((1 − t)² + t²), not of 1."""
    it = detector(erase=1.0, height=64, width=64)
    torch.manual_seed(0)
    pairs = torch.full((40, 2, 11, 64, 64, 3), 128, dtype=torch.uint8)
    x, share = it.mix(Batch(pairs, torch.zeros(40), torch.arange(40), torch.zeros(40)), training=True)
    grey = torch.tensor([(128 / 255 - m) / s for m, s in zip(MEAN, STD, strict=True)])
    ratios, shares = [], []
    for pair in range(40):
        for frame in (2, 3):
            t, picture = float(share[pair, frame]), x[pair, frame]
            noise = picture[:, ((picture - grey[:, None, None]).abs() > 1e-4).any(0)]
            assert 0.01 * 64 * 64 < noise.shape[1] < 0.4 * 64 * 64  # one box: 2 to 33 % of the picture
            ratios.append(float(noise.std()) / ((1 - t) ** 2 + t**2) ** 0.5)
            shares.append(t)
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    assert min(abs(t - 0.5) for t in shares) < 0.1  # where one noise would have 1.4 times the deviation


@pytest.mark.parametrize(("count", "kept"), [(4, [0]), (8, [0, 4]), (5, [0]), (1, [0])])
def test_clip_pairs_is_how_many_pairs_of_a_step_c_sees(count: int, kept: list[int]) -> None:
    """Of a batch with as many replayed pairs after the new ones, it sees one of each."""
    it = detector(erase=0.0, batch_size=4, clip_pairs=1)
    torch.manual_seed(1)
    model = it.build().eval()
    data = batch(count)
    torch.manual_seed(5)
    x, share = it.mix(data)
    z = [model.a(x[:, :2].flatten(0, 1)), model.b(x[:, 2:4].flatten(0, 1)), model.c(x[kept, 4:].flatten(0, 1))]
    targets = [share[:, :2].flatten(), share[:, 2:4].flatten(), share[kept, 4:].flatten()]
    expected = sum(
        F.binary_cross_entropy_with_logits(part[:, 1] - part[:, 0], t) for part, t in zip(z, targets, strict=True)
    )
    torch.manual_seed(5)
    torch.testing.assert_close(it.loss(model, data), expected)


def test_clip_pairs_is_all_of_them_by_default_and_at_most() -> None:
    every, given = detector(batch_size=4), detector(batch_size=4, clip_pairs=4)
    model = every.build().eval()
    losses = []
    for it in (every, given):
        torch.manual_seed(5)
        losses.append(it.loss(model, batch()))
    assert losses[0] == losses[1]
    with pytest.raises(ValueError, match="clip_pairs=5 of batch_size=4"):
        detector(batch_size=4, clip_pairs=5)


class Observed(DFDC3):
    """Notes the state of the network and the rates before every step."""

    def loss(self, model: nn.Module, data: Batch) -> torch.Tensor:
        self.seen.append(
            {
                "trunk": copy.deepcopy({k: v for k, v in model.state_dict().items() if "classifier" not in k}),
                "head": model.a.classifier.weight.detach().clone(),
                "training": {name for name, m in model.named_modules() if m.training and not list(m.children())},
                "dropout": {network.drop_rate for network in (model.a, model.b, model.c)},
                "lr": [group["lr"] for group in self.loop._host.optimizer.param_groups],
                "optimizer": id(self.loop._host.optimizer.members[0]),
            }
        )
        return super().loss(model, data)

    def train(self, loop: Any) -> None:
        self.loop, self.seen = loop, []
        super().train(loop)


def trained(**options: Any) -> Observed:
    it = Observed(DFDC3Config.model_validate({**SMALL, **options}), Task(native_size=(32, 32)))
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 255, (8 * 16, 32, 32, 3), dtype=np.uint8))
    units = Units(np.arange(128).reshape(8, 2, 8), np.tile([0, 1], (8, 1)), np.arange(8) % 2)
    torch.manual_seed(0)
    model = it.build()
    loader = UnitLoader(units, np.zeros(8), ArrayPixels(pictures), torch.device("cpu"), it.augment)
    loader._augmenter._workers._count = 0  # in this process
    template = LoopTemplate(detector=it, model=model, loader=loader)
    (experience,) = experiences_of([unit_dataset(torch.arange(8), torch.arange(8) % 2)])
    template.train(experience, eval_streams=[])
    return it


def test_the_trunk_is_untouched_in_warm_up_and_trained_after_it() -> None:
    seen = trained().seen
    assert len(seen) == 10
    for step in seen[1:4]:  # before steps 1, 2, 3: after the warm-up's three
        for name, value in step["trunk"].items():
            torch.testing.assert_close(value, seen[0]["trunk"][name], rtol=0, atol=0)  # statistics too
        assert (step["head"] != seen[0]["head"]).any()
    assert seen[2]["training"] == {"a.classifier", "b.classifier", "c.classifier"}
    assert len(seen[3]["training"]) > 100
    moved = sum((seen[4]["trunk"][k] != v).any().item() for k, v in seen[3]["trunk"].items())
    assert moved > 0.9 * len(seen[3]["trunk"])
    assert seen[0]["optimizer"] == seen[2]["optimizer"] != seen[3]["optimizer"]


def test_the_rate_starts_whole_after_warm_up_and_falls_by_a_share_of_all_steps() -> None:
    """lr·(N − s)/N with s = 0 at the first step of the whole network, as published: the last is lr·(W + 1)/N."""
    seen = trained().seen
    trunk = [step["lr"][1] for step in seen[3:]]
    assert trunk == pytest.approx([0.01 * (10 - s) / 10 for s in range(7)])
    assert [step["lr"] for step in seen[:3]] == [[0.005]] * 3
    assert [step["lr"][0] for step in seen[3:]] == pytest.approx([rate / 2 for rate in trunk])


def test_the_budget_counts_optimizer_steps_however_many_batches_they_have() -> None:
    seen = trained(accumulate=2).seen
    assert len(seen) == 20
    assert [step["lr"][1] for step in seen[6:]] == pytest.approx([0.001 * (10 - i // 2) for i in range(14)])


def test_nothing_is_dropped_in_warm_up() -> None:
    seen = trained(dropout=0.5).seen
    assert [step["dropout"] for step in seen] == [{0.0}] * 3 + [{0.5}] * 7


def test_statistics_move_by_a_hundredth_of_a_batch_in_paper_and_by_a_tenth_in_lite() -> None:
    for preset, momentum in (("paper", 0.01), ("lite", 0.1)):
        options = DFDC3.presets[preset] | {"body": "tinynet_e", "pretrained": False}
        model = DFDC3(DFDC3Config.model_validate(options), Task()).build()
        assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {momentum}


def test_two_lifted_rows_move_as_the_one_row_of_the_original() -> None:
    """SGD with Nesterov momentum and weight decay: the same logits after each of twenty steps."""
    torch.manual_seed(2)
    bodies = [nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh()) for _ in range(3)]

    class Body(nn.Module):
        def __init__(self, trunk: nn.Module) -> None:
            super().__init__()
            self.trunk, self.classifier = trunk, nn.Linear(5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.trunk(x))

    single = Body(bodies[0]).double()
    model = Ensemble(copy.deepcopy(single), Body(bodies[1]), Body(bodies[2]), (1, 1, 1))
    it = detector(lr=0.1, weight_decay=0.05)
    lifted = it.optimizer(model)
    plain = torch.optim.SGD(single.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)
    x, t = torch.randn(16, 12, dtype=torch.float64), torch.rand(16, dtype=torch.float64)
    for _ in range(20):
        z, two = single(x)[:, 0], model.a(x)
        torch.testing.assert_close(two[:, 1] - two[:, 0], z)
        plain.zero_grad()
        F.binary_cross_entropy_with_logits(z, t).backward()
        plain.step()
        lifted.zero_grad()
        F.cross_entropy(two, torch.stack([1 - t, t], 1)).backward()
        lifted.step()
    assert isinstance(lift_one_logit(Body(bodies[0]), "classifier").classifier, nn.Linear)


def test_joint_training_multiplies_budget_warm_up_and_decay(clip_stream: Path, tmp_path: Path) -> None:
    settings = [f"{k}={v}" for k, v in SMALL.items()]
    asked = Request("dfdc3", "joint", str(clip_stream), settings=settings, device="cpu", out=tmp_path)
    record = run(asked, registry())
    assert record.steps == [30]
    assert record.detector.facts["pretrained"] is False


def test_results_do_not_depend_on_the_number_of_workers(
    clip_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [f"{k}={v}" for k, v in (SMALL | {"steps": 4}).items()]
    hashes = set()
    for workers in ("0", "2"):
        monkeypatch.setenv("DFBENCH_WORKERS", workers)
        asked = Request("dfdc3", "replay", str(clip_stream), settings=settings, device="cpu", out=tmp_path / workers)
        hashes.add(run(asked, registry()).weights_sha256)
    assert len(hashes) == 1


def test_the_preset_follows_the_device() -> None:
    assert DFDC3.default_preset(torch.device("cpu")) == "lite"
    assert DFDC3.default_preset(torch.device("cuda")) == "paper"
    paper = DFDC3Config()
    assert (paper.body, paper.height, paper.width, paper.steps) == ("tf_efficientnet_b7.ns_jft_in1k", 224, 192, 100_000)


def test_streams_it_cannot_train_on_are_refused_with_the_reason(tiny_stream: Path, tmp_path: Path) -> None:
    done = dfbench("eval", "-d", "dfdc3", "-s", "naive", "-b", tiny_stream, "--out", tmp_path)
    assert done.code == DataError.exit_code
    assert "clips of at least 7 frames" in done.err
    assert "forge5-clips" in done.err
    with pytest.raises(UsageError, match="real from fake"):
        DFDC3(DFDC3Config(), Task(classes=("a", "b", "c"))).build()
    done = dfbench("eval", "-d", "dfdc3", "-s", "naive", "-b", tiny_stream, "--set", "steps=50", "--preset", "paper")
    assert done.code == UsageError.exit_code
    assert "warm_up=100 leaves none of steps=50" in done.err
