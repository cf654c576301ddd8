"""What strategies keep of a network: which weights, which mode, which features, and whether it can be copied."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dfbench_avalanche.distillation import Distillation
from dfbench_avalanche.features import HeadInputs
from torch import nn

from dfbench import IncompatibleError, Loop, StrategyContext, Task, copy_network
from tests.training.harness import (
    PlainConfig,
    PlainDetector,
    Problem,
    Trained,
    largest_difference,
    network,
    strategy_of,
    train,
)

TEACHERS = ("lwf", "lfl", "dfil", "cored", "hdp", "sur_lid")


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


# --- Averages ----------------------------------------------------------------------------------------------


class Averaging(PlainDetector):
    """Predicts with an average of the weights."""

    def train(self, loop: Loop) -> None:
        loop.average(0.5)
        super().train(loop)


def averaged(problem: Problem, name: str, **options: Any) -> tuple[Trained, nn.Module]:
    ours = train(problem, strategy_of(name, **options), Averaging(PlainConfig(), Task()))
    assert ours.template.averaged is not None
    return ours, ours.template.averaged


@pytest.mark.parametrize("name", TEACHERS)
def test_the_teacher_is_the_network_that_predicts(problem: Problem, name: str) -> None:
    options = {"passes": 1, "tries": 2} if name == "hdp" else {}
    ours, predicts = averaged(problem, name, **options)
    plugin = ours.strategy._plugin  # type: ignore[attr-defined]
    teacher = plugin.lwf.prev_model if name == "lwf" else plugin.previous
    trunk = slice(0, -1)  # sur_lid predicts with the mean of all heads, and its teacher has the last one
    assert largest_difference(teacher[trunk], predicts[trunk]) == 0  # type: ignore[index]
    assert largest_difference(teacher[trunk], ours.model[trunk]) > 0  # type: ignore[index]


@pytest.mark.parametrize("name", ["ewc", "si", "mas", "rwalk"])
def test_the_anchor_is_where_the_network_predicts(problem: Problem, name: str) -> None:
    ours, predicts = averaged(problem, name)
    plugin = ours.strategy._plugin  # type: ignore[attr-defined]
    anchors: dict[str, Any] = {
        "ewc": lambda: {n: d.data for n, d in plugin.saved_params[2].items()},
        "si": lambda: {n: d.data for n, d in plugin.ewc_data[0].items()},
    }.get(name, lambda: plugin.anchor)()
    assert {"0.weight", "6.weight"} <= anchors.keys()
    for key, anchor in anchors.items():
        assert torch.equal(anchor.flatten(), dict(predicts.named_parameters())[key].flatten()), key
    assert not torch.equal(anchors["6.weight"].flatten(), ours.model[-1].weight.flatten())  # type: ignore[index]


def test_the_anchor_of_si_holds_through_the_next_experience(problem: Problem) -> None:
    strategy, seen = strategy_of("si", strength=10.0), []

    class Watching(Averaging):
        def train(self, loop: Loop) -> None:
            if loop.experience:
                before = strategy._plugin.ewc_data[0]["6.weight"].data.clone()  # type: ignore[attr-defined]
                seen.append((before, loop._host.averaged, loop.model[-1].weight.detach().flatten().clone()))  # type: ignore[index]
            super().train(loop)

    train(problem, strategy, Watching(PlainConfig(), Task()))
    assert all(not torch.equal(anchor, raw) for anchor, _, raw in seen)


@pytest.mark.parametrize("freeze", [True, False])
def test_cwr_star_consolidates_the_head_that_predicts(problem: Problem, freeze: bool) -> None:
    ours, predicts = averaged(problem, "cwr_star", freeze=freeze)
    (plugin,) = ours.strategy._plugins  # type: ignore[attr-defined]
    head = predicts[-1]  # type: ignore[index]
    rows = torch.stack([torch.from_numpy(plugin.model.saved_weights[c]) for c in (0, 1)]).float()
    assert torch.equal(head.weight, rows)
    assert torch.allclose(head.bias, torch.tensor([plugin.biases[0], plugin.biases[1]]))
    assert torch.equal(ours.model[-1].weight, rows)  # type: ignore[index]
    assert (largest_difference(ours.model[:-1], predicts[:-1]) == 0) == freeze  # type: ignore[index]


def test_cwr_star_consolidates_the_bias_as_it_does_the_rows(problem: Problem) -> None:
    """Equal numbers of units: weights √0, √1, √2 for the past, of biases with the mean taken away."""
    trained: list[torch.Tensor] = []

    class Noting(PlainDetector):
        def train(self, loop: Loop) -> None:
            super().train(loop)
            trained.append(loop.model[-1].bias.detach().clone().double())  # type: ignore[index]

    ours = train(problem, strategy_of("cwr_star"), Noting(PlainConfig(), Task()))
    expected = torch.zeros(2, dtype=torch.float64)
    for k, bias in enumerate(trained):
        expected = (expected * k**0.5 + bias - bias.mean()) / (k**0.5 + 1)
    assert float(expected.abs().min()) > 0
    assert torch.allclose(ours.model[-1].bias.double(), expected)  # type: ignore[index]
    left = train(problem, strategy_of("cwr_star", bias=False))
    assert not torch.allclose(left.model[-1].bias.sum(), torch.zeros(()), atol=1e-6)  # type: ignore[index]


# --- Dropout in front of the head --------------------------------------------------------------------------


class Dropping(nn.Module):
    """A network without batch normalisation, with a dropout of one kind before its head."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.kind = kind
        self.trunk, self.head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 16), nn.LeakyReLU()), nn.Linear(16, 2)
        self.dropout = nn.Dropout2d(0.5) if kind == "flattened" else nn.Dropout(0.5, inplace=kind == "in place")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.trunk(x)
        if self.kind == "function":  # as timm's networks do
            return self.head(F.dropout(features, p=0.5, training=self.training))  # type: ignore[no-any-return]
        if self.kind == "flattened":
            return self.head(self.dropout(features[:, :, None, None]).flatten(1))  # type: ignore[no-any-return]
        return self.head(self.dropout(features))  # type: ignore[no-any-return]


