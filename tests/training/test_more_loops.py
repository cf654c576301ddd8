"""Loops that published detectors have: several evaluations or steps per batch, optimizers at different rates,
validation data, compiled networks. Each under strategies that choose data, add a penalty, read outputs or change
gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from dfbench import Batch, Loop, PluginError, Task
from dfbench.plugins import load_plugins
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.session import Session
from dfbench.testing import write_stream
from tests.cli.harness import install, plugins_of
from tests.training.harness import (
    EXPERIENCES,
    PlainConfig,
    PlainDetector,
    Problem,
    largest_difference,
    plain_network,
    strategy_of,
    train,
)
from tests.training.test_loop import sgd

FOUR = ("naive", "replay", "lwf", "gem")
PASSES = 48 // 16  # batches of an experience


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(size=48)


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation in its usual form (Foret et al. 2021), in two parts."""

    def __init__(self, params: Any, rho: float, lr: float) -> None:
        super().__init__(params, {"rho": rho})
        self.base = torch.optim.SGD(self.param_groups, lr=lr)
        self.param_groups = self.base.param_groups
        self.uphill = 0

    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in params]).norm()
        for p in params:
            self.state[p]["old"] = p.data.clone()
            p.add_(p.grad * self.param_groups[0]["rho"] / (norm + 1e-12))
        self.uphill += 1

    @torch.no_grad()
    def second_step(self, zero_grad: bool = False) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if "old" in self.state[p]:
                    p.data = self.state[p].pop("old")
        self.base.step()

    def step(self, closure: Any = None) -> None:
        raise NotImplementedError


class Plain(PlainDetector):
    """One network that is alike in both modes, and a record of what it was trained on."""

    def build(self) -> nn.Module:
        return plain_network()


def plain_with(body: Callable[[Any, Loop], None]) -> Plain:
    class Custom(Plain):
        def train(self, loop: Loop) -> None:
            body(self, loop)

    return Custom(PlainConfig(), Task())


def sam_loop(rho: float) -> Callable[[Any, Loop], None]:
    def body(detector: Any, loop: Loop) -> None:
        loop.optimize(SAM(loop.model.parameters(), rho, 0.05))
        for batch in loop.batches():
            detector.seen[-1:] = [[*detector.seen[-1], batch]] if detector.seen else [[batch]]
            loop.step(lambda batch=batch: detector.loss(loop.model, batch))

    return body


def sgd_loop(detector: Any, loop: Loop) -> None:
    loop.optimize(sgd(loop.model))
    for batch in loop.batches():
        loop.step(detector.loss(loop.model, batch))


# --- Several evaluations of the loss in a step ------------------------------------------------------


def test_sam_is_sam(problem: Problem) -> None:
    trained = train(problem, strategy_of("naive"), plain_with(sam_loop(0.5)))
    model = plain_network()
    other = SAM(model.parameters(), 0.5, 0.05)
    for batch in trained.detector.seen[0]:
        for part in (other.first_step, other.second_step):
            model.zero_grad()
            trained.detector.loss(model, batch).backward()
            part()
    assert other.uphill == EXPERIENCES * PASSES
    assert largest_difference(trained.model, model) < 1e-6
    assert largest_difference(trained.model, train(problem, strategy_of("naive"), plain_with(sgd_loop)).model) > 1e-3


@pytest.mark.parametrize("name", [*FOUR, "ewc", "mas", "agem", "lfl", "cwr_star", "dfil", "cored"])
def test_sam_without_a_radius_is_its_optimizer_under_a_strategy(problem: Problem, name: str) -> None:
    """Its second evaluation is at the same weights: penalties, teachers and projections must come out the same."""
    trained = [train(problem, strategy_of(name), plain_with(body)) for body in (sam_loop(0.0), sgd_loop)]
    assert largest_difference(trained[0].model, trained[1].model) < 1e-5
    effects = [each.strategy.effects.values() for each in trained]
    assert effects[0].keys() == effects[1].keys()
    for key, value in effects[1].items():
        assert effects[0][key] == pytest.approx(value, rel=0.02), key
    away = train(problem, strategy_of(name), plain_with(sam_loop(0.5)))
    assert largest_difference(away.model, trained[1].model) > 1e-3


