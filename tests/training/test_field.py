"""DFIL and CoReD against loops written from their formulas, and their parts against cases made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from dfbench_avalanche.cored import means, members
from dfbench_avalanche.dfil import hard_and_central
from dfbench_avalanche.teacher import Measured, soft_labels, supervised_contrast
from torch import nn

from dfbench import PluginError, StrategyContext, Task, UsageError
from tests.training.formulas import PlainLoop, contrast, divergence, softmax, unit
from tests.training.harness import PlainConfig, PlainDetector, Problem, largest_difference, network, strategy_of, train


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


# --- Parts -------------------------------------------------------------------------------------------------


def test_supervised_contrast_by_hand() -> None:
    """Two of one label at a right angle, one of another opposite the first: cosines 0, −1 and 0."""
    points = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])  # the third has no companion and counts for nothing
    first, second = math.log(1 + math.exp(-2.0)), math.log(2)  # with temperature ½: exp(0), exp(−2); exp(0), exp(0)
    assert float(supervised_contrast(points, labels, 0.5)) == pytest.approx(0.5 * (first + second) / 2)
    assert float(supervised_contrast(points, torch.arange(3), 0.5)) == 0


def test_supervised_contrast_is_the_formula() -> None:
    torch.manual_seed(1)
    points, labels = torch.randn(12, 5, dtype=torch.float64), torch.randint(0, 3, (12,))
    for temperature in (0.1, 1.0):
        expected = contrast(points, labels, temperature)
        assert float(supervised_contrast(points, labels, temperature)) == pytest.approx(float(expected))


def test_soft_labels_by_hand() -> None:
    """Probabilities ½, ½ and, at temperature 2, ¾, ¼."""
    student = torch.tensor([[2 * math.log(3), 0.0]], dtype=torch.float64)
    expected = 4 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert float(soft_labels(student, torch.zeros(1, 2, dtype=torch.float64), 2.0)) == pytest.approx(expected)


def test_hard_and_central_by_hand() -> None:
    """Entropy falls with |z|: 4, 2, 0, 1, 3. The mean is 3, and the distances are 3, 2, 1, 1, 5 (the first wins)."""
    logits = torch.tensor([[0.2, 0.0], [0.3, 0.0], [0.1, 0.0], [0.0, 0.4], [0.0, 0.0]])
    features = torch.tensor([[0.0], [1.0], [2.0], [4.0], [8.0]])
    # in turn 4 and 2; 2 is taken, so 3; 0 and 1; the rest are there
    log_p = logits.double().log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1)
    assert hard_and_central(Measured(features.double(), entropy)).tolist() == [4, 2, 3, 0, 1]


def test_members_by_hand() -> None:
    """Confidence in the true class 0.5, 0.55, 0.6, 0.95 and 1, the last two of class 1; 0.3 is in no store."""
    confidence = torch.tensor([0.5, 0.55, 0.6, 0.95, 1 - 1e-9, 0.3], dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 0])
    p = torch.stack([confidence, 1 - confidence], 1)
    p = torch.where(labels[:, None] == 0, p, p.flip(1))
    found = members(p.log(), labels, 5)
    assert found.shape == (6, 10)
    assert [row.nonzero()[:, 0].tolist() for row in found] == [[], [0], [0], [9], [9], []]
    values, there = means(torch.tensor([[1.0], [2.0], [4.0], [5.0], [7.0], [9.0]]), found)
    assert there.nonzero()[:, 0].tolist() == [0, 9]
    assert values[[0, 9], 0].tolist() == [3.0, 6.0]


# --- DFIL --------------------------------------------------------------------------------------------------


class DFILLoop(PlainLoop):
    """Loss (1 + ½) times: α ½ and temperature 4; features of length 1; contrast in every experience."""

    def __init__(self, problem: Problem, seen: list[list[torch.Tensor]]) -> None:
        super().__init__(problem, seen)
        self.stored: list[list[int]] = []
        self.history: list[set[int]] = []

    def loss(self, ids: Any, labels: Any, features: Any, logits: Any, own: Any) -> torch.Tensor:
        if self.teacher is None:
            return own + 0.7 * contrast(features, labels, 0.8)
        with torch.no_grad():
            old, said = self.split(self.teacher, ids)
        distance = unit(features) - unit(old)
        return (
            own
            + (0.5 * divergence(logits, said, 4.0) + 0.5 * own)
            + 30 * distance.square().mean()
            + 0.2 * contrast(features, labels, 0.8)
        )

    def after(self, experience: int) -> None:
        """Half of each class's share by entropy, half by the distance to the class's mean feature."""
        cells = 2 * (experience + 1)
        for label in (0, 1):
            ids = self.problem.ids(experience)
            ids = ids[self.problem.labels[ids] == label]
            features, logits = self.in_eval(self.model, ids)
            p = softmax(logits.double())
            hard = ids[(p * p.log()).sum(1).argsort()].tolist()
            central = ids[(features - features.mean(0)).double().norm(dim=1).argsort()].tolist()
            chosen: list[int] = []
            for pair in zip(hard, central, strict=True):
                chosen += [one for one in pair if one not in chosen]
            self.stored.append(chosen)
        self.stored = [group[: 24 // cells] for group in self.stored]
        self.history.append({one for group in self.stored for one in group})


def test_dfil(problem: Problem) -> None:
    options = {"alpha": 0.5, "temperature": 4.0, "features": 30.0, "contrast": 0.2, "first_contrast": 0.7}
    strategy = strategy_of("dfil", memory=24, contrast_temperature=0.8, **options)
    held: list[Any] = []
    ours = train(problem, strategy, before=lambda template, index: held.append(strategy.stored_units().tolist()))
    held.append(strategy.stored_units().tolist())
    loop = DFILLoop(problem, ours.detector.seen)
    assert largest_difference(ours.model, loop.run()) < 2e-5
    assert [set(ids) for ids in held[1:]] == loop.history
    assert [len(ids) for ids in held] == [0, 24, 24, 24]
    for experience in (1, 2):
        replayed = {int(i) for ids in ours.detector.seen[experience] for i in ids} - set(
            problem.ids(experience).tolist()
        )
        assert replayed == set(held[experience])
    for name in options:  # each term counts
        less = train(problem, strategy_of("dfil", memory=24, contrast_temperature=0.8, **options | {name: 0.01}))
        assert largest_difference(ours.model, less.model) > 1e-4, name


def test_dfils_defaults_are_the_authors() -> None:
    config = strategy_of("dfil").config
    assert (config.alpha, config.temperature, config.features) == (0.3, 20.0, 0.01)
    assert (config.contrast, config.first_contrast, config.contrast_temperature) == (0.1, 1.0, 1.0)


# --- CoReD -------------------------------------------------------------------------------------------------


class CoReDLoop(PlainLoop):
    """α ½ and temperature 4; the distance to the stores 3 times."""

    def cells(self, ids: torch.Tensor, logits: torch.Tensor) -> dict[tuple[int, int], list[int]]:
        """Rows by class and by tenths of confidence above ½."""
        found: dict[tuple[int, int], list[int]] = {}
        for row, label in enumerate(self.problem.labels[ids].tolist()):
            confidence = float(softmax(logits.double())[row, label])
            for step in range(5):
                if 0.5 + step / 10 < confidence <= 0.6 + step / 10:
                    found.setdefault((label, step), []).append(row)
        return found

    def before(self, experience: int) -> None:
        if self.teacher is not None:
            ids = self.problem.ids(experience)
            features, logits = self.in_eval(self.teacher, ids)
            self.store = {cell: features[rows].mean(0) for cell, rows in self.cells(ids, logits).items()}

    def loss(self, ids: Any, labels: Any, features: Any, logits: Any, own: Any) -> torch.Tensor:
        if self.teacher is None:
            return own
        with torch.no_grad():
            said = self.split(self.teacher, ids)[1]
        away = torch.zeros(())
        for cell, rows in self.cells(ids, logits.detach()).items():
            if cell in self.store:
                away = away + (features[rows].mean(0) - self.store[cell]).square().mean()
        return own + 0.5 * divergence(logits, said, 4.0) + 0.5 * own + 3 * away


def test_cored(problem: Problem) -> None:
    options = {"alpha": 0.5, "temperature": 4.0, "representation": 3.0}
    ours = train(problem, strategy_of("cored", **options))
    assert ours.strategy.effects.values()["matched_stores"] > 0
    assert len(ours.strategy.stored_units()) == 0
    assert largest_difference(ours.model, CoReDLoop(problem, ours.detector.seen).run()) < 2e-5
    for name in options:
        less = train(problem, strategy_of("cored", **options | {name: 0.01}))
        assert largest_difference(ours.model, less.model) > 1e-4, name
    config = strategy_of("cored").config
    assert (config.alpha, config.temperature, config.representation, config.stores) == (0.5, 20.0, 1.0, 5)


# --- What cannot be ---------------------------------------------------------------------------------------------


def context_of(problem: Problem, heads: tuple[str, ...] = ("6",), memory: int = 30) -> StrategyContext:
    return StrategyContext(network(), heads, 3, memory, 1, 16, problem.labels)


@pytest.mark.parametrize("name", ["dfil", "sur_lid"])
def test_a_memory_of_less_than_a_unit_an_experience_is_refused(problem: Problem, name: str) -> None:
    with pytest.raises(UsageError, match="memory of 2 units is too small"):
        strategy_of(name, memory=2).plugins(context_of(problem))


@pytest.mark.parametrize("name", ["dfil", "cored", "hdp", "sur_lid"])
def test_a_loop_that_does_not_pass_through_the_head_is_told(problem: Problem, name: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = network()[:-1], network()[-1]  # type: ignore[index]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(self.trunk(x), self.head.weight)

    class Around(PlainDetector):
        def build(self) -> nn.Module:
            return Net()

    with pytest.raises(PluginError, match="did not pass through them all"):
        train(problem, strategy_of(name), Around(PlainConfig(), Task()))
