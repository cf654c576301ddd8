"""Outputs of single units, where a unit has several rows and is mixed inside."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from dfbench_avalanche.rehearsal import partial_distance
from dfbench_avalanche.teacher import measured
from torch import nn

from dfbench import Batch, PluginError, Task, UnitRows, normalize
from dfbench.errors import IncompatibleError
from dfbench.plugins import registry
from dfbench.training.compatibility import check_declared
from dfbench.training.unit_outputs import arranged
from dfbench.training.unit_reading import unit_outputs
from dfbench.training.unit_rows import check_unit_logits
from tests.training.harness import PlainConfig, PlainDetector, Problem, plain_network, strategy_of, train

NAN = float("nan")
GENERATOR = torch.Generator().manual_seed(3)
BATCH = Batch(
    torch.randint(0, 256, (4, 8, 8, 3), generator=GENERATOR, dtype=torch.uint8),
    torch.tensor([1, 0, 1, 0]),
    torch.arange(4),
    torch.zeros(4, dtype=torch.int64),
)


class Two(nn.Module):
    """Two networks: one sees each unit twice, the other every second unit once."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = plain_network(), plain_network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.a(x.flatten(0, 1)), self.b(x[::2, 0])])


class Mixing(PlainDetector):
    """Mixes each picture with its mirror image, by a share that is drawn for each of its two rows."""

    head: ClassVar[Any] = ("a.3", "b.3")

    def build(self) -> nn.Module:
        return Two()

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        if batch.mix is None:
            batch.mix = torch.rand(len(batch), 2)
        x, share = normalize(batch.pixels).contiguous(), batch.mix[:, :, None, None, None]
        return torch.lerp(x[:, None], x.flip(-1)[:, None], share)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = model(self.inputs(batch, model.training))
        rows = self.unit_rows(model, batch)
        parts = zip(logits.split(rows.parts), rows.targets.split(rows.parts), strict=True)
        return torch.stack([F.cross_entropy(z, target) for z, target in parts]).sum()

    def unit_rows(self, model: nn.Module, batch: Batch) -> UnitRows:
        every = torch.arange(len(batch))
        units = torch.cat([every.repeat_interleave(2), every[::2]])
        return UnitRows(units, F.one_hot(batch.labels[units], 2).float(), (2 * len(batch), len(every[::2])))

    def unmixed(self, batch: Batch) -> list[torch.Tensor]:
        return [torch.zeros(len(batch), 2), torch.ones(len(batch), 2)]

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        assert isinstance(model, Two)
        return torch.softmax(model.a(normalize(batch.pixels).contiguous()), dim=1)


def made(kind: type[PlainDetector]) -> PlainDetector:
    return kind(PlainConfig(), Task())


def test_rows_are_arranged_by_unit() -> None:
    values = torch.arange(10.0).reshape(5, 2)
    assert arranged(values[:4], torch.tensor([1, 0, 1, 0]), 2).tolist() == [[[2, 3], [6, 7]], [[0, 1], [4, 5]]]
    found = arranged(values, torch.tensor([2, 0, 2, 0, 1]), 3)
    assert found[:2, 0].tolist() == [[2, 3], [8, 9]]
    assert found[2].tolist() == [[0, 1], [4, 5]]
    assert found[1, 1].isnan().all()


def test_where_a_detector_says_nothing_row_i_is_unit_i() -> None:
    detector, model = made(PlainDetector), plain_network()
    logits = model(normalize(BATCH.pixels).contiguous())
    outputs = unit_outputs(detector, model, BATCH, logits)
    assert torch.equal(outputs.by_part()[0][:, 0], logits)
    assert outputs.rows.targets.argmax(1).tolist() == [1, 0, 1, 0]
    assert outputs.complete
    assert outputs.mix is None


def test_the_distance_of_partial_rows_by_hand_and_its_gradient() -> None:
    now = torch.tensor([[[1.0, 2.0]], [[NAN, NAN]], [[3.0, 3.0]]], requires_grad=True)
    stored = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]], [[NAN, NAN]]])
    distance = partial_distance(now, stored)
    assert float(distance.detach()) == pytest.approx((1 + 4) / 2)
    distance.backward()
    assert now.grad is not None
    assert now.grad.tolist() == [[[1, 2]], [[0, 0]], [[0, 0]]]
    assert float(partial_distance(torch.full((2, 1), NAN), torch.ones(2, 1))) == 0


def test_a_detector_that_mixes_inside_its_units_is_accepted() -> None:
    check_unit_logits(made(Mixing), Two(), replace(BATCH), ("mine", "der"), several=True)


class Neighbours(Mixing):
    """Its pictures are mixed with the next one's."""

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        x = super().inputs(batch, training)
        return torch.lerp(x, x.roll(1, 0), 0.3)


