"""SBI's training: what a unit is, SAM, which strategies work, and that nothing depends on chance beyond the seed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dfbench_sbi.config import SBIConfig
from dfbench_sbi.detector import SBI
from dfbench_sbi.sam import Uphill
from torch import nn

from dfbench import Samples, Task
from dfbench.data.loader import Batch
from dfbench.errors import DataError, IncompatibleError, PluginError, UsageError
from dfbench.plugins import registry
from dfbench.records.record import Record
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.testing import write_stream

SMALL = {
    "body": "tinynet_e", "pretrained": False, "image_size": 64, "train_size": None, "batch_size": 4, "epochs": 2,
    "optimizer": "adamw",
}  # fmt: skip


def detector(**options: Any) -> SBI:
    return SBI(SBIConfig.model_validate({**SMALL, **options}), Task(native_size=(64, 64)))


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiences of eight training pairs of 64 pixels."""
    return write_stream(tmp_path_factory.mktemp("sbi"), experiences=2, pairs=8, tests=4, size=64)


def trained(stream: Path, out: Path, strategy: str = "naive", **options: Any) -> Record:
    settings = {**SMALL, **options}
    return run(
        Request("sbi", strategy, str(stream), preset="lite", settings=settings, device="cpu", out=out), registry()
    )


def table(labels: list[int]) -> Samples:
    rows = [
        {"sample": f"s{n}", "label": label, "source": "x", "method": "m", "identity": f"p{n}", "video": "", "frame": 0,
         "pair": "", "split": "train", "sha256": ""}
        for n, label in enumerate(labels)
    ]  # fmt: skip
    return Samples.from_rows(rows)


def test_units_to_train_on_are_reals_with_both_labels() -> None:
    samples, rows = table([0, 1, 0, 1, 1]), np.arange(5)
    blended = detector().units(samples, rows, training=True)
    assert blended.rows.tolist() == [0, 2]
    assert blended.labels.tolist() == [[0, 1], [0, 1]]
    assert blended.target.tolist() == [0, 1]
    both = detector(fakes="both").units(samples, rows, training=True)
    assert both.labels.tolist() == [[0, 1], [1, 1], [0, 1], [1, 1], [1, 1]]
    for it, training in ((detector(fakes="own"), True), (detector(), False)):
        assert it.units(samples, rows, training).labels.tolist() == [0, 1, 0, 1, 1]
    with pytest.raises(DataError, match="no real picture"):
        detector().units(table([1, 1]), np.arange(2), training=True)


def test_augmenting_makes_a_pair_of_one_picture_and_no_pair_of_the_streams_own() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert detector().augment(picture, np.random.default_rng(0)).shape == (2, 64, 64, 3)
    assert detector(train_size=48).augment(picture, np.random.default_rng(0)).shape == (2, 48, 48, 3)
    assert detector(fakes="own").augment(picture, np.random.default_rng(0)).shape == (64, 64, 3)


def test_the_loss_is_the_mean_of_both_classes_cross_entropies() -> None:
    it = detector(fakes="both")
    torch.manual_seed(0)
    model = it.build().eval()
    pixels = torch.randint(0, 256, (3, 2, 64, 64, 3), dtype=torch.uint8)
    labels = torch.tensor([[0, 1], [1, 1], [1, 1]])
    batch = Batch(pixels, labels, torch.arange(3), torch.zeros(3))
    logits = model((pixels.flatten(0, 1).float() / 127.5 - 1).permute(0, 3, 1, 2))
    flat = labels.flatten()
    expected = sum(F.cross_entropy(logits[flat == k], flat[flat == k]) for k in (0, 1)) / 2
    torch.testing.assert_close(it.loss(model, batch), expected)
    single = Batch(pixels[:, 0], torch.ones(3, dtype=torch.int64), torch.arange(3), torch.zeros(3))
    torch.testing.assert_close(it.loss(model, single), F.cross_entropy(logits[::2], torch.ones(3, dtype=torch.int64)))


