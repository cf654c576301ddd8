"""GEM's projection against Avalanche's own, its constraint, and reference passes in chunks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.training.plugins import GEMPlugin
from dfbench_avalanche.projection import RIDGE, ReferenceGradients, multipliers, reference_backward
from torch import nn

from dfbench import DfbenchError, Loop, StrategyContext, Task
from tests.training.harness import PlainConfig, PlainDetector, Problem, largest_difference, strategy_of, train


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make()


def convolutions(channels_last: bool = False) -> nn.Module:
    """Layers of many sizes, two of which are larger than a block."""
    torch.manual_seed(3)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Conv2d(64, 70, 3), nn.Flatten(),
        nn.Linear(280, 130), nn.Linear(130, 1),
    )  # fmt: skip
    return made.to(memory_format=torch.channels_last) if channels_last else made


def set_gradients(model: nn.Module, flat: torch.Tensor, without: tuple[int, ...] = ()) -> None:
    """Gradients in each parameter's own memory layout; none where told, as for frozen layers."""
    start = 0
    for index, p in enumerate(model.parameters()):
        part = flat[start : start + p.numel()].view(p.shape)
        p.grad = None if index in without else torch.empty_like(p).copy_(part)
        start += p.numel()


def gradient_of(model: nn.Module) -> torch.Tensor:
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])


def native(model: nn.Module, rows: torch.Tensor, gradient: torch.Tensor, strength: float) -> torch.Tensor:
    """Avalanche's whole projection of a gradient, its quadratic program included."""
    plugin = GEMPlugin(1, strength)
    plugin.G = rows
    set_gradients(model, gradient)
    clock = SimpleNamespace(train_exp_counter=len(rows))
    plugin.after_backward(SimpleNamespace(clock=clock, model=model, device=torch.device("cpu")))
    return gradient_of(model)


def ours(
    model: nn.Module, rows: torch.Tensor, gradient: torch.Tensor, strength: float, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, np.ndarray | None]:
    """The projected gradient and the multipliers, None where nothing had to be changed."""
    kept = ReferenceGradients(model, len(rows), dtype)
    for index, row in enumerate(rows):
        set_gradients(model, row)
        kept.keep(index)
    set_gradients(model, gradient)
    inner = kept.inner_products()
    amounts = None
    if (inner[:-1, -1] < 0).any():
        amounts = multipliers(inner[:-1, :-1], inner[:-1, -1], strength)
        kept.add(amounts)
    return gradient_of(model), amounts


SIZE = sum(p.numel() for p in convolutions().parameters())


