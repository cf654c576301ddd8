"""One network with a frozen trunk: when its features are served, and when they are computed anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfbench.training.frozen import Frozen
from tests.training.trunks import Net


def attached(before: Any = None, rows: int = 16) -> tuple[Net, torch.Tensor]:
    """A frozen network that knows these rows and serves them, in training and in prediction."""
    model = Net(before).eval().requires_grad_(False)
    model.head.requires_grad_(True).train()
    keeper = Frozen.attach(model, ("head",))
    assert keeper is not None
    x = torch.randn(rows, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    for _ in range(3):
        model(x)
        with torch.no_grad():
            model(x)
    assert keeper.served > 0
    assert computed(model, lambda: model(x)) == computed(model, lambda: no_grad(model, x)) == 0
    return model, x


def no_grad(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(x)  # type: ignore[no-any-return]


def computed(model: Net, something: Callable[[], Any]) -> int:
    model.count.rows.clear()
    something()
    return sum(model.count.rows)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.body[0].weight.add_(0.1),
        lambda m: m.body[0].weight.data.mul_(1.1),  # not seen by autograd's version counter
        lambda m: m.body[0].weight.data.neg_(),
        lambda m: m.body[1].running_mean.data.add_(0.1),
        lambda m: m.load_state_dict({k: v.flip(0) if v.dim() else v for k, v in m.state_dict().items()}),
        lambda m: setattr(m.body[1], "eps", 0.1),
        lambda m: m.body.__setitem__(2, nn.Sigmoid()),
        lambda m: setattr(m.body[0], "weight", nn.Parameter(m.body[0].weight * 2, requires_grad=False)),
    ],
    ids=["in place", "data", "sign", "buffer", "state dict", "attribute", "module", "parameter"],
)
def test_a_trunk_that_was_changed_is_computed_anew(change: Callable[[Net], Any]) -> None:
    model, x = attached()
    old = model(x).detach()
    with torch.no_grad():
        change(model)
    expected = copy.deepcopy(model)(x)
    assert not torch.equal(expected, old)
    assert torch.equal(model(x), expected)
    assert torch.equal(no_grad(model, x), expected)


def test_what_cannot_be_seen_is_noticed_where_rows_are_found_again() -> None:
    """A trunk that goes by what is no weight, buffer or plain attribute: by the number of its passes, in a list."""

    def alternating(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x * len(model.count.rows)  # type: ignore[arg-type, union-attr]

    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    for passed in (lambda m: m(x), lambda m: no_grad(m, x)):
        model = Net(alternating).eval().requires_grad_(False)
        model.head.requires_grad_(True)
        twin = copy.deepcopy(model)
        Frozen.attach(model, ("head",))
        assert all(torch.equal(passed(model), passed(twin)) for _ in range(4))


def test_a_change_that_cannot_be_seen_is_noticed_beside_new_rows() -> None:
    factor = [1.0]
    model, x = attached(lambda model, x: x * factor[0])
    factor[0] = 2.0
    mixed = torch.cat([x[:13], x[:3] + 1])
    assert torch.equal(model(mixed), copy.deepcopy(model)(mixed))


def test_another_precision_is_another_state() -> None:
    model, x = attached()
    for passed in (lambda m: m(x), lambda m: no_grad(m, x)):
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(passed(model), passed(copy.deepcopy(model)))
            assert passed(model).dtype == torch.bfloat16
        assert torch.equal(passed(model), passed(copy.deepcopy(model)))


def test_a_copy_computes_for_itself() -> None:
    model, x = attached()
    twin = copy.deepcopy(model)
    again = copy.deepcopy(twin)
    assert computed(twin, lambda: twin(x)) == computed(again, lambda: no_grad(again, x)) == len(x)
    assert computed(model, lambda: twin(x)) == 0
    with torch.no_grad():
        twin.body[0].weight.zero_()
    assert not torch.equal(twin(x), model(x))
    assert torch.equal(again(x), model(x))


def test_gradients_of_the_head_are_those_of_a_plain_pass() -> None:
    model, x = attached()
    for network in (model, twin := copy.deepcopy(model)):
        network(x[[3, 1, 1, 7] * 4]).pow(2).sum().backward()
    assert torch.equal(model.head.weight.grad, twin.head.weight.grad)
    assert model.body[0].weight.grad is None


def test_a_pass_into_the_input_has_its_gradient() -> None:
    model, x = attached()
    x = x.clone().requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_a_prediction_is_served_to_the_same_batch_alone() -> None:
    model, x = attached()
    expected = no_grad(copy.deepcopy(model), x)
    assert computed(model, lambda: no_grad(model, x.flip(0))) == len(x)
    assert computed(model, lambda: no_grad(model, x[:8])) == 8
    assert computed(model, lambda: no_grad(model, x.contiguous(memory_format=torch.channels_last))) == len(x)
    assert computed(model, lambda: no_grad(model, x.clone())) == 0
    assert torch.equal(no_grad(model, x.clone()), expected)
    assert torch.equal(no_grad(model, x.flip(0)), no_grad(copy.deepcopy(model), x.flip(0)))


def test_a_head_that_changes_with_each_call_is_called_as_often() -> None:
    """Spectral normalisation moves its estimate in every forward pass in train mode."""

    def passes(enabled: bool) -> torch.Tensor:
        model = Net().eval().requires_grad_(False)
        nn.utils.parametrizations.spectral_norm(model.head.requires_grad_(True).train())
        keeper = Frozen.attach(model, ("head",)) if enabled else None
        x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
        for _ in range(4):
            output = model(x)
        assert keeper is None or keeper.served > 0
        return output.detach()

    assert torch.equal(passes(True), passes(False))


def test_networks_with_several_heads_or_a_forward_of_their_own_are_left_alone() -> None:
    model = Net()
    assert Frozen.attach(model, ("head", "body.0")) is None
    assert Frozen.attach(nn.Linear(3, 2), ("",)) is None
    model.forward = lambda x: x  # type: ignore[method-assign]
    assert Frozen.attach(model, ("head",)) is None


def test_features_that_are_a_view_reach_the_head_as_they_would() -> None:
    """A class token is the first of several rows: the head reads it with strides."""

    class Tokens(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.body[:3](self.count(x)).reshape(len(x), 4, 96)
            return self.head(tokens[:, 0])

    model = Tokens().eval().requires_grad_(False)
    model.head.requires_grad_(True)
    seen: list[tuple[int, ...]] = []
    model.head.register_forward_pre_hook(lambda module, args: seen.append(args[0].stride()))
    Frozen.attach(model, ("head",))
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    outputs = [passed(x) for _ in range(4) for passed in (model, lambda x: no_grad(model, x))]
    assert len(model.count.rows) < len(outputs) + 5
    assert set(seen) == {(384, 1)}
    assert all(torch.equal(output, outputs[0]) for output in outputs)
