"""What a run shows on stderr while it goes on: bars on a terminal, lines elsewhere; one run, or several."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from dfbench.cli import progress
from dfbench.cli.progress import Watcher
from dfbench.runs import events

START: dict[str, Any] = {"run": "a", "identity": "", "spec": {}, "folder": Path(), "experiences": ("s0", "s1"),
                         "headline": "auc", "trainings": 2}  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def train(watcher: Watcher, clock: list[float], seconds: float, number: int, steps: int = 4) -> None:
    """A training of ``seconds``, in four steps, then its evaluation."""
    watcher.event(events.ExperienceStarted(number, (f"s{number - 1}",), 0))
    for done in range(1, steps + 1):
        clock[0] += seconds / steps
        if watcher.due(done, steps):
            watcher.event(events.TrainingStep(number, done, steps, done, 0.5))
    watcher.event(events.EvaluationStarted(number, 2))
    watcher.event(events.EvaluationProgress(1, 1))


def test_without_a_terminal_there_is_a_line_now_and_then(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Watcher(None)
    watcher.event(events.RunStarted(**START))
    watcher.event(events.EvaluationStarted(0, 2))
    train(watcher, clock, 80, 1)
    train(watcher, clock, 4, 2)
    assert lines(capsys) == [
        "training 1/2 s0",
        "training 1/2 s0  loss 0.500: 2/4, about 2 min left",
        "training 1/2 s0  loss 0.500: 4/4, about 90 s left",
        "training 2/2 s1",
    ]


@pytest.mark.parametrize(
    ("number", "what", "line"),
    [
        (0, "", "testing before any training: 1/3"),
        (1, "unseen sets", "testing unseen sets, after 1/2: 1/3"),
        (2, "degraded copies", "testing degraded copies, after 2/2: 1/3"),
    ],
)
def test_what_is_tested_is_named(
    clock: list[float], capsys: pytest.CaptureFixture[str], number: int, what: str, line: str
) -> None:
    watcher = Watcher(None)
    watcher.event(events.EvaluationStarted(number, 2, what))
    clock[0] += 60
    watcher.event(events.EvaluationProgress(1, 3))
    (shown,) = lines(capsys)
    assert shown.startswith(line)


def test_a_strategys_own_pass_is_shown(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(None)
    watcher.event(events.RunStarted(**START))
    train(watcher, clock, 80, 1)
    watcher.event(events.ExperienceStarted(2, ("s1",), 0))
    clock[0] += 35
    watcher.event(events.StrategyPass(1, 1))  # too short to be shown
    clock[0] += 35
    watcher.event(events.StrategyPass(3, 9))
    assert lines(capsys)[-2:] == ["training 2/2 s1", "training 2/2 s1  the strategy's own pass: 3/9, about 2 min left"]


def test_several_runs_are_numbered_and_those_done_before_say_nothing_of_the_pace(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Watcher(None, 4)
    for number, label in ((None, "naive, seed 0"), (3, "replay, seed 0"), (None, "naive, seed 1")):
        watcher.begin(label, number)
        watcher.event(events.Notice("the same data"))
        watcher.event(events.RunStarted(**START))
        train(watcher, clock, 60, 1)
        train(watcher, clock, 60, 2)
    shown = lines(capsys)
    assert [line for line in shown if "training" not in line] == [
        "run 1/4: naive, seed 0",
        "the same data",
        "run 3/4: replay, seed 0, about 4 min left in all",
        "run 4/4: naive, seed 1, about 2 min left in all",
    ]
    assert "run 3/4: replay, seed 0: training 2/2 s1  loss 0.500: 2/4, about 3 min left in all" in shown


def test_a_resumed_run_does_not_count_what_was_done_before(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Watcher(None)
    watcher.event(events.RunResumed(**START, finished=1, step=4))
    train(watcher, clock, 120, 2)
    assert "training 2/2 s1  loss 0.500: 2/4, about 70 s left" in lines(capsys)


def test_bars_of_all_runs_of_this_run_and_of_what_it_does(clock: list[float]) -> None:
    with Progress(console=Console(file=io.StringIO(), force_terminal=True)) as bars:
        watcher = Watcher(bars, 2)
        for number, label in enumerate(("naive", "replay")):
            watcher.begin(label)
            watcher.event(events.RunStarted(**START))
            train(watcher, clock, 10, 1)
            assert [(t.description, t.completed, t.total) for t in bars.tasks] == [
                (f"run {number + 1}/2: {label}", number + 0.5, 2),
                ("all experiences", 1, 2),
                ("testing after 1/2", 1, 1),
            ]
            train(watcher, clock, 10, 2)
        assert bars.tasks[0].completed == 2


def test_the_loss_is_read_for_an_update_and_for_the_last_step(clock: list[float]) -> None:
    """Reading it waits for the device."""
    watcher = Watcher(None)
    assert [watcher.due(done, 9) for done in (1, 8, 9)] == [False, False, True]
    clock[0] += progress.LINE_EVERY
    assert watcher.due(1, 9)
    assert not watcher.follows(events.Evaluated)
