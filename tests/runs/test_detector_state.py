"""What a detector keeps in itself outlives an interruption, or is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfbench.errors import PluginError
from dfbench.hookspecs import DetectorEntry
from dfbench.plugins import EntryTable, Plugin, Registration, Registry, load_plugins
from dfbench.records.record import Record
from dfbench.runs.events import Event, Listener, Notice
from dfbench.runs.prepare import Request
from dfbench.runs.runner import run
from dfbench.training.detector import Detector


class Forgetful(Detector):
    """Learns from a moving average of itself, which goes on from experience to experience."""

    teacher: nn.Module | None = None
    interrupted_in: int | None = None

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, self.task.num_classes))

    def train(self, loop: Any) -> None:
        if self.teacher is None:
            self.teacher = self.build().requires_grad_(False)
        loop.optimize(torch.optim.SGD(loop.model.parameters(), lr=0.01))
        for batch in loop.batches():
            logits = loop.model(self.inputs(batch, training=True))
            taught = F.mse_loss(logits, self.teacher(self.inputs(batch, training=False)))
            loop.step(F.cross_entropy(logits, batch.labels) + taught)
            for mean, weight in zip(self.teacher.parameters(), loop.model.parameters(), strict=True):
                mean.lerp_(weight.detach(), 0.1)
            if loop.experience == self.interrupted_in:
                raise KeyboardInterrupt


class Careful(Forgetful):
    """Hands its teacher to checkpoints."""

    def state_dict(self) -> dict[str, Any]:
        assert self.teacher is not None
        return {"teacher": self.teacher.state_dict(), "seen": [1, "two", None]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state["seen"] == [1, "two", None]
        self.teacher = self.build().requires_grad_(False)
        self.teacher.load_state_dict(state["teacher"])


class Whole(Careful):
    """Hands over the module itself."""

    def state_dict(self) -> dict[str, Any]:
        return {"teacher": self.teacher}


class Stateless(Detector):
    """Keeps the network and a constant."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.mean = torch.ones(3)

    build = Forgetful.build

    def train(self, loop: Any) -> None:
        self.network = loop.model
        super().train(loop)


KINDS = (Forgetful, Careful, Whole, Stateless)


class Notices(Listener):
    """What a run says."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


@pytest.fixture(scope="module")
def known() -> Registry:
    plugin = Plugin("here", __name__, "tests", "1", "loaded")
    entries = [DetectorEntry(kind.__name__.lower(), f"{__name__}:{kind.__name__}") for kind in KINDS]
    return replace(load_plugins(), detectors=EntryTable("detector", [Registration(e, plugin) for e in entries]))


def evaluate(name: str, stream: Path, out: Path, known: Registry, listener: Listener | None = None) -> Record:
    request = Request(name, "naive", str(stream), settings=["epochs=1", "batch_size=8"], device="cpu", out=out)
    return run(request, known, listener)


def test_a_teacher_outlives_an_interruption(
    tiny_stream: Path, tmp_path: Path, known: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = evaluate("careful", tiny_stream, tmp_path / "a", known)
    monkeypatch.setattr(Forgetful, "interrupted_in", 1)
    with pytest.raises(KeyboardInterrupt):
        evaluate("careful", tiny_stream, tmp_path / "b", known)
    monkeypatch.setattr(Forgetful, "interrupted_in", None)
    resumed = evaluate("careful", tiny_stream, tmp_path / "b", known)
    assert resumed.resumed == 1
    assert resumed.weights_sha256 == undisturbed.weights_sha256
    assert resumed.scores_sha256 == undisturbed.scores_sha256


@pytest.mark.parametrize("kind", [Forgetful, Careful, Stateless])
def test_state_that_no_checkpoint_holds_is_named_once(
    tiny_stream: Path, tmp_path: Path, known: Registry, kind: type[Detector]
) -> None:
    found = Notices()
    evaluate(kind.__name__.lower(), tiny_stream, tmp_path, known, found)
    named = [text for text in found.texts if "state_dict()" in text]
    assert len(named) == (kind is Forgetful)
    assert all("detector forgetful keeps tensors in self.teacher," in text for text in named)


def test_a_state_that_cannot_be_stored_is_the_plugins_fault(tiny_stream: Path, tmp_path: Path, known: Registry) -> None:
    with pytest.raises(PluginError, match=r"state_dict\(\) of detector 'whole' .* cannot hold a Sequential"):
        evaluate("whole", tiny_stream, tmp_path, known)
