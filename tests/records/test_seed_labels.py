"""The labels of runs that are grouped over seeds name what differs, and nothing else."""

from __future__ import annotations

from typing import Any

from dfbench.records.seeds import by_seed, labels
from dfbench.records.spec import RunSpec


def spec(strategy: str = "naive", **changes: Any) -> RunSpec:
    given: dict[str, Any] = {
        "detector": "cnn", "preset": "default", "detector_config": {"lr": 0.1}, "strategy": strategy,
        "strategy_config": {}, "benchmark": "b", "data_fingerprint": "f" * 64, "memory": 12,
    }  # fmt: skip
    return RunSpec(**{**given, **changes})


def test_a_strategy_alone_is_its_own_label() -> None:
    assert labels([spec()]) == ["naive"]
    assert labels([spec(), spec("replay")]) == ["naive", "replay"]


def test_detectors_and_presets_are_named_where_they_differ() -> None:
    assert labels([spec(), spec(detector="big")]) == ["cnn · naive", "big · naive"]
    assert labels([spec(), spec(preset="lite")]) == ["default · naive", "lite · naive"]


def test_options_are_named_where_they_differ_speed_settings_too() -> None:
    assert labels([spec(detector_config={"lr": 0.2}), spec()]) == ["naive · lr=0.2", "naive · lr=0.1"]
    assert labels([spec(tuned=("bf16", "compile")), spec()]) == ["naive · tuned=bf16,compile", "naive · tuned=none"]
    replays = [spec("replay", strategy_config={"epochs": n}) for n in (10, 20)]
    assert labels([spec(), *replays]) == ["naive", "replay · epochs=10", "replay · epochs=20"]


def test_options_that_only_one_strategy_or_detector_has_are_not_named() -> None:
    """They go with its name: a method with seven options of its own would have a label of two lines."""
    assert labels([spec(), spec("replay", strategy_config={"epochs": 10})]) == ["naive", "replay"]
    big = spec(detector="big", detector_config={"width": 64})
    assert labels([spec(), big]) == ["cnn · naive", "big · naive"]


def test_seeds_and_measures_make_no_other_group() -> None:
    specs = [spec(seed=1), spec(seed=0, eval_every=5), spec("replay")]
    assert by_seed(specs, lambda each: each) == [(specs[1], specs[0]), (specs[2],)]