@pytest.mark.parametrize("name", ["der", "si", "rwalk", "mir", "hdp", "sur_lid"])
def test_a_strategy_that_counts_passes_refuses_several(problem: Problem, name: str) -> None:
    with pytest.raises(PluginError, match="SAM evaluates the loss several times per step, and this strategy needs one"):
        train(problem, strategy_of(name), plain_with(sam_loop(0.5)))


def test_lbfgs_is_lbfgs_and_evaluates_no_more_often(problem: Problem) -> None:
    calls = []

    def body(detector: Any, loop: Loop) -> None:
        optimizer = torch.optim.LBFGS(loop.model.parameters(), lr=0.1, max_iter=4)
        loop.optimize(optimizer)
        for batch in loop.batches():
            detector.seen.append(batch)

            def closure(batch: Batch = batch) -> torch.Tensor:
                calls.append(1)
                return detector.loss(loop.model, batch)

            loop.step(closure)

    trained = train(problem, strategy_of("naive"), plain_with(body))
    model, ours, per_experience = plain_network(), len(calls), PASSES
    calls.clear()
    for number, batch in enumerate(trained.detector.seen):
        if number % per_experience == 0:
            optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)

        def closure(batch: Batch = batch, optimizer: Any = optimizer) -> torch.Tensor:
            calls.append(1)
            optimizer.zero_grad()
            loss = trained.detector.loss(model, batch)
            loss.backward()
            return loss

        optimizer.step(closure)
    assert largest_difference(trained.model, model) < 1e-5
    assert ours == len(calls)


def test_a_function_is_evaluated_once_for_other_optimizers(problem: Problem) -> None:
    def body(detector: Any, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for batch in loop.batches():
            loop.step(lambda batch=batch: detector.loss(loop.model, batch))

    plain = train(problem, strategy_of("lwf"), plain_with(sgd_loop))
    assert largest_difference(train(problem, strategy_of("lwf"), plain_with(body)).model, plain.model) == 0


def test_what_several_evaluations_do_not_go_with(problem: Problem) -> None:
    def loss_itself(detector: Any, loop: Loop) -> None:
        loop.optimize(SAM(loop.model.parameters(), 0.5, 0.05))
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))

    def accumulated(detector: Any, loop: Loop) -> None:
        loop.optimize(SAM(loop.model.parameters(), 0.5, 0.05), accumulate=2)
        for batch in loop.batches():
            loop.step(lambda batch=batch: detector.loss(loop.model, batch))

    with pytest.raises(PluginError, match=r"pass a function, as in loop\.step\(lambda"):
        train(problem, strategy_of("naive"), plain_with(loss_itself))
    with pytest.raises(PluginError, match="goes without accumulate"):
        train(problem, strategy_of("naive"), plain_with(accumulated))


# --- Several steps on a batch, and optimizers at different rates --------------------------------------


