"""Loops that would end in a silently wrong result: an error with one line, or a count in the record."""

from __future__ import annotations

import copy
import logging
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from dfbench import Loop, PluginError, Task
from dfbench.training.optimizers import Optimizers
from tests.training.harness import (
    BATCH,
    EXPERIENCES,
    PlainConfig,
    PlainDetector,
    Problem,
    largest_difference,
    strategy_of,
    train,
)
from tests.training.test_loop import sgd, with_loop


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


# --- Optimizers -------------------------------------------------------------------------------


class Asserting(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:
        assert closure is not None, "this optimizer requires a closure"


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, Asserting])
def test_an_optimizer_that_needs_a_closure_is_refused_without_one(problem: Problem, kind: Any) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(kind(loop.model.parameters(), lr=0.1))
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    with pytest.raises(PluginError, match=f"{kind.__name__} evaluates the loss several times per step"):
        train(problem, strategy_of("naive"), with_loop(body))


def test_a_closure_is_not_ignored() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(PluginError, match="takes no closure"):
        Optimizers([sgd(model)], model).step(lambda: 0.0)


def test_what_is_not_an_optimizer_is_refused(problem: Problem) -> None:
    with pytest.raises(PluginError, match="takes optimizers of torch, not a list"):
        train(problem, strategy_of("naive"), with_loop(lambda d, loop: loop.optimize([sgd(loop.model)])))


def test_a_scaled_loss_is_refused_and_a_weighed_one_is_not(problem: Problem) -> None:
    scaler = torch.amp.GradScaler("cpu")

    def run(scaled: Any) -> None:
        def body(detector: PlainDetector, loop: Loop) -> None:
            loop.optimize(sgd(loop.model, lr=1e-6))
            for batch in loop.batches():
                loop.step(scaled(detector.loss(loop.model, batch)))

        train(problem, strategy_of("naive"), with_loop(body))

    for scaled in (scaler.scale, lambda loss: loss * 1024, lambda loss: torch.tensor(256.0) * loss):
        with pytest.raises(PluginError, match="a loss scaled by"):
            run(scaled)
    for weighed in (lambda loss: 100 * loss, lambda loss: loss * 64, lambda loss: loss * loss):
        run(weighed)


# --- Gradients --------------------------------------------------------------------------------


def test_alternating_optimizers_step_with_the_gradient_of_their_batch(problem: Problem) -> None:
    def alternating(reset: bool) -> PlainDetector:
        def body(detector: PlainDetector, loop: Loop) -> None:
            parts = [sgd(loop.model[:-1]), sgd(loop.model[-1])]
            loop.optimize(parts[0])
            for index, batch in enumerate(loop.batches()):
                if reset:
                    loop.model.zero_grad()
                loop.optimize(parts[index % 2])
                loop.step(detector.loss(loop.model, batch))

        return with_loop(body)

    ours = train(problem, strategy_of("naive"), alternating(False))
    assert largest_difference(ours.model, train(problem, strategy_of("naive"), alternating(True)).model) == 0.0


def test_importances_are_those_of_the_whole_network_after_a_phase_on_the_head(problem: Problem) -> None:
    def importances(all_again: bool) -> Any:
        def body(detector: PlainDetector, loop: Loop) -> None:
            loop.optimize(sgd(loop.model))
            for batch in loop.batches():
                loop.step(detector.loss(loop.model, batch))
            with loop.phase(loop.model[-1]):
                loop.optimize(sgd(loop.model[-1]))
                for batch in loop.batches():
                    loop.step(detector.loss(loop.model, batch))
            if all_again:
                loop.optimize(sgd(loop.model))

        return train(problem, strategy_of("ewc"), with_loop(body)).strategy.state_dict()["importances"]["0"]

    ours, reference = importances(False), importances(True)
    assert all(torch.equal(ours[name], reference[name]) for name in reference)


# --- Passes -----------------------------------------------------------------------------------


def test_an_opaque_detector_reads_its_data_as_often_as_it_likes(problem: Problem) -> None:
    seen: list[list[torch.Tensor]] = []

    class Opaque(PlainDetector):
        opaque = True

        def train(self, loop: Loop) -> None:
            optimizer, data = sgd(loop.model), loop.data
            assert len(data) == 3
            for _ in range(2):
                seen.append([])
                for batch in data:
                    seen[-1].append(batch.units)
                    optimizer.zero_grad()
                    self.loss(loop.model, batch).backward()
                    optimizer.step()

    train(problem, strategy_of("naive"), Opaque(PlainConfig(), Task()))
    assert [len(batches) for batches in seen] == [3] * 2 * EXPERIENCES
    assert not torch.equal(torch.cat(seen[0]), torch.cat(seen[1]))
    assert torch.equal(torch.cat(seen[0]).sort().values, torch.cat(seen[1]).sort().values)


