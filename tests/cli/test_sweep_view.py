"""What is seen of a sweep: a table with the time that is left, or lines."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from dfbench.cli.sweep_view import LineView, LiveView
from dfbench.records.spec import RunSpec
from dfbench.runs.sweep.driver import Result
from dfbench.runs.sweep.engine import Outcome
from dfbench.runs.sweep.estimate import Cost
from dfbench.runs.sweep.plan import Job


def jobs(count: int) -> list[Job]:
    found = []
    for seed in range(count):
        spec = RunSpec(detector="cnn", preset="p", detector_config={}, strategy="naive", strategy_config={},
                       benchmark="b", data_fingerprint="0" * 64, memory=1, seed=seed)  # fmt: skip
        found.append(Job(spec.asked, f"cnn · naive · [bold]b · seed {seed}", (), spec, {}))
    return found


def test_the_time_that_is_left_follows_what_runs_took() -> None:
    all_ = jobs(10)
    view = LineView(all_, 0, {job.key: Cost(0.0, "unknown") for job in all_}, slots=2)
    assert view.left() is None
    for job in all_[:2]:
        view.began(job, 1)
        view.ended(job, Outcome(job.key, 0, seconds=60.0), False)
    left = view.left()
    assert left == pytest.approx(8 * 60 / 2)
    for job in all_[2:4]:
        view.began(job, 1)
    assert view.left() == pytest.approx(8 * 60 / 2, abs=1)
    for job in all_[4:]:  # all handed to Ray: two of them run, nobody says which
        view.began(job, 1)
    assert view.left() == pytest.approx(8 * 60 / 2)


def test_a_run_that_ended_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    all_ = jobs(4)
    view = LineView(all_, 1, {job.key: Cost(30.0, "records") for job in all_}, slots=1)
    view.ended(all_[1], Outcome(all_[1].key, 3, "its data are gone", seconds=5.0, where="node-7"), False)
    view.ended(all_[2], Outcome(all_[2].key, -9, "killed by SIGKILL (out of memory?)", seconds=5.0), True)
    view.ended(all_[2], Outcome(all_[2].key, 0, seconds=31.0), False)
    assert capsys.readouterr().err.splitlines() == [
        "[2/4] FAILED: cnn · naive · [bold]b · seed 1 (5 s on node-7): its data are gone, about 60 s left",
        "[2/4] again: cnn · naive · [bold]b · seed 2 (5 s): killed by SIGKILL (out of memory?), about 60 s left",
        "[3/4] done: cnn · naive · [bold]b · seed 2 (31 s), about 30 s left",
    ]


def test_the_table_shows_what_runs_and_reads_no_markup() -> None:
    all_ = jobs(20)
    view = LiveView(all_, 0, {job.key: Cost(90.0, "like") for job in all_}, slots=20)
    file = io.StringIO()
    console = Console(file=file, width=140, force_terminal=True, color_system=None)
    view.live = Live(console=console)
    for job in all_[:15]:
        view.began(job, 1)
    result = Result(done={all_[19].key: Path("x")}, failed={all_[18].key: Outcome(all_[18].key, 1)})
    console.print(view.drawn({all_[0].key: "training 2/5  loss 0.3"}, result))
    text = file.getvalue()
    assert "1/20 done" in text
    assert "15 running" in text
    assert "1 failed" in text
    assert "about 9" in text
    assert "[bold]b · seed 0" in text
    assert "training 2/5  loss 0.3" in text
    assert "… and 3 more" in text
