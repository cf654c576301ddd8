"""A frozen trunk's features are computed once, and no result changes by a bit.

What is trained or predicted with the features kept is compared with the same where nothing is kept
(``frozen.ENABLED``); how much was computed is read from a module in the trunk that counts its rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dfbench import Batch, Loop, Task
from dfbench.plugins import Registry, registry
from dfbench.runs.report import Reporter
from dfbench.runs.runner import Request, prepare, run
from dfbench.runs.session import Session
from dfbench.training import frozen
from tests.training.harness import (
    BATCH,
    EXPERIENCES,
    SIZE,
    PlainConfig,
    PlainDetector,
    Problem,
    Trained,
    largest_difference,
    strategy_of,
    train,
)
from tests.training.trunks import Counter, Net, centred, counted, drawing, dropped, highest, in_place, python_noise

EPOCHS = 5
FIRST = EPOCHS * SIZE
"""Rows of an experience that all go through the trunk."""


class Counting(PlainDetector):
    """:class:`Net` in a plain loop, or in one of a test's."""

    head = "head"

    def __init__(self, before: Any = None, body: Any = None, **config: Any) -> None:
        super().__init__(PlainConfig(**{"epochs": EPOCHS, **config}), Task())
        self._before, self._body = before, body

    def build(self) -> nn.Module:
        return Net(self._before)

    def train(self, loop: Loop) -> None:
        if self._body is None:
            super().train(loop)
        else:
            self._body(self, loop)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Does something where no features are kept."""

    def does(something: Callable[[], Any]) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(frozen, "ENABLED", False)
            return something()

    return does


def rows(trained: Trained) -> int:
    return sum(trained.model.count.rows)


def both(without: Any, make: Callable[[], Trained]) -> tuple[Trained, Trained]:
    """Trained with features kept and without, the weights alike."""
    kept, plain = make(), without(make)
    assert plain.template.frozen.served == 0
    assert largest_difference(kept.model, plain.model) == 0
    assert largest_difference(kept.model, kept.detector.build()) > 0.01  # it did train
    return kept, plain


def steps(detector: PlainDetector, loop: Loop, epochs: int = EPOCHS) -> None:
    loop.optimize(torch.optim.SGD(loop.model.parameters(), lr=0.05, momentum=0.9))
    for _ in loop.epochs(epochs):
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))


# --- Whole runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detector", "settings"),
    [
        ("simple_cnn", ["image_size=32", "epochs=3", "batch_size=8", "width=4"]),
        ("simple_cnn", ["image_size=32", "epochs=3", "batch_size=8", "width=4", "precision=bf16"]),
        ("mortal", ["epochs=3"]),
    ],
    ids=["simple_cnn", "bf16", "plain"],
)
def test_weights_and_scores_are_the_same(
    detector: str, settings: list[str], tiny_stream: Path, tmp_path: Path, with_odd: Registry, without: Any
) -> None:
    def ask(out: str) -> dict[str, Any]:
        request = Request(
            detector, "cwr_star", str(tiny_stream), settings=settings, device="cpu", out=tmp_path / out, eval_every=2
        )
        return run(request, with_odd, Reporter())

    kept, plain = ask("kept"), without(lambda: ask("plain"))
    assert kept["files"] == plain["files"]  # the sha256 of all scores and of the weights
    assert (kept["run"], kept["matrix"], kept["within"]) == (plain["run"], plain["matrix"], plain["within"])
    assert kept["effects"] == plain["effects"]
    cached = kept["compute"].pop("cached")
    assert kept["compute"] == plain["compute"]  # rows that the method asks for, whoever computes them
    assert cached[0] == 0
    assert min(cached[1:]) >= 24  # of 3 passes of 24 units: at least all of one


def test_a_run_with_speed_settings_is_the_same(tiny_stream: Path, tmp_path: Path, without: Any) -> None:
    def ask(out: str) -> dict[str, Any]:
        settings = ["image_size=32", "epochs=3", "batch_size=8", "width=4"]
        request = Request(
            "simple_cnn", "cwr_star", str(tiny_stream), settings=settings, device="cpu", out=tmp_path / out, tune="bf16"
        )
        return run(request, registry(), Reporter())

    kept, plain = ask("kept"), without(lambda: ask("plain"))
    assert kept["files"] == plain["files"]
    assert min(kept["compute"]["cached"][1:]) >= 24
    assert "cached" not in plain["compute"]


def session(stream: Path, out: Path) -> Session:
    """``simple_cnn`` with a counter in its trunk, under cwr_star."""
    settings = ["image_size=32", "epochs=2", "batch_size=8", "width=4"]
    request = Request("simple_cnn", "cwr_star", str(stream), settings=settings, device="cpu", out=out)
    prepared = prepare(request, registry(), Reporter())
    kind = type(prepared.detector)

    class Counted(kind):  # type: ignore[misc, valid-type]
        def build(self) -> nn.Module:
            model = super().build()
            model.features.insert(0, Counter())
            return model

    detector = Counted(prepared.detector.config, prepared.detector.task)
    return Session(prepared.spec, prepared.stream, detector, prepared.strategy, torch.device("cpu"), Reporter())


def test_test_sets_are_passed_through_a_frozen_trunk_once(tiny_stream: Path, tmp_path: Path) -> None:
    ours = session(tiny_stream, tmp_path)
    count = ours.template.model.features[0].rows
    computed = []
    for number in range(4):
        if number:
            ours.train(number)
        count.clear()
        ours.evaluate(number)
        computed.append(sum(count))
    count.clear()
    again = [ours.evaluate(3).digest() for _ in range(2)]
    assert computed[:3] == [36, 36, 36]  # untrained; trained; the first time that it is frozen
    assert computed[3] == 36  # found again, computed again and compared
    assert sum(count) == 0  # from here on
    assert again[0] == again[1]


def test_a_resumed_run_ends_in_the_same_scores(tiny_stream: Path, tmp_path: Path) -> None:
    whole = session(tiny_stream, tmp_path)
    digests, states = {}, {}
    for number in range(4):
        if number:
            whole.train(number)
        digests[number] = whole.evaluate(number).digest()
        states[number] = copy.deepcopy(whole.state_dict())
    resumed = session(tiny_stream, tmp_path)
    resumed.load_state_dict(states[2])
    resumed.train(3)
    assert resumed.evaluate(3).digest() == digests[3]
    assert all(torch.equal(a, b) for a, b in zip(whole.final_weights.values(), resumed.final_weights.values()))  # noqa: B905
    whole.evaluate(3)
    for number in (1, 0, 2):  # other weights in a network that is frozen and whose features are known
        whole.load_state_dict(states[number])
        assert whole.evaluate(number).digest() == digests[number]
    assert len(set(digests.values())) == 4


# --- Trainings -----------------------------------------------------------------------------------------


def test_a_frozen_trunk_computes_one_pass_of_several(problem: Problem, without: Any) -> None:
    kept, plain = both(without, lambda: train(problem, strategy_of("cwr_star"), Counting()))
    assert rows(plain) == EXPERIENCES * FIRST
    verifying = BATCH + 2 * BATCH + BATCH // 2  # a batch that was found, and that at four sizes
    assert rows(kept) <= FIRST + (EXPERIENCES - 1) * SIZE + verifying
    assert kept.template.frozen.served == (EXPERIENCES - 1) * (EPOCHS - 1) * SIZE - BATCH
    assert largest_difference(kept.model, train(problem, strategy_of("naive"), Counting()).model) > 0.01


def test_a_phase_profits_while_it_lasts(problem: Problem, without: Any) -> None:
    def body(detector: PlainDetector, loop: Loop) -> None:
        with loop.phase(loop.model.head):
            steps(detector, loop)
        detector.after.append((sum(loop.model.count.rows), detector.probe(loop.model)))
        steps(detector, loop, epochs=1)

    class Probed(Counting):
        def __init__(self) -> None:
            super().__init__(body=body)
            self.after: list[Any] = []

        def probe(self, model: nn.Module) -> torch.Tensor:
            x = torch.linspace(-1, 1, 2 * 3 * 64).reshape(2, 3, 8, 8)
            return copy.deepcopy(model)(x).detach()

    kept, plain = both(without, lambda: train(problem, strategy_of("naive"), Probed()))
    assert rows(plain) == EXPERIENCES * (FIRST + SIZE)
    assert rows(kept) <= EXPERIENCES * (2 * SIZE + 5 * BATCH)
    assert [torch.equal(a[1], b[1]) for a, b in zip(kept.detector.after, plain.detector.after, strict=True)] == [
        True
    ] * 3


class Flipped(Counting):
    """Random flips: of each picture two variants."""

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        x = super().inputs(batch, training)
        return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


class Noisy(Counting):
    """A new picture each time."""

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        x = super().inputs(batch, training)
        return x + 0.01 * torch.randn_like(x)


def test_known_rows_are_served_beside_new_ones(problem: Problem, without: Any) -> None:
    kept, plain = both(without, lambda: train(problem, strategy_of("cwr_star"), Flipped()))
    assert 0 < kept.template.frozen.served < (EXPERIENCES - 1) * (EPOCHS - 1) * SIZE
    assert rows(kept) < rows(plain) * 0.85


def test_where_every_picture_is_new_it_is_given_up(problem: Problem, without: Any) -> None:
    kept, plain = both(without, lambda: train(problem, strategy_of("cwr_star"), Noisy()))
    assert rows(kept) == rows(plain)
    assert kept.template.frozen._rows.off
    assert not kept.template.frozen._rows.known


def test_batches_of_other_sizes_are_verified_too(problem: Problem, without: Any) -> None:
    """96 rows in batches of 36: the last of a pass has 24."""
    kept, plain = both(without, lambda: train(problem, strategy_of("cwr_star"), Counting(batch_size=36)))
    assert rows(kept) < 0.75 * rows(plain)
    assert {shape[1][0] for shape in kept.template.frozen._rows.verified} == {36, 24}


def test_a_single_pass_keeps_nothing(problem: Problem, without: Any) -> None:
    kept, plain = both(without, lambda: train(problem, strategy_of("cwr_star"), Counting(epochs=1)))
    assert rows(kept) == rows(plain)
    assert not kept.template.frozen._rows.state  # not even looked at: there is nothing to gain


def test_memory_is_bounded(problem: Problem, without: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "LIMIT", 50 * (4 * 96 + frozen.OVERHEAD))
    held: list[int] = []

    def body(detector: PlainDetector, loop: Loop) -> None:
        steps(detector, loop)
        held.append(len(kept_rows()))

    def kept_rows() -> dict[bytes, torch.Tensor]:
        return templates[-1].frozen._rows.known

    templates: list[Any] = []
    kept, _ = both(
        without,
        lambda: train(problem, strategy_of("cwr_star"), Counting(body=body), before=lambda t, i: templates.append(t)),
    )
    assert 0 < max(held) <= 50
    assert 0 < kept.template.frozen.served < (EXPERIENCES - 1) * (EPOCHS - 1) * SIZE // 2
    assert not kept.template.frozen._rows.known  # a training that has ended holds nothing


def test_hooks_on_the_head_are_called_once_a_step(problem: Problem, without: Any) -> None:
    """Strategies read the features there; what they see is the same, and is seen as often."""

    def make() -> Trained:
        seen: list[torch.Tensor] = []

        def body(detector: PlainDetector, loop: Loop) -> None:
            hook = loop.model.head.register_forward_hook(lambda m, args, out: seen.append(args[0].detach().clone()))
            steps(detector, loop)
            hook.remove()

        trained = train(problem, strategy_of("cwr_star"), Counting(body=body))
        trained.events = seen  # type: ignore[assignment]
        return trained

    kept, plain = both(without, make)
    assert kept.template.frozen.served > 0
    assert len(kept.events) == len(plain.events) == EXPERIENCES * EPOCHS * SIZE // BATCH
    assert all(torch.equal(a, b) for a, b in zip(kept.events, plain.events, strict=True))


def test_kernels_that_round_few_rows_otherwise_change_nothing(problem: Problem, without: Any) -> None:
    """Matrix products of few rows are mostly made by other kernels than those of many; here, of fewer than 12."""

    def rounded(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x if len(x) >= 12 else x * 1.00001

    kept, _ = both(without, lambda: train(problem, strategy_of("cwr_star"), Flipped(rounded, epochs=8)))
    assert kept.template.frozen.served > 0
    (served,) = kept.template.frozen._rows.verified.values()
    assert served.sizes == (0, 12, 16)


# --- Networks that are left alone ------------------------------------------------------------------------


@pytest.mark.parametrize("before", [in_place, dropped, drawing, python_noise, centred, counted])
def test_a_trunk_that_is_no_function_of_its_row_is_never_served(problem: Problem, without: Any, before: Any) -> None:
    kept, _plain = both(without, lambda: train(problem, strategy_of("cwr_star"), Counting(before)))
    assert kept.template.frozen.served == 0


def test_rows_that_depend_on_their_batch_are_found_out_where_all_are_in_one(problem: Problem, without: Any) -> None:
    """Each pass is one batch of the same 96 rows in another order: features are the same again, to the bit."""
    kept, _plain = both(without, lambda: train(problem, strategy_of("cwr_star"), Counting(highest, batch_size=SIZE)))
    assert kept.template.frozen.served == 0


def test_a_trunk_that_trains_in_part_is_computed(problem: Problem, without: Any) -> None:
    def parts(detector: PlainDetector, loop: Loop) -> None:
        with loop.phase(loop.model.body[1], loop.model.head):
            steps(detector, loop)

    def statistics(detector: PlainDetector, loop: Loop) -> None:
        with loop.phase(loop.model.head, freeze_statistics=False):
            steps(detector, loop)

    def watched(detector: PlainDetector, loop: Loop) -> None:
        hook = loop.model.body[3].register_forward_hook(lambda module, args, output: output * 1.5)
        with loop.phase(loop.model.head):
            steps(detector, loop)
        hook.remove()

    for body in (parts, statistics, watched):
        kept, plain = both(without, lambda body=body: train(problem, strategy_of("naive"), Counting(body=body)))
        assert rows(kept) == rows(plain)
        assert not kept.template.frozen._rows.state  # not even looked at
