"""From a grid to runs: what is combined, what is left out, and the line of each run."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import yaml

from dfbench.cli import cli
from dfbench.cli.eval import command as eval_command
from dfbench.plugins import Registry, registry
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.sweep.expand import Expansion, Fixed, expand
from dfbench.runs.sweep.grid import GridFaults, read_grid
from dfbench.runs.sweep.plan import Plan, make_plan

FIXED = Fixed(torch.device("cpu"), "test", None, ())


def no_checkpoint(name: str) -> Any:
    raise AssertionError(name)


def grid_of(folder: Path, stream: Path, **content: Any) -> Path:
    path = folder / "grid.yaml"
    basic = {"detectors": "simple_cnn", "strategies": "naive", "benchmarks": str(stream)}
    path.write_text(yaml.safe_dump({**basic, **content}))
    return path


def expanded(path: Path, known: Registry | None = None, fixed: Fixed = FIXED) -> Expansion:
    return expand(read_grid(path), path, known or registry(), fixed, no_checkpoint)


def planned(path: Path, fixed: Fixed = FIXED) -> Plan:
    return make_plan(expanded(path, fixed=fixed).points, path, registry(), None)


def test_every_combination_and_nothing_else(tmp_path: Path, tiny_stream: Path) -> None:
    path = grid_of(
        tmp_path, tiny_stream,
        detectors=["simple_cnn", {"name": "simple_cnn", "set": {"width": 4}}],
        strategies=["naive", {"name": "replay", "set": {"memory": [6, 12]}}],
        seeds=2, set={"epochs": {"from": 1, "to": 3}},
        exclude=[
            {"strategy": "replay", "epochs": [1, 2]}, {"strategy.memory": 12, "seed": 1}, {"epochs": 3, "width": 4}
        ],
    )  # fmt: skip
    found = {
        (r.settings.get("width"), r.strategy, r.settings.get("strategy.memory"), r.settings["epochs"], r.seed)
        for r in (point.asked.request for point in expanded(path).points)
    }
    wanted = {
        (width, strategy, memory, epochs, seed)
        for width in (None, 4)
        for strategy, memory in (("naive", None), ("replay", 6), ("replay", 12))
        for epochs in (1, 2, 3)
        for seed in (0, 1)
        if not (strategy == "replay" and epochs < 3)
        and not (memory == 12 and seed == 1)
        and not (epochs == 3 and width == 4)
    }
    assert found == wanted
    assert expanded(path).excluded == 2 * 3 * 3 * 2 - len(wanted)


def test_labels_tell_runs_apart_and_name_what_varies_alone(tmp_path: Path, tiny_stream: Path) -> None:
    strategies = ["naive", {"name": "replay", "set": {"memory": [6, 12]}}]
    path = grid_of(tmp_path, tiny_stream, strategies=strategies, seeds=2, set={"lr": [0.1, "1e-3"], "epochs": 2})
    labels = [point.label for point in expanded(path).points]
    assert len(set(labels)) == len(labels) == 12
    assert "simple_cnn · replay · lr=0.001 memory=12 · tiny · seed 1" in labels
    assert not any("epochs" in label for label in labels)


def test_a_pair_that_cannot_be_is_left_out_with_its_reason_and_the_others_stay(
    tmp_path: Path, tiny_stream: Path, with_odd: Registry
) -> None:
    path = grid_of(tmp_path, tiny_stream, detectors=["simple_cnn", "opaque"], strategies=["naive", "gem"], seeds=3)
    found = expanded(path, with_odd)
    assert {(p.asked.request.detector, p.asked.request.strategy) for p in found.points} == {
        ("simple_cnn", "naive"), ("simple_cnn", "gem"), ("opaque", "naive")
    }  # fmt: skip
    ((pair, (count, reason)),) = found.impossible.items()
    assert (pair, count) == (("opaque", "gem"), 3)
    assert "this detector's loop is opaque" in reason


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"detectors": "simple_cmm"}, "unknown detector 'simple_cmm': did you mean 'simple_cnn'"),
        ({"strategies": ["naive", "reply"]}, "unknown strategy 'reply': did you mean 'replay'"),
        ({"benchmarks": "forge6"}, "unknown benchmark 'forge6': did you mean 'forge5'"),
        ({"set": {"epoch": 1}}, "set: simple_cnn has no option 'epoch'; did you mean 'epochs'?"),
        ({"set": {"epochs": 0}}, "--set epochs=0 of detector simple_cnn: Input should be greater than"),
        ({"set": {"lr": {"from": 1}}}, "set.lr: to: missing"),
        ({"detectors": {"name": "xception", "preset": "light"}}, "unknown preset of detector xception 'light'"),
        ({"exclude": {"strateggy": "naive"}}, "exclude.0: unknown key 'strateggy': did you mean 'strategy'?"),
        ({"exclude": {}}, "exclude.0: empty, which would leave out every run"),
        ({"seeds": 1000, "set": {"lr": {"from": 1, "to": 1000}}}, "more than 100000 runs"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(content: dict[str, Any], said: str, tmp_path: Path, tiny_stream: Path) -> None:
    path = grid_of(tmp_path, tiny_stream, **content)
    with pytest.raises(GridFaults) as raised:
        expanded(path)
    (line,) = raised.value.faults
    assert said in line
    assert line.startswith(f"{path}: ")


def test_an_option_that_one_strategy_lacks_belongs_below_those_that_have_it(tmp_path: Path, tiny_stream: Path) -> None:
    path = grid_of(tmp_path, tiny_stream, strategies=["naive", "replay"], set={"strategy.memory": [6, 12]})
    with pytest.raises(GridFaults, match=r"strategy naive has no option 'strategy.memory': write it below the ones"):
        expanded(path)


def test_an_exclusion_that_matches_nothing_is_said(tmp_path: Path, tiny_stream: Path) -> None:
    path = grid_of(tmp_path, tiny_stream, exclude=[{"seed": 9}])
    assert expanded(path).notices == [f"{path}: exclude.0 matches no run"]


def typed(line: str) -> Request:
    """What ``dfbench eval`` makes of a line."""
    words = shlex.split(line)
    parent = click.Context(cli, None, "dfbench", **cli.context_settings)
    options = eval_command.make_context("eval", words[words.index("eval") + 1 :], parent).params
    names = {field.name for field in dataclasses.fields(Request)} - {"init", "chosen"}
    return Request(**{name: options[name] for name in names & options.keys()})


@pytest.mark.parametrize(
    "content",
    [
        {"set": {"epochs": [1, 2], "lr": ["1e-3", 0.5], "flip": [True, False]}},
        {"strategies": [{"name": "replay", "set": {"memory": 6}}], "seeds": [3], "split": "val", "skip_tests": "all"},
        {"eval_every": 4, "eval_samples": 4, "tune": "bf16", "allow_leaks": True},
        {"detectors": {"name": "simple_cnn", "set": {"width": 4}}, "strategies": "none"},
    ],
)
def test_the_line_of_a_run_makes_the_run_that_the_plan_has(
    content: dict[str, Any], tmp_path: Path, tiny_stream: Path
) -> None:
    """The key is known without a network; it is that of the run which the line makes with one."""
    path = grid_of(tmp_path, tiny_stream, **content)
    fixed = dataclasses.replace(
        FIXED, split=content.get("split", "test"), skip_tests=("all",) if "skip_tests" in content else ()
    )
    plan = planned(path, fixed)
    assert plan.jobs
    for job in plan.jobs:
        spec = prepare(typed(job.line(tmp_path / "a folder", None, 1)), registry()).spec
        assert spec.asked == job.key == job.spec.asked
        assert spec.model_copy(update={"initial_weights": {}}) == job.spec


def test_two_ways_to_ask_for_one_run_are_one_run(tmp_path: Path, tiny_stream: Path) -> None:
    default = registry().detectors.load("simple_cnn").Config.model_fields["lr"].default
    path = grid_of(tmp_path, tiny_stream, detectors=["simple_cnn", {"name": "simple_cnn", "set": {"lr": default}}])
    plan = planned(path)
    assert (len(plan.jobs), plan.twice) == (1, 1)


def test_options_that_do_not_go_with_a_stream_are_a_fault(tmp_path: Path, tiny_stream: Path) -> None:
    stream = tiny_stream.parent / "once.yaml"
    stream.write_text(tiny_stream.read_text() + "flow: {one_pass: true}\n")
    path = grid_of(tmp_path, stream, set={"epochs": [1, 2, 3]})
    with pytest.raises(GridFaults) as raised:
        planned(path)
    assert len(raised.value.faults) == 2
    assert "--set epochs=2: tiny is seen once" in raised.value.faults[0]


def test_five_thousand_runs_open_one_stream_and_build_no_network(
    tmp_path: Path, tiny_stream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dfbench.runs.sweep import plan as module

    kind = registry().detectors.load("simple_cnn")
    monkeypatch.setattr(kind, "build", lambda self: pytest.fail("a network was built"))
    opened = []
    original = module.open_stream
    monkeypatch.setattr(module, "open_stream", lambda *a, **k: opened.append(a[0]) or original(*a, **k))
    strategies = ["naive", {"name": "replay", "set": {"memory": {"from": 1, "to": 9}}}]
    path = grid_of(tmp_path, tiny_stream, strategies=strategies, seeds=50, set={"epochs": {"from": 1, "to": 10}})
    plan = planned(path)
    assert len(plan.jobs) == len({job.key for job in plan.jobs}) == 5000
    assert opened == [str(tiny_stream)]


@pytest.mark.parametrize("number", [0, 1])
def test_the_grids_of_the_docs_are_grids(number: int, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "sweep.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    path = tmp_path / "grid.yaml"
    path.write_text(blocks[number])
    found = expanded(path)
    assert found.points
    assert not found.impossible
    assert not found.notices  # every exclusion leaves something out
