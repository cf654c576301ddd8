"""Effort: split matrices and their losses against small references, what trains, what a checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from dfbench_clip.weights import NETWORKS
from dfbench_effort.detector import Effort, EffortConfig
from dfbench_effort.layers import ResidualLinear, penalties, residual_layers
from safetensors.torch import load_file, save_file
from torch import nn

import dfbench
from dfbench import Batch, Task, UsageError
from dfbench.plugins import registry
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.session import Session
from dfbench.testing import DetectorContract
from tests.cli.harness import run_cli, the_error

TINY: dict[str, Any] = {"tower": "test_vit", "pretrained": False, "image_size": 32, "depth": 2}


class TestEffort(DetectorContract):
    detector = "effort"
    preset = "lite"
    settings: ClassVar = {**TINY, "rank": 4, "lr": 1e-2, "epochs": 4, "batch_size": 8, "flip": 0, "weight_decay": 0}
    strategies: ClassVar = ("naive", "cwr_star")


def made(**options: Any) -> tuple[Effort, Any]:
    detector = Effort(EffortConfig(**{**TINY, **options}), Task())
    torch.manual_seed(0)
    return detector, detector.build()


def batch(side: int = 32, count: int = 4) -> Batch:
    zeros = torch.zeros(count, dtype=torch.int64)
    pixels = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8)
    return Batch(pixels, torch.arange(count) % 2, zeros, zeros)


def moved(layer: ResidualLinear, by: float = 0.1) -> ResidualLinear:
    """The layer after some training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for part in (layer.left, layer.values, layer.right):
            part.add_(by * torch.randn_like(part))
    return layer


@pytest.mark.parametrize("rank", [1, 5])
def test_at_the_start_it_is_the_network_that_was_split(rank: int) -> None:
    _, network = made(rank=rank, depth=None)
    torch.manual_seed(0)
    plain = timm.create_model("test_vit", pretrained=False).eval()
    plain.set_input_size(img_size=(32, 32))
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        expected = plain.forward_head(plain.forward_features(x), pre_logits=True)
        found = network.eval().forward_head(network.forward_features(x), pre_logits=True)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert float(expected.std()) > 0.1
    with torch.no_grad():
        assert max(map(float, penalties(network))) < 1e-6


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("rank", [1, 3])
def test_each_matrix_of_a_fused_layer_is_split_by_itself(parts: int, rank: int) -> None:
    """The frozen part is the best approximation of rank D − r, by Eckart and Young, of each third."""
    torch.manual_seed(0)
    layer = nn.Linear(8, parts * 8)
    split = ResidualLinear(layer, rank)
    for part, third in zip(split.principal, layer.weight.chunk(parts), strict=True):
        u, s, v = torch.linalg.svd(third)
        s[-rank:] = 0
        assert torch.allclose(part, u @ torch.diag(s) @ v, atol=1e-5)
    x = torch.randn(2, 5, 8)
    assert torch.allclose(split(x), layer(x), atol=1e-5)
    moved(split)
    assert torch.allclose(split(x), F.linear(x, split.weight(), layer.bias), atol=1e-5)
    assert not torch.allclose(split.weight(), layer.weight, atol=1e-2)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_losses_are_those_of_all_singular_vectors_and_of_the_whole_matrix(rank: int) -> None:
    """Written out with full matrices, in float64: ‖ÛᵀÛ − I‖² + ‖V̂ᵀV̂ − I‖² and | ‖Ŵ‖² − ‖W‖² |."""
    torch.manual_seed(0)
    layer = nn.Linear(8, 3 * 8)
    split = moved(ResidualLinear(layer, rank))
    orthogonality, energy = split.orthogonality().detach(), split.energy_change().detach()
    for i, third in enumerate(layer.weight.detach().double().chunk(3)):
        u, _, v = torch.linalg.svd(third)
        left = torch.cat([u[:, :-rank], split.left[i].detach().double()], dim=1)
        right = torch.cat([v[:-rank].T, split.right[i].detach().double().T], dim=1)
        eye = torch.eye(8, dtype=torch.float64)
        expected = ((left.T @ left - eye) ** 2).sum() + ((right.T @ right - eye) ** 2).sum()
        assert float(orthogonality[i]) == pytest.approx(float(expected), rel=1e-4)
        now = split.weight().detach().double()[8 * i : 8 * i + 8]
        assert float(energy[i]) == pytest.approx(abs(float((now**2).sum() - (third**2).sum())), rel=1e-3, abs=1e-5)


def test_the_loss_is_cross_entropy_and_the_weighted_means_of_the_penalties() -> None:
    detector, network = made(orthogonality=0.5, energy=2.0, flip=0, jitter=0)
    layers = [moved(layer) for layer in residual_layers(network)]
    assert len(layers) == 2 * 2  # qkv and proj of two blocks
    given = batch()
    plain = F.cross_entropy(network(detector.inputs(given, False)), given.labels)
    matrices = [(layer.orthogonality(), layer.energy_change()) for layer in layers]
    first, second = (torch.cat(part).sum() / 8 for part in zip(*matrices, strict=True))  # q, k, v, out: 8 matrices
    assert float(detector.loss(network, given)) == pytest.approx(float(plain + 0.5 * first + 2 * second), rel=1e-5)