class Still(PlainDetector):
    """Learns in the first experience alone: afterwards the network is its own teacher."""

    def __init__(self, kind: str) -> None:
        super().__init__(PlainConfig(), Task())
        self.kind = kind

    head = "head"

    def build(self) -> nn.Module:
        return Dropping(self.kind)

    def train(self, loop: Loop) -> None:
        self.kept = torch.optim.SGD(loop.model.parameters(), lr=0.0 if loop.experience else 0.05)
        super().train(loop)


OPTIONS: dict[str, dict[str, Any]] = {
    "lfl": {},
    "dfil": {"alpha": 0.0, "contrast": 0.0, "first_contrast": 0.0, "features": 100.0},
    "cored": {"alpha": 0.0, "representation": 0.0},
    "sur_lid": {"isolation": 0.0, "kd": 0.0, "alignment": 0.0},
}


@pytest.mark.parametrize("kind", ["module", "in place", "function", "flattened"])
@pytest.mark.parametrize("name", ["lfl", "dfil", "sur_lid"])
def test_a_network_is_at_no_distance_from_itself(problem: Problem, name: str, kind: str) -> None:
    strategy = strategy_of(name, **OPTIONS[name])
    losses: list[tuple[float, float]] = []

    class Noting(Still):
        def train(self, loop: Loop) -> None:
            step = loop.step

            def noted(loss: torch.Tensor) -> None:
                step(loss)
                losses.append((float(loss), float(loop._host.loss)))

            loop.step = noted  # type: ignore[method-assign]
            super().train(loop)

    train(problem, strategy, Noting(kind))
    factor = 2.0 if name == "dfil" else 1.0  # (2 − α) of the loss, after the first experience
    first = len(losses) // 3
    assert all(seen == pytest.approx(factor * own, abs=1e-6) for own, seen in losses[first:])
    # and the features themselves, if two passes of the same network in train mode are compared
    model, x = Dropping(kind).train(), problem.inputs(torch.arange(8))
    caught = []
    for _ in range(2):
        with HeadInputs(model, ("head",)) as inputs:
            model(x)
        caught.append(inputs.caught["head"])
    assert torch.equal(*caught)
    assert torch.equal(caught[0], model.trunk(x))
    assert caught[0].requires_grad


def test_hdps_distances_are_0_for_a_network_that_has_not_moved(problem: Problem) -> None:
    ours = train(problem, strategy_of("hdp", passes=1, tries=2), Still("function"))
    assert ours.strategy.effects.values()["feature_distance"] == pytest.approx(0, abs=1e-9)


def test_catching_ends_with_the_pass_even_if_it_fails() -> None:
    model = Dropping("module")
    inputs = HeadInputs(model, ("head",))
    with pytest.raises(RuntimeError, match="shapes"):
        model(torch.zeros(2, 5))
    assert torch._C._len_torch_function_stack() == 0
    inputs.remove()
    assert not model._forward_hooks
    assert not model.head._forward_pre_hooks


# --- Modes and precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize("teacher", ["eval", "train"])
def test_lwfs_teacher_is_in_the_mode_that_was_asked_for(problem: Problem, teacher: str) -> None:
    ours = train(problem, strategy_of("lwf", teacher=teacher))
    kept = ours.strategy._plugin.lwf.prev_model  # type: ignore[attr-defined]
    assert {m.training for m in kept.modules()} == {teacher == "train"}
    other = train(problem, strategy_of("lwf", teacher="train" if teacher == "eval" else "eval"))
    assert largest_difference(ours.model, other.model) > 1e-4
    again = strategy_of("lwf", teacher=teacher)
    again.plugins(StrategyContext(network(), ("6",), 3, 30, 1, 16, problem.labels))
    again.load_state_dict(ours.strategy.state_dict(), lambda ids: ids)
    assert {m.training for m in again._plugin.lwf.prev_model.modules()} == {teacher == "train"}  # type: ignore[attr-defined]


