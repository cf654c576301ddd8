"""The Loop: callbacks in Avalanche's order, and everything a training procedure may need."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import nn

from dfbench import Loop, PluginError, Task
from tests.training.harness import (
    BATCH,
    EPOCHS,
    EXPERIENCES,
    SIZE,
    PlainConfig,
    PlainDetector,
    Problem,
    largest_difference,
    network,
    strategy_of,
    train,
    train_native,
)

ITERATION = [
    "before_training_iteration",
    "before_forward",
    "after_forward",
    "before_backward",
    "after_backward",
    "before_update",
    "after_update",
    "after_training_iteration",
]


class Recorder(SupervisedPlugin):
    """Writes down every training callback."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("before_", "after_")) and "eval" not in name:
            events = object.__getattribute__(self, "events")
            return lambda strategy, **kwargs: events.append(name)
        return object.__getattribute__(self, name)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


def with_loop(body: Any, **config: Any) -> PlainDetector:
    """A detector whose training loop is ``body(detector, loop)``."""

    class Custom(PlainDetector):
        def train(self, loop: Loop) -> None:
            body(self, loop)

    return Custom(PlainConfig(**config), Task())


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def test_callbacks_fire_in_native_avalanches_order(problem: Problem) -> None:
    ours, native = Recorder(), Recorder()
    trained = train(problem, strategy_of("naive"), extra=[ours])
    train_native(problem, [native], trained.detector.seen)
    assert ours.events == native.events
    steps = EXPERIENCES * EPOCHS * (48 // BATCH)
    assert ours.events.count("after_update") == steps
    first = ours.events.index("before_training_iteration")
    assert ours.events[first : first + len(ITERATION)] == ITERATION


def test_accumulation_is_one_iteration_with_the_gradient_of_the_whole(problem: Problem) -> None:
    """Two batches of 8 accumulated make the step that one batch of 16 makes (without batch statistics)."""

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.model.eval()  # batch normalisation by running statistics: samples do not mix
        whole = detector.config.batch_size == 16
        loop.optimize(sgd(loop.model), accumulate=1 if whole else 2)
        for batch in loop.batches():
            loop.model.eval()
            loop.step(detector.loss(loop.model, batch))

    recorder = Recorder()
    accumulated = train(problem, strategy_of("naive"), with_loop(body, batch_size=8), extra=[recorder])
    whole = train(problem, strategy_of("naive"), with_loop(body, batch_size=16))
    assert largest_difference(accumulated.model, whole.model) < 1e-6
    first = recorder.events.index("before_training_iteration")
    middle = ["before_forward", "after_forward", "before_backward"]
    assert recorder.events[first : first + 11] == [ITERATION[0], *middle, *middle, *ITERATION[4:]]


def test_a_remainder_of_an_accumulation_group_is_a_step_of_its_own(problem: Problem) -> None:
    recorder = Recorder()

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model), accumulate=4)  # 6 batches of 8: a group of 4 and one of 2
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    train(problem, strategy_of("naive"), with_loop(body, batch_size=8), extra=[recorder])
    assert recorder.events.count("after_update") == 2 * EXPERIENCES
    assert recorder.events.count("before_backward") == 6 * EXPERIENCES


def test_penalties_are_averaged_over_an_accumulation_group(problem: Problem) -> None:
    """EWC's penalty enters a group of two with its full weight, not twice."""

    def run(accumulate: int, batch_size: int) -> nn.Module:
        def body(detector: PlainDetector, loop: Loop) -> None:
            loop.optimize(sgd(loop.model), accumulate=accumulate)
            for _ in loop.epochs(2):
                for batch in loop.batches():
                    loop.model.eval()
                    loop.step(detector.loss(loop.model, batch))

        # The Fisher pass must see the same batches, so that only the penalty's weight could differ.
        def same_fisher(template: Any, index: int) -> None:
            template.train_mb_size = batch_size

        strategy = strategy_of("ewc", strength=5)
        detector = with_loop(body, batch_size=batch_size)
        after = strategy.plugins

        def plugins(context: Any) -> Any:
            made = after(context)
            compute = made[0].compute_importances

            def fisher(*args: Any, **kwargs: Any) -> Any:
                template = made[0]._training
                size, template.train_mb_size = template.train_mb_size, 16
                try:
                    return compute(*args, **kwargs)
                finally:
                    template.train_mb_size = size

            made[0].compute_importances = fisher
            return made

        strategy.plugins = plugins  # type: ignore[method-assign]
        return train(problem, strategy, detector, before=same_fisher).model

    assert largest_difference(run(2, 8), run(1, 16)) < 1e-5


