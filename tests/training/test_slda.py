"""SLDA against the discriminant of all units at once, on the features of the frozen network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dfbench import Loop, StrategyContext, Task, UsageError
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


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make()


class Leaky(PlainDetector):
    """No feature is always 0."""

    def build(self) -> nn.Module:
        model = network()
        model[5] = nn.LeakyReLU(0.5)  # type: ignore[index]
        return model


class Noting(Leaky):
    """Keeps the network as each experience's own training left it."""

    def __init__(self) -> None:
        super().__init__(PlainConfig(), Task())
        self.left: list[nn.Module] = []

    def train(self, loop: Loop) -> None:
        super().train(loop)
        self.left.append(copy_of(loop.model))


def joint(model: nn.Module, problem: Problem, ids: torch.Tensor, shrinkage: float) -> torch.Tensor:
    """Logits of the linear discriminant of these units, from its definition: log N(z; μ, Σ) up to what all share."""
    with torch.no_grad():
        z, y = copy_of(model).eval()[:-1](problem.inputs(ids)).double(), problem.labels[ids]  # type: ignore[index]
    means = torch.stack([z[y == c].mean(0) for c in (0, 1)])
    away = z - means[y]
    within = sum(torch.outer(row, row) for row in away) / len(z)
    covariance = (1 - shrinkage) * within + shrinkage * torch.eye(z.shape[1], dtype=torch.float64)
    inverse = covariance.inverse()
    every = (z[:, None, :] - means[None, :, :])[..., None]
    return (-0.5 * every.mT @ inverse @ every)[..., 0, 0]


@pytest.mark.parametrize("shrinkage", [1e-4, 0.2])
def test_the_head_is_the_discriminant_of_all_units_at_once(problem: Problem, shrinkage: float) -> None:
    detector = Noting()
    ours = train(problem, strategy_of("slda", shrinkage=shrinkage), detector)
    ids = torch.arange(len(problem.labels))
    with torch.no_grad():
        logits = copy_of(ours.model).eval()(problem.inputs(ids)).double()
    expected = joint(ours.model, problem, ids, shrinkage)
    assert float((logits[:, 1] - logits[:, 0] - (expected[:, 1] - expected[:, 0])).abs().max()) < 2e-3
    # not that of the last experience alone, and not what the detector's loop left
    last = joint(ours.model, problem, problem.ids(2), shrinkage)
    mine = logits[problem.ids(2)]
    assert float((mine[:, 1] - mine[:, 0] - (last[:, 1] - last[:, 0])).abs().max()) > 0.05
    assert largest_difference(ours.model[-1], detector.left[-1][-1]) > 0.05  # type: ignore[index]
    assert ours.strategy.effects.values()["fitted_units"] == len(ids)


def test_the_trunk_is_frozen_after_the_first_experience(problem: Problem) -> None:
    detector = Noting()
    ours = train(problem, strategy_of("slda"), detector)
    first = detector.left[0]
    assert largest_difference(first[:-1], Leaky(PlainConfig(), Task()).build()[:-1]) > 0.01  # type: ignore[index]
    assert largest_difference(ours.model[:-1], first[:-1]) == 0  # type: ignore[index]
    as_built = train(problem, strategy_of("slda", base=False), Noting())
    assert largest_difference(as_built.model[:-1], Leaky(PlainConfig(), Task()).build()[:-1]) == 0  # type: ignore[index]


def test_the_order_of_experiences_does_not_matter_on_a_network_as_it_was_built(problem: Problem) -> None:
    turned = Problem(problem.pictures, problem.labels, 2 - problem.experience)
    heads = [train(p, strategy_of("slda", base=False), Noting()).model[-1] for p in (problem, turned)]  # type: ignore[index]
    assert largest_difference(*heads) < 1e-3


def test_more_than_two_classes_and_one_that_comes_late() -> None:
    torch.manual_seed(0)
    head = nn.Linear(4, 3)
    strategy = strategy_of("slda")
    strategy.plugins(StrategyContext(nn.Sequential(head), ("0",), 2, 30, 1, 16, torch.arange(3)))
    plugin, before = strategy._plugin, copy_of(head)  # type: ignore[attr-defined]
    centres = 4 * torch.eye(3, 4, dtype=torch.float64)
    y = torch.arange(300) % 3
    z = centres[y] + torch.randn(300, 4, dtype=torch.float64)
    plugin.update(z[y < 2], y[y < 2])
    plugin.set_head(nn.Sequential(head))
    assert torch.equal(head.weight[2], before.weight[2])
    assert not torch.equal(head.weight[:2], before.weight[:2])
    plugin.update(z[y == 2], y[y == 2])
    plugin.set_head(nn.Sequential(head))
    assert float((head(z.float()).argmax(1) == y).float().mean()) > 0.97


def test_an_averaged_network_is_what_is_frozen(problem: Problem) -> None:
    class Averaging(Leaky):
        def train(self, loop: Loop) -> None:
            loop.average(0.5)
            super().train(loop)

    ours = train(problem, strategy_of("slda"), Averaging(PlainConfig(), Task()))
    assert ours.template.averaged is not None
    assert largest_difference(ours.model, ours.template.averaged) == 0


def test_sldas_sums_resume(problem: Problem) -> None:
    strategy = train(problem, strategy_of("slda")).strategy
    again = strategy_of("slda")
    again.plugins(StrategyContext(network(), ("6",), 3, 30, 1, 16, problem.labels))
    again.load_state_dict(strategy.state_dict(), lambda ids: ids)
    assert float(again.state_dict()["counts"].sum()) == len(problem.labels)
    assert all(
        torch.equal(a, b) for a, b in zip(strategy.state_dict().values(), again.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(("heads", "bias", "why"), [(("4", "6"), True, "has 2"), (("6",), False, "has none")])
def test_slda_needs_one_head_with_a_bias(problem: Problem, heads: tuple[str, ...], bias: bool, why: str) -> None:
    model = network()
    model[6] = nn.Linear(10, 2, bias=bias)  # type: ignore[index]
    with pytest.raises(UsageError, match=why):
        strategy_of("slda").plugins(StrategyContext(model, heads, 3, 30, 1, 16, problem.labels))
