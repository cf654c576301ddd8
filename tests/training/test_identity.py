"""The hinge of dfbench: a detector's plain loop under a strategy equals native Avalanche bit for bit.

dfbench draws its batches and memories in its own order; each test hands that order to Avalanche and
changes nothing else there. GEM and A-GEM sum the same products in another order, without Avalanche's
copies of all gradients, so they are held to ``CLOSE``; Avalanche's own plugins in dfbench's loop are
held to equality, like all others.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from avalanche.training.plugins import (
    AGEMPlugin,
    CWRStarPlugin,
    EWCPlugin,
    GEMPlugin,
    LwFPlugin,
    ReplayPlugin,
    SynapticIntelligencePlugin,
)

from dfbench import Strategy, StrategyConfig, StrategyContext, unit_ids
from tests.training.harness import (
    Problem,
    Trained,
    largest_difference,
    network,
    strategy_of,
    train,
    train_native,
)

CLOSE = 1e-5
"""Largest difference of a final weight where sums are made in another order."""


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make()


class NativeGEM(GEMPlugin):
    """Avalanche's GEM, its memory filled with the samples that dfbench drew."""

    def __init__(self, problem: Problem, drawn: dict[int, torch.Tensor], **options: Any) -> None:
        super().__init__(**options)
        self.problem, self.drawn = problem, drawn

    def update_memory(self, dataset: Any, t: int, batch_size: int) -> None:
        ids = self.drawn[t]
        self.memory_x[t], self.memory_y[t] = self.problem.inputs(ids), self.problem.labels[ids]
        self.memory_tid[t] = torch.zeros(len(ids), dtype=torch.int64)


class NativeAGEM(AGEMPlugin):
    """Avalanche's A-GEM, its memory sampled in the order in which dfbench sampled."""

    def __init__(self, problem: Problem, drawn: list[torch.Tensor], **options: Any) -> None:
        super().__init__(**options)
        self.problem, self.drawn = problem, iter(drawn)

    def sample_from_memory(self) -> Any:
        ids = next(self.drawn)
        return self.problem.inputs(ids), self.problem.labels[ids], torch.zeros(len(ids), dtype=torch.int64)


class NativeMendedSI(SynapticIntelligencePlugin):
    """Avalanche's SI with real snapshots and no negative importances; see the two tests on native SI."""

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_exp(strategy, **kwargs)
        for data in self.ewc_data[0].values():
            data.data = data.data.clone()

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        super().before_training_iteration(strategy, **kwargs)
        for data in self.syn_data["old_theta"].values():
            data.data = data.data.clone()

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        super().after_training_exp(strategy, **kwargs)
        for data in self.ewc_data[1].values():
            data.data = data.data.clamp(min=0)


def difference(problem: Problem, ours: Trained, *plugins: Any, make: Any = None) -> float:
    native = train_native(problem, plugins, ours.detector.seen, make)
    assert largest_difference(ours.model, network()) > 0.01  # it did train
    return largest_difference(ours.model, native)


def test_naive(problem: Problem) -> None:
    assert difference(problem, train(problem, strategy_of("naive"))) == 0


def test_replay(problem: Problem) -> None:
    ours = train(problem, strategy_of("replay"))
    assert {len(ids) for ids in ours.detector.seen[1]} == {32}  # each batch holds as many replayed units as new ones
    assert difference(problem, ours, ReplayPlugin(mem_size=30)) == 0


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_gem(problem: Problem, strength: float) -> None:
    ours = train(problem, strategy_of("gem", strength=strength))
    native = NativeGEM(problem, ours.strategy._plugin.memory, patterns_per_experience=10, memory_strength=strength)
    assert ours.strategy.effects.values()["projections"] > 0
    assert difference(problem, ours, native) <= CLOSE


class GEMOnUnits(GEMPlugin):
    """Avalanche's GEM with its own projection; only its memory and passes are of unit ids."""

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        rows = []
        strategy.train_mode()
        for ids in self.memory_x.values():
            strategy.optimizer.zero_grad()
            strategy.reference_loss(ids).backward()
            rows.append(torch.cat([p.grad.flatten() for p in strategy.model.parameters()]))
        if rows:
            self.G = torch.stack(rows)

    def update_memory(self, dataset: Any, t: int, batch_size: int) -> None:
        self.memory_x[t] = unit_ids(dataset)[:10]


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_avalanches_own_gem_projection_runs_in_the_loop(problem: Problem, strength: float) -> None:
    plugin = GEMOnUnits(10, strength)
    ours = train(problem, Unchanged(plugin))
    native = NativeGEM(problem, plugin.memory_x, patterns_per_experience=10, memory_strength=strength)
    assert difference(problem, ours, native) == 0
    assert difference(problem, train(problem, strategy_of("naive")), native) > CLOSE