def test_a_phase_trains_only_its_modules(problem: Problem) -> None:
    kept: list[bool] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        head, norm = loop.model[-1], loop.model[1]
        before = [p.clone() for p in loop.model[:-1].parameters()]
        mean, weight = norm.running_mean.clone(), head.weight.clone()
        with loop.phase(head):
            loop.optimize(sgd(loop.model))
            for batch in loop.steps(2):
                loop.model.train()  # a loop that does this must not wake the frozen part
                loop.step(detector.loss(loop.model, batch))
        kept.append(all(torch.equal(a, b) for a, b in zip(before, loop.model[:-1].parameters(), strict=True)))
        kept.append(torch.equal(mean, norm.running_mean))
        kept.append(not torch.equal(weight, head.weight))
        loop.optimize(sgd(loop.model))
        for batch in loop.steps(2):
            loop.step(detector.loss(loop.model, batch))
        kept.append(not torch.equal(mean, norm.running_mean))
        kept.append(all(p.requires_grad for p in loop.model.parameters()))

    train(problem, strategy_of("naive"), with_loop(body))
    assert kept == [True] * 5 * EXPERIENCES


def test_what_a_strategy_froze_stays_frozen_in_and_after_a_phase(problem: Problem) -> None:
    trunks: list[torch.Tensor] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        with loop.phase(loop.model[0], loop.model[-1]):
            loop.optimize(sgd(loop.model))
            for batch in loop.steps(1):
                loop.step(detector.loss(loop.model, batch))
        loop.optimize(sgd(loop.model))
        for batch in loop.steps(1):
            loop.step(detector.loss(loop.model, batch))
        trunks.append(torch.cat([loop.model[0].weight.flatten(), loop.model[1].running_mean]).detach().clone())

    train(problem, strategy_of("cwr_star"), with_loop(body))
    assert torch.equal(trunks[0], trunks[1])
    assert torch.equal(trunks[1], trunks[2])


def test_clipping_comes_after_the_strategy_and_bounds_the_step(problem: Problem) -> None:
    norms: list[float] = []

    class Norm(SupervisedPlugin):
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            norms.append(float(torch.cat([p.grad.flatten() for p in strategy.model.parameters()]).norm()))

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model), clip_norm=0.01)
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    train(problem, strategy_of("gem"), with_loop(body), extra=[Norm()])
    assert max(norms) <= 0.0101
    assert min(norms) > 0


def test_schedules_restart_with_each_experience(problem: Problem) -> None:
    rates: list[list[float]] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        optimizer = sgd(loop.model, lr=1.0)
        decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 1 - i / 4)
        loop.optimize(optimizer, schedulers=[decay])
        rates.append([])
        for batch in loop.steps(4):
            rates[-1].append(optimizer.param_groups[0]["lr"])
            loop.step(0.01 * detector.loss(loop.model, batch))

    train(problem, strategy_of("naive"), with_loop(body))
    assert rates == [[1.0, 0.75, 0.5, 0.25]] * EXPERIENCES


def test_a_step_budget_goes_on_over_passes_and_ends_exactly(problem: Problem) -> None:
    recorder = Recorder()

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for batch in loop.steps(7):  # 3 batches a pass
            loop.step(detector.loss(loop.model, batch))

    train(problem, strategy_of("naive"), with_loop(body), extra=[recorder])
    assert recorder.events.count("after_update") == 7 * EXPERIENCES
    assert recorder.events.count("before_training_epoch") == recorder.events.count("after_training_epoch") == 9


def test_steps_are_multiplied_where_experiences_are_trained_at_once(problem: Problem) -> None:
    counts: list[int] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        counts.append(0)
        for batch in loop.steps(3):
            loop.step(detector.loss(loop.model, batch))
            counts[-1] += 1

    train(problem, strategy_of("joint"), with_loop(body))
    train(problem, strategy_of("cumulative"), with_loop(body))
    assert counts == [9, 3, 6, 9]


def test_an_average_of_the_weights_is_kept(problem: Problem) -> None:
    expected: list[torch.Tensor] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        averaged = loop.average(decay=0.5)
        assert averaged is not loop.model
        mean = loop.model[-1].weight.detach().clone()
        for index, batch in enumerate(loop.steps(4)):
            loop.step(detector.loss(loop.model, batch))
            weight = loop.model[-1].weight.detach()
            mean = weight.clone() if index == 0 else 0.5 * mean + 0.5 * weight
        expected.append(mean)

    trained = train(problem, strategy_of("naive"), with_loop(body))
    assert trained.template.averaged is not None
    torch.testing.assert_close(trained.template.averaged[-1].weight.detach(), expected[-1])


def test_a_copy_of_the_model_carries_no_hook(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        teacher = copy.deepcopy(loop.model)
        for batch in loop.steps(2):
            with torch.no_grad():
                teacher(detector.inputs(batch, False))
            loop.step(detector.loss(loop.model, batch))

    recorder = Recorder()
    train(problem, strategy_of("naive"), with_loop(body), extra=[recorder])
    assert recorder.events.count("before_forward") == 2 * EXPERIENCES


def test_bf16_runs_forward_and_loss_under_autocast(problem: Problem) -> None:
    kinds: list[torch.dtype] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for batch in loop.batches():
            with loop.autocast():
                output = loop.model(detector.inputs(batch, True))
                loss = nn.functional.cross_entropy(output, batch.labels)
            kinds.append(output.dtype)
            loop.step(loss)

    trained = train(problem, strategy_of("gem"), with_loop(body, precision="bf16"))
    assert set(kinds) == {torch.bfloat16}
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}