def test_lwf_by_its_formula(problem: Problem) -> None:
    """The teacher's outputs as it predicts: cross-entropy + ¾ · KL at temperature 3."""
    ours = train(problem, strategy_of("lwf", alpha=0.75, temperature=3.0))
    model, teacher = network(), None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for batches in ours.detector.seen:
        for ids in batches:
            x, y = problem.inputs(ids), problem.labels[ids]
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            if teacher is not None:
                with torch.no_grad():
                    p = (teacher(x) / 3).softmax(1)
                loss = loss + 0.75 * (p * (p.log() - (logits / 3).log_softmax(1))).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        teacher = copy.deepcopy(model).eval()
    assert largest_difference(ours.model, model) < 1e-5


def test_the_divergence_of_close_outputs_is_precise_in_bf16() -> None:
    old = torch.tensor([[1.0, -1.0]]).bfloat16()
    new = torch.tensor([[1.0078125, -1.0]]).bfloat16()
    found = Distillation(1.0, 2.0, "eval")._distillation_loss(new, old, {0, 1})
    p, q = (old.double() / 2).softmax(1), (new.double() / 2).softmax(1)
    assert float(found) == pytest.approx(float((p * (p / q).log()).sum()), rel=0.05)


def test_hdps_teacher_keeps_what_the_detector_has_frozen(problem: Problem) -> None:
    class Frozen(PlainDetector):
        def train(self, loop: Loop) -> None:
            with loop.phase(*loop.model[2:]):  # type: ignore[arg-type]
                super().train(loop)

    ours = train(problem, strategy_of("hdp", passes=1, tries=2), Frozen(PlainConfig(), Task()))
    teacher = ours.strategy._plugin.previous  # type: ignore[attr-defined]
    assert int(teacher[1].num_batches_tracked) == 0


def test_hdps_running_statistics_are_those_of_one_batch(problem: Problem) -> None:
    """The mean of a step is the mean over its units and its perturbed ones, with the momentum of one pass."""
    from dfbench_avalanche.hdp import HDPPlugin, perturbed

    torch.manual_seed(0)
    model = network().train()
    strategy = strategy_of("hdp")
    strategy.plugins(StrategyContext(model, ("6",), 3, 30, 1, 16, problem.labels))
    plugin: HDPPlugin = strategy._plugin  # type: ignore[attr-defined]
    plugin.keep(model)
    plugin.perturbations = [torch.full((1, 3, 8, 8), 0.1)]
    ids = torch.arange(16)
    x, y = problem.inputs(ids), problem.labels[ids]
    training = SimpleNamespace(
        model=model, mbatch=[x, y], units=ids, train_mb_size=16, loss=torch.zeros(()), effects=strategy.effects,
        autocast=lambda: torch.autocast("cpu", enabled=False),
    )  # fmt: skip
    plugin.before_forward(training)  # type: ignore[arg-type]
    training.mb_output = model(x)
    plugin.after_forward(training)  # type: ignore[arg-type]
    plugin.before_backward(training)  # type: ignore[arg-type]
    training.loss.backward()  # the statistics that were set are no harm to the graph
    rows = torch.cat([x, perturbed(x[y == 0], plugin.perturbations[0])])
    expected = network().train()
    expected(rows)
    assert torch.allclose(model[1].running_mean, expected[1].running_mean, atol=1e-6)  # type: ignore[index]
    assert torch.allclose(model[1].running_var, expected[1].running_var, rtol=0.02)  # type: ignore[index]


# --- Copies ------------------------------------------------------------------------------------------------


def normed(kind: Any) -> nn.Module:
    model = network()
    model[0] = kind(model[0])  # type: ignore[index]
    return model


KINDS = [
    nn.utils.weight_norm,
    nn.utils.spectral_norm,
    nn.utils.parametrizations.weight_norm,
    nn.utils.parametrizations.spectral_norm,
]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["naive", *TEACHERS])
def test_computed_weights_are_copied(problem: Problem, name: str, kind: Any) -> None:
    class Normed(Averaging):
        def build(self) -> nn.Module:
            return normed(kind)

    options = {"passes": 1, "tries": 2} if name == "hdp" else {}
    ours = train(problem, strategy_of(name, **options), Normed(PlainConfig(), Task()))
    copied, x = copy_network(ours.model.eval()), problem.inputs(torch.arange(8))
    assert torch.equal(copied(x), ours.model(x))
    pairs = zip(copied.parameters(), ours.model.parameters(), strict=True)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)  # the copy has weights of its own


class Locked(nn.Sequential):
    """What no copy can be made of."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot pickle a lock")


@pytest.mark.parametrize("name", TEACHERS)
def test_a_network_that_cannot_be_copied_is_refused_before_it_is_trained(problem: Problem, name: str) -> None:
    context = StrategyContext(Locked(*network()), ("6",), 3, 30, 1, 16, problem.labels)  # type: ignore[arg-type]
    with pytest.raises(IncompatibleError, match=r"a Locked cannot be copied \(TypeError: cannot pickle a lock\)"):
        strategy_of(name).plugins(context)
