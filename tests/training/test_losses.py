"""Losses that cannot be trained on, gradient penalties, divergence, and detectors that end the program."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from torch import nn

from dfbench import Loop, PluginError, Task
from dfbench.errors import DfbenchError
from tests.training.harness import EXPERIENCES, PlainConfig, PlainDetector, Problem, strategy_of, train
from tests.training.test_loop import sgd, with_loop


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


def returning(make: Any) -> PlainDetector:
    class Custom(PlainDetector):
        def loss(self, model: nn.Module, batch: Any) -> Any:
            return make(super().loss(model, batch))

    return Custom(PlainConfig(), Task())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda loss: {"loss": loss}, "a dict to loop.step"),
        (lambda loss: None, "a NoneType to loop.step"),
        (lambda loss: loss.detach(), "without a gradient"),
        (lambda loss: loss.expand(3), r"not one of shape \(3,\)"),
        (lambda loss: loss * torch.nan, "the first loss of this training is not a finite number"),
    ],
)
def test_a_wrong_loss_is_named_at_the_first_step(problem: Problem, make: Any, message: str) -> None:
    with pytest.raises(PluginError, match=f"Custom.*{message}"):
        train(problem, strategy_of("naive"), returning(make))


@pytest.mark.parametrize("make", [lambda loss: {"loss": loss}, lambda loss: None, lambda loss: loss.expand(3)])
def test_a_wrong_loss_is_named_where_a_strategy_calls_it(problem: Problem, make: Any) -> None:
    class Custom(PlainDetector):
        def loss(self, model: nn.Module, batch: Any) -> Any:
            return make(super().loss(model, batch))

        def train(self, loop: Loop) -> None:
            loop.optimize(sgd(loop.model))
            for batch in loop.batches():
                loop.step(F.cross_entropy(loop.model(self.inputs(batch, True)), batch.labels))

    with pytest.raises(PluginError, match=r"Custom\.loss returned a"):
        train(problem, strategy_of("ewc"), Custom(PlainConfig(), Task()))


@pytest.mark.parametrize("name", ["gem", "agem", "ewc", "mas", "der", "dfil", "cored", "hdp", "sur_lid", "replay"])
def test_a_gradient_penalty_in_the_loss_works_under_every_strategy_that_calls_it(problem: Problem, name: str) -> None:
    class Penalised(PlainDetector):
        def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
            x = self.inputs(batch, True).requires_grad_()
            loss = F.cross_entropy(model(x), batch.labels)
            (slope,) = torch.autograd.grad(loss, x, create_graph=True)
            return loss + 0.01 * slope.square().sum()

    policies = ["hardest", "herding", "centre"] if name == "replay" else [None]
    for policy in policies:
        settings: dict[str, Any] = {"policy": policy} if policy else {}
        if name == "hdp":
            settings = {"passes": 1, "tries": 2}
        train(problem, strategy_of(name, **settings), Penalised(PlainConfig(), Task()))


def test_a_later_loss_that_is_not_finite_says_where(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for index, batch in enumerate(loop.batches()):
            loop.step(detector.loss(loop.model, batch) * (torch.inf if index == 1 else 1.0))

    with pytest.raises(DfbenchError, match="not a finite number by batch 2 of this experience: training diverged"):
        train(problem, strategy_of("naive"), with_loop(body))


class Pull(SupervisedPlugin):
    """A penalty that grows beyond reason, and stays finite."""

    def before_backward(self, training: Any, **kwargs: Any) -> None:
        training.loss = training.loss + 1e20 * sum(p.square().sum() for p in training.model.parameters())


def test_a_divergence_that_stays_finite_is_counted_and_said(problem: Problem, caplog: pytest.LogCaptureFixture) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model, lr=0.0))
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    with caplog.at_level(logging.WARNING, "dfbench.training"):
        trained = train(problem, strategy_of("naive"), with_loop(body), extra=[Pull()])
    assert trained.strategy.effects.values()["exploded_losses"] == 3 * EXPERIENCES
    assert caplog.text.count("has diverged: the loss reached") == EXPERIENCES


@pytest.mark.parametrize("status", [0, 3, "no weights"])
def test_a_detector_cannot_end_the_program(problem: Problem, status: Any) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        raise SystemExit(status)

    with pytest.raises(PluginError, match=rf"Custom.train ended the program \(SystemExit: {status}\)"):
        train(problem, strategy_of("naive"), with_loop(body))