def against(k: int, scale: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random reference gradients, and a gradient that opposes at least the first."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randn(k, SIZE, generator=rng) * scale / SIZE**0.5
    gradient = torch.randn(SIZE, generator=rng) * scale / SIZE**0.5
    return rows, gradient - (torch.dot(gradient, rows[0]) / rows[0].norm() ** 2 + 0.3) * rows[0]


def parallel(k: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows, gradient = against(k)
    return torch.stack([rows[0] * (i + 1) / k for i in range(k)]), gradient


def opposite() -> tuple[torch.Tensor, torch.Tensor]:
    """Two constraints that nothing but 0 along them can meet."""
    rows, gradient = against(2)
    return torch.stack([rows[0], -rows[0]]), gradient


def with_zeros() -> tuple[torch.Tensor, torch.Tensor]:
    rows, gradient = against(4)
    rows[[1, 3]] = 0
    return rows, gradient


def nearly_parallel() -> tuple[torch.Tensor, torch.Tensor]:
    rows, gradient = against(5)
    return rows[0] + 1e-4 * rows, gradient


CASES = {
    "one": against(1),
    "two": against(2),
    "nine": against(9),
    "small": against(9, scale=0.05),
    "large": against(9, scale=1e2),
    "parallel": parallel(5),
    "nearly_parallel": nearly_parallel(),
    "opposite": opposite(),
    "zeros": with_zeros(),
}


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_the_projected_gradient_is_avalanches(case: str, strength: float, channels_last: bool) -> None:
    rows, gradient = CASES[case]
    expected = native(convolutions(), rows, gradient, strength)
    model = convolutions(channels_last)
    found, amounts = ours(model, rows, gradient, strength)
    assert amounts is not None
    assert (expected - gradient).norm() > 1e-3 * gradient.norm()  # there was something to change
    assert (found - expected).norm() <= 1e-6 * max(float(expected.norm()), float(gradient.norm()))
    assert [p.grad.stride() for p in model.parameters()] == [p.stride() for p in model.parameters()]


@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_the_constraints_hold_after_the_projection(case: str, strength: float) -> None:
    """The margin is on the multipliers, as in the authors' code; the ridge lets a product fall to −0.001·v."""
    rows, gradient = CASES[case]
    found, amounts = ours(convolutions(), rows, gradient, strength)
    assert amounts is not None
    assert amounts.min() >= strength - 1e-9
    wide = rows.double()
    slack = 1e-6 * float(wide.norm(dim=1).max() ** 2) * max(1.0, float(amounts.sum()))
    assert bool((wide @ found.double() >= torch.from_numpy(-RIDGE * amounts) - slack).all())
    assert bool((wide @ gradient.double() < -RIDGE * torch.from_numpy(amounts) - slack).any())  # it did not before


def test_a_gradient_that_opposes_none_stays_as_it_is() -> None:
    rows, _ = against(3)
    gradient = rows.sum(0)
    found, amounts = ours(convolutions(), rows, gradient, 0.5)
    assert amounts is None
    assert torch.equal(found, gradient)
    assert torch.equal(native(convolutions(), rows, gradient, 0.5), gradient)


def test_parameters_without_a_gradient_stay_without() -> None:
    rows, gradient = against(3)
    model = convolutions()
    kept = ReferenceGradients(model, 3)
    for index, row in enumerate(rows):
        set_gradients(model, row, without=(0, 4))
        kept.keep(index)
    set_gradients(model, gradient, without=(0, 5))
    before = gradient_of(model)
    masked = torch.stack([gradient_of_masked(model, row, (0, 4)) for row in rows]).double()
    set_gradients(model, gradient, without=(0, 5))
    every = torch.cat([masked, before.double()[None]])
    np.testing.assert_allclose(kept.inner_products(), (every @ every.T).numpy(), rtol=0, atol=1e-7)
    kept.add(np.array([0.5, 1.0, 2.0]))
    assert [p.grad is None for p in model.parameters()] == [i in (0, 5) for i in range(10)]
    expected = before.double() + torch.tensor([0.5, 1, 2], dtype=torch.float64) @ masked
    start = 0
    for p in model.parameters():
        if p.grad is not None:
            wanted = expected[start : start + p.numel()].view(p.shape).float()
            torch.testing.assert_close(p.grad, wanted, rtol=1e-5, atol=1e-7)
        start += p.numel()


def test_gradients_are_taken_over_not_copied() -> None:
    """Two sets of k gradients would be twice the memory."""
    model = convolutions()
    set_gradients(model, CASES["one"][0][0])
    places = [p.grad.data_ptr() for p in model.parameters()]
    kept = ReferenceGradients(model, 1)
    kept.keep(0)
    assert [flat.data_ptr() for flat in kept.kept[0]] == places
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
def test_gradients_in_another_layout_than_their_parameters_count_the_same(channels_last: bool) -> None:
    """As hooks of a detector may leave them; some references in one layout, some in the other."""
    rows, gradient = CASES["two"]
    expected, _ = ours(convolutions(), rows, gradient, 0.5)
    model = convolutions(channels_last)

    def turn() -> None:
        for p in model.parameters():
            if p.dim() == 4:
                p.grad = p.grad.contiguous(
                    memory_format=torch.contiguous_format if channels_last else torch.channels_last
                )

    kept = ReferenceGradients(model, 2)
    for index, row in enumerate(rows):
        set_gradients(model, row)
        if index:
            turn()
        kept.keep(index)
    set_gradients(model, gradient)
    turn()
    inner = kept.inner_products()
    kept.add(multipliers(inner[:-1, :-1], inner[:-1, -1], 0.5))
    torch.testing.assert_close(gradient_of(model), expected, rtol=1e-5, atol=1e-7)


def gradient_of_masked(model: nn.Module, row: torch.Tensor, without: tuple[int, ...]) -> torch.Tensor:
    set_gradients(model, row, without)
    return gradient_of(model)


def test_half_precision_rows_change_the_projection_by_their_rounding() -> None:
    """bf16 keeps 8 bits: each number is off by 1/512 at most, and the constraints by as much of the norms."""
    for case in ("one", "nine", "parallel", "zeros"):
        rows, gradient = CASES[case]
        exact, _ = ours(convolutions(), rows, gradient, 0.5)
        found, amounts = ours(convolutions(), rows, gradient, 0.5, torch.bfloat16)
        assert amounts is not None
        change = float((exact - gradient).norm())
        assert 0 < float((found - exact).norm()) <= change / 256
        least = -RIDGE * torch.from_numpy(amounts) - rows.norm(dim=1) * found.norm() / 256
        assert bool((rows.double() @ found.double() >= least).all())


@pytest.mark.parametrize(("gram", "products"), [(np.nan, -1.0), (np.inf, -1.0), (1.0, np.nan)])
def test_a_diverged_training_is_told_in_one_line(gram: float, products: float) -> None:
    with pytest.raises(DfbenchError, match="diverged") as told:
        multipliers(np.full((2, 2), gram), np.full(2, products), 0.5)
    assert "\n" not in str(told.value)


def test_gradients_too_large_for_the_program_are_told() -> None:
    with pytest.raises(DfbenchError, match=r"norm 1e\+10"):
        multipliers(np.full((2, 2), 1e20), np.full(2, -1e20), 0.5)


class Smooth(PlainDetector):
    """The plain loop on a network whose loss is a mean over samples: no batch normalisation."""

    def build(self) -> nn.Module:
        torch.manual_seed(11)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10), nn.Tanh(), nn.Linear(10, 2)
        )


