"""How one machine is shared out, how processes end, and what a sweep is expected to cost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.errors import UsageError
from dfbench.records.record import Record
from dfbench.records.spec import RunSpec
from dfbench.runs.sweep.engine import Needs, Outcome, last_words
from dfbench.runs.sweep.estimate import ENOUGH, Seen, from_records, longer, seen, to_time, total, with_timings
from dfbench.runs.sweep.local import Cards, capacity, total_memory
from dfbench.runs.sweep.plan import Job
from dfbench.runs.sweep.process import RunProcess, environment
from tests.publish.board_runs import make_run


@given(st.sampled_from([0.25, 0.5, 1.0, 2.0]), st.integers(1, 4))
def test_no_card_is_given_out_twice_and_none_is_lost(wanted: float, count: int) -> None:
    cards = Cards([f"gpu{n}" for n in range(count)])
    taken = []
    for _ in range(capacity(Needs(gpus=wanted), 100, count) if count >= wanted else 0):
        taken.append(cards.take(wanted))
        assert len(taken[-1]) == max(round(wanted), 1)
        assert all(free > -1e-9 for free in cards.free.values())
    assert sum(cards.free.values()) < max(wanted, 1)
    for each in taken:
        cards.give_back(each, wanted)
    assert cards.free == dict.fromkeys(cards.names, 1.0)


def test_two_halves_share_a_card_before_another_one_is_opened() -> None:
    cards = Cards(["0", "1"])
    assert cards.take(0.5) == cards.take(0.5) == ["0"]
    assert cards.take(0.5) == ["1"]


def test_the_scarcest_part_of_a_machine_decides() -> None:
    gigabytes = total_memory() / 1e9
    assert capacity(Needs(), 7, 0) == 7
    assert capacity(Needs(gpus=0.5), 7, 2) == 4
    assert capacity(Needs(gpus=2), 7, 5) == 2
    assert capacity(Needs(memory=gigabytes / 3.5), 7, 0) == 3
    with pytest.raises(UsageError, match=r"--gpus 1: there are 0 GPUs here"):
        capacity(Needs(gpus=1), None, 0)
    with pytest.raises(UsageError, match=r"--memory .*: this machine has"):
        capacity(Needs(memory=gigabytes * 2), None, 0)


def test_a_run_sees_its_cards_and_threads_alone() -> None:
    assert environment(2, ["3"]) == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "3"}
    assert "CUDA_VISIBLE_DEVICES" not in environment(1, None)


def process(folder: Path, code: str, **how: Any) -> RunProcess:
    return RunProcess([sys.executable, "-c", code], folder / "logs" / "log", {"SAID": "yes"}, **how)


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("import os, sys; print('error: no', os.environ['SAID'], file=sys.stderr); sys.exit(3)", (3, "no yes")),
        ("import os; os.kill(os.getpid(), 9)", (-9, "killed by SIGKILL (out of memory?)")),
        ("import sys; sys.exit(4)", (4, "exit code 4")),
        ("print('{}')", (1, "its result cannot be read ('record')")),
        ('print(\'{"record": "/a/run/record.json"}\')', (0, "")),
    ],
)
def test_how_a_process_ended_is_one_line(code: str, wanted: tuple[int, str], tmp_path: Path) -> None:
    outcome = process(tmp_path, code).outcome("key")
    assert (outcome.code, outcome.message) == wanted
    assert outcome.folder == (Path("/a/run") if wanted[0] == 0 else None)


def test_what_may_go_better_is_tried_again_and_bad_input_is_not() -> None:
    again = [code for code in (-9, -15, 1, 2, 3, 4, 5, 6, 7, 130) if Outcome("k", code).worth_another_try]
    assert again == [-9, -15, 1, 6]
    assert [code for code in range(8) if Outcome("k", code).impossible] == [5]


def test_an_interrupted_process_comes_to_its_end(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import time, pathlib; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    running = process(tmp_path, code)
    while not ready.exists():
        assert not running.ended()
    running.end()
    assert running.ended()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
def test_a_process_ends_with_its_starter_where_that_is_wanted(tmp_path: Path) -> None:
    """A node's worker that Ray kills must leave no run behind that takes cores and GPUs from others."""
    script = f"""
import os, sys, time
from pathlib import Path
from dfbench.runs.sweep.process import RunProcess
child = RunProcess([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"],
                   Path({str(tmp_path)!r}) / "log", {{}}, die_with_parent=True)
while not (text := child.result.read_text()).endswith("\\n"):
    time.sleep(0.01)
print(text, end="", flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 30
    while _lives(child):
        assert time.monotonic() < end


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_last_words_are_the_error() -> None:
    assert last_words("loading …\nerror: no\nthen\n") == "no"
    assert last_words("one\ntwo \n\n") == "two"
    assert last_words("") == ""


# --- Cost --------------------------------------------------------------------------------------------


def a_job(seed: int = 0, strategy: str = "naive", detector: str = "cnn", **config: Any) -> Job:
    spec = RunSpec(detector=detector, preset="p", detector_config=config, strategy=strategy, strategy_config={},
                   benchmark="b", data_fingerprint="0" * 64, memory=1, seed=seed)  # fmt: skip
    return Job(spec.asked, "label", (), spec, {})


def took(job: Job, train: float, evaluate: float = 1.0) -> Seen:
    return Seen(job.spec.document(), "cpu", 1, train, evaluate)


def test_runs_of_other_seeds_go_before_like_runs_and_these_are_scaled_by_their_length() -> None:
    jobs = [a_job(1, epochs=2), a_job(epochs=4), a_job(strategy="replay", epochs=2), a_job(detector="other")]
    known = [took(a_job(0, epochs=2), 10.0), took(a_job(2, epochs=2), 14.0)]
    costs = [from_records(jobs, known)[job.key] for job in jobs]
    assert [(cost.basis, cost.seconds) for cost in costs] == [
        ("records", 13.0), ("like", 25.0), ("like", 13.0), ("unknown", 0.0)
    ]  # fmt: skip
    summed = total(jobs, from_records(jobs, known))
    assert (summed.runs, summed.seconds, summed.unknown) == (4, 51.0, 1)
    assert summed.words.startswith("records of the same runs with other seeds (1), records of like runs (2)")


def test_one_run_of_each_unknown_kind_is_timed_and_stands_for_the_others() -> None:
    jobs = [a_job(0, epochs=4), a_job(1, epochs=2), a_job(strategy="replay"), a_job(0, "replay", "known")]
    costs = from_records(jobs, [took(jobs[3], 5.0)])
    assert to_time(jobs, costs) == [jobs[1]]  # the shortest; the single replay shows itself
    found = with_timings(jobs, costs, {jobs[1].key: {"start": 3.0, "train": 10.0, "evaluate": 2.0}})
    assert [found[job.key].seconds for job in jobs] == [25.0, 15.0, 0.0, 6.0]
    assert [found[job.key].basis for job in jobs] == ["steps", "steps", "unknown", "records"]


def test_lengths_are_compared_by_epochs_or_steps() -> None:
    assert longer({"epochs": 4}, {"epochs": 2}) == 2
    assert longer({"steps": 100}, {"steps": 400}) == 0.25
    assert longer({"epochs": 4}, {"steps": 2}) == longer({}, {}) == 1


def test_records_of_this_device_and_number_of_threads_count_and_damaged_ones_do_not(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    spec = Record.read(folder).spec
    jobs = [Job(spec.asked, "a run", (), spec, {})]
    broken = tmp_path / f"{spec.run_id_start}broken"
    broken.mkdir()
    (broken / "record.json").write_text("{}")
    assert folder.parent == tmp_path
    assert len(seen([tmp_path], jobs, "cpu", 1)) == 1
    assert seen([tmp_path], [a_job()], "cpu", 1) == []  # of another detector: not even opened
    assert seen([tmp_path], jobs, "cpu", 1, validation=True) == []
    others = (([tmp_path], 2, "cpu"), ([tmp_path], 1, "cuda"), ([tmp_path / "nowhere"], 1, "cpu"))
    assert [seen(places, jobs, device, threads) for places, threads, device in others] == [[], [], []]


def test_of_thousands_of_seeds_a_few_records_are_read(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    record = Record.read(folder)
    for seed in range(20):
        spec = record.spec.model_copy(update={"seed": seed})
        (tmp_path / spec.run_id).mkdir(exist_ok=True)
        (tmp_path / spec.run_id / "record.json").write_bytes((folder / "record.json").read_bytes())
        (tmp_path / spec.run_id / "spec.json").write_text(json.dumps(spec.document()))
    found = seen([tmp_path], [Job(record.spec.asked, "a run", (), record.spec, {})], "cpu", 1)
    assert 0 < len(found) <= ENOUGH + 1  # one lies there without its spec
