"""A run sends its loggers what happens; they decide nothing, and they end nothing."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from dfbench.cli.eval import command
from dfbench.errors import PluginError, UsageError
from dfbench.evaluation.scores import Scores
from dfbench.plugins import Registry, load_plugins
from dfbench.records.record import Record
from dfbench.runs.events import (
    Evaluated,
    Event,
    EventStream,
    Listener,
    Notice,
    ProgressEvent,
    StrategyPass,
    TrainingStep,
)
from dfbench.runs.loggers import GuardedLogger, Logger, LoggerConfig, make_loggers, parse_logger
from dfbench.runs.prepare import Request
from dfbench.runs.randomness import restored
from dfbench.runs.runner import run
from dfbench.runs.session import Session
from tests.cli.harness import install, plugins_of, run_cli, the_error
from tests.conftest import ODD

SMALL = ["image_size=32", "epochs=2", "batch_size=8", "width=4"]

PLUGIN = '''
import random
import numpy as np
import torch
from dfbench import Logger, LoggerConfig, LoggerEntry, hookimpl
from pydantic import Field

SEEN = []


@hookimpl
def register_loggers():
    kinds = ("Keeping", "Broken", "Late", "Dicing", "Refusing", "Absent", "Watching")
    return [LoggerEntry(kind.lower(), f"loud:{kind}", "from a test") for kind in kinds]


class Keeping(Logger):
    """Keeps what it is sent."""

    def __init__(self, config):
        super().__init__(config)
        SEEN.clear()

    def event(self, event):
        SEEN.append(event)

    def close(self):
        SEEN.append("closed")


class Broken(Logger):
    """Raises at every event."""

    def event(self, event):
        SEEN.append("broken was called")
        raise RuntimeError("no such\\nserver")


class Late(Logger):
    """Ends the program, or so it thinks, at the second score."""

    def evaluated(self, event):
        if event.number:
            raise SystemExit(7)


class Dicing(Logger):
    """Draws, seeds, and prints."""

    def event(self, event):
        print("a line that is no result")
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        random.random(), np.random.rand(), torch.rand(3)


class RefusingConfig(LoggerConfig):
    rate: float = Field(0.5, gt=0)


class Refusing(Logger):
    Config = RefusingConfig

    def __init__(self, config):
        super().__init__(config)
        if config.rate > 1:
            raise ValueError("more than everything")


class Absent(Logger):
    def __init__(self, config):
        super().__init__(config)
        self.require("no_such_module_anywhere.inner", "no-such-package")


class Watching(Logger):
    """Its Avalanche plugin fails in the fourth iteration."""

    def avalanche_plugins(self):
        return [Failing()]


class Failing:
    calls = 0

    def after_training_iteration(self, strategy, **kwargs):
        self.calls += 1
        SEEN.append(("iteration", self.calls))
        if self.calls == 4:
            raise ZeroDivisionError("in a metric")
'''


class Kept(Listener):
    """Keeps all events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry with the loggers above installed."""
    folder = install(tmp_path / "plugin", "loud", {"loud.py": PLUGIN})
    with plugins_of(folder, monkeypatch):
        yield load_plugins()


def seen() -> list[Any]:
    import importlib

    return importlib.import_module("loud").SEEN


def train(stream: Path, out: Path, known: Registry, *log: str, notes: Listener | None = None, **more: Any) -> Record:
    options: dict[str, Any] = {"strategy": "replay", "detector": "simple_cnn", "settings": SMALL} | more
    request = Request(benchmark=str(stream), device="cpu", out=out, log=log, **options)
    return run(request, known, notes)


def test_events_come_in_order_with_their_figures(tiny_stream: Path, tmp_path: Path, loud: Registry) -> None:
    record = train(tiny_stream, tmp_path / "runs", loud, "keeping:every=2")
    *events, end = seen()
    assert end == "closed"
    kinds = [event.kind for event in events]
    once = ["experience_started", "training_step", "experience_finished", "evaluated"]
    assert list(dict.fromkeys(kinds)) == ["run_started", "evaluated", *once[:3], "run_finished"]
    start, untrained, *middle, finish = events
    assert (start.run, start.identity, start.spec) == (record.run, record.identity, record.spec.document())
    assert start.folder == record.path.parent
    assert (start.experiences, start.headline, start.trainings) == (("s0", "s1", "s2"), "auc", 3)
    assert untrained.number == 0
    scores = Scores.read(start.folder / "scores.parquet")
    assert {m: list(row) for m, row in untrained.metrics.items()}.keys() == {"auc", "video_auc", "accuracy"}
    assert [g.trained_on for g in scores][:3] == [-1, -1, -1]
    rows = [e for e in middle if e.kind == "evaluated"]
    for number, event in enumerate(rows, 1):
        assert event.number == number
        for metric, row in event.metrics.items():
            assert list(row.values()) == record.matrix[metric][number - 1]
    trained = [e for e in middle if e.kind == "experience_finished"]
    assert [e.steps for e in trained] == record.steps
    assert [e.seconds for e in trained] == record.seconds.train
    assert [e.stored_samples for e in trained] == record.memory.samples
    assert [e.step for e in trained] == list(np.cumsum(record.steps))
    steps = [e for e in middle if e.kind == "training_step"]
    assert [e.done for e in steps if e.number == 1] == [n for n in range(1, 7) if n % 2 == 0]
    assert [e.step for e in steps] == sorted({e.step for e in steps})
    assert steps[-1].step == sum(record.steps)
    assert all(0 < e.loss < 5 and e.total == 6 for e in steps)
    assert (finish.path, finish.record) == (start.folder / "record.json", record)


def test_loggers_are_no_part_of_the_result(tiny_stream: Path, tmp_path: Path, loud: Registry) -> None:
    """Not even one that draws from, and seeds, every generator."""
    alone = train(tiny_stream, tmp_path / "a", loud)
    watched = train(tiny_stream, tmp_path / "b", loud, "dicing:every=1", "jsonl", "keeping")
    same = ("run", "identity", "spec", "metrics", "matrix", "effects", "steps", "scores_sha256", "weights_sha256")
    assert {k: getattr(alone, k) for k in same} == {k: getattr(watched, k) for k in same}


def test_a_logger_that_fails_is_called_once_and_ends_nothing(tiny_stream: Path, tmp_path: Path, loud: Registry) -> None:
    notes = Kept()
    record = train(tiny_stream, tmp_path / "runs", loud, "keeping", "broken", "late", "watching", notes=notes)
    assert record.metrics["average_auc"] is not None
    failures = [note for note in notes.notes if note.startswith("logger ")]
    assert failures == [
        "logger broken failed (RuntimeError: no such server); it is off from here, the run goes on",
        "logger watching failed (ZeroDivisionError: in a metric) in after_training_iteration; "
        "its plugin is off from here, the run goes on",
        "logger late failed (SystemExit: 7); it is off from here, the run goes on",
    ]
    assert seen().count("broken was called") == 1
    assert [t[1] for t in seen() if isinstance(t, tuple)] == [1, 2, 3, 4]
    assert seen()[-1] == "closed"


def test_an_interrupted_run_is_reported_as_such_and_goes_on(
    tiny_stream: Path, tmp_path: Path, loud: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ODD))
    known = load_plugins()
    mortal: dict[str, Any] = {"detector": "mortal", "settings": []}
    monkeypatch.setenv("MORTAL_SIGNAL", "SIGINT")
    monkeypatch.setenv("MORTAL_AT", "1")
    with pytest.raises(KeyboardInterrupt):
        train(tiny_stream, tmp_path / "runs", known, "keeping", **mortal)
    assert seen()[-2].reason == "KeyboardInterrupt"
    assert seen()[-1] == "closed"
    monkeypatch.delenv("MORTAL_AT")
    record = train(tiny_stream, tmp_path / "runs", known, "keeping", **mortal)
    first, *rest = seen()
    assert (first.kind, first.finished, first.step) == ("run_resumed", 1, record.steps[0])
    assert [e.number for e in rest if e != "closed" and e.kind == "evaluated"] == [2, 3]
    assert rest[0].step == record.steps[0]


@pytest.mark.parametrize(
    ("log", "code", "message"),
    [
        ("keepings", 2, "unknown logger 'keepings': did you mean 'keeping'?"),
        ("keeping:evry=2", 2, "unknown --log option of logger keeping 'evry': did you mean 'every'?"),
        ("keeping:every=0", 2, "--log keeping:every=0 of logger keeping: Input should be greater than or equal to 1"),
        ("keeping:every=often", 2, "--log keeping:every=often of logger keeping: Input should be a valid integer"),
        ("keeping:every", 2, "--log keeping:every: 'every' is not KEY=VALUE"),
        ("refusing:rate=-1", 2, "--log refusing:rate=-1 of logger refusing: Input should be greater than 0"),
        ("refusing:rate=2", 4, "--log refusing: ValueError: more than everything"),
        ("absent", 4, "--log absent: this logger needs the package no-such-package"),
    ],
)
def test_a_wrong_name_or_option_is_refused_before_training(
    log: str, code: int, message: str, tiny_stream: Path, tmp_path: Path, loud: Registry, capfd: Any
) -> None:
    arguments = ("eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, "--out", tmp_path / "runs")
    done = run_cli(capfd, *arguments, "--log", log)
    assert the_error(done, code).startswith(message)
    assert not (tmp_path / "runs").exists()
    if log == "absent":
        assert done.err.rstrip().endswith("pip install no-such-package")


def test_one_logger_of_a_kind(loud: Registry) -> None:
    with pytest.raises(UsageError, match="--log keeping is given twice"):
        make_loggers(["keeping", "keeping:every=3"], loud)
    assert parse_logger("m:uri=http://host:5000/x,every=3") == ("m", {"uri": "http://host:5000/x", "every": "3"})


def test_what_loggers_print_is_no_result(tiny_stream: Path, tmp_path: Path, loud: Registry, capfd: Any) -> None:
    settings = [text for key in SMALL for text in ("--set", key)]
    arguments = ("eval", "-d", "simple_cnn", "-s", "naive", "-b", tiny_stream, "--out", tmp_path / "runs", *settings)
    done = run_cli(capfd, *arguments, "--device", "cpu", "--log", "dicing", "--json")
    assert done.code == 0, done.err
    assert set(json.loads(done.out)) >= {"run", "metrics"}
    assert "a line that is no result" in done.err


def test_the_loss_is_read_only_when_a_logger_is_due() -> None:
    """Reading it waits for the device."""

    class Loss:
        reads = 0

        def __float__(self) -> float:
            Loss.reads += 1
            return 0.5

    class Steps(Logger):
        Config: ClassVar = LoggerConfig

        def __init__(self, every: int) -> None:
            super().__init__(LoggerConfig(every=every))
            self.steps: list[int] = []

        def training_step(self, event: TrainingStep) -> None:
            self.steps.append(event.done)

    a, b = Steps(40), Steps(60)
    session = SimpleNamespace(events=EventStream(GuardedLogger("a", a, print), GuardedLogger("b", b, print), Kept()))
    for done in range(1, 131):
        Session._after_step(session, 1, 0, done, 130, Loss())  # type: ignore[arg-type]
    assert (a.steps, b.steps) == ([40, 80, 120, 130], [60, 120, 130])
    assert Loss.reads == 5


@pytest.mark.parametrize("strategy", ["ewc", "mas", "dfil", "ranpac"])
def test_the_passes_of_a_strategy_are_seen(strategy: str, tiny_stream: Path, tmp_path: Path, loud: Registry) -> None:
    kept = Kept()
    settings = [*SMALL, *(["strategy.dimensions=64"] if strategy == "ranpac" else [])]
    train(tiny_stream, tmp_path, loud, notes=kept, strategy=strategy, settings=settings)
    steps = [(event.done, event.total) for event in kept.events if isinstance(event, StrategyPass)]
    assert sum(done == total for done, total in steps) >= 3, "one per experience at least"
    assert all(done == before + 1 for (before, of), (done, _) in itertools.pairwise(steps) if before < of)


def test_what_nobody_follows_is_not_computed(
    tiny_stream: Path, tmp_path: Path, loud: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A progress bar shows no figures, so there are none to compute; nor is a loss read between its updates."""

    class Bar(Kept):
        def follows(self, kind: type[Event]) -> bool:
            return not issubclass(kind, Evaluated)

    monkeypatch.setattr(Session, "_metrics", lambda self, scores: pytest.fail("nobody wants them"))
    bar = Bar()
    train(tiny_stream, tmp_path, loud, notes=bar)
    kinds = {event.kind for event in bar.events}
    assert {"notice", "data_progress", "evaluation_started", "evaluation_progress", "run_finished"} >= kinds - {
        "run_started", "experience_started", "experience_finished",
    }  # fmt: skip
    assert {"evaluation_started", "evaluation_progress", "experience_started", "run_finished"} <= kinds


def test_generators_are_put_back() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(4)
    expected = drawn()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(4)
    with restored():
        assert drawn() == expected
    assert drawn() == expected


def test_events_hold_what_json_holds(tmp_path: Path) -> None:
    event = TrainingStep(1, 2, 3, 4, float("nan"))
    assert json.loads(json.dumps(event.as_dict(), allow_nan=False))["loss"] is None
    for kind in set(_all(Event)) - {ProgressEvent}:
        assert hasattr(Logger, kind.kind) != issubclass(kind, ProgressEvent), kind


def _all(kind: type[Event]) -> Iterator[type[Event]]:
    for below in kind.__subclasses__():
        yield below
        yield from _all(below)


def test_the_option_says_where_loggers_are_listed() -> None:
    (option,) = (p for p in command.params if p.name == "log")
    assert option.multiple
    assert "dfbench list loggers" in (option.help or "")  # type: ignore[attr-defined]


def test_require_names_the_package() -> None:
    with pytest.raises(PluginError, match=r"needs the package no_such.* pip install no_such$"):
        Logger.require("no_such.module")
