"""DER, GDumb, MAS and RWalk against native Avalanche on the same batches and memories.

Where Avalanche has a defect, or does something that its paper does not, the native side is mended or the
network is one on which it makes no difference, and a test shows the defect itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from avalanche.training.plugins import GDumbPlugin, LFLPlugin, MASPlugin, RWalkPlugin
from avalanche.training.regularization import ACECriterion
from avalanche.training.supervised.der import DER
from torch import nn

from dfbench import Loop, Strategy, Task
from tests.training.harness import (
    EPOCHS,
    LR,
    PlainConfig,
    PlainDetector,
    Problem,
    Trained,
    copy_of,
    largest_difference,
    network,
    plain_network,
    strategy_of,
    train,
    train_native,
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make()


class Plain(PlainDetector):
    """The network without batch normalisation."""

    def build(self) -> nn.Module:
        return plain_network()


class Anew(PlainDetector):
    """A new optimizer for each experience, without momentum: what GDumb's native optimizer amounts to."""

    def train(self, loop: Loop) -> None:
        self.kept = torch.optim.SGD(loop.model.parameters(), lr=LR)
        super().train(loop)


def plain(strategy: Strategy, problem: Problem, **options: Any) -> Trained:
    return train(problem, strategy, Plain(PlainConfig(), Task()), **options)


# --- DER ---------------------------------------------------------------------------------------------


def recorded(strategy: Strategy, problem: Problem) -> tuple[Trained, list[Any]]:
    """Train with DER, both terms of a step on the same draw as in Avalanche; ids and logits of each step's draw."""
    drawn: list[Any] = []

    def watch(template: Any, index: int) -> None:
        if index:
            return
        plugin = strategy._plugin  # type: ignore[attr-defined]
        draw, before = plugin.draw, plugin.before_backward
        step: list[torch.Tensor] = []

        def shared(count: int) -> torch.Tensor:
            if not step:
                step.append(draw(count))
            return step[0]

        def callback(template: Any, **kwargs: Any) -> None:
            step.clear()
            before(template, **kwargs)
            drawn.append((plugin.ids[step[0]], plugin.kept[0][step[0], 0]) if step else None)

        plugin.draw, plugin.before_backward = shared, callback

    return plain(strategy, problem, before=watch), drawn


