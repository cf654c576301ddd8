"""The name of a run is the name of a folder: readable, unique, and never too long for a file system."""

from __future__ import annotations

from dfbench.records.spec import RunSpec


def spec(**names: str) -> RunSpec:
    known = {"detector": "net", "preset": "lite", "strategy": "replay", "benchmark": "faces", **names}
    return RunSpec(**known, detector_config={}, strategy_config={}, data_fingerprint="0" * 64, memory=8)


def test_ordinary_names_are_whole() -> None:
    assert spec(benchmark="Celeb-DF (v2)").run_id.startswith("net-lite-replay-Celeb_DF_v2_-s0-")


def test_long_names_are_cut_and_stay_unique() -> None:
    long = dict.fromkeys(("detector", "preset", "strategy", "benchmark"), "x" * 300)
    first, second = spec(**long).run_id, spec(**{**long, "benchmark": "x" * 299 + "y"}).run_id
    assert first != second
    assert len(first.encode()) < 240  # room for the suffixes of temporary files