def test_agem(problem: Problem) -> None:
    drawn: list[torch.Tensor] = []
    strategy = strategy_of("agem", sample_size=12)

    def record(template: Any, index: int) -> None:
        if index == 0:
            plugin = strategy._plugin
            sample = plugin.sample_from_memory
            plugin.sample_from_memory = lambda: drawn.append(sample()) or drawn[-1]

    ours = train(problem, strategy, before=record)
    assert strategy.effects.values()["projections"] > 0
    assert difference(problem, ours, NativeAGEM(problem, drawn, patterns_per_experience=10, sample_size=12)) <= CLOSE


class NativeEWC(EWCPlugin):
    """Avalanche's EWC, its Fisher pass over the data in the order in which dfbench's went."""

    def __init__(self, orders: list[torch.Tensor], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.orders = iter(orders)

    def compute_importances(
        self, model: Any, criterion: Any, optimizer: Any, dataset: Any, *args: Any, **kw: Any
    ) -> Any:
        ids = next(self.orders)
        shuffled = dataset.subset((ids - ids.min()).tolist())
        return super().compute_importances(model, criterion, optimizer, shuffled, *args, **kw)


def ewc_and_orders(problem: Problem, **options: Any) -> tuple[Trained, list[torch.Tensor]]:
    """EWC with the Fisher information of batches, and the order of each of its passes."""
    strategy, orders = strategy_of("ewc", fisher="batch", **options), []

    def watch(template: Any, index: int) -> None:
        if index == 0:
            order = strategy._plugin.order
            strategy._plugin.order = lambda *args: orders.append(order(*args)) or orders[-1]

    return train(problem, strategy, before=watch), orders


@pytest.mark.parametrize("decay", [None, 0.7])
def test_ewc(problem: Problem, decay: float | None) -> None:
    ours, orders = ewc_and_orders(problem, strength=50, decay=decay)
    mode = "separate" if decay is None else "online"
    assert difference(problem, ours, NativeEWC(orders, 50, mode=mode, decay_factor=decay)) == 0
    assert len(ours.strategy.state_dict()["importances"]) == (3 if decay is None else 1)
    # not in the order of storage, in which a folder has its real pictures before its fakes
    assert [torch.equal(ids.sort().values, problem.ids(i)) for i, ids in enumerate(orders)] == [True] * 3
    assert not any(torch.equal(ids, problem.ids(i)) for i, ids in enumerate(orders))


def test_lwf(problem: Problem) -> None:
    ours = train(problem, strategy_of("lwf", alpha=1.0, temperature=2.0, teacher="train"))
    assert difference(problem, ours, LwFPlugin(1.0, 2.0)) == 0


def test_cwr_star(problem: Problem) -> None:
    ours = train(problem, strategy_of("cwr_star", bias=False))
    assert difference(problem, ours, make=lambda model: [CWRStarPlugin(model)]) == 0


def test_si(problem: Problem) -> None:
    ours = train(problem, strategy_of("si", strength=200.0))
    assert ours.strategy.effects.values()["penalty"] > 0
    assert difference(problem, ours, NativeMendedSI(200.0)) == 0


class Unchanged(Strategy):
    """Any Avalanche plugin as it comes."""

    def __init__(self, plugin: Any) -> None:
        super().__init__(StrategyConfig())
        self.plugin = plugin

    def plugins(self, context: StrategyContext) -> list[Any]:
        return [self.plugin]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SynapticIntelligencePlugin(200.0),
        lambda: LwFPlugin(1.0, 2.0),
        lambda: ReplayPlugin(mem_size=30),
    ],
    ids=["si", "lwf", "replay"],
)
def test_an_unchanged_avalanche_plugin_runs_in_the_loop(problem: Problem, make: Any) -> None:
    ours = train(problem, Unchanged(make()))
    assert difference(problem, ours, make()) == 0


def test_native_si_does_nothing_on_a_cpu(problem: Problem) -> None:
    """Why dfbench's SI is mended: Avalanche 0.6.0's snapshots are views, so its penalty is always 0.

    When this fails, Avalanche has repaired it and that part of ``MendedSIPlugin`` can go.
    """
    ours = train(problem, Unchanged(SynapticIntelligencePlugin(200.0)))
    assert ours.strategy.effects.values()["penalty"] == 0
    assert largest_difference(ours.model, train(problem, strategy_of("naive")).model) == 0


def test_native_si_runs_away_once_its_snapshots_are_copies(problem: Problem) -> None:
    """The second reason: importances below 0 turn the penalty into a reward without limit."""

    class CopiesOnly(NativeMendedSI):
        after_training_exp = SynapticIntelligencePlugin.after_training_exp

    plugin = CopiesOnly(1.0)
    ours = train(problem, Unchanged(plugin))
    assert min(float(data.data.min()) for data in plugin.ewc_data[1].values()) < 0
    assert ours.strategy.effects.values()["penalty"] < -1e6