class Adversary(nn.Module):
    """A network and a critic that reads its features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 16), nn.ReLU())
        self.head, self.critic = nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(self.trunk(x))


class Adversarial(PlainDetector):
    """The critic learns to tell left from right halves of a batch; the network, to fool it."""

    head: ClassVar[Any] = "head"
    every = 1

    def build(self) -> nn.Module:
        return Adversary()

    def critic_loss(self, model: Any, batch: Batch) -> torch.Tensor:
        features = model.trunk(self.inputs(batch, True)).detach()
        return F.cross_entropy(model.critic(features), (batch.units % 2).to(batch.labels))

    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        x = self.inputs(batch, True)
        fooled = F.cross_entropy(model.critic(model.trunk(x)), (batch.units % 2).to(batch.labels))
        return F.cross_entropy(model(x), batch.labels) - 0.1 * fooled

    def optimizers(self, model: Any) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        own = [p for name, p in model.named_parameters() if not name.startswith("critic")]
        return torch.optim.SGD(own, lr=0.05), torch.optim.Adam(model.critic.parameters(), lr=1e-2)

    def train(self, loop: Loop) -> None:
        own, critic = self.optimizers(loop.model)
        for number, batch in enumerate(loop.batches()):
            self.seen.append(batch)  # type: ignore[arg-type]
            if number % self.every == 0:
                loop.optimize(critic)
                loop.step(self.critic_loss(loop.model, batch))
                batch = loop.again()
            loop.optimize(own)
            loop.step(self.loss(loop.model, batch))


class SeldomAdversarial(Adversarial):
    """The critic steps on every second batch."""

    every = 2


@pytest.mark.parametrize("kind", [Adversarial, SeldomAdversarial])
def test_two_steps_on_a_batch_are_two_steps(problem: Problem, kind: Any) -> None:
    trained = train(problem, strategy_of("naive"), kind(PlainConfig(), Task()))
    detector, model = trained.detector, Adversary()
    for number, batch in enumerate(detector.seen):
        if number % PASSES == 0:
            own, critic = detector.optimizers(model)
        if number % PASSES % detector.every == 0:
            model.zero_grad()
            detector.critic_loss(model, batch).backward()
            critic.step()
        model.zero_grad()
        detector.loss(model, batch).backward()
        own.step()
    assert largest_difference(trained.model, model) < 1e-6
    batches = EXPERIENCES * PASSES
    steps = {1: 2 * batches, 2: batches + EXPERIENCES * 2}[detector.every]
    assert trained.template.clock.train_iterations == steps


@pytest.mark.parametrize("name", ["replay", "gem", "ewc"])
def test_two_steps_on_a_batch_under_a_strategy(problem: Problem, name: str) -> None:
    trained = train(problem, strategy_of(name), Adversarial(PlainConfig(), Task()))
    effects = trained.strategy.effects.values()
    later = 2 * (EXPERIENCES - 1) * PASSES  # steps after the first experience
    if name == "replay":
        assert effects["replayed_units"] == later * 16
    if name == "gem":
        assert effects["reference_passes"] == 2 * PASSES * sum(range(EXPERIENCES))
    if name == "ewc":
        assert effects["penalty"] > 0


def test_lwf_refuses_a_step_whose_loss_calls_parts_of_the_network(problem: Problem) -> None:
    with pytest.raises(PluginError, match="never called it with gradients: call the model itself"):
        train(problem, strategy_of("lwf"), Adversarial(PlainConfig(), Task()))


def test_when_a_batch_comes_again(problem: Problem) -> None:
    def too_early(detector: Any, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for _ in loop.batches():
            loop.again()

    def accumulated(detector: Any, loop: Loop) -> None:
        loop.optimize(sgd(loop.model), accumulate=2)
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))
            loop.again()

    with pytest.raises(PluginError, match=r"loop\.again\(\) goes after a loop\.step"):
        train(problem, strategy_of("naive"), plain_with(too_early))
    with pytest.raises(PluginError, match=r"loop\.again\(\) goes without accumulate"):
        train(problem, strategy_of("naive"), plain_with(accumulated))


def test_a_batch_that_comes_again_and_is_passed_over_leaves_no_trace(problem: Problem) -> None:
    def body(detector: Any, loop: Loop) -> None:
        loop.optimize(sgd(loop.model))
        for batch in loop.batches():
            loop.step(detector.loss(loop.model, batch))
            loop.again()

    trained = [train(problem, strategy_of("replay"), plain_with(each)) for each in (body, sgd_loop)]
    assert largest_difference(trained[0].model, trained[1].model) == 0
    assert trained[0].template.clock.train_iterations == trained[1].template.clock.train_iterations
    assert trained[0].strategy.effects.values() == trained[1].strategy.effects.values()


# --- Compiled networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOUR)
def test_a_compiled_network_trains_as_the_plain_one(problem: Problem, name: str) -> None:
    class Compiled(Plain):
        def build(self) -> nn.Module:
            return torch.compile(plain_network(), backend="eager")  # type: ignore[return-value]

        def train(self, loop: Loop) -> None:
            sgd_loop(self, loop)

    trained = train(problem, strategy_of(name), Compiled(PlainConfig(), Task()))
    plain = train(problem, strategy_of(name), plain_with(sgd_loop))
    assert largest_difference(trained.model, plain.model) < 1e-6
    assert trained.strategy.effects.values() == pytest.approx(plain.strategy.effects.values())


# --- Validation data --------------------------------------------------------------------------------


DETECTORS = """
import torch
from pydantic import Field
from torch import nn

