"""RanPAC, S-Prompts, O-LoRA and SLCA against their papers' formulas, and what each changes."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from dfbench_adapters.lora import LoRALinear, lora_layers
from dfbench_adapters.o_lora import overlap
from dfbench_adapters.prompts import PromptBank, bank_of
from dfbench_adapters.ranpac import RIDGES, choose_ridge, ridge
from dfbench_adapters.ridge import RidgeHead
from dfbench_adapters.slca import Gaussian, SLCAConfig, align, normalised_loss
from dfbench_adapters.sprompts import centroids
from timm import create_model
from torch import nn

from dfbench import Adaptation, Loop, Record, StrategyContext, Task, UsageError
from dfbench.plugins import registry
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.session import Session
from dfbench.training.adaptation import add_adaptations
from tests.training.harness import (
    PlainConfig,
    PlainDetector,
    Problem,
    copy_of,
    largest_difference,
    network,
    strategy_of,
    train,
)

VIT = ["network=test_vit", "pretrained=false", "image_size=32", "epochs=1", "batch_size=8", "lr=0.003"]


def vit(*wanted: tuple[str, dict[str, Any]]) -> Any:
    torch.manual_seed(3)
    model = create_model("test_vit", img_size=32, num_classes=2).eval()
    listed = [Adaptation(adapter=name, options=options) for name, options in wanted]
    add_adaptations(model, listed, registry().adapters, torch.Generator().manual_seed(4))
    return model


def session(strategy: str, stream: Path, out: Path, *settings: str) -> Session:
    given = {setting.split("=")[0] for setting in settings}
    request = Request(
        "timm",
        strategy,
        str(stream),
        settings=[*(s for s in VIT if s.split("=")[0] not in given), *settings],
        device="cpu",
        out=out,
    )
    return Session(prepare(request, registry()))


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make()


# --- RanPAC ------------------------------------------------------------------------------------------


def units(count: int = 60, width: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    h = F.relu(torch.randn(count, width, generator=rng) + labels[:, None] * torch.linspace(-1, 1, width)).double()
    return h, labels


def test_the_ridge_classifier_minimises_the_papers_loss() -> None:
    """At (G + λI)⁻¹ C the gradient of ‖HW − Y‖² + λ‖W‖² is 0."""
    h, labels = units()
    y = F.one_hot(labels, 2).double()
    weights = ridge(h.T @ h, h.T @ y, 0.7).requires_grad_()
    loss = (h @ weights - y).square().sum() + 0.7 * weights.square().sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    assert float(gradient.abs().max()) < 1e-9


def test_the_penalty_is_the_one_with_the_smallest_error_on_a_fifth() -> None:
    for width, noise in ((9, 0.0), (90, 0.0), (90, 3.0)):  # fewer and more dimensions than units
        h, labels = units(width=width)
        rng = torch.Generator().manual_seed(1)
        h = h + noise * torch.rand(h.shape, generator=rng, dtype=torch.float64)
        y, order = F.one_hot(labels, 2).double(), torch.randperm(60, generator=rng)
        fit, judge = order[:48], order[48:]
        errors = {}
        for penalty in RIDGES:
            inverse = (h[fit].T @ h[fit] + penalty * torch.eye(width, dtype=torch.float64)).inverse()
            errors[penalty] = float((h[judge] @ inverse @ h[fit].T @ y[fit] - y[judge]).square().mean())
        assert errors[choose_ridge(h, y, order)] == pytest.approx(min(errors.values()), rel=1e-3)
    assert choose_ridge(h[:1], y[:1], torch.arange(1)) == 1.0


def test_ranpac_is_the_classifier_of_all_units_at_once(tiny_stream: Path, tmp_path: Path) -> None:
    found = session("ranpac", tiny_stream, tmp_path, "strategy.dimensions=40", "strategy.ridge=2")
    built = state(found.template.model)
    for number in (1, 2, 3):
        found.train(number)
    model: Any = found.template.model.eval()
    layer = model.head
    assert isinstance(layer, RidgeHead)
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in built.items())  # the network is as it was built
    batch = found.loader.fetch(torch.arange(72))
    with torch.no_grad():
        x = found.detector.inputs(batch, training=False)
        features = model.forward_head(model.forward_features(x), pre_logits=True).double()
        h = torch.clamp(features @ layer.projection.double(), min=0)
        targets = torch.stack([batch.labels == 0, batch.labels == 1], 1).double()
        expected = h @ torch.linalg.pinv(h.T @ h + 2 * torch.eye(40).double()) @ (h.T @ targets)
        assert (model(x).double() - expected).abs().max() < 1e-4
    assert found.strategy.effects.values()["fitted_units"] == 72
    assert found.ledger.steps == [0, 0, 0]


def test_ranpac_may_train_the_first_experience(tiny_stream: Path, tmp_path: Path) -> None:
    found = session("ranpac", tiny_stream, tmp_path, "strategy.dimensions=40", "strategy.base=true")
    built = state(found.template.model)
    found.train(1)
    first = state(found.template.model)
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], built["blocks.0.attn.qkv.weight"])
    found.train(2)
    assert torch.equal(found.template.model.state_dict()["blocks.0.attn.qkv.weight"], first["blocks.0.attn.qkv.weight"])
    assert found.ledger.steps == [3, 0]
    assert found.adapting.added_bytes == 4 * (found.template.model.head.in_features * 40 + 2 * 40 + 1)  # type: ignore[union-attr,operator]


def test_ranpac_needs_one_head(problem: Problem) -> None:
    for name in ("ranpac", "slca"):
        with pytest.raises(UsageError, match="has 2"):
            strategy_of(name).plugins(StrategyContext(network(), ("4", "6"), 3, 30, 1, 16, problem.labels))


# --- S-Prompts ---------------------------------------------------------------------------------------


def prompted(model: Any, x: torch.Tensor, domain: int) -> torch.Tensor:
    """Logits of one picture with the prompt and head of a domain, from timm's own parts."""
    part = model.prompt_bank.domains[domain]
    tokens = torch.cat([model._pos_embed(model.patch_embed(x)), part.prompt[None]], 1)
    for block in model.blocks:
        tokens = block(tokens)
    features = model.fc_norm(model.pool(model.norm(tokens)[:, : -len(part.prompt)]))
    return F.linear(features, model.head.weight + part.weight, model.head.bias + part.bias)


