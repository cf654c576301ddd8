"""MIR: the virtual step, the choice that it leads to, and what is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dfbench_avalanche.mir import virtual_step
from torch import nn

from dfbench import StrategyContext, Task, UsageError
from tests.training.harness import (
    BATCH,
    LR,
    PlainConfig,
    PlainDetector,
    Problem,
    copy_of,
    largest_difference,
    network,
    plain_network,
    strategy_of,
    train,
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


class Plain(PlainDetector):
    """The network without batch normalisation."""

    def build(self) -> nn.Module:
        return plain_network()


def test_a_virtual_step_is_one_of_gradient_descent_and_leaves_nothing(problem: Problem) -> None:
    model, x, y = plain_network(), problem.inputs(torch.arange(8)), problem.labels[:8]
    model[1].requires_grad_(False)  # type: ignore[index]
    stepped, before = copy_of(model), copy_of(model)
    optimizer = torch.optim.SGD([p for p in stepped.parameters() if p.requires_grad], lr=0.3)
    nn.functional.cross_entropy(stepped(x), y).backward()
    optimizer.step()
    loss = nn.functional.cross_entropy(model(x), y)
    with virtual_step([p for p in model.parameters() if p.requires_grad], loss, 0.3):
        assert largest_difference(model, stepped) < 1e-7
        assert largest_difference(model, before) > 1e-4
    assert largest_difference(model, before) == 0
    loss.backward()  # the graph is whole
    for p, expected in zip(model.parameters(), stepped.parameters(), strict=True):
        assert (p.grad is None and expected.grad is None) or torch.allclose(p.grad, expected.grad)  # type: ignore[arg-type]


def watched(problem: Problem, detector: PlainDetector, **options: Any) -> tuple[Any, list[Any]]:
    """Train, and note of each choice the network, the batch, the candidates and the chosen."""
    strategy, choices = strategy_of("mir", **options), []

    def watch(template: Any, index: int) -> None:
        if index == 0:
            plugin = strategy._plugin  # type: ignore[attr-defined]
            retrieve = plugin.retrieve

            def noted(training: Any, candidates: torch.Tensor, count: int) -> torch.Tensor:
                chosen = retrieve(training, candidates, count)
                choices.append((copy_of(training.model), training.units.clone(), candidates, chosen))
                return chosen  # type: ignore[no-any-return]

            plugin.retrieve = noted

    return train(problem, strategy, detector, before=watch), choices


def test_the_units_are_replayed_whose_loss_the_step_raises_most(problem: Problem) -> None:
    ours, choices = watched(problem, Plain(PlainConfig(), Task()), memory=40, candidates=24, batch_size=6)
    assert len(choices) == sum(map(len, ours.detector.seen[1:])) > 8
    others = 0
    for model, batch, candidates, chosen in choices:
        assert len(candidates) == 24
        assert len(chosen) == len(chosen.unique()) == 6
        stepped = copy_of(model)
        nn.functional.cross_entropy(stepped(problem.inputs(batch)), problem.labels[batch]).backward()
        with torch.no_grad():
            for p in stepped.parameters():
                p -= LR * p.grad
                p.grad = None
            x, y = problem.inputs(candidates), problem.labels[candidates]
            rise = nn.functional.cross_entropy(stepped(x), y, reduction="none")
            before = nn.functional.cross_entropy(model(x), y, reduction="none")
        rise = rise - before
        taken = torch.isin(candidates, chosen)
        assert float(rise[taken].min()) >= float(rise[~taken].max()) - 1e-6
        # neither the first that were drawn nor those that already have the largest loss
        others += not torch.equal(chosen.sort().values, candidates[:6].sort().values)
        others += not torch.equal(chosen.sort().values, candidates[before.topk(6).indices].sort().values)
    assert others > len(choices)


def test_the_chosen_units_are_trained_on_next_to_the_batch(problem: Problem) -> None:
    """A plain loop on the same batches and choices: the sum of both mean losses."""
    ours, choices = watched(problem, Plain(PlainConfig(), Task()), memory=40, candidates=24, batch_size=6)
    model, given = plain_network(), iter(choices)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    for experience, batches in enumerate(ours.detector.seen):
        for ids in batches:
            assert len(ids) == BATCH
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(problem.inputs(ids)), problem.labels[ids])
            if experience:
                chosen = next(given)[3]
                loss = loss + nn.functional.cross_entropy(model(problem.inputs(chosen)), problem.labels[chosen])
            loss.backward()
            optimizer.step()
    assert largest_difference(ours.model, model) < 1e-6
    effects = ours.strategy.effects.values()
    assert effects["replayed_units"] == 6 * len(choices)
    assert effects["virtual_steps"] == len(choices)


def test_choosing_moves_no_statistics_and_no_weights(problem: Problem) -> None:
    """With batch normalisation, and more candidates than are taken or as many: the passes are the same."""
    some, _ = watched(problem, PlainDetector(PlainConfig(), Task()), memory=40, candidates=30, batch_size=8)
    counted = int(some.model[1].num_batches_tracked)
    steps = [len(batches) for batches in some.detector.seen]
    assert counted == steps[0] + 2 * steps[1] + 2 * steps[2]


def test_mirs_memory_is_of_past_experiences_and_resumes(problem: Problem) -> None:
    strategy = strategy_of("mir", memory=20)
    ours = train(problem, strategy)
    stored = strategy.stored_units()
    assert len(stored.unique()) == 20
    assert len(torch.from_numpy(problem.experience)[stored].unique()) == 3
    again = strategy_of("mir", memory=20)
    again.plugins(StrategyContext(network(), ("6",), 3, 30, 1, 16, problem.labels))
    again.load_state_dict(strategy.state_dict(), lambda ids: ids)
    assert torch.equal(again.stored_units(), stored)
    assert largest_difference(ours.model, train(problem, strategy_of("naive")).model) > 1e-3


def test_a_memory_of_one_unit_is_refused(problem: Problem) -> None:
    with pytest.raises(UsageError, match="memory of 1 units is too small"):
        strategy_of("mir", memory=1).plugins(StrategyContext(network(), ("6",), 3, 30, 1, 16, problem.labels))