from dfbench import Detector, DetectorEntry, EpochConfig, hookimpl


@hookimpl
def register_detectors():
    return [DetectorEntry("stopping", "stopping:Stopping", "keeps its best epoch")]


class Config(EpochConfig):
    batch_size: int = 8
    epochs: int = 6
    lr: float = 0.3
    look: bool = True
    keep: bool = True
    average: bool = False
    patience: int = Field(100, ge=1)
    always: bool = False


class Stopping(Detector):
    Config = Config
    head = "6"

    def build(self):
        return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
                             nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 2))

    def train(self, loop):
        c = self.config
        self.history = []
        loop.optimize(torch.optim.Adam(loop.model.parameters(), lr=c.lr))
        if c.average:
            loop.average(0.5)
        for _ in loop.epochs(c.epochs):
            for batch in loop.batches():
                loop.step(self.loss(loop.model, batch))
            if c.look and (c.always or loop.has_validation):
                found = loop.validate()
                self.history.append(found)
                if c.keep:
                    loop.keep_best(found.log_loss, larger=False)
                if loop.since_best >= c.patience:
                    break
        self.rows = [r for b in loop.validation_batches() for r in b.rows.tolist()] if loop.has_validation else []
"""


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("validation"), pairs=8, tests=5)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory):
    folder = install(tmp_path_factory.mktemp("plugins"), "stopping", {"stopping.py": DETECTORS})
    with pytest.MonkeyPatch.context() as patch, plugins_of(folder, patch):
        yield


def session(stream: Path, strategy: str = "naive", split: Any = "test", **settings: Any) -> Session:
    request = Request("stopping", strategy, str(stream), settings=settings, device="cpu", split=split)
    return Session(prepare(request, load_plugins()))


def weights(of: Session) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in of.template.model.state_dict().items()}


def differs(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(a[name], b[name]) for name in a)


def test_looking_at_validation_data_changes_nothing(plugin: None, streams: Path) -> None:
    looking, blind = session(streams, keep=False), session(streams, look=False)
    for each in (looking, blind):
        each.train(1)
        each.train(2)
    assert not differs(weights(looking), weights(blind))
    assert looking.ledger.forward == blind.ledger.forward
    assert looking.detector.facts == {"validations": 12}
    assert blind.detector.facts == {}


def test_validation_is_of_the_experiences_val_split_and_right(plugin: None, streams: Path) -> None:
    one = session(streams, epochs=1)
    for number in (1, 2):
        one.train(number)
        rows = one.stream.experiences[number - 1].rows["val"]
        assert sorted(one.detector.rows) == sorted(rows.tolist())
        found = one.detector.history[-1]
        pixels = torch.from_numpy(np.asarray(one.pixels.fetch(torch.as_tensor(rows))))
        model = copy.deepcopy(one.template.model).eval()
        with torch.no_grad():
            p = torch.softmax(model(pixels.movedim(-1, 1) / 127.5 - 1), 1)[:, 1].double().numpy()
        labels = one.stream.samples.label[rows]
        assert found.count == len(rows) == 10
        assert found.auc == pytest.approx(roc_auc_score(labels, p))
        assert found.accuracy == pytest.approx(np.mean((p > 0.5) == labels))
        assert found.log_loss == pytest.approx(log_loss(labels, p), rel=1e-4)


def test_classifiers_of_a_strategy_come_back_with_the_best_weights(plugin: None, streams: Path) -> None:
    """SUR-LID trains those of past experiences next to the network's own."""

    def classifiers(of: Session) -> list[torch.Tensor]:
        found = next(p.classifiers for p in of.template.plugins if hasattr(p, "classifiers"))
        return [tensor for classifier in found for tensor in classifier.values()]

    settings = {"lr": 0.1, "epochs": 4, "strategy.align_epoch": -1}
    kept, last = (session(streams, "sur_lid", keep=keep, **settings) for keep in (True, False))
    for each in (kept, last):
        each.train(1)
        each.train(2)
    losses = [each.log_loss for each in kept.detector.history]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1, losses  # else this shows nothing
    again = session(streams, "sur_lid", **settings)
    again.train(1)
    again.detector.config = again.detector.config.model_copy(update={"keep": False, "epochs": best + 1})
    again.train(2)
    for one, two, other in zip(*map(classifiers, (kept, again, last)), strict=True):
        assert torch.equal(one, two)
        assert not torch.equal(one, other)


