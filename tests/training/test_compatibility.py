"""A detector that breaks its contract, or cannot work with the strategy, is named before anything is trained."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfbench import Batch, Detector, DetectorEntry, Loop, Task
from dfbench.errors import DfbenchError, IncompatibleError, PluginError
from dfbench.plugins import EntryTable, Plugin, Registration, Registry
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.training.compatibility import check_pair
from tests.training.harness import PlainConfig, PlainDetector, Problem, network, strategy_of, train
from tests.training.test_loop import sgd
from tests.training.test_unit_rows import BATCH

EARLIER = ("lwf", "lfl", "dfil", "cored", "hdp", "sur_lid")
"""What passes the network's input to an earlier network."""


class Keyword(nn.Sequential):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images)


class ByDict(nn.Sequential):
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return super().forward(batch["image"])


class ByTuple(nn.Sequential):
    def forward(self, batch: tuple[torch.Tensor, int]) -> torch.Tensor:
        return super().forward(batch[0])


class InPlace(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.sub_(0.5))


def calls(kind: type[nn.Sequential], call: Any) -> type[PlainDetector]:
    class Calling(PlainDetector):
        def build(self) -> nn.Module:
            return kind(*network())

        def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
            return F.cross_entropy(call(model, self.inputs(batch, True)), batch.labels)

        def predict(self, model: nn.Module, batch: Any) -> torch.Tensor:
            return torch.softmax(call(model, self.inputs(batch, False)), 1)

    return Calling


ODD_CALLS = {
    "keyword": (calls(Keyword, lambda model, x: model(images=x)), "something other than one tensor"),
    "dict": (calls(ByDict, lambda model, x: model({"image": x})), "something other than one tensor"),
    "tuple": (calls(ByTuple, lambda model, x: model((x, 1))), "something other than one tensor"),
    "in place": (calls(InPlace, lambda model, x: model(x)), "changes x in place"),
}


@pytest.mark.parametrize("name", EARLIER)
@pytest.mark.parametrize("call", ODD_CALLS)
def test_inputs_that_an_earlier_network_cannot_get_are_refused(name: str, call: str) -> None:
    kind, message = ODD_CALLS[call]
    detector = kind(PlainConfig(), Task())
    with pytest.raises(IncompatibleError, match=f"strategy {name} cannot train detector mine: .*{message}"):
        check_pair(detector, strategy_of(name), detector.build(), BATCH, ("mine", name))


@pytest.mark.parametrize("name", EARLIER)
@pytest.mark.parametrize("call", ODD_CALLS)
def test_a_training_loop_that_calls_so_by_itself_is_refused_at_its_first_step(name: str, call: str) -> None:
    kind, message = ODD_CALLS[call]
    detector = kind(PlainConfig(), Task())
    with pytest.raises(PluginError, match=message):
        train(Problem.make(size=16), strategy_of(name), detector)
    assert len(detector.seen) == 1


class Optional(nn.Sequential):
    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return super().forward(x * scale)


def test_a_further_argument_is_refused_in_training_and_not_in_predictions_alone() -> None:
    kind = calls(Optional, lambda model, x: model(x, 2.0))
    detector = kind(PlainConfig(), Task())
    check_pair(detector, strategy_of("lwf"), detector.build(), BATCH, ("mine", "lwf"))
    with pytest.raises(PluginError, match="something other than one tensor"):
        train(Problem.make(size=16), strategy_of("lwf"), detector)


@pytest.mark.parametrize("name", ["naive", "replay", "gem", "agem", "ewc", "si", "rwalk", "mas", "der"])
@pytest.mark.parametrize("call", ODD_CALLS)
def test_other_strategies_train_with_any_input(name: str, call: str) -> None:
    detector = ODD_CALLS[call][0](PlainConfig(), Task())
    check_pair(detector, strategy_of(name), detector.build(), BATCH, ("mine", name))
    train(Problem.make(size=16), strategy_of(name), detector)


# --- Broken detectors, through the whole of a run ------------------------------------------------


class Small(Detector):
    """A detector that works; its children do not."""

    def build(self) -> Any:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))


class NoNetwork(Small):
    def build(self) -> Any:
        return None


class Leaving(Small):
    def build(self) -> Any:
        raise SystemExit(0)