def test_leaving_a_pass_and_passing_over_a_batch(problem: Problem) -> None:
    recorder = Recorder()

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for index, batch in enumerate(loop.batches()):
            if index == 0:
                continue
            loop.step(detector.loss(loop.model, batch))
            break

    train(problem, strategy_of("naive"), with_loop(body), extra=[recorder])
    assert recorder.events.count("after_update") == EXPERIENCES
    assert recorder.events.count("before_training_iteration") == recorder.events.count("after_training_iteration")
    assert recorder.events.count("after_training_epoch") == EXPERIENCES


def test_leaving_in_the_middle_of_a_group_or_a_budget_leaves_nothing_behind(problem: Problem) -> None:
    recorder, batches = Recorder(), []

    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model), accumulate=2)
        for batch in loop.steps(1):
            loop.step(detector.loss(loop.model, batch))
            break
        batches.append(0)
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))
            batches[-1] += 1

    train(problem, strategy_of("naive"), with_loop(body), extra=[recorder])
    assert batches == [3] * EXPERIENCES  # the whole pass: the budget is over
    for pair in (("before_training_iteration", "after_training_iteration"), ("before_update", "after_update")):
        assert recorder.events.count(pair[0]) == recorder.events.count(pair[1]) == 3 * EXPERIENCES


def test_an_average_does_not_outlive_its_experience(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        if loop.experience == 0:
            loop.average()
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    assert train(problem, strategy_of("naive"), with_loop(body)).template.averaged is None


def no_step(detector: PlainDetector, loop: Loop) -> None:
    loop.optimize(sgd(loop.model))
    for _ in loop.batches():
        pass


def no_optimizer(detector: PlainDetector, loop: Loop) -> None:
    for batch in loop.batches():
        loop.step(detector.loss(loop.model, batch))


def twice(detector: PlainDetector, loop: Loop) -> None:
    loop.optimize(sgd(loop.model))
    for batch in loop.batches():
        loop.step(detector.loss(loop.model, batch))
        loop.step(detector.loss(loop.model, batch))


def unreduced(detector: PlainDetector, loop: Loop) -> None:
    loop.optimize(sgd(loop.model))
    for batch in loop.batches():
        loop.step(nn.functional.cross_entropy(loop.model(detector.inputs(batch, True)), batch.labels, reduction="none"))


def endless(detector: PlainDetector, loop: Loop) -> None:
    loop.optimize(sgd(loop.model))
    for _ in loop.steps(3):
        pass


def hidden(detector: PlainDetector, loop: Loop) -> None:
    next(iter(loop.data))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (no_step, "made no step"),
        (no_optimizer, "call loop.optimize"),
        (twice, "goes once with each batch"),
        (unreduced, r"scalar loss, not one of shape \(16,\)"),
        (endless, "must call loop.step"),
        (hidden, "declare themselves opaque"),
    ],
)
def test_a_wrong_loop_is_told_what_is_wrong(problem: Problem, body: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        train(problem, strategy_of("naive"), with_loop(body))


def test_a_loop_that_calls_parts_of_the_model_cannot_be_distilled(problem: Problem) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for batch in loop.batches():
            features = loop.model[:-1](detector.inputs(batch, True))
            loop.step(nn.functional.cross_entropy(loop.model[-1](features), batch.labels))

    train(problem, strategy_of("naive"), with_loop(body))
    with pytest.raises(PluginError, match="call the model itself"):
        train(problem, strategy_of("lwf"), with_loop(body))


def test_reference_passes_use_the_detectors_own_loss(problem: Problem) -> None:
    """A detector whose loss is 0 on stored samples gives GEM nothing to project against."""

    class Zero(PlainDetector):
        def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
            return super().loss(model, batch) * float(len(batch) != 10)  # 10: the memory of an experience

    ours = train(problem, strategy_of("gem", strength=0.0), Zero(PlainConfig(), Task()))
    effects = ours.strategy.effects.values()
    assert effects["reference_passes"] > 0
    assert "projections" not in effects
    naive = train(problem, strategy_of("naive"), Zero(PlainConfig(), Task()))
    # Batch statistics see the stored samples, as in native Avalanche; the weights do not.
    assert all(torch.equal(p, q) for p, q in zip(ours.model.parameters(), naive.model.parameters(), strict=True))


def test_the_problem_is_the_stated_one() -> None:
    assert len(Problem.make().labels) == SIZE * EXPERIENCES
    assert sum(p.numel() for p in network().parameters()) > 3000
