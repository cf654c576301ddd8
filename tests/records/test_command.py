"""The line that makes a row again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from dfbench.plugins import registry
from dfbench.records.command import all_settings, command, needed_settings
from dfbench.records.record import Record
from dfbench.records.spec import RunSpec, parse_settings
from dfbench.runs.prepare import Request, prepare
from tests.publish.board_runs import make_run


def spec_of(settings: list[str], benchmark: Path, **more: str) -> RunSpec:
    request = Request("simple_cnn", "replay", str(benchmark), settings=settings, device="cpu", **more)
    return prepare(request, registry()).spec


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
