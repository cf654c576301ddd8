"""Replay policies against selections made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dfbench_avalanche.storage_policies import (
    Aged,
    Ranked,
    Reservoir,
    aged_shares,
    decaying,
    harmonic,
    herd,
    shares,
    to_centre,
)
from pydantic import ValidationError

from dfbench import StrategyContext, Task
from tests.training.harness import PlainConfig, PlainDetector, Problem, Trained, network, strategy_of, train


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=24)


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([10, 10], 6, [3, 3]),
        ([10, 10, 10], 8, [3, 3, 2]),
        ([1, 10, 10], 9, [1, 4, 4]),
        ([2, 0, 3], 9, [2, 0, 3]),
        ([5, 5, 5, 5], 2, [1, 1, 0, 0]),
        ([], 3, []),
    ],
)
def test_shares(sizes: list[int], total: int, expected: list[int]) -> None:
    assert shares(sizes, total) == expected


@pytest.mark.parametrize(
    ("weight", "sizes", "total", "expected"),
    [
        (harmonic, [10, 10, 10], 11, [2, 3, 6]),  # 11 · (1/3, 1/2, 1) / (11/6)
        (harmonic, [10, 10, 10], 12, [2, 3, 7]),  # 2.18, 3.27, 6.55: the rest to the latest
        (harmonic, [10, 10, 3], 11, [3, 5, 3]),  # three places are free, the latest of the others first
        (decaying, [10, 10, 10], 7, [1, 2, 4]),  # 7 · (1/4, 1/2, 1) / (7/4)
        (decaying, [9] * 5, 4, [0, 0, 0, 1, 3]),  # 2.06, 1.03, 0.5, …: the earliest have none
        (decaying, [1, 1], 9, [1, 1]),
        (harmonic, [], 3, []),
    ],
)
def test_shares_by_age(weight: Any, sizes: list[int], total: int, expected: list[int]) -> None:
    assert aged_shares(sizes, total, weight) == expected


@pytest.mark.parametrize(
    ("weight", "expected"), [(harmonic, [[6], [2, 4], [1, 1, 4]]), (decaying, [[6], [2, 4], [0, 2, 4]])]
)
def test_a_memory_by_age_stays_full_and_divides_places_over_the_classes(weight: Any, expected: list[list[int]]) -> None:
    """Six places, ages 3 to 1: 6 · (1/3, 1/2, 1) / (11/6) is 1.1, 1.6, 3.3; 6 · (1/4, 1/2, 1) / (7/4) 0.9, 1.7, 3.4.

    The place that harmonic leaves goes to the latest, the two that decaying leaves to the latest and the one before.
    """
    memory = Aged(6, weight)
    for k, counts in enumerate(expected):
        before = memory.experiences[:]
        ids = torch.arange(20 * k, 20 * k + 20)
        memory.update(None, ids, ids % 2)
        held = [[len(group) for group in groups] for groups in memory.experiences]
        assert [sum(groups) for groups in held] == counts
        assert all(max(groups) - min(groups) <= 1 for groups in held)
        for old, new in zip(before, memory.experiences, strict=False):  # what is dropped does not come back
            assert all(set(n.tolist()) <= set(o.tolist()) for o, n in zip(old, new, strict=True))


def test_herding_by_hand() -> None:
    """On a line with mean 2.6: 3 is nearest, then with 2 the mean is 2.5, and so on."""
    points = torch.tensor([[0.0], [1.0], [2.0], [3.0], [7.0]])
    # third: (5 + x) / 3 with x = 0, 1, 7 is 1.67, 2, 4; fourth: (6 + x) / 4 with x = 0, 7 is 1.5, 3.25
    assert herd(points, 5).tolist() == [3, 2, 1, 4, 0]
    assert herd(points, 2).tolist() == [3, 2]


def test_centre_by_hand() -> None:
    points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 1.0], [1.0, -1.0], [9.0, 0.0]])  # mean (3, 0)
    assert to_centre(points).tolist() == [1, 2, 3, 0, 4]


def test_groups_lose_their_last_ones_first() -> None:
    memory = Ranked(6, lambda strategy, ids: ids.sort(descending=True).values)
    memory.update(None, torch.arange(10), torch.arange(10) % 2)
    assert [g.tolist() for g in memory.groups] == [[8, 6, 4], [9, 7, 5]]
    memory.update(None, torch.arange(10, 20), torch.arange(10) % 2)
    assert [g.tolist() for g in memory.groups] == [[8, 6], [9, 7], [18], [19]]


def test_the_reservoir_is_uniform() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(40)
    for _ in range(2000):
        memory = Reservoir(10)
        for part in torch.arange(40).split(13):
            memory.update(None, part, part)
        counts[memory.ids] += 1
    assert float((counts / 2000 - 0.25).abs().max()) < 0.04


def test_a_budget_in_bytes_pays_for_whole_units(problem: Problem) -> None:
    context = StrategyContext(network(), ("6",), 3, 50, 4, 16, problem.labels, sample_bytes=100)
    memory = strategy_of("replay", memory_bytes=2399).config  # a unit of 4 samples costs 400
    assert (context.units_in_memory(memory), context.units_per_experience(memory)) == (5, 1)
    assert context.units_in_memory(strategy_of("replay").config) == 50 // 4
    with pytest.raises(ValidationError, match="two budgets"):
        strategy_of("gem", memory=5, memory_bytes=5)


def trained(problem: Problem, policy: str) -> Trained:
    detector = PlainDetector(PlainConfig(), Task())
    return train(problem, strategy_of("replay", policy=policy, memory=12), detector)


def outputs(problem: Problem, model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features before the head and logits, in eval mode."""
    model.eval()
    with torch.no_grad():
        return model[:-1](problem.inputs(ids)).double(), model(problem.inputs(ids))