class LeavingUnits(Small):
    def units(self, *args: Any, **kwargs: Any) -> Any:
        raise SystemExit(0)


class LeavingPreset(Small):
    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        raise SystemExit(0)


class LeavingLater(Small):
    """Ends the program when it predicts after the first training."""

    trained: ClassVar[bool] = False

    def train(self, loop: Loop) -> None:
        super().train(loop)
        type(self).trained = True

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        if self.trained:
            raise SystemExit(0)
        return super().predict(model, batch)


class NoPresets(Small):
    presets: ClassVar[dict[str, dict[str, Any]]] = {}


class NoAnswer(Small):
    def predict(self, model: nn.Module, batch: Batch) -> Any:
        return None


class Logits(Small):
    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return 5 * model(self.inputs(batch, False))


class Twice(Small):
    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return super().predict(model, batch).repeat(2, 1)


class FakeAlone(Small):
    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return super().predict(model, batch)[:, 1]


class NaN(Small):
    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return super().predict(model, batch) * torch.nan


class NaNLoss(Small):
    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return super().loss(model, batch) * torch.nan


class DictLoss(Small):
    def loss(self, model: nn.Module, batch: Batch) -> Any:
        return {"loss": super().loss(model, batch)}


NUMBER = 3

BROKEN = {
    "NUMBER": "is an? int, not a subclass of dfbench.Detector",
    "Loop": "is the class Loop, not a subclass",
    "NoPresets": "presets names no preset",
    "NoNetwork": ": build returned a NoneType",
    "Leaving": r": build ended the program \(SystemExit: 0\)",
    "LeavingUnits": ": units ended the program",
    "LeavingPreset": ": default_preset ended the program",
    "LeavingLater": ": predict ended the program",
    "NoAnswer": ": predict returned a NoneType; probabilities of shape",
    "Logits": r": predict returned values that are not probabilities \(logits\?\)",
    "Twice": r": predict returned shape \(4, 2\)",
    "FakeAlone": r": predict returned shape \(2,\)",
    "NaN": ": predict returned numbers that are not finite before any training",
    "NaNLoss": ": the first loss of this training is not a finite number",
    "DictLoss": ": train passed a dict to loop.step",
}


def with_detector(registry: Registry, target: str) -> Registry:
    """A registry whose only detector is a class of this file."""
    entry = DetectorEntry("mine", f"{__name__}:{target}", "broken")
    found = Registration(entry, Plugin("mine", __name__, "mine", "1", "loaded"))
    return dataclasses.replace(registry, detectors=EntryTable("detector", [found]))


@pytest.mark.parametrize("target", BROKEN)
def test_a_broken_detector_is_named_with_its_method(
    target: str, tiny_stream: Path, tmp_path: Path, with_odd: Registry
) -> None:
    LeavingLater.trained = False
    request = Request(detector="mine", strategy="naive", benchmark=str(tiny_stream), device="cpu", out=tmp_path)
    with pytest.raises(DfbenchError, match=BROKEN[target]) as caught:
        run(request, with_detector(with_odd, target))
    assert caught.value.exit_code == 4
    assert re.match(r"detector 'mine' \(plugin 'mine' of mine 1\): ", str(caught.value))
    assert "\n" not in str(caught.value)
    if target != "LeavingLater":
        assert not list(tmp_path.rglob("*.safetensors"))


def test_the_detector_that_they_are_made_from_works(tiny_stream: Path, tmp_path: Path, with_odd: Registry) -> None:
    settings = ["epochs=2", "batch_size=8"]
    request = Request(
        detector="mine", strategy="lwf", benchmark=str(tiny_stream), device="cpu", out=tmp_path, settings=settings
    )
    assert run(request, with_detector(with_odd, "Small")).effects["penalty"] > 0


def test_a_loop_of_its_own_with_a_wrong_optimizer_is_refused_in_the_first_experience() -> None:
    class Lazy(PlainDetector):
        def train(self, loop: Loop) -> None:
            self.seen.append([])
            loop.optimize(torch.optim.lr_scheduler.ConstantLR(sgd(loop.model)))

    detector = Lazy(PlainConfig(), Task())
    with pytest.raises(PluginError, match="takes optimizers of torch, not a ConstantLR"):
        train(Problem.make(size=16), strategy_of("naive"), detector)
    assert len(detector.seen) == 1