class Sizes:
    """Notes how many stored units each reference pass holds."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, template: Any, index: int) -> None:
        if index == 0:
            loss = template.reference_loss
            template.reference_loss = lambda ids: self.seen.append(len(ids)) or loss(ids)


@pytest.mark.parametrize("name", ["gem", "agem"])
def test_chunks_give_what_the_whole_memory_gives(problem: Problem, name: str) -> None:
    options = {"sample_size": 10} if name == "agem" else {}
    trained, passes = [], []
    for chunk in (None, 4, 100):
        sizes = Sizes()
        strategy = strategy_of(name, chunk=chunk, **options)
        trained.append(train(problem, strategy, Smooth(PlainConfig(), Task()), before=sizes))
        passes.append(set(sizes.seen))
        assert strategy.effects.values()["projections"] > 0
    whole, chunked, larger = (t.model for t in trained)
    assert passes == [{10}, {3, 4}, {10}]
    assert largest_difference(whole, larger) == 0
    assert 0 < largest_difference(whole, chunked) < 1e-5
    naive = train(problem, strategy_of("naive"), Smooth(PlainConfig(), Task())).model
    assert largest_difference(whole, naive) > 1e-3


def test_a_chunk_counts_by_its_units() -> None:
    """Ten units in passes of 4, 3 and 3: the gradient is the mean's, not the mean of three means."""
    weight = torch.zeros(1, requires_grad=True)
    values = torch.arange(10.0)
    strategy = SimpleNamespace(reference_loss=lambda ids: (weight * values[ids]).mean())
    for chunk in (None, 4, 1):
        weight.grad = None
        reference_backward(strategy, torch.arange(10), chunk)
        assert weight.grad is not None
        assert float(weight.grad) == pytest.approx(4.5, rel=1e-6)


def test_rows_in_bf16_train_nearly_the_same_network(problem: Problem) -> None:
    """With margin 0: with a margin, a sign that turns at a product near 0 adds half a reference gradient."""
    detectors = [Smooth(PlainConfig(), Task()) for _ in range(3)]
    full = train(problem, strategy_of("gem", strength=0.0), detectors[0])
    half = train(problem, strategy_of("gem", strength=0.0, store="bf16"), detectors[1])
    naive = train(problem, strategy_of("naive"), detectors[2])
    assert half.strategy.effects.values()["projections"] > 0
    moved = largest_difference(full.model, naive.model)
    assert 0 < largest_difference(full.model, half.model) < 0.05 * moved