def test_sams_gradient_is_the_one_at_the_weights_uphill() -> None:
    """Against SAM written as the paper has it: change the weights, compute the gradient there, put them back."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x, y = torch.randn(8, 6, dtype=torch.float64), torch.arange(8) % 2
    F.cross_entropy(Uphill(model, F.cross_entropy(model(x), y), 0.3)(x), y).backward()
    mine = [p.grad.clone() for p in model.parameters()]
    before = [p.detach().clone() for p in model.parameters()]
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    at_once = [p.grad.clone() for p in model.parameters()]
    norm = torch.cat([g.flatten() for g in at_once]).norm()
    with torch.no_grad():
        for p, g in zip(model.parameters(), at_once, strict=True):
            p.add_(0.3 * g / norm)
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    for p, old, got, first in zip(model.parameters(), before, mine, at_once, strict=True):
        torch.testing.assert_close(got, p.grad)
        assert not torch.allclose(got, first)  # ρ is large enough to make a difference
        assert not torch.equal(p, old)


def test_the_paper_preset_steps_twice_and_counts_it(stream: Path, tmp_path: Path) -> None:
    sam = trained(stream, tmp_path, optimizer="sam")
    sgd = trained(stream, tmp_path, optimizer="sgd")
    assert sam.weights_sha256 != sgd.weights_sha256
    assert sam.steps == sgd.steps
    assert SBIConfig().optimizer == "sam"


def test_sam_is_refused_under_strategies_that_read_one_pass(stream: Path, tmp_path: Path) -> None:
    assert trained(stream, tmp_path, "gem", optimizer="sam").effects["reference_passes"] > 0
    with pytest.raises((PluginError, IncompatibleError), match="twice with gradients in one step"):
        trained(stream, tmp_path, "lwf", optimizer="sam")


@pytest.mark.parametrize("strategy", ["der", "dfil"])
def test_strategies_that_keep_outputs_of_units_work_with_and_without_blending(
    strategy: str, stream: Path, tmp_path: Path
) -> None:
    assert trained(stream, tmp_path, strategy, epochs=1).effects["replayed_units"] > 0
    assert trained(stream, tmp_path, strategy, fakes="own", epochs=1).effects["replayed_units"] > 0


def test_strategies_of_one_row_per_unit_work_without_blending(stream: Path, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match="one row of logits each"):
        trained(stream, tmp_path, "cored")
    assert trained(stream, tmp_path, "cored", fakes="own", epochs=1).effects["penalty"] > 0


def test_with_both_kinds_of_fakes_all_pictures_are_units(stream: Path, tmp_path: Path) -> None:
    assert trained(stream, tmp_path, fakes="both").steps == [8, 8]


def test_a_memory_holds_reals_alone(stream: Path, tmp_path: Path) -> None:
    record = trained(stream, tmp_path, "replay")
    assert record.steps == [4, 4]  # eight reals in batches of four, twice; the eight fakes are left out
    assert record.effects["replayed_units"] > 0


def test_results_do_not_depend_on_the_number_of_workers_and_do_on_the_seed(
    stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("dfbench.forge.pixels")  # sets OpenCV up in this process, and in no worker
    hashes = []
    for workers, seed in (("0", 0), ("2", 0), ("0", 1)):
        monkeypatch.setenv("DFBENCH_WORKERS", workers)
        asked = Request(
            "sbi", "replay", str(stream), preset="lite", settings=SMALL, device="cpu", seed=seed,
            out=tmp_path / f"{workers}-{seed}",
        )  # fmt: skip
        hashes.append(run(asked, registry()).weights_sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_rate_rises_stays_and_falls() -> None:
    it = detector(warm_up=0.1, decay_from=0.75)
    assert [round(it._rate(share), 3) for share in (0.05, 0.1, 0.5, 0.75, 0.875, 1.0)] == [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]


def test_networks_and_streams_it_cannot_use_are_refused() -> None:
    with pytest.raises(UsageError, match="real from fake"):
        SBI(SBIConfig(), Task(classes=("a", "b", "c"))).build()
    with pytest.raises(UsageError, match="no network of timm"):
        detector(body="efficientnet_z9").build()
    with pytest.raises(UsageError, match="linear layer called classifier"):
        detector(body="resnet10t").build()
    assert SBI.default_preset(torch.device("cpu")) == "lite"
    assert SBI.default_preset(torch.device("cuda")) == "paper"


def test_bf16_gives_a_finite_loss_and_a_channels_last_network() -> None:
    it = detector(precision="bf16")
    model = it.build().train()
    pixels = torch.randint(0, 256, (2, 2, 64, 64, 3), dtype=torch.uint8)
    batch = Batch(pixels, torch.tensor([[0, 1], [0, 1]]), torch.arange(2), torch.zeros(2))
    assert it.inputs(batch, training=True).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = it.loss(model, batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
