"""Speed settings: chosen by measurement, in the spec as far as results differ, and leaving nothing behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from dfbench.errors import UsageError
from dfbench.plugins import Registry, registry
from dfbench.records.spec import RunSpec, parse_tuned
from dfbench.runs import tuning
from dfbench.runs.events import Event, Listener, Notice
from dfbench.runs.mid_training import MidTrainingEval
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.session import Session
from dfbench.runs.tuning import Trial, choose
from dfbench.training.tuned_forward import has_channels_last_gain

SMALL = ["image_size=32", "epochs=2", "batch_size=8", "width=4"]


class Notices(Listener):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def event(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


def ask(stream: Path, out: Path, tune: str | None, strategy: str = "replay", seed: int = 0) -> Request:
    return Request("simple_cnn", strategy, str(stream), settings=SMALL, device="cpu", out=out, tune=tune, seed=seed)


def test_measuring_leaves_nothing_behind(tiny_stream: Path, tmp_path: Path) -> None:
    """Weights and scores are those of a run that got the same settings and measured nothing."""
    measured = run(ask(tiny_stream, tmp_path / "a", "measure"), registry())
    assert measured.tuning is not None
    given = run(ask(tiny_stream, tmp_path / "b", ",".join(measured.tuning["chosen"]) or "plain"), registry())
    assert (measured.weights_sha256, measured.scores_sha256) == (given.weights_sha256, given.scores_sha256)
    assert measured.identity == given.identity
    assert [trial["settings"] for trial in measured.tuning["tried"]][:2] == [[], ["bf16"]]


def test_measuring_trains_a_detector_and_a_strategy_of_its_own(tiny_stream: Path, tmp_path: Path) -> None:
    """What these keep in themselves is not there when the run begins."""
    prepared = prepare(ask(tiny_stream, tmp_path, "measure", "gem"), registry())
    fresh = set(vars(prepared.strategy))

    class Noted(type(prepared.detector)):  # type: ignore[misc]
        def build(self) -> nn.Module:
            self.facts["built"] = self.facts.get("built", 0) + 1
            return super().build()

    noted = Noted(prepared.detector.config, prepared.detector.task)
    tuning.measure(replace(prepared, detector=noted))
    assert noted.facts == {}
    assert set(vars(prepared.strategy)) == fresh


def test_steps_are_timed_without_evaluations_between_them(
    tiny_stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MidTrainingEval, "_evaluate", lambda *args: pytest.fail("a test set was scored"))
    request = replace(ask(tiny_stream, tmp_path, "measure"), eval_every=1)
    assert tuning.measure(prepare(request, registry()))["tried"]


def test_the_choice_is_kept_for_a_resumed_run_and_for_other_seeds(tiny_stream: Path, tmp_path: Path) -> None:
    prepared = prepare(ask(tiny_stream, tmp_path, "measure"), registry())
    tuning.tune(prepared, tmp_path, fresh=False)
    (kept,) = (tmp_path / ".tuning").glob("*.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "chosen": ["bf16"], "tried": ["as kept"]}))
    for seed in (0, 1):
        record = run(ask(tiny_stream, tmp_path, "measure", seed=seed), registry())
        assert record.spec.tuned == ("bf16",)
        assert record.tuning is not None
        assert record.tuning["tried"] == ["as kept"]
    seen = Notices()
    again = run(ask(tiny_stream, tmp_path, "measure"), registry(), seen)
    assert again.run != record.run
    assert not any(text.startswith("measuring") for text in seen.texts)
    assert any("finished already" in text for text in seen.texts)


def test_identity_holds_the_settings_only_where_results_differ(tiny_stream: Path, tmp_path: Path) -> None:
    plain = prepare(ask(tiny_stream, tmp_path, None), registry()).spec
    assert prepare(ask(tiny_stream, tmp_path, "plain"), registry()).spec.identity == plain.identity
    fast = prepare(ask(tiny_stream, tmp_path, "channels_last,bf16"), registry()).spec
    assert fast.document()["tuned"] == ["bf16", "channels_last"]
    assert fast.identity != plain.identity
    assert RunSpec.model_validate_json(fast.model_dump_json()).identity == fast.identity


def test_a_row_says_how_it_was_tuned(tiny_stream: Path, tmp_path: Path) -> None:
    from dfbench.publish.board.table import make_board

    records = [run(ask(tiny_stream, tmp_path, tune), registry()) for tune in (None, "bf16,channels_last")]
    (table,) = make_board(records).tables
    assert sorted(row.options for row in table.rows) == [(), ("tuned: bf16, channels_last",)]


@pytest.mark.parametrize("strategy", ["replay", "agem", "ewc", "lwf"])
def test_training_and_reference_passes_are_bf16_and_scores_float32(
    tiny_stream: Path, tmp_path: Path, strategy: str
) -> None:
    p = prepare(ask(tiny_stream, tmp_path, "bf16", strategy), registry())
    session = Session(p)
    seen: list[torch.dtype] = []
    session.template.model.head.register_forward_hook(lambda module, args, output: seen.append(output.dtype))  # type: ignore[union-attr]
    for number in (1, 2):
        session.train(number)
    assert set(seen) == {torch.bfloat16}
    with session.template.autocast():
        assert torch.is_autocast_enabled("cpu"), "the loss of a loop that asks for autocast is under it"
    seen.clear()
    session.evaluate(2)
    assert set(seen) == {torch.float32}


def test_a_loop_that_asks_for_no_autocast_is_tuned_as_well() -> None:
    from dfbench import Task
    from dfbench.training.tuned_forward import TunedForward
    from tests.training.harness import PlainConfig, PlainDetector, Problem, strategy_of, train

    found: list[torch.dtype] = []

    class Watched(PlainDetector):
        def loss(self, model: nn.Module, batch):  # type: ignore[no-untyped-def]
            logits = model(self.inputs(batch, model.training))
            found.append(logits.dtype)
            return nn.functional.cross_entropy(logits, batch.labels)

    inner: list[torch.dtype] = []

    def before(template, index: int) -> None:  # type: ignore[no-untyped-def]
        if index == 0:
            template.tuned = ("bf16",)
            TunedForward.attach(template)
            template.model[-1].register_forward_hook(lambda m, a, output: inner.append(output.dtype))

    train(Problem.make(), strategy_of("lwf"), Watched(PlainConfig(), Task()), before=before)
    assert set(inner) == {torch.bfloat16}, "the network computes in bf16, teachers made of it too"
    assert set(found) == {torch.float32}, "and the loss gets float32 logits"


@pytest.mark.parametrize(("tune", "laid_out"), [("channels_last", True), ("bf16", False)])
def test_channels_last_lays_the_weights_out(
    with_odd: Registry, tiny_stream: Path, tmp_path: Path, tune: str, laid_out: bool
) -> None:
    request = Request("odd", "naive", str(tiny_stream), device="cpu", out=tmp_path, tune=tune)
    p = prepare(request, with_odd)
    session = Session(p)
    assert has_channels_last_gain(session.template.model) is not laid_out


def test_compile_compiles_or_says_why_not(tiny_stream: Path, tmp_path: Path) -> None:
    """Where there is no C++ compiler the run goes on without, and the record says so."""
    from torch._dynamo.utils import counters

    counters.clear()
    record = run(ask(tiny_stream, tmp_path, "compile", "naive"), registry())
    assert record.spec.tuned == ("compile",)
    assert counters["stats"]["unique_graphs"] > 0
    if shutil.which("g++"):
        assert "compile_failed" not in (record.tuning or {})


def trial(*tuned: str, seconds: float, loss: float = 1.0, change: tuple[float, float] = (1.0, 0.0), start: float = 0.0):  # type: ignore[no-untyped-def]
    return Trial(tuned, (loss, loss), torch.tensor(change), seconds, start, 100)  # type: ignore[arg-type]


def test_the_fastest_that_trains_the_same_is_chosen() -> None:
    plain = trial(seconds=1.0)
    same, other = trial("channels_last", seconds=0.8), trial("bf16", seconds=0.2, loss=1.06)
    assert choose([plain, same, other], 100) is same
    assert choose([plain, same, trial("bf16", seconds=0.2, change=(1.0, 1.1))], 100) is same
    assert choose([plain, same, trial("bf16", seconds=0.2, loss=float("nan"))], 100) is same
    assert choose([plain, trial("channels_last", seconds=0.97)], 100) is plain
    assert choose([plain, Trial(("bf16",), (1.0,), torch.ones(2), 0.1)], 100) is plain
    assert choose([plain, same, Trial(("bf16",), failure="RuntimeError", seconds=0.1)], 100) is same


def test_compiling_must_pay_within_the_run() -> None:
    plain, compiled = trial(seconds=1.0), trial("compile", seconds=0.5, start=60.5)
    assert choose([plain, compiled], 1000) is compiled
    assert choose([plain, compiled], 200) is plain


def test_a_mistyped_setting() -> None:
    with pytest.raises(UsageError, match="bf61"):
        parse_tuned("bf61")