@pytest.mark.parametrize("average", [False, True])
def test_the_best_weights_come_back(plugin: None, streams: Path, average: bool) -> None:
    kept, last = session(streams, average=average), session(streams, average=average, keep=False)
    kept.train(1)
    last.train(1)
    losses = [each.log_loss for each in kept.detector.history]
    best = int(np.argmin(losses))
    assert losses == [each.log_loss for each in last.detector.history]
    assert best < len(losses) - 1, losses  # else this shows nothing
    assert differs(weights(kept), weights(last))
    again = session(streams, average=average, keep=False, epochs=best + 1)
    again.train(1)
    assert not differs(weights(kept), weights(again))
    if average:
        assert not differs(dict(kept.template.averaged.state_dict()), dict(again.template.averaged.state_dict()))


def test_early_stopping_stops(plugin: None, streams: Path) -> None:
    patient, hasty = session(streams), session(streams, patience=1)
    patient.train(1)
    hasty.train(1)
    losses = [each.log_loss for each in patient.detector.history]
    first = next(i for i in range(1, len(losses)) if losses[i] >= min(losses[:i]))
    assert len(hasty.detector.history) == first + 1 < len(losses)
    assert hasty.step < patient.step


@pytest.mark.parametrize("name", [*FOUR, "cumulative", "joint", "gdumb"])
def test_what_is_trained_decides_what_is_validated(plugin: None, streams: Path, name: str) -> None:
    one = session(streams, name, epochs=1)
    seen = []
    for number in range(1, one.trainings + 1):
        one.train(number)
        source = one.stream.samples.texts("source").objects
        seen.append(sorted({str(source[row]) for row in one.detector.rows}))
    whole = {"cumulative": [["s0"], ["s0", "s1"], ["s0", "s1", "s2"]], "joint": [["s0", "s1", "s2"]]}
    assert seen == whole.get(name, [["s0"], ["s1"], ["s2"]])


def test_a_run_with_validation_goes_on_as_an_undisturbed_one(plugin: None, streams: Path) -> None:
    whole, first, second = (session(streams, "gem") for _ in range(3))
    whole.train(1)
    whole.train(2)
    first.train(1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.train(2)
    assert not differs(weights(whole), weights(second))
    assert second.detector.facts == whole.detector.facts


def test_without_validation_data(plugin: None, streams: Path, tmp_path: Path) -> None:
    manifest = (streams.parent / "manifest.csv").read_text()
    (tmp_path / "manifest.csv").write_text(manifest.replace(",val\n", ",test\n").replace(",val\r\n", ",test\r\n"))
    (tmp_path / "train").symlink_to(streams.parent / "train")
    (tmp_path / "test").symlink_to(streams.parent / "test")
    (tmp_path / "val").symlink_to(streams.parent / "val")
    (tmp_path / "tiny.yaml").write_text(streams.read_text())
    one = session(tmp_path / "tiny.yaml")
    one.train(1)
    assert one.detector.history == []
    request = Request("stopping", "naive", str(tmp_path / "tiny.yaml"), settings={"always": True}, device="cpu",
                      out=tmp_path)  # fmt: skip
    with pytest.raises(
        PluginError, match=r"detector 'stopping' .*it asks for validation data, and what is trained now has"
    ):
        run(request, load_plugins())


def test_scores_on_validation_data_that_were_looked_at_are_announced(plugin: None, streams: Path) -> None:
    heard: list[str] = []
    one = session(streams, split="val", epochs=1)
    one.events.notice = heard.append  # type: ignore[method-assign]
    one.train(1)
    assert [line for line in heard if "scored on them: its figures are too good" in line]