@pytest.mark.parametrize("policy", ["hardest", "herding", "centre"])
def test_the_last_experiences_choice_is_what_its_network_says(problem: Problem, policy: str) -> None:
    ours = trained(problem, policy)
    groups = ours.strategy.state_dict()["ranked"]
    assert [len(g) for g in groups] == [2] * 6
    for target, group in zip((0, 1), groups[-2:], strict=True):
        ids = problem.ids(2)[problem.labels[problem.ids(2)] == target]
        features, logits = outputs(problem, ours.model, ids)
        points = features / features.norm(dim=1, keepdim=True)
        mean = points.mean(0)
        if policy == "hardest":
            loss = torch.nn.functional.cross_entropy(logits, problem.labels[ids], reduction="none")
            expected = loss.topk(2).indices
        elif policy == "centre":
            expected = (points - mean).norm(dim=1).topk(2, largest=False).indices
        else:
            first = (points - mean).norm(dim=1).argmin()
            pair = ((points + points[first]) / 2 - mean).norm(dim=1)
            pair[first] = torch.inf
            expected = torch.stack([first, pair.argmin()])
        assert group.tolist() == ids[expected].tolist()


def test_class_holds_as_much_of_each_class_of_each_experience(problem: Problem) -> None:
    ids = trained(problem, "class").strategy.stored_units()
    cells = torch.from_numpy(problem.experience)[ids] * 2 + problem.labels[ids]
    assert cells.bincount().tolist() == [2] * 6


@pytest.mark.parametrize(
    ("policy", "held"),
    [
        ("experience", [4, 4, 4]),
        ("harmonic", [2, 3, 7]),  # 12 · (1/3, 1/2, 1) / (11/6) is 2.2, 3.3, 6.5
        ("decaying", [1, 4, 7]),  # 12 · (1/4, 1/2, 1) / (7/4) is 1.7, 3.4, 6.9
    ],
)
def test_a_real_run_holds_and_replays_by_age(problem: Problem, policy: str, held: list[int]) -> None:
    ours = trained(problem, policy)
    origin = torch.from_numpy(problem.experience)
    assert origin[ours.strategy.stored_units()].bincount(minlength=3).tolist() == held
    replayed = torch.cat(ours.detector.seen[2])
    counts = origin[replayed].bincount(minlength=3)[:2].double()  # while the third is trained on
    before = {"experience": [6, 6], "harmonic": [4, 8], "decaying": [4, 8]}[policy]  # 12 places of two
    assert torch.allclose(counts / counts.sum(), torch.tensor(before).double() / 12, atol=0.05)


@pytest.mark.parametrize("policy", ["class", "reservoir", "herding", "harmonic", "decaying"])
def test_replayed_units_are_the_memorys(problem: Problem, policy: str) -> None:
    ours = trained(problem, policy)
    for index in (1, 2):
        old = torch.cat(ours.detector.seen[index])
        old = old[torch.from_numpy(problem.experience)[old] < index]
        assert 2 <= len(old.unique()) <= 12
    again = strategy_of("replay", policy=policy, memory=12)
    model = network()
    again.plugins(StrategyContext(model, ("6",), 3, 12, 1, 16, problem.labels))
    again.load_state_dict(ours.strategy.state_dict(), lambda ids: ids)
    assert torch.equal(again.stored_units(), ours.strategy.stored_units())