def test_two_passes_at_once_are_refused(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for first, _ in zip(loop.batches(), loop.batches(), strict=True):
            loop.step(detector.loss(loop.model, first))

    with pytest.raises(PluginError, match="while the first goes on"):
        train(problem, strategy_of("naive"), with_loop(body))


def test_a_batch_fetched_ahead_is_refused(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        batches = loop.batches()
        present = next(batches)
        while present is not None:
            ahead = next(batches, None)
            loop.step(detector.loss(loop.model, present))
            present = ahead

    with pytest.raises(PluginError, match="goes once with each batch"):
        train(problem, strategy_of("naive"), with_loop(body))


@pytest.mark.parametrize("name", ["gem", "agem", "replay", "der"])
def test_batches_that_are_passed_over_count_neither_as_steps_nor_as_replay(problem: Problem, name: str) -> None:
    def body(looks: bool) -> Any:
        def run(detector: PlainDetector, loop: Loop) -> None:
            loop.optimize(sgd(loop.model))
            if looks:
                for _ in loop.batches():  # counts classes, say
                    pass
            for batch in loop.batches():
                loop.step(detector.loss(loop.model, batch))

        return with_loop(run)

    counted = {}
    for looks in (False, True):
        trained = train(problem, strategy_of(name), body(looks))
        counted[looks] = trained.strategy.effects.values()
        assert trained.template.clock.train_iterations == 3 * EXPERIENCES
    for effect in {"replayed_units", "reference_passes"} & set(counted[False]):
        assert counted[True][effect] == counted[False][effect]


def test_a_passed_over_micro_batch_is_no_replay(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model), accumulate=3)
        for index, batch in enumerate(loop.batches()):
            if index:
                loop.step(detector.loss(loop.model, batch))

    effects = train(problem, strategy_of("replay"), with_loop(body)).strategy.effects.values()
    assert effects["replayed_units"] == 2 * 2 * BATCH


# --- Nothing that predicts --------------------------------------------------------------------


def foreign(detector: PlainDetector, loop: Loop) -> None:
    weight = nn.Parameter(torch.ones(()))
    loop.optimize(torch.optim.SGD([weight], lr=0.1))
    for batch in loop.batches():
        loop.step(weight * detector.loss(loop.model, batch))


def on_a_copy(detector: PlainDetector, loop: Loop) -> None:
    model = copy.deepcopy(loop.model)
    loop.optimize(sgd(model))
    for batch in loop.batches():
        loop.step(detector.loss(model, batch))


def with_the_loss_of_a_copy(detector: PlainDetector, loop: Loop) -> None:
    model = copy.deepcopy(loop.model)
    loop.optimize(sgd(loop.model))
    for batch in loop.batches():
        loop.step(detector.loss(model, batch))


@pytest.mark.parametrize("body", [foreign, on_a_copy, with_the_loss_of_a_copy])
@pytest.mark.parametrize("name", ["naive", "gem"])
def test_training_something_else_than_the_network_is_an_error(problem: Problem, body: Any, name: str) -> None:
    with pytest.raises(PluginError, match=r"did not train loop.model, the network that predicts"):
        train(problem, strategy_of(name), with_loop(body))


class Idle(PlainDetector):
    opaque = True
    reads: ClassVar[bool] = False

    def train(self, loop: Loop) -> None:
        if self.reads:
            list(loop.data)


class Reading(Idle):
    reads = True


def test_an_opaque_loop_that_does_nothing_is_an_error_or_a_warning(
    problem: Problem, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PluginError, match=r"it never read loop.data"):
        train(problem, strategy_of("naive"), Idle(PlainConfig(), Task()))
    with caplog.at_level(logging.WARNING, "dfbench.training"):
        train(problem, strategy_of("naive"), Reading(PlainConfig(), Task()))
    assert "Reading.train changed no weight of loop.model" in caplog.text


def test_a_learning_rate_of_0_and_a_part_of_the_network_are_legitimate(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model[-1], lr=0.0))
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    train(problem, strategy_of("naive"), with_loop(body))
