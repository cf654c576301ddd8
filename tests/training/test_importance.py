"""Importances of EWC, MAS and RWalk as their papers define them, from loops written for that."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dfbench import Loop, Task
from tests.training.harness import (
    PlainConfig,
    PlainDetector,
    Problem,
    copy_of,
    largest_difference,
    strategy_of,
    train,
)

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


class Noting(PlainDetector):
    """Keeps the network that each experience left, and each step's gradient of the loss itself."""

    def __init__(self) -> None:
        super().__init__(PlainConfig(), Task())
        self.left: list[nn.Module] = []
        self.squares: list[list[Tensors]] = []

    def train(self, loop: Loop) -> None:
        step = loop.step
        self.squares.append([])

        def noted(loss: torch.Tensor) -> None:
            names, weights = zip(*loop.model.named_parameters(), strict=True)
            gradients = torch.autograd.grad(loss, weights, retain_graph=True)
            self.squares[-1].append({n: g.pow(2) for n, g in zip(names, gradients, strict=True)})
            step(loss)

        loop.step = noted  # type: ignore[method-assign]
        super().train(loop)
        self.left.append(copy_of(loop.model).eval())


def mean_over_units(problem: Problem, model: nn.Module, experience: int, measure: Any) -> Tensors:
    """Of each weight the mean over single units of ``measure(logits, label)``'s gradient, as it is transformed."""
    found: Tensors = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    ids = problem.ids(experience)
    for i in ids.tolist():
        loss, transform = measure(model(problem.inputs(torch.tensor([i]))), problem.labels[i : i + 1])
        for (name, p), g in zip(
            model.named_parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            assert p.shape == g.shape
            found[name] += transform(g) / len(ids)
    return found


def close(a: Tensors, b: Tensors) -> None:
    for name, value in b.items():
        assert torch.allclose(a[name], value, rtol=1e-3, atol=1e-6 * float(value.abs().max())), name


def test_ewcs_fisher_information_is_of_single_units(problem: Problem) -> None:
    detector = Noting()
    ours = train(problem, strategy_of("ewc", fisher="unit", strength=5.0), detector)
    plugin = ours.strategy._plugin  # type: ignore[attr-defined]
    for k, model in enumerate(detector.left):
        expected = mean_over_units(
            problem, model, k, lambda z, y: (nn.functional.cross_entropy(z, y), lambda g: g.pow(2))
        )
        close({n: d.data for n, d in plugin.importances[k].items()}, expected)
    of_batches = train(problem, strategy_of("ewc", strength=5.0, fisher="batch"), Noting())
    assert largest_difference(ours.model, of_batches.model) > 1e-4


@pytest.mark.parametrize("accumulate", ["sum", "mean"])
def test_mas_adds_the_sensitivities_of_single_units(problem: Problem, accumulate: str) -> None:
    detector = Noting()
    ours = train(problem, strategy_of("mas", strength=0.1, alpha=0.3, accumulate=accumulate), detector)
    each = [
        mean_over_units(problem, model, k, lambda z, y: (z.pow(2).sum(), torch.abs))
        for k, model in enumerate(detector.left)
    ]
    names = each[0]
    weights = (1.0, 1.0, 1.0) if accumulate == "sum" else (0.09, 0.3 * 0.7, 0.7)
    close(
        ours.strategy._plugin.importance,  # type: ignore[attr-defined]
        {n: sum(w * part[n] for w, part in zip(weights, each, strict=True)) for n in names},  # type: ignore[misc]
    )
    batch = train(problem, strategy_of("mas", strength=0.1, accumulate=accumulate, gradient="batch"), Noting())
    assert largest_difference(ours.model, batch.model) > 1e-4


@pytest.mark.parametrize("interval", [4, 100])
def test_rwalks_fisher_information_is_of_whole_intervals(problem: Problem, interval: int) -> None:
    """Shares of .9 for each next mean of 4 steps; of 100, which no experience has, for the mean of its 6."""
    detector = Noting()
    ours = train(problem, strategy_of("rwalk", strength=0.0, interval=interval), detector)
    fisher: Tensors = {}
    for squares in detector.squares:
        assert len(squares) == 6
        part = squares[:interval]
        for name in part[0]:
            mean = torch.stack([s[name] for s in part]).mean(0)
            fisher[name] = 0.9 * mean + 0.1 * fisher[name] if name in fisher else mean
    close(ours.strategy._plugin.fisher, fisher)  # type: ignore[attr-defined]
    by_step = train(problem, strategy_of("rwalk", strength=0.0, interval=interval, fisher="step"), Noting())
    newest, last = by_step.strategy._plugin.fisher, detector.squares[-1][-1]  # type: ignore[attr-defined]
    assert all(bool((newest[n] >= 0.9 * last[n] * (1 - 1e-5)).all()) for n in last)


class Path(PlainDetector):
    """Keeps the weights before each step and after the last one, and each step's gradient of the loss itself."""

    def __init__(self) -> None:
        super().__init__(PlainConfig(), Task())
        self.weights: list[list[Tensors]] = []
        self.gradients: list[list[Tensors]] = []

    def train(self, loop: Loop) -> None:
        step, names = loop.step, [n for n, _ in loop.model.named_parameters()]
        self.weights.append([])
        self.gradients.append([])

        def noted(loss: torch.Tensor) -> None:
            found = torch.autograd.grad(loss, list(loop.model.parameters()), retain_graph=True)
            self.gradients[-1].append(dict(zip(names, found, strict=True)))
            self.weights[-1].append({n: p.detach().clone() for n, p in loop.model.named_parameters()})
            step(loss)

        loop.step = noted  # type: ignore[method-assign]
        super().train(loop)
        self.weights[-1].append({n: p.detach().clone() for n, p in loop.model.named_parameters()})


@pytest.mark.parametrize("rectify", ["interval", "sum"])
def test_rwalks_scores_below_0_are_cut_off_for_each_interval(problem: Problem, rectify: str) -> None:
    """The scores of two intervals of 3 steps each; ``sum`` cuts their sum off, and averages it before."""
    detector = Path()
    ours = train(problem, strategy_of("rwalk", strength=0.0, interval=3, rectify=rectify), detector)
    fisher: Tensors = {}
    scores: Tensors = {}
    for weights, gradients in zip(detector.weights, detector.gradients, strict=True):
        experience: Tensors = {n: torch.zeros_like(p) for n, p in weights[0].items()}
        for first in (0, 3):
            for n, total in experience.items():
                mean = torch.stack([g[n].pow(2) for g in gradients[first : first + 3]]).mean(0)
                fisher[n] = 0.9 * mean + 0.1 * fisher[n] if n in fisher else mean
                saved = sum(gradients[i][n] * (weights[i][n] - weights[i + 1][n]) for i in range(first, first + 3))
                moved = 0.5 * fisher[n] * (weights[first + 3][n] - weights[first][n]).pow(2)
                score = saved / (moved + torch.finfo(torch.float32).eps)
                total += score.clamp(min=0) if rectify == "interval" else score
        scores = {n: (scores[n] + s) / 2 for n, s in experience.items()} if scores else experience
    close(ours.strategy._plugin.scores, scores)  # type: ignore[attr-defined]
    if rectify == "interval":
        other = train(problem, strategy_of("rwalk", strength=0.5, interval=3), Path())
        assert (
            largest_difference(
                other.model, train(problem, strategy_of("rwalk", strength=0.5, interval=3, rectify="sum"), Path()).model
            )
            > 1e-4
        )


def test_rwalk_as_avalanche_has_it_cuts_off_the_sum() -> None:
    assert strategy_of("rwalk").config.rectify == "interval"
    assert strategy_of("rwalk", fisher="step").config.rectify == "sum"
    assert strategy_of("rwalk", fisher="step", rectify="interval").config.rectify == "interval"


@pytest.mark.parametrize("name", ["ewc", "mas"])
def test_measuring_wakes_nothing_that_is_frozen(problem: Problem, name: str) -> None:
    strategy, modes = strategy_of(name), []

    def watch(template: Any, index: int) -> None:
        if index == 0:
            plugin = strategy._plugin  # type: ignore[attr-defined]
            measure = plugin.after_training_exp

            def noted(training: Any, **kwargs: Any) -> None:
                training.model[1].eval()
                measure(training, **kwargs)
                modes.append([m.training for m in training.model][:3])

            plugin.after_training_exp = noted

    train(problem, strategy, before=watch)
    assert modes == [[True, False, True]] * 3