class WrongUnits(Mixing):
    """It takes its rows for those of the units in another order."""

    def unit_rows(self, model: nn.Module, batch: Batch) -> UnitRows:
        rows = super().unit_rows(model, batch)
        return replace(rows, units=len(batch) - 1 - rows.units)


class Forgetful(Mixing):
    """It draws anew, whatever it finds in ``batch.mix``."""

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        batch.mix = None
        return super().inputs(batch, training)


class WrongParts(Mixing):
    def unit_rows(self, model: nn.Module, batch: Batch) -> UnitRows:
        return replace(super().unit_rows(model, batch), parts=(4, 4))


@pytest.mark.parametrize(
    ("kind", "error", "match"),
    [
        (Neighbours, IncompatibleError, "mixes units or puts them into another order"),
        (WrongUnits, IncompatibleError, "unit_rows names another unit for a row"),
        (Forgetful, IncompatibleError, "differently at each pass"),
        (WrongParts, PluginError, r"parts \(4, 4\) for the 10 rows"),
    ],
)
def test_rows_that_are_not_of_their_unit_are_refused(kind: type[Mixing], error: Any, match: str) -> None:
    class Kind(kind):  # type: ignore[valid-type,misc]
        def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
            return model(self.inputs(batch, model.training)).square().mean()

    with pytest.raises(error, match=match):
        check_unit_logits(made(Kind), Two(), replace(BATCH), ("mine", "der"), several=True)


def test_strategies_of_one_row_per_unit_refuse_it() -> None:
    """Also before any data are open, where the detector declares it."""
    with pytest.raises(IncompatibleError, match=r"model\(x\) gives \(10, 2\) for 4 training units"):
        check_unit_logits(made(Mixing), Two(), replace(BATCH), ("mine", "cored"))

    class Declared(Mixing):
        mixes = True

    for name, refused in (("cored", True), ("der", False)):
        kind = registry().strategies.load(name)
        with pytest.raises(IncompatibleError, match="mixes = True") if refused else contextlib.nullcontext():
            check_declared(Declared, kind(kind.Config()), ("mine", name))


def test_der_meets_a_unit_again_as_it_was_mixed() -> None:
    """A network that never learns gives the stored logits again, and the penalty is 0; its memory holds some units that
    the second network did not see."""
    problem, strategy = Problem.make(), strategy_of("der", memory=40, beta=0.0)

    class Frozen(Mixing):
        def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.SGD(model.parameters(), lr=0.0)

        def train(self, loop: Any) -> None:
            loop.optimize(self.optimizer(loop.model))
            for batch in loop.batches():
                loop.step(self.loss(loop.model, batch))

    train(problem, strategy, made(Frozen))
    first, second, mix = strategy._plugin.kept  # type: ignore[attr-defined]
    assert (first.shape, second.shape, mix.shape) == ((40, 2, 2), (40, 1, 2), (40, 2))
    assert not first.isnan().any()
    assert 0 < int(second.isnan().any(2).sum()) < 40
    assert strategy.effects.values()["replayed_units"] > 0
    assert strategy.effects.values().get("penalty", 0.0) < 1e-8


@pytest.mark.parametrize("name", ["der", "dfil"])
def test_it_changes_what_is_learned(name: str) -> None:
    problem = Problem.make()
    strategy, naive = strategy_of(name, memory=30), strategy_of("naive")
    ours, plain = (train(problem, s, made(Mixing)).model for s in (strategy, naive))
    assert strategy.effects.values()["penalty"] > 0
    for part in ("a", "b"):
        differences = [
            float((p - q).detach().abs().max())
            for p, q in zip(ours.get_submodule(part).parameters(), plain.get_submodule(part).parameters(), strict=True)
        ]
        assert max(differences) > 1e-3


def test_dfil_looks_at_each_thing_in_a_unit() -> None:
    """Entropy and features of units that are mixed inside: the mean over both pictures, and the first network's alone,
    since the second sees half of them."""
    problem = Problem.make()
    seen: list[Any] = []

    class Looking(Mixing):
        def train(self, loop: Any) -> None:
            super().train(loop)
            loop.model.eval()
            ids = torch.arange(6)
            seen.append((measured(loop._host, ids, ("a.3", "b.3")), loop.model, ids))
            loop.model.train()

    train(problem, strategy_of("naive"), made(Looking))
    found, model, ids = seen[-1]
    x = problem.inputs(ids)
    with torch.no_grad():
        logits = [model.a(view) for view in (x, x.flip(-1))]
        features = [model.a[:3](view) for view in (x, x.flip(-1))]
    entropy = torch.stack([torch.distributions.Categorical(logits=z.double()).entropy() for z in logits]).mean(0)
    assert torch.allclose(found.entropy, entropy, atol=1e-6)
    assert torch.allclose(found.features, torch.cat(features, 1).double(), atol=1e-6)
