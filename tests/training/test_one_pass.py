"""What strategies read of a step: the one pass through the network that has gradients, or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import nn

from dfbench import Loop, PluginError, Task
from tests.training.harness import PlainConfig, PlainDetector, Problem, largest_difference, strategy_of, train
from tests.training.test_loop import sgd, with_loop

STRENGTH: dict[str, dict[str, Any]] = {
    "lwf": {"alpha": 10},
    "lfl": {"strength": 100},
    "cored": {"representation": 10},
    "dfil": {"features": 50},
    "hdp": {"features": 50, "passes": 1, "tries": 2},
    "sur_lid": {},
    "der": {"alpha": 5},
}
"""What reads outputs or features of the step."""


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=32)


def with_looks(*, before: bool = False, after: bool = False) -> PlainDetector:
    """A detector that also calls its network without gradients in each step, on other inputs."""

    def look(loop: Loop, x: torch.Tensor) -> None:
        loop.model.eval()  # a pass in train mode would move the statistics of batch normalisation
        with torch.no_grad():
            loop.model(x.flip(0) * 2)
        loop.model.train()

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for batch in loop.batches():
            if before:
                look(loop, detector.inputs(batch, True))
            loss = detector.loss(loop.model, batch)
            if after:
                look(loop, detector.inputs(batch, True))
            loop.step(loss)

    return with_loop(body)


@pytest.mark.parametrize("name", STRENGTH)
def test_a_pass_without_gradients_changes_no_strategy(name: str, problem: Problem) -> None:
    plain = train(problem, strategy_of(name, **STRENGTH[name]), with_looks())
    for where in ("before", "after"):
        looked = train(problem, strategy_of(name, **STRENGTH[name]), with_looks(**{where: True}))
        assert largest_difference(plain.model, looked.model) == 0.0, where
        assert looked.strategy.effects.values() == plain.strategy.effects.values(), where


@pytest.mark.parametrize("name", ["mas", "dfil", "der", "hdp", "sur_lid"])
def test_a_pass_without_gradients_in_the_loss_is_not_what_a_strategy_measures(name: str, problem: Problem) -> None:
    class PseudoLabels(PlainDetector):
        def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
            was_training = model.training
            model.eval()
            with torch.no_grad():
                model(self.inputs(batch, False).flip(0))
            model.train(was_training)
            return super().loss(model, batch)

    settings = STRENGTH.get(name, {})
    plain = train(problem, strategy_of(name, **settings))
    looked = train(problem, strategy_of(name, **settings), PseudoLabels(PlainConfig(), Task()))
    assert largest_difference(plain.model, looked.model) == 0.0


def two_views(detector: PlainDetector, loop: Loop) -> None:
    loop.optimize(sgd(loop.model))
    for batch in loop.batches():
        loop.step(detector.loss(loop.model, batch) + detector.loss(loop.model, batch))


@pytest.mark.parametrize("name", [*STRENGTH, "mas"])
def test_two_passes_with_gradients_are_refused_where_outputs_are_read(name: str, problem: Problem) -> None:
    with pytest.raises(PluginError, match=r"calls model\(x\) twice with gradients"):
        train(problem, strategy_of(name), with_loop(two_views))


@pytest.mark.parametrize("name", ["naive", "replay", "gem", "agem", "ewc", "si", "rwalk"])
def test_two_passes_with_gradients_are_a_step_like_any_where_outputs_are_not_read(name: str, problem: Problem) -> None:
    trained = train(problem, strategy_of(name), with_loop(two_views))
    assert trained.template.clock.train_iterations == 6


def test_outputs_without_gradient_are_refused_where_they_are_read(problem: Problem) -> None:
    class Detached(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network(x).detach()

    class Parts(PlainDetector):
        def build(self) -> nn.Module:
            return Detached(super().build())

        def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
            model(self.inputs(batch, True))
            return nn.functional.cross_entropy(model.network(self.inputs(batch, True)), batch.labels)

    with pytest.raises(PluginError, match="they have no gradient"):
        train(problem, strategy_of("lwf"), Parts(PlainConfig(), Task()))


class Constant(SupervisedPlugin):
    """Adds a penalty that was computed without gradients."""

    def __init__(self, term: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.term = term

    def before_backward(self, training: Any, **kwargs: Any) -> None:
        training.loss = self.term(training.loss)


def test_a_penalty_without_gradient_is_an_error_before_the_first_step(problem: Problem) -> None:
    seen: list[bool] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        before = [p.clone() for p in loop.model.parameters()]
        try:
            two_batches(detector, loop)
        finally:
            seen.append(all(torch.equal(a, b) for a, b in zip(before, loop.model.parameters(), strict=True)))

    def two_batches(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    with pytest.raises(PluginError, match="penalty has no gradient"):
        train(problem, strategy_of("naive"), with_loop(body), extra=[Constant(lambda loss: loss + 3.0)])
    assert seen == [True]


def test_a_loss_that_is_only_weighed_or_gets_nothing_added_is_no_such_penalty(problem: Problem) -> None:
    train(problem, strategy_of("naive"), extra=[Constant(lambda loss: 1.7 * loss)])
    train(problem, strategy_of("naive"), extra=[Constant(lambda loss: loss + 0.0)])


def test_what_a_phase_freezes_makes_no_penalty_and_no_error(problem: Problem) -> None:
    """Features of a frozen trunk in train mode differ from the teacher's, and nothing can change them."""

    def body(detector: PlainDetector, loop: Loop) -> None:
        with loop.phase(loop.model[-1], freeze_statistics=False):
            loop.optimize(sgd(loop.model[-1]))
            for batch in loop.batches():
                loop.step(detector.loss(loop.model, batch))

    assert "penalty" not in train(problem, strategy_of("lfl", freeze=False), with_loop(body)).strategy.effects.values()
