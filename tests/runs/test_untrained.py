"""``none``: a network is scored as it is, as a checkpoint or as its detector builds it; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dfbench.errors import DataError, UsageError
from dfbench.evaluation.scores import UNTRAINED, Scores
from dfbench.hookspecs import DetectorEntry
from dfbench.plugins import EntryTable, Plugin, Registration, Registry, load_plugins, registry
from dfbench.publish.zoo.initial import find_initial
from dfbench.records.comparison import compare
from dfbench.records.finished import FinishedRun
from dfbench.records.record import Record
from dfbench.runs.events import Event, ExperienceStarted, Listener, Notice, TrainingStep
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.training.detector import Detector, EpochConfig

SMALL = ["width=4", "image_size=32"]


class Heard(Listener):
    """What a run reports."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


def ask(stream: Path, out: Path, strategy: str = "none", settings: Sequence[str] = SMALL, **more: Any) -> Request:
    if isinstance(more.get("init"), Path):
        more["init"] = find_initial(str(more["init"]), registry())
    return Request("simple_cnn", strategy, str(stream), settings=settings, device="cpu", out=out, **more)


def scores(record: Record) -> Scores:
    return FinishedRun(record.path, record).scores


@pytest.fixture(scope="module")
def trained(tiny_stream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose weights others start from."""
    record = run(ask(tiny_stream, tmp_path_factory.mktemp("trained"), "replay", [*SMALL, "epochs=1"]), registry())
    assert record.path is not None
    return record.path.parent


def test_a_checkpoint_scores_as_its_run_did_at_the_end(tiny_stream: Path, tmp_path: Path, trained: Path) -> None:
    record, before = run(ask(tiny_stream, tmp_path, init=trained), registry()), Record.read(trained)
    mine, theirs = scores(record), FinishedRun.open(trained).scores
    assert mine.pairs == [(2, j) for j in range(6)]  # one network, scored once, on validation reals too
    for j in range(3):
        one, other = mine.get(2, j), theirs.get(2, j)
        assert one is not None
        assert other is not None
        assert np.array_equal(one.samples, other.samples)
        assert np.array_equal(one.scores, other.scores)
    assert record.matrix["auc"] == [[None] * 3, [None] * 3, before.matrix["auc"][-1]]
    assert record.average == before.average
    now, then = load_file(tmp_path / record.run / "model.safetensors"), load_file(trained / "model.safetensors")
    assert all(torch.equal(now[name], then[name]) for name in now.keys() | then.keys())


def test_nothing_is_trained_and_the_record_says_so(tiny_stream: Path, tmp_path: Path, trained: Path) -> None:
    heard = Heard()
    record = run(ask(tiny_stream, tmp_path, init=trained), registry(), heard)
    assert not [event for event in heard.events if isinstance(event, ExperienceStarted | TrainingStep)]
    assert (record.trained, record.trained_at_once, record.sees_everything) == (False, False, False)
    assert (record.steps, record.memory.samples, record.effects) == ([0], [0], {})
    assert record.compute is not None
    assert (record.compute.forward, record.compute.backward, record.compute.passes) == ([0], [0], 0)
    undefined = ("forgetting", "af", "bwt", "fwt", "learning_accuracy", "average_incremental")
    assert {record.metrics[name] for name in undefined} == {None}
    assert Record.read(tmp_path / record.run) == record
    assert "trained" not in Record.read(trained).document()


def test_the_weights_are_part_of_the_identity_and_their_name_is_not(
    tiny_stream: Path, tmp_path: Path, trained: Path
) -> None:
    other = run(ask(tiny_stream, tmp_path, "naive", [*SMALL, "epochs=1"]), registry())
    first, second, built = (
        prepare(ask(tiny_stream, tmp_path, init=init), registry()).spec
        for init in (trained, tmp_path / other.run, None)
    )
    assert len({first.identity, second.identity, built.identity}) == 3
    assert len({first.row_id, second.row_id, built.row_id}) == 3
    assert "init" not in built.document()
    assert first.init is not None
    assert first.init.sha256 == Record.read(trained).weights_sha256
    assert first.init.trained is not None
    assert (first.init.trained.strategy, first.init.trained.benchmark) == ("replay", "tiny")
    renamed = first.model_copy(update={"init": first.init.model_copy(update={"name": "elsewhere"})})
    assert (renamed.identity, renamed.row_id, renamed.run_id) == (first.identity, first.row_id, first.run_id)
    assert renamed.document()["init"]["name"] == "elsewhere"


def test_training_goes_on_from_the_weights(tiny_stream: Path, tmp_path: Path, trained: Path) -> None:
    record = run(ask(tiny_stream, tmp_path, "naive", [*SMALL, "epochs=1"], init=trained), registry())
    start, end = scores(record).get(UNTRAINED, 1), FinishedRun.open(trained).scores.get(2, 1)
    assert start is not None
    assert end is not None
    assert np.array_equal(start.scores, end.scores)  # before any training: where the other run ended
    plain = run(ask(tiny_stream, tmp_path, "naive", [*SMALL, "epochs=1"]), registry())
    assert record.weights_sha256 not in (plain.weights_sha256, Record.read(trained).weights_sha256)
    assert record.trained
    assert record.metrics["fwt"] is not None


def test_every_experience_of_new_networks_starts_from_them(tiny_stream: Path, tmp_path: Path, trained: Path) -> None:
    """With ``fresh_model`` a later experience is trained as if the earlier ones had not been."""
    text = tiny_stream.read_text().replace("root: .", f"root: {tiny_stream.parent}") + "fresh_model: true\n"
    names = {"both": text, "other": text.replace("where: {source: s0}", "where: {source: s2}", 1)}
    last = {}
    for name, content in names.items():
        (tmp_path / f"{name}.yaml").write_text(content.replace("s2, where", "s2b, where"))
        request = ask(tmp_path / f"{name}.yaml", tmp_path, "naive", [*SMALL, "epochs=1"], init=trained)
        last[name] = run(request, registry())
    plain = run(replace(request, init=None), registry())
    assert last["both"].weights_sha256 == last["other"].weights_sha256
    assert last["other"].weights_sha256 != plain.weights_sha256


def test_without_a_checkpoint_the_network_is_the_detectors(tiny_stream: Path, tmp_path: Path) -> None:
    heard = Heard()
    first = run(ask(tiny_stream, tmp_path), registry(), heard)
    second = run(ask(tiny_stream, tmp_path, seed=1), registry())
    assert first.scores_sha256 != second.scores_sha256  # another seed, other random weights
    assert "scoring the network as simple_cnn builds it (seed 0)" in heard.notices
    assert first.notes == ["is the network as simple_cnn builds it, never trained"]
    plain = run(ask(tiny_stream, tmp_path, "naive", [*SMALL, "epochs=1"]), registry())
    untrained = scores(plain).get(UNTRAINED, 0)
    mine = scores(first).get(2, 0)
    assert untrained is not None
    assert mine is not None
    assert np.array_equal(untrained.scores, mine.scores)  # as row −1 of whatever trains


def test_every_seed_scores_a_checkpoint_alike_and_a_notice_says_so(
    tiny_stream: Path, tmp_path: Path, trained: Path
) -> None:
    heard = Heard()
    first = run(ask(tiny_stream, tmp_path, init=trained), registry(), heard)
    assert not any("every seed" in text for text in heard.notices)
    second = run(ask(tiny_stream, tmp_path, init=trained, seed=5), registry(), heard)
    assert first.run != second.run
    assert first.scores_sha256 == second.scores_sha256
    assert "nothing is drawn where nothing is trained: every seed gives the same scores" in heard.notices


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"eval_every": 2}, "--eval-every is about training"),
        ({"tune": "bf16"}, "--tune is about training"),
        ({"settings": [*SMALL, "epochs=3"]}, "--set epochs is about training"),
        ({"settings": [*SMALL, "batch_size=3"]}, "--set batch_size is about training"),
    ],
    ids=str,
)
def test_what_only_a_training_could_use_is_refused(
    more: dict[str, Any], said: str, tiny_stream: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{said}, and strategy none never trains: leave it out"):
        run(ask(tiny_stream, tmp_path, **more), registry())
    assert not list(tmp_path.iterdir())


def test_a_value_that_changes_nothing_is_taken(tiny_stream: Path, tmp_path: Path) -> None:
    """As the line of a record has it, where its stream is a file that is not known."""
    plain = prepare(ask(tiny_stream, tmp_path), registry())
    said = ask(tiny_stream, tmp_path, settings=[*SMALL, f"epochs={plain.detector.config.epochs}"])
    assert prepare(said, registry()).spec == plain.spec


def test_it_is_a_reference_and_no_rival_in_a_comparison(tiny_stream: Path, tmp_path: Path, trained: Path) -> None:
    as_it_is = run(ask(tiny_stream, tmp_path, init=trained), registry())
    joint = run(ask(tiny_stream, tmp_path, "joint", [*SMALL, "epochs=1"]), registry())
    naive = run(ask(tiny_stream, tmp_path, "naive", [*SMALL, "epochs=1"]), registry())
    found = compare([as_it_is, joint, naive], compute_tolerance=0.1)
    assert found.records == [as_it_is, joint, naive]  # it computed nothing, and stays
    assert found.left_out == []
    against = [missed and missed.against for missed in found.intransigence]
    assert against == [None, None, joint.run]  # a run that trained nothing is no upper reference
    assert any("it has seen the training data of this very stream" in note for note in found.notes)


# --- Streams that nothing could be trained on ---------------------------------------------------------


class Picky(Detector):
    """Needs what no stream here has, to train; predicts anything, and is stopped when a test says so."""

    Config: ClassVar = EpochConfig
    stop_at: ClassVar[int | None] = None
    calls: ClassVar[int] = 0

    def build(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, self.task.num_classes))

    def units(self, samples: Any, rows: np.ndarray, training: bool) -> Any:
        if training:
            raise DataError("no pictures of this stream are fit for training")
        return super().units(samples, rows, training)

    def predict(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        type(self).calls += 1
        if self.stop_at is not None and self.calls >= self.stop_at:
            raise KeyboardInterrupt
        return super().predict(model, batch)


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setattr(Picky, "calls", 0)
    plugin = Plugin("here", __name__, "tests", "1", "loaded")
    entry = DetectorEntry("picky", f"{__name__}:Picky")
    return replace(load_plugins(), detectors=EntryTable("detector", [Registration(entry, plugin)]))


def test_training_pictures_need_not_be_fit_for_training(tiny_stream: Path, tmp_path: Path, picky: Registry) -> None:
    with pytest.raises(DataError, match="fit for training"):
        run(Request("picky", "naive", str(tiny_stream), device="cpu", out=tmp_path), picky)
    assert run(Request("picky", "none", str(tiny_stream), device="cpu", out=tmp_path), picky).average is not None


@pytest.fixture
def degraded_stream(tiny_stream: Path, tmp_path: Path) -> Path:
    text = tiny_stream.read_text().replace("root: .", f"root: {tiny_stream.parent}")
    path = tmp_path / "degraded.yaml"
    path.write_text(f"{text}perturb: {{samples: 4, kinds: [noise], levels: [1, 3]}}\n")
    return path


def test_an_interrupted_run_goes_on(
    degraded_stream: Path, tmp_path: Path, picky: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of its second part, the degraded copies; the first is not scored a second time."""

    def ask(out: str) -> Request:
        return Request("picky", "none", str(degraded_stream), device="cpu", out=tmp_path / out)

    undisturbed = run(ask("a"), picky)
    calls = Picky.calls
    assert calls == 4  # a probe, the test sets, validation reals, copies of the test sets: a batch each
    monkeypatch.setattr(Picky, "calls", 0)
    monkeypatch.setattr(Picky, "stop_at", calls)
    with pytest.raises(KeyboardInterrupt):
        run(ask("b"), picky)
    assert list((tmp_path / "b").glob("*/scores/01.parquet"))
    monkeypatch.setattr(Picky, "stop_at", None)
    monkeypatch.setattr(Picky, "calls", 0)
    resumed = run(ask("b"), picky)
    assert Picky.calls == 2
    assert resumed.scores_sha256 == undisturbed.scores_sha256
    assert resumed.metrics == undisturbed.metrics
    assert resumed.resumed == 1
    assert resumed.metrics["robustness"] is not None
