"""Row i of the network's output is unit i, or strategies that keep outputs of units are refused."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfbench import Batch, Task, normalize
from dfbench.errors import IncompatibleError
from dfbench.plugins import registry
from dfbench.training.compatibility import check_declared
from dfbench.training.unit_rows import check_unit_logits
from tests.training.harness import PlainConfig, PlainDetector, network

GENERATOR = torch.Generator().manual_seed(3)
BATCH = Batch(
    torch.randint(0, 256, (4, 8, 8, 3), generator=GENERATOR, dtype=torch.uint8),
    torch.tensor([1, 0, 1, 0]),
    torch.arange(4),
    torch.zeros(4, dtype=torch.int64),
)


def check(kind: type[PlainDetector], model: nn.Module | None = None) -> None:
    detector = kind(PlainConfig(), Task())
    check_unit_logits(detector, model or detector.build(), BATCH, ("mine", "der"))


class Augmenting(PlainDetector):
    """Random flips and noise of each unit's own."""

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        x = normalize(batch.pixels).contiguous()
        if not training:
            return x
        flipped = torch.rand(len(x)) < 0.5
        x = torch.where(flipped[:, None, None, None], x.flip(-1), x)
        return x + 0.1 * torch.randn_like(x)


class WithDropout(PlainDetector):
    def build(self) -> nn.Module:
        return nn.Sequential(network(), nn.Dropout(0.5))


class Pseudo(PlainDetector):
    """Looks at all units in another order, without gradients, before its loss."""

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            model(self.inputs(batch, False).flip(0))
        return super().loss(model, batch)


class GradientPenalty(PlainDetector):
    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        x = self.inputs(batch, True).requires_grad_()
        loss = F.cross_entropy(model(x), batch.labels)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        return loss + slope.square().sum()


@pytest.mark.parametrize("kind", [PlainDetector, Augmenting, WithDropout, Pseudo, GradientPenalty])
def test_units_that_keep_their_rows_are_accepted(kind: type[PlainDetector]) -> None:
    check(kind)


class Sorting(PlainDetector):
    """Its batch is sorted by class."""

    order: ClassVar[Any] = staticmethod(lambda labels: labels.argsort(stable=True))

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        order = self.order(batch.labels)
        return F.cross_entropy(model(self.inputs(batch, True)[order]), batch.labels[order])


class Flipping(Sorting):
    order = staticmethod(lambda labels: torch.arange(len(labels)).flip(0))


class Swapping(Sorting):
    """A fixed order that commutes with turning the batch and with reversing it."""

    order = staticmethod(lambda labels: torch.arange(len(labels)).roll(len(labels) // 2))


class FakesFirst(Sorting):
    order = staticmethod(lambda labels: labels.argsort(stable=True, descending=True))


class Mixup(PlainDetector):
    """Mixup in train mode, with some probability."""

    chance = 1.0

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        x = self.inputs(batch, True)
        if model.training and float(torch.rand(())) < self.chance:
            x = 0.7 * x + 0.3 * x[torch.randperm(len(x))]
        return F.cross_entropy(model(x), batch.labels)


class RareMixup(Mixup):
    chance = 0.5


class MixupInside(PlainDetector):
    """The network mixes in train mode."""

    def build(self) -> nn.Module:
        class Mixing(nn.Sequential):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(0.7 * x + 0.3 * x.roll(1, 0) if self.training else x)

        return Mixing(*network())


@pytest.mark.parametrize("kind", [Sorting, Flipping, Swapping, FakesFirst, Mixup, RareMixup, MixupInside])
def test_a_loss_that_mixes_or_reorders_is_refused(kind: type[PlainDetector]) -> None:
    with pytest.raises(IncompatibleError, match="row i is not unit i alone"):
        check(kind)


def test_a_detector_can_declare_that_it_mixes() -> None:
    class Declared(PlainDetector):
        mixes = True

    der = registry().strategies.load("der")
    with pytest.raises(IncompatibleError, match="declares that its loss mixes units"):
        check_declared(Declared, der(der.Config()), ("declared", "der"))


def test_two_passes_with_gradients_are_refused() -> None:
    class Twice(PlainDetector):
        def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
            return super().loss(model, batch) + super().loss(model, batch)

    with pytest.raises(IncompatibleError, match="exactly once"):
        check(Twice)


def test_the_check_leaves_the_network_as_it_was() -> None:
    model = network().eval()
    model[1].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check(Pseudo, model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [m.training for m in model] == [False, True, *[False] * 5]
    assert all(p.grad is None for p in model.parameters())