def test_under_autocast_the_penalties_are_those_of_full_precision() -> None:
    detector, network = made(flip=0, jitter=0)
    for layer in residual_layers(network):
        moved(layer)
    given = batch()
    with torch.no_grad():
        exact, whole = penalties(network), float(detector.loss(network, given))
        with torch.autocast("cpu", torch.bfloat16):
            assert penalties(network) == exact
            assert float(detector.loss(network, given)) == pytest.approx(whole, rel=0.02)


def test_a_penalty_pulls_vectors_and_energy_back() -> None:
    split = moved(ResidualLinear(nn.Linear(8, 8), 2), by=0.3)
    optimizer = torch.optim.Adam(split.parameters(), lr=1e-2)
    start = float(split.orthogonality().sum() + split.energy_change().sum())
    for _ in range(200):
        optimizer.zero_grad()
        (split.orthogonality().sum() + split.energy_change().sum()).backward()
        optimizer.step()
    assert float(split.orthogonality().sum() + split.energy_change().sum()) < start / 50


def test_only_residuals_and_head_train(tiny_stream: Path, tmp_path: Path) -> None:
    settings = [f"{name}={str(value).lower()}" for name, value in TINY.items()]
    settings += ["epochs=1", "batch_size=8", "lr=0.01"]
    asked = Request("effort", "replay", str(tiny_stream), settings=settings, device="cpu", out=tmp_path)
    session = Session(prepare(asked, registry()))
    network = session.template.model
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    session.train(0)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"head.weight", "head.bias"} | {
        f"blocks.{block}.attn.{layer}.{part}"
        for block in (0, 1) for layer in ("qkv", "proj") for part in ("left", "values", "right")
    }  # fmt: skip
    assert changed == {name for name, p in network.named_parameters() if p.requires_grad}


def test_a_checkpoint_loads_without_clips_weights(tiny_stream: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = timm.create_model(NETWORKS["ViT-B/16"], pretrained=False)
    file = tmp_path / "tower.safetensors"
    save_file(dict(tower.state_dict()), file)
    settings = {"weights": str(file), "image_size": 32, "depth": 1, "epochs": 1}
    record = dfbench.run("effort", "naive", tiny_stream, settings=settings, preset="lite", device="cpu", out=tmp_path)
    assert record.spec.initial_weights == {"encoder_weights": file.name, "pretrained": True}
    file.unlink()
    loaded = dfbench.load(tmp_path / record.run, device="cpu")
    kept = load_file(tmp_path / record.run / "model.safetensors")
    pixels = batch(32).pixels
    assert np.isfinite(loaded.predict(pixels.numpy())).all()
    assert torch.allclose(kept["blocks.0.mlp.fc1.weight"], tower.blocks[0].mlp.fc1.weight)
    whole = tower.blocks[0].attn.qkv.weight
    principal = kept["blocks.0.attn.qkv.principal"].flatten(0, 1)
    assert float((principal - whole).norm()) < 0.01 * float(whole.norm())
    assert principal.shape == whole.shape


def test_augmentation_is_for_training_alone() -> None:
    detector, _ = made()
    given = batch()
    plain, changed = detector.inputs(given, False), detector.inputs(given, True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.5,) * 3, (0.5,) * 3))
    assert torch.allclose(plain, (given.pixels.movedim(-1, 1) / 255 - mean) / std, atol=1e-5)
    assert (changed != plain).any(dim=(1, 2, 3)).all()


def test_wrong_settings_are_one_line(
    tiny_stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    args = ["eval", "-d", "effort", "-s", "naive", "-b", tiny_stream, "--out", tmp_path]

    def error(*settings: str) -> str:
        if "pretrained=true" not in settings:
            settings = (*settings, "pretrained=false")
        return the_error(run_cli(capsys, *args, *(part for s in settings for part in ("--set", s))), 2)

    assert "neither ViT-B/16 nor ViT-L/14 of CLIP, nor a network of timm" in error("tower=ViT-B/8")
    assert "tower=test_resnet is a ResNet, not a vision transformer like CLIP's" in error("tower=test_resnet")
    assert "rank=64 of matrices with 64 singular values leaves none frozen" in error("tower=test_vit", "rank=64")
    assert "no weights of test_vit: the Hub was not reached" in error("tower=test_vit", "pretrained=true")
    given = ["tower=test_vit", "pretrained=true", "weights=a.safetensors"]
    assert "a file is read for CLIP's towers alone" in error(*given)
    with pytest.raises(UsageError, match="there is no such file"):
        Effort(EffortConfig(tower="ViT-B/16", weights=str(tmp_path / "none")), Task()).build()
