"""CLS-ER: its formulas by hand, and that the slow average predicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from dfbench_avalanche.cls_er import move, surer
from torch import nn

from dfbench import Loop, Task
from tests.training.harness import PlainConfig, PlainDetector, Problem, largest_difference, network, strategy_of, train


def test_the_surer_teacher_of_each_row() -> None:
    stable = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    plastic = torch.tensor([[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]])
    assert surer([stable, plastic], torch.tensor([0, 1, 0])).tolist() == [[2, 0], [0, 0], [5, 5]]


def test_an_average_by_hand() -> None:
    """The first steps are a plain mean of start and steps; then the decay bounds it; counters are copied."""
    model, average = network(), network()
    with torch.no_grad():
        for p in average.parameters():
            p.zero_()
    statistics, start = average[1].running_mean.clone(), 0.0
    for step, value in enumerate((3.0, 6.0, 9.0), 1):
        with torch.no_grad():
            for p in model.parameters():
                p.fill_(value)
            model[1].running_mean.fill_(value)
        model[1].num_batches_tracked += 1
        move(average, model, step, 0.7)
        share = 1 - min(1 - 1 / (step + 1), 0.7)
        start = (1 - share) * start + share * value
        statistics = (1 - share) * statistics + share * value
    assert start == pytest.approx(0.7 * 3.0 + 0.3 * 9.0)  # (0 + 3 + 6) / 3 after two steps
    assert all(torch.allclose(p, torch.full_like(p, start)) for p in average.parameters())
    assert torch.allclose(average[1].running_mean, statistics)
    assert int(average[1].num_batches_tracked) == 3


class Reference:
    """The paper's procedure in a plain loop over the same batches, with a memory that it is given."""

    def __init__(self, model: nn.Module, consistency: float, decays: tuple[float, float]) -> None:
        self.model, self.consistency, self.decays = model, consistency, decays
        self.averages = [network().eval() for _ in range(2)]
        for average in self.averages:
            average.load_state_dict(model.state_dict())
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        self.step = 0

    def on(self, x: torch.Tensor, y: torch.Tensor, stored: torch.Tensor) -> None:
        self.model.train()
        z = self.model(x)
        loss = F.cross_entropy(z, y)
        if stored.any():
            with torch.no_grad():
                stable, plastic = (average(x[stored]) for average in self.averages)
            labels = F.one_hot(y[stored], 2).bool()
            wins = stable.softmax(1)[labels] > plastic.softmax(1)[labels]
            aim = torch.where(wins[:, None], stable, plastic)
            loss = loss + self.consistency * ((z[stored] - aim) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        for average, decay in zip(self.averages, self.decays, strict=True):
            alpha = min(1 - 1 / (self.step + 1), decay)
            with torch.no_grad():
                for a, b in zip(average.state_dict().values(), self.model.state_dict().values(), strict=True):
                    a.copy_(alpha * a + (1 - alpha) * b)


class Noting(PlainDetector):
    """Notes the units of each step, and steps with plain SGD."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.steps: list[tuple[int, torch.Tensor]] = []

    def build(self) -> nn.Module:
        return network()

    def train(self, loop: Loop) -> None:
        loop.optimize(torch.optim.SGD(loop.model.parameters(), lr=0.05))
        for _ in loop.epochs(2):
            for batch in loop.batches():
                self.steps.append((loop.experience, batch.units))
                loop.step(self.loss(loop.model, batch))


def test_it_is_the_papers_procedure() -> None:
    """Both averages move at every step, so that nothing is drawn."""
    problem, detector = Problem.make(), Noting(PlainConfig(), Task())
    options = {"stable_chance": 1.0, "plastic_chance": 1.0, "stable_decay": 0.95, "plastic_decay": 0.8}
    strategy = strategy_of("cls_er", memory=30, consistency=0.7, **options)
    trained = train(problem, strategy, detector)
    reference = Reference(network(), 0.7, (0.95, 0.8))
    for experience, ids in detector.steps:
        stored = torch.from_numpy(problem.experience)[ids] != experience
        reference.on(problem.inputs(ids), problem.labels[ids], stored)
    plugin = strategy._plugin  # type: ignore[attr-defined]
    for ours, theirs in zip(
        (trained.model, plugin.stable, plugin.plastic), (reference.model, *reference.averages), strict=True
    ):
        mine, wanted = ours.state_dict(), theirs.state_dict()
        assert max(float((mine[n] - t).abs().max()) for n, t in wanted.items() if t.is_floating_point()) < 1e-5
    assert strategy.effects.values()["penalty"] > 0
    assert trained.template.averaged is plugin.stable
    assert largest_difference(plugin.stable, trained.model) > 1e-3
    without = train(
        problem, strategy_of("cls_er", memory=30, consistency=0.0, **options), Noting(PlainConfig(), Task())
    )
    assert largest_difference(without.model, trained.model) > 1e-3