@pytest.mark.parametrize("name", ["gem", "agem"])
def test_channels_last_weights_train_the_same_network(problem: Problem, name: str) -> None:
    class Last(Smooth):
        def build(self) -> nn.Module:
            return super().build().to(memory_format=torch.channels_last)

    one = train(problem, strategy_of(name), Smooth(PlainConfig(), Task()))
    other = train(problem, strategy_of(name), Last(PlainConfig(), Task()))
    assert one.strategy.effects.values()["projections"] > 0
    assert largest_difference(one.model, other.model) < 1e-5


@pytest.mark.parametrize("name", ["gem", "agem"])
def test_frozen_layers_stay_without_gradient(problem: Problem, name: str) -> None:
    class Frozen(Smooth):
        def train(self, loop: Loop) -> None:
            loop.model[0].requires_grad_(False)
            super().train(loop)
            assert all(p.grad is None for p in loop.model[0].parameters())

    detector = Frozen(PlainConfig(), Task())
    ours = train(problem, strategy_of(name), detector)
    assert ours.strategy.effects.values()["projections"] > 0
    assert torch.equal(ours.model[0].weight, detector.build()[0].weight)


class Wide(PlainDetector):
    """A layer of more weights than two blocks, in front of the one that learns."""

    def build(self) -> nn.Module:
        torch.manual_seed(11)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 400), nn.Tanh(), nn.Linear(400, 16), nn.Linear(16, 2))


class FrozenWide(Wide):
    """The large layer never learns."""

    def build(self) -> nn.Module:
        model = super().build()
        model[1].requires_grad_(False)  # type: ignore[index]
        return model


class PhasedWide(Wide):
    """The large layer learns in the second of two phases."""

    def train(self, loop: Loop) -> None:
        with loop.phase(loop.model[3], loop.model[4]):  # type: ignore[index]
            super().train(loop)
        super().train(loop)


class WideWithTeacher(Wide):
    """A teacher lives inside the network, as a part without gradient."""

    def build(self) -> nn.Module:
        model = super().build()
        model[3].add_module("teacher", nn.Linear(400, 400).requires_grad_(False))  # type: ignore[index]
        return model


@pytest.mark.parametrize("name", ["gem", "agem"])
@pytest.mark.parametrize("kind", [FrozenWide, PhasedWide, WideWithTeacher])
def test_a_whole_block_may_have_no_gradient(problem: Problem, kind: type[Wide], name: str) -> None:
    ours = train(problem, strategy_of(name), kind(PlainConfig(), Task()))
    effects = ours.strategy.effects.values()
    assert effects["reference_passes"] > 0
    assert effects["projections"] > 0
    assert all(bool(torch.isfinite(p).all()) for p in ours.model.parameters())


def test_agem_leaves_a_gradient_that_shares_no_weight_with_the_memorys(problem: Problem) -> None:
    plugin = strategy_of("agem")
    plugin.plugins(StrategyContext(convolutions(), (), 3, 30, 1, 16, problem.labels))
    model, agem = convolutions(), plugin._plugin  # type: ignore[attr-defined]
    set_gradients(model, torch.ones(SIZE), without=(0, 1))
    before = gradient_of(model)
    agem.buffers, agem.reference = [torch.arange(3)], [torch.ones_like(p) for p in model.parameters()][:2] + [None] * 8
    agem.after_backward(SimpleNamespace(model=model))
    assert torch.equal(gradient_of(model), before)


def test_inside_autocast_inner_products_stay_precise() -> None:
    """Detectors may call ``loop.step`` inside their autocast; inner products must not become bf16."""
    rows, gradient = CASES["nine"]
    plain, _ = ours(convolutions(), rows, gradient, 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = ours(convolutions(), rows, gradient, 0.0)
    assert torch.equal(plain, inside)


def test_nothing_large_is_held_between_experiences(problem: Problem) -> None:
    gem, agem = strategy_of("gem"), strategy_of("agem")
    train(problem, gem)
    train(problem, agem)
    assert gem._plugin.references is None
    assert agem._plugin.reference == []