@torch.no_grad()
def test_each_picture_gets_the_prompt_and_head_of_the_nearest_centroid() -> None:
    model = vit(*[("prompts", {"length": 3, "centroids": 2})] * 3)
    plain = vit()
    x = torch.randn(8, 3, 32, 32)
    features = plain.forward_head(plain.forward_features(x), pre_logits=True)
    bank = bank_of(model)
    for place, domain in enumerate(bank.domains):
        for name, tensor in domain.named_parameters():
            tensor.copy_(torch.randn(tensor.shape) * (0.02 if name == "prompt" else 1))
        domain.centroids.copy_(features[[place, place + 3]] + 1e-3)  # type: ignore[operator,union-attr]
        domain.known.fill_(1)  # type: ignore[operator,union-attr]
    away = torch.stack([(features[:, None] - d.centroids).square().sum(2).amin(1) for d in bank.domains], 1)  # type: ignore[operator,union-attr]
    nearest = away.argmin(1)
    assert nearest[:6].tolist() == [0, 1, 2, 0, 1, 2]
    expected = torch.cat([prompted(model, row[None], int(d)) for row, d in zip(x, nearest, strict=True)])
    assert (model(x) - expected).abs().max() < 1e-4
    assert (model(x[:1]) - expected[:1]).abs().max() < 1e-4  # whatever is beside it
    bank.domains[1].known.fill_(0)  # type: ignore[operator]
    assert 1 not in bank.nearest(features).tolist()
    model.train()
    assert (model(x[:1]) - prompted(model, x[:1], 2)).abs().max() < 1e-4  # in training: the last
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    assert PromptBank().domains is not bank.domains


