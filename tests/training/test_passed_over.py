"""Batches that a detector passes over: they leave nothing in a memory, and cost no reference pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dfbench import Loop
from tests.training.harness import PlainDetector, Problem, strategy_of, train
from tests.training.test_loop import sgd, with_loop


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_der_stores_no_unit_of_a_batch_that_was_forwarded_but_not_stepped_on(problem: Problem, accumulate: int) -> None:
    stepped: list[torch.Tensor] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model), accumulate=accumulate)
        for index, batch in enumerate(loop.batches()):
            loss = detector.loss(loop.model, batch)
            if index != 1:
                stepped.append(batch.units)
                loop.step(loss)

    strategy = train(problem, strategy_of("der", memory=len(problem.labels)), with_loop(body)).strategy
    assert sorted(strategy.stored_units().tolist()) == sorted(torch.cat(stepped).tolist())
    assert strategy._plugin.seen == len(torch.cat(stepped))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "references"), [("gem", [0, 1, 2]), ("agem", [0, 1, 1])])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_reference_gradients_are_computed_once_per_step(
    problem: Problem, name: str, references: list[int], accumulate: int
) -> None:
    """Of four batches one is passed over at once and one after its pass; the others make ``2 / accumulate`` steps."""
    calls: list[int] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model), accumulate=accumulate)
        calls.append(0)
        own = detector.loss

        def counted(*args: Any) -> torch.Tensor:
            calls[-1] += 1
            return own(*args)

        detector.loss = counted  # type: ignore[method-assign]
        for index, batch in enumerate(loop.batches()):
            if index == 0:
                continue
            loss = own(loop.model, batch)
            if index in (2, 3):
                loop.step(loss)
        del detector.loss

    longer = Problem.make(size=64)
    effects = train(longer, strategy_of(name), with_loop(body)).strategy.effects.values()
    steps = 2 // accumulate
    assert calls == [count * steps for count in references]
    assert effects["reference_passes"] == sum(calls)


@pytest.mark.parametrize("name", ["gem", "agem"])
def test_a_reference_is_not_kept_where_other_weights_train(problem: Problem, name: str) -> None:
    """A batch is passed over in a phase on the head: the step after it has references of the whole network."""
    strategy = strategy_of(name)
    trunk: list[bool] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        with loop.phase(loop.model[-1]):
            for _ in loop.batches():
                break
        for batch in loop.batches():
            if loop.experience:
                plugin = strategy._plugin  # type: ignore[attr-defined]
                trunk.append((plugin.reference if name == "agem" else plugin.references.kept[0])[0] is not None)
            loop.step(detector.loss(loop.model, batch))

    train(problem, strategy, with_loop(body))
    assert trunk == [True] * 6
