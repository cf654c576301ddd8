"""The line that makes a row again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from dfbench.benchmarks.schema import read_stream_file
from dfbench.cli import cli
from dfbench.cli.eval import command as eval_command
from dfbench.plugins import registry
from dfbench.records.command import all_settings, command, needed_settings
from dfbench.records.record import Record
from dfbench.records.spec import (
    DETECTOR_BUDGET,
    RunSpec,
    detector_config,
    parse_settings,
    parse_tuned,
    strategy_config,
)
from dfbench.runs.prepare import Request, prepare
from tests.publish.board_runs import make_run
from tests.records.builder import make_record

COMMITTED = sorted((Path(__file__).parents[2] / "leaderboard" / "results").glob("*.json"))


def request_of(line: str) -> Request:
    """What ``dfbench eval`` makes of a line."""
    words = shlex.split(line)
    words = words[words.index("eval") + 1 :]
    parent = click.Context(cli, None, "dfbench", **cli.context_settings)
    options = eval_command.make_context("eval", words, parent).params
    names = {field.name for field in dataclasses.fields(Request)} - {"init"}  # a checkpoint that is here, not a text
    return Request(**{name: options[name] for name in names & options.keys()})


def spec_of(settings: list[str], benchmark: Path, **more: str) -> RunSpec:
    request = Request("simple_cnn", "replay", str(benchmark), settings=settings, device="cpu", **more)
    return prepare(request, registry()).spec


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_line_of_a_committed_record_asks_for_its_spec(path: Path) -> None:
    """All but the data, which are not opened here, and the weights to start from."""
    record, known = Record.read(path), registry()
    request, spec = request_of(command(record)), record.spec
    assert request.benchmark is not None
    kind, strategy = known.detectors.load(request.detector), known.strategies.load(request.strategy)
    stream, _ = read_stream_file(Path(known.benchmarks[request.benchmark].target))
    budget = {k: v for k, v in stream.budget.model_dump().items() if v is not None and k in DETECTOR_BUDGET}
    settings, options = parse_settings(request.settings)
    preset, config = detector_config(kind, request.detector, request.preset, settings, budget, strategy)
    asked = spec.model_copy(
        update={
            "detector": request.detector,
            "preset": preset,
            "detector_config": config.model_dump(mode="json"),
            "strategy": request.strategy,
            "strategy_config": strategy_config(strategy, request.strategy, options).model_dump(mode="json"),
            "benchmark": request.benchmark,
            "split": request.split,
            "seed": request.seed,
            "tuned": parse_tuned(request.tune) if request.tune else (),
            "eval_every": request.eval_every,
            "eval_samples": request.eval_samples,
        }
    )
    assert asked == spec


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"split": "val", "seed": 7},
        {"tune": "bf16,channels_last"},
        {"tune": "plain"},
        {"eval_every": 4},
        {"eval_every": 4, "eval_samples": 3},
        {"preset": "lite", "detector": "dfdc3", "settings": ["weights='1e5'", "pretrained=false", "body='no'"]},
        {"strategy": "agem", "settings": ["lr=1e-05", "image_size=32", "flip=false", "strategy.memory=10"]},
    ],
)
def test_the_line_gives_the_same_spec_again(asked: Mapping[str, Any], tiny_stream: Path, tmp_path: Path) -> None:
    """``-b`` aside: a stream's file is not on the record."""
    request = Request(**{"detector": "simple_cnn", "strategy": "naive", "benchmark": str(tiny_stream), **asked})
    kinds = registry().detectors.load(request.detector), registry().strategies.load(request.strategy)
    settings, options = parse_settings(request.settings)
    preset, config = detector_config(kinds[0], request.detector, request.preset, settings, {}, kinds[1])
    tuned = parse_tuned(request.tune) if request.tune else ()
    spec = make_record(
        request.strategy,
        [[1.0]],
        detector=request.detector,
        preset=preset,
        detector_config=config.model_dump(mode="json"),
        strategy_config=strategy_config(kinds[1], request.strategy, options).model_dump(mode="json"),
        tuned=tuned,
        **{name: getattr(request, name) for name in ("split", "seed", "eval_every", "eval_samples")},
    )
    again = request_of(command(spec))
    for name in ("detector", "strategy", "split", "seed", "eval_every", "eval_samples"):
        assert getattr(again, name) == getattr(request, name), name
    assert again.preset == preset
    assert (parse_tuned(again.tune) if again.tune else ()) == tuned
    found, chosen = parse_settings(again.settings)
    assert (found, chosen) == (spec.spec.detector_config, spec.spec.strategy_config)


@pytest.mark.parametrize(
    "settings",
    [[], ["lr=1e-05"], ["epochs=2", "flip=false", "strategy.memory=10"], ["image_size=32", "width=4"]],
)
def test_the_settings_give_the_same_spec_again(settings: list[str], tiny_stream: Path) -> None:
    spec = spec_of(settings, tiny_stream)
    needed = needed_settings(spec, registry())
    assert needed is not None
    assert spec_of(needed, tiny_stream) == spec
    assert spec_of(all_settings(spec), tiny_stream) == spec
    assert len(needed) < len(all_settings(spec))


def test_what_a_known_benchmark_sets_is_not_repeated() -> None:
    kind = registry().detectors.load("simple_cnn")
    preset = next(iter(kind.presets))
    config = kind.Config(**{**kind.presets[preset], "epochs": 6}).model_dump(mode="json")
    strategy = registry().strategies.load("naive").Config().model_dump(mode="json")
    about = {"detector": "simple_cnn", "preset": preset, "strategy": "naive", "strategy_config": strategy}
    spec = RunSpec(**about, detector_config=config, benchmark="forge5", data_fingerprint="0" * 64, memory=1)
    assert "epochs=6" not in (needed_settings(spec, registry()) or [])
    other = spec.model_copy(update={"detector_config": {**config, "epochs": 5}})
    assert "epochs=5" in (needed_settings(other, registry()) or [])


def test_a_plugin_that_is_not_here_means_every_option(tmp_path: Path) -> None:
    record = Record.read(make_run(tmp_path, detector="elsewhere"))
    assert needed_settings(record.spec, registry()) is None
    words = shlex.split(command(record))
    assert words[:3] == ["OMP_NUM_THREADS=1", "dfbench", "eval"]
    given = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert parse_settings(given) == (record.spec.detector_config, record.spec.strategy_config)


def test_settings_that_lie_are_passed_over(tmp_path: Path) -> None:
    record = Record.read(make_run(tmp_path))
    honest = command(record.model_copy(update={"settings": ["lr=0.001"]}))
    assert honest.endswith("--set lr=0.001")
    for lie in (["lr=0.5"], ["unknown=1"], ["nothing"]):
        assert "lr=0.5" not in command(record.model_copy(update={"settings": lie}))
        assert "--set epochs=6" in command(record.model_copy(update={"settings": lie}))


def test_a_hostile_name_stays_one_word(tmp_path: Path) -> None:
    record = Record.read(make_run(tmp_path, "x; rm -rf ~ #"))
    words = shlex.split(command(record))
    assert words[words.index("-s") + 1] == "x; rm -rf ~ #"
    assert "'x; rm -rf ~ #'" in command(record)