class NativeDER(DER):
    """Avalanche's DER, its replay loader handing over what dfbench drew, step by step."""

    handed: ClassVar[list[Any]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__(mem_size=30, alpha=self.weights[0], beta=self.weights[1], **options)

    def _after_training_exp(self, **kwargs: Any) -> None:
        """Avalanche would fill its own memory here."""
        self.clock.after_training_exp(self)

    def _before_forward(self, **kwargs: Any) -> None:
        given = self.handed.pop(0)
        self.replay_loader = None if given is None else iter([given])
        if given is not None:
            self.batch_size_mem = len(given[0])
        super()._before_forward(**kwargs)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_der(problem: Problem, beta: float) -> None:
    """To rounding: Avalanche has one forward pass over both batches, dfbench and the paper one for each."""
    strategy = strategy_of("der", alpha=0.3, beta=beta, memory=30)
    ours, drawn = recorded(strategy, problem)
    assert sum(d is not None for d in drawn) == len(drawn) - 1  # all but the first step, when nothing is stored
    handed = [
        None if d is None else (problem.inputs(d[0]), problem.labels[d[0]], torch.zeros_like(d[0]), d[1]) for d in drawn
    ]
    template = type("Handed", (NativeDER,), {"handed": handed, "weights": (0.3, beta)})
    native = train_native(problem, [], ours.detector.seen, build=plain_network, template=template)
    assert not handed
    assert (
        largest_difference(ours.model, train(problem, strategy_of("naive"), Plain(PlainConfig(), Task())).model) > 0.01
    )
    assert largest_difference(ours.model, native) < 2e-5


def test_der_stores_the_logits_of_the_step_at_which_a_unit_came_in(problem: Problem) -> None:
    strategy = strategy_of("der", memory=10_000)  # everything is kept: every pass of every unit
    outputs: list[torch.Tensor] = []

    class Noting(Plain):
        def train(self, loop: Loop) -> None:
            hook = loop.model.register_forward_hook(
                lambda m, args, out: outputs.append(out.detach().clone()) if loop._armed else None
            )
            super().train(loop)
            hook.remove()

    ours = train(problem, strategy, Noting(PlainConfig(), Task()))
    plugin = strategy._plugin  # type: ignore[attr-defined]
    assert torch.equal(plugin.ids, torch.cat([ids for part in ours.detector.seen for ids in part]))
    (logits,) = plugin.kept
    assert torch.equal(logits[:, 0], torch.cat(outputs))


def test_ders_reservoir_is_uniform_over_all_that_was_offered() -> None:
    from dfbench_avalanche.rehearsal import DERPlugin

    from dfbench.training.strategies import Effects

    torch.manual_seed(0)
    counts = torch.zeros(40)
    for _ in range(2000):
        plugin = DERPlugin(10, None, 0.1, 0.5, Effects())
        for part in torch.arange(40).split(16):
            plugin.offer(part, [part[:, None].float()])
        assert torch.equal(plugin.ids.float(), plugin.kept[0][:, 0])  # each unit keeps its own logits
        assert len(plugin.ids.unique()) == 10
        counts[plugin.ids] += 1
    assert float((counts / 2000 - 0.25).abs().max()) < 0.04  # 4 standard deviations of 2000 draws


# --- ER-ACE: why it is not here ---------------------------------------------------------------------------


def test_er_ace_is_replay_where_a_batch_holds_every_class() -> None:
    """Its masked softmax masks nothing then, and the loss is cross-entropy over the new and stored units."""
    torch.manual_seed(0)
    new, stored = torch.randn(16, 2, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
    y, z = torch.arange(16) % 2, torch.randint(0, 2, (16,))
    asymmetric = ACECriterion()(new, y, stored, z)
    replay = nn.functional.cross_entropy(torch.cat([new, stored]), torch.cat([y, z]))
    assert float((asymmetric - replay).abs()) < 1e-12
    one_class = ACECriterion()(new, torch.zeros_like(y), stored, z)  # such a batch is not learned from at all
    assert float((one_class - nn.functional.cross_entropy(stored, z) / 2).abs()) < 1e-12


# --- GDumb -------------------------------------------------------------------------------------------


def test_gdumb(problem: Problem) -> None:
    ours = train(problem, strategy_of("gdumb"), Anew(PlainConfig(), Task()))
    native = train_native(problem, [GDumbPlugin(30)], ours.detector.seen, momentum=0.0)
    assert largest_difference(ours.model, network()) > 0.001
    assert largest_difference(ours.model, native) == 0
    for index, batches in enumerate(ours.detector.seen):
        ids = torch.cat(batches).unique()
        assert len(ids) <= 30
        assert int(problem.experience[ids].max()) == index
        if index:
            assert int(problem.experience[ids].min()) == 0


def test_gdumb_holds_as_much_of_each_class(problem: Problem) -> None:
    strategy = strategy_of("gdumb")
    train(problem, strategy)
    assert problem.labels[strategy.stored_units()].bincount().tolist() == [15, 15]


def test_gdumb_starts_from_the_first_weights_every_time(problem: Problem) -> None:
    starts: list[nn.Module] = []

    class Noting(PlainDetector):
        def train(self, loop: Loop) -> None:
            starts.append(copy_of(loop.model))
            super().train(loop)

    train(problem, strategy_of("gdumb"), Noting(PlainConfig(), Task()))
    assert [largest_difference(model, network()) for model in starts] == [0, 0, 0]


# --- MAS ---------------------------------------------------------------------------------------------


class NativeMAS(MASPlugin):
    """Avalanche's MAS, its pass over the data in eval mode."""

    def _get_importance(self, strategy: Any) -> Any:
        model = strategy.model.eval()
        model.train = lambda mode=True: nn.Module.train(model, False)
        importance = super()._get_importance(strategy)
        del model.train
        model.train()
        return importance


def difference(problem: Problem, ours: Trained, *plugins: Any, build: Callable[[], nn.Module] = network) -> float:
    assert largest_difference(ours.model, build()) > 0.01
    return largest_difference(ours.model, train_native(problem, plugins, ours.detector.seen, build=build))


def test_mas(problem: Problem) -> None:
    """Bit for bit, with batch normalisation."""
    ours = train(problem, strategy_of("mas", strength=0.5, alpha=0.3, gradient="batch", accumulate="mean"))
    assert ours.strategy.effects.values()["penalty"] > 0
    assert difference(problem, ours, NativeMAS(0.5, 0.3)) == 0


def test_native_mas_moves_the_statistics_of_batch_normalisation(problem: Problem) -> None:
    """Why ``measure`` is in eval mode. When this fails, Avalanche has repaired it."""
    ours = train(problem, strategy_of("mas", strength=0.0))
    native = train_native(problem, [MASPlugin(0.0)], ours.detector.seen)
    weights = dict(ours.model.named_parameters()).keys()
    for name, tensor in native.state_dict().items():
        moved = float((tensor.double() - ours.model.state_dict()[name].double()).abs().max())
        assert (moved == 0) == (name in weights), name


# --- RWalk -------------------------------------------------------------------------------------------


def test_rwalk(problem: Problem) -> None:
    """To rounding: dfbench takes the penalty's gradient from the step's, Avalanche makes a second pass."""
    ours = plain(strategy_of("rwalk", strength=0.5, interval=3, fisher="step"), problem)
    assert ours.strategy.effects.values()["penalty"] > 0
    assert difference(problem, ours, RWalkPlugin(0.5, 0.9, 3), build=plain_network) < 1e-5


def test_rwalk_with_fewer_steps_than_an_interval(problem: Problem) -> None:
    """Only Fisher information is left; Avalanche's penalty is 0 / 0."""
    ours = plain(strategy_of("rwalk", interval=1000), problem)
    assert 0 < ours.strategy.effects.values()["penalty"] < 100
    native = train_native(problem, [RWalkPlugin(0.1, 0.9, 1000)], ours.detector.seen, build=plain_network)
    assert not any(torch.isfinite(p).all() for p in native.parameters())


def test_native_rwalk_and_lfl_leave_the_network_in_eval_mode(problem: Problem) -> None:
    """Why they are written anew: batch normalisation gathers no statistics after the first steps."""
    steps = problem.experience.size // 16 * EPOCHS
    native = train_native(problem, [RWalkPlugin()], train(problem, strategy_of("naive")).detector.seen)
    assert int(native.get_submodule("1").num_batches_tracked) == 0  # type: ignore[arg-type]
    ours = train(problem, strategy_of("rwalk"))
    assert int(ours.model.get_submodule("1").num_batches_tracked) == steps  # type: ignore[arg-type]

    class Featured(nn.Module):
        training = True

        def get_features(self, x: torch.Tensor) -> torch.Tensor:
            return x

    plugin, model = LFLPlugin(1.0), Featured()
    plugin.prev_model = Featured()
    plugin.compute_features(model, torch.zeros(2, 2))
    assert not model.training


# --- LFL against its formula -----------------------------------------------------------------------------


def test_lfl(problem: Problem) -> None:
    """A loop of its own: loss + strength · mean (f(x) − f₀(x))², the head untouched after the first experience."""
    ours = train(problem, strategy_of("lfl", strength=3.0))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    old: Any = None
    for batches in ours.detector.seen:
        for ids in batches:
            x, y = problem.inputs(ids), problem.labels[ids]
            optimizer.zero_grad()
            features = model[:-1](x)  # type: ignore[index]
            loss = nn.functional.cross_entropy(model[-1](features), y)  # type: ignore[index]
            if old is not None:
                with torch.no_grad():
                    before = old[:-1](x)
                loss = loss + 3.0 * (features - before).pow(2).mean()
            loss.backward()
            if old is not None:
                for p in model[-1].parameters():  # type: ignore[index]
                    p.grad = None
            optimizer.step()
        old = copy_of(model).eval()
    assert ours.strategy.effects.values()["penalty"] > 0
    assert largest_difference(ours.model, model) < 1e-6
    free = train(problem, strategy_of("lfl", strength=3.0, freeze=False))
    assert largest_difference(free.model, ours.model) > 1e-3