def test_centroids_are_those_of_k_means() -> None:
    points = torch.tensor([[0.0, 0.0], [0.2, 0.0], [9.0, 1.0], [9.2, 1.0]])
    found = centroids(points, 2)
    assert sorted(map(tuple, found.tolist())) == [pytest.approx((0.1, 0.0)), pytest.approx((9.1, 1.0))]
    assert centroids(points[:1], 3).tolist() == points[:1].repeat(3, 1).tolist()


def test_s_prompts_trains_the_new_domain_alone(tiny_stream: Path, tmp_path: Path) -> None:
    found = session("sprompts", tiny_stream, tmp_path)
    model: Any = found.template.model
    built = state(model)
    found.train(1)
    first = state(model)
    found.train(2)
    second = state(model)
    assert all(torch.equal(second[name], tensor) for name, tensor in built.items())
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
    new = {name for name in second if name not in first}
    assert {name.removeprefix("prompt_bank.domains.1.") for name in new} == {
        "prompt", "weight", "bias", "centroids", "known"
    }  # fmt: skip
    assert float(second["prompt_bank.domains.1.weight"].abs().max()) > 0
    assert float(second["prompt_bank.domains.1.prompt"].std()) > 0.02  # away from where it began
    batch = found.loader.fetch(torch.arange(24))
    with torch.no_grad():  # the centroids are of this experience's features
        plain = create_model("test_vit", img_size=32, num_classes=2).eval()
        plain.load_state_dict(built)
        features = plain.forward_head(plain.forward_features(found.detector.inputs(batch, False)), pre_logits=True)  # type: ignore[operator]
    stored = first["prompt_bank.domains.0.centroids"]
    assert (centroids(features, 5).sort(0).values - stored.sort(0).values).abs().max() < 1e-3


# --- O-LoRA ------------------------------------------------------------------------------------------


def test_low_rank_matrices_are_added_to_the_layer() -> None:
    model, plain = vit(("lora", {"rank": 2, "scale": 0.5}), ("lora", {"rank": 3, "scale": 2.0})), vit()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(x), plain(x))  # B is 0
    for layer in lora_layers(model):
        for matrix in layer.up:
            nn.init.normal_(matrix, 0, 0.1)
    with torch.no_grad():
        for (name, layer), scales in zip(_named(model), itertools.repeat((0.5, 2.0)), strict=False):
            products = [s * b @ a for s, a, b in zip(scales, layer.down, layer.up, strict=True)]
            plain.get_submodule(name).weight.add_(sum(products))
    assert (model(x) - plain(x)).abs().max() < 1e-4
    assert (model(x) - vit()(x)).abs().max() > 1e-2


def _named(model: nn.Module) -> list[tuple[str, LoRALinear]]:
    return [(name, m) for name, m in model.named_modules() if isinstance(m, LoRALinear)]


def test_it_is_what_peft_computes() -> None:
    peft = pytest.importorskip("peft")
    ours, plain = vit(("lora", {"layers": ["attn.qkv", "mlp.fc1"], "rank": 4, "scale": 2.0})), vit()
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["qkv", "fc1"], lora_dropout=0.0, bias="none")
    theirs = peft.get_peft_model(plain, config).eval()
    for name, layer in _named(ours):
        twin = theirs.base_model.model.get_submodule(name)
        nn.init.normal_(layer.up[0], 0, 0.1)
        with torch.no_grad():
            twin.lora_A["default"].weight.copy_(layer.down[0])
            twin.lora_B["default"].weight.copy_(layer.up[0])
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
    assert (ours(x) - theirs(x)).abs().max() < 1e-5
    for model in (ours, theirs):
        F.cross_entropy(model(x), y).backward()
    for name, layer in _named(ours):
        twin = theirs.base_model.model.get_submodule(name)
        assert layer.down[0].grad is not None
        assert torch.allclose(layer.down[0].grad, twin.lora_A["default"].weight.grad, atol=1e-6)


def test_the_overlap_is_the_papers() -> None:
    layer = LoRALinear(nn.Linear(6, 4))
    rng = torch.Generator().manual_seed(0)
    for rank in (2, 3, 2):
        layer.add_pair(rank, 1.0, rng)
    expected = sum(
        float((earlier[j] @ layer.down[2][k]).detach()) ** 2
        for earlier in (layer.down[0], layer.down[1])
        for j in range(len(earlier))
        for k in range(2)
    )
    assert float(overlap(layer).detach()) == pytest.approx(expected, rel=1e-5)
    overlap(layer).backward()
    assert layer.down[2].grad is not None
    assert layer.down[0].grad is None


def test_o_lora_turns_the_new_rows_away_and_changes_nothing_else(tiny_stream: Path, tmp_path: Path) -> None:
    shares = []
    for strength in (0, 30):
        found = session("o_lora", tiny_stream, tmp_path, f"strategy.strength={strength}", "epochs=4", "lr=0.01")
        model = found.template.model
        built = state(model)
        found.train(1)
        first = state(model)
        found.train(2)
        second = state(model)
        heads = {"head.weight", "head.bias"}
        assert all(torch.equal(second[name], t) for name, t in built.items() if name not in heads)
        assert all(torch.equal(second[name], t) for name, t in first.items() if name not in heads)
        assert not torch.equal(second["head.weight"], first["head.weight"])
        assert float(second["blocks.0.attn.qkv.up.1"].abs().max()) > 0
        shares.append(sum(float(overlap(layer).detach()) for layer in lora_layers(model)))
    assert shares[1] < 0.5 * shares[0]


# --- SLCA --------------------------------------------------------------------------------------------


def test_the_trunk_moves_as_at_a_smaller_rate(problem: Problem) -> None:
    """Against plain SGD with momentum whose trunk has a tenth of the rate."""

    class Twice(PlainDetector):
        def train(self, loop: Loop) -> None:
            trunk, head = loop.model[:-1].parameters(), loop.model[-1].parameters()  # type: ignore[index]
            groups = [{"params": [*trunk], "lr": 0.005}, {"params": [*head], "lr": 0.05}]
            self.kept = self.kept or torch.optim.SGD(groups, momentum=0.9)
            super().train(loop)

    slow = train(problem, strategy_of("slca", slow=0.1, align_epochs=0), PlainDetector(PlainConfig(), Task()))
    usual = train(problem, strategy_of("naive"), Twice(PlainConfig(), Task()))
    assert largest_difference(slow.model, usual.model) < 2e-5
    naive = train(problem, strategy_of("naive"), PlainDetector(PlainConfig(), Task()))
    assert largest_difference(slow.model, naive.model) > 1e-2
    assert slow.strategy.effects.values()["slowed_steps"] == slow.template.clock.train_iterations


def test_gaussians_are_those_of_the_features() -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(4000, 3, generator=rng) @ torch.tensor([[2.0, 0, 0], [1, 0.1, 0], [0, 0, 0]]) + 5
    found = Gaussian.of(1, features)
    assert torch.allclose(found.covariance, torch.cov(features.double().T))
    drawn = found.sample(4000, rng).double()
    assert (drawn.mean(0) - features.double().mean(0)).abs().max() < 0.15
    assert (torch.cov(drawn.T) - found.covariance).abs().max() < 0.4
    assert float(drawn[:, 2].std()) < 1e-6  # a direction without any spread
    assert float(Gaussian.of(0, features[:1]).covariance.abs().max()) == 0


def test_the_normalised_loss_is_the_papers() -> None:
    logits, labels = torch.tensor([[3.0, 4.0], [0.3, 0.4], [-2.0, 0.0]]), torch.tensor([0, 0, 1])
    each = []
    for row, label in zip(logits, labels, strict=True):
        scaled = row / (0.1 * (row @ row).sqrt())
        each.append(-(scaled[label] - scaled.exp().sum().log()))
    assert normalised_loss(logits, labels, 0.1) == pytest.approx(float(sum(each)) / 3)
    assert normalised_loss(logits, labels, 0) == F.cross_entropy(logits, labels)


def test_the_head_is_aligned_on_all_experiences() -> None:
    """The trained head knows the second experience; the Gaussians of the first bring its boundary back."""
    root = 0.3 * torch.eye(2).double()
    places = {(0, 0): (-2.0, 0.0), (0, 1): (2.0, 0.0), (1, 0): (0.0, -2.0), (1, 1): (0.0, 2.0)}
    gaussians = [Gaussian(label, torch.tensor(mean).double(), root) for (_, label), mean in places.items()]
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0, -3.0], [0.0, 3.0]]))
        head.bias.zero_()
    before = copy_of(head)
    aligned = nn.Linear(2, 2)
    aligned.load_state_dict(align(head, gaussians, SLCAConfig(align_lr=0.1), torch.Generator().manual_seed(0)))
    rng = torch.Generator().manual_seed(1)

    def right(layer: nn.Module, experience: int) -> float:
        rows = torch.cat([g.sample(200, rng) for g in gaussians[2 * experience : 2 * experience + 2]])
        return float((layer(rows).argmax(1) == torch.arange(2).repeat_interleave(200)).float().mean())

    assert right(head, 0) < 0.7
    assert right(aligned, 0) > 0.95
    assert right(aligned, 1) > 0.95
    assert largest_difference(head, before) == 0


def test_slcas_gaussians_are_of_each_class_of_each_experience(problem: Problem) -> None:
    found = train(problem, strategy_of("slca", samples=8, align_epochs=1))
    held = found.strategy.state_dict()["gaussians"]
    assert [g["label"] for g in held] == [0, 1] * 3
    features = copy_of(found.model).eval()[:-1](problem.inputs(problem.ids(2))).double()  # type: ignore[index]
    fakes = features[problem.labels[problem.ids(2)] == 1]
    assert (held[-1]["mean"] - fakes.mean(0)).abs().max() < 1e-5
    again = strategy_of("slca")
    again.plugins(StrategyContext(network(), ("6",), 3, 30, 1, 16, problem.labels))
    again.load_state_dict(found.strategy.state_dict(), lambda ids: ids)
    restored = again.state_dict()["gaussians"]
    assert all(torch.equal(a["root"], b["root"]) for a, b in zip(held, restored, strict=True))


class Averaging(PlainDetector):
    """Predicts with an average of its weights."""

    kinds: ClassVar = ("ranpac", "slca")

    def train(self, loop: Loop) -> None:
        loop.average(0.5)
        super().train(loop)


def test_slca_aligns_the_head_of_an_averaged_network_too(problem: Problem) -> None:
    found = train(problem, strategy_of("slca", samples=8), Averaging(PlainConfig(), Task()))
    assert found.template.averaged is not None
    assert largest_difference(found.template.averaged[-1], found.model[-1]) == 0  # type: ignore[index]
    assert largest_difference(found.template.averaged, found.model) > 0


@pytest.mark.parametrize("strategy", ["ranpac", "slca"])
def test_any_network_with_a_head_will_do(strategy: str, tiny_stream: Path, tmp_path: Path) -> None:
    settings = ["image_size=32", "epochs=1", "width=4"]
    settings += ["strategy.dimensions=30"] if strategy == "ranpac" else ["strategy.samples=16"]
    record: Record = run(
        Request("simple_cnn", strategy, str(tiny_stream), settings=settings, device="cpu", out=tmp_path), registry()
    )
    assert record.memory.state_bytes > 0
