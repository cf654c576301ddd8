"""The line that reruns a record: composed from its spec, never copied from a record."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from dfbench.benchmarks.schema import read_stream_file
from dfbench.errors import DfbenchError
from dfbench.plugins import Registry
from dfbench.records.record import Record
from dfbench.records.spec import DETECTOR_BUDGET, FURTHER, MEASURES, STRATEGY_PREFIX, RunSpec, parse_settings

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that JSON holds as they are, and YAML takes for a line break or refuses (YAML 1.2, section 5.1)."""


def all_settings(spec: RunSpec) -> list[str]:
    """Every option of detector and strategy as ``--set`` takes it."""
    return [setting("", *pair) for pair in spec.detector_config.items()] + [
        setting(STRATEGY_PREFIX, *pair) for pair in spec.strategy_config.items()
    ]


def needed_settings(spec: RunSpec, registry: Registry) -> list[str] | None:
    """The options that neither the preset nor the benchmark's budget gives; None where a plugin is not installed.

    Imports the detector and the strategy.
    """
    try:
        detector, strategy = registry.detectors.load(spec.detector), registry.strategies.load(spec.strategy)
        budget, always = _budget(spec.benchmark, registry)
        given = {
            **detector.presets[spec.preset],
            **{k: v for k, v in budget.items() if k in detector.Config.model_fields},
        }
        without = detector.Config.model_validate(given).model_dump(mode="json")
        plain = strategy.Config().model_dump(mode="json")
    except (DfbenchError, ImportError, KeyError, TypeError, ValueError):
        return None
    changed = {k: v for k, v in spec.detector_config.items() if k in always or k not in without or without[k] != v}
    options = {k: v for k, v in spec.strategy_config.items() if k not in plain or plain[k] != v}
    return [setting("", *pair) for pair in changed.items()] + [
        setting(STRATEGY_PREFIX, *pair) for pair in options.items()
    ]


def command(record: Record) -> str:
    """The shell line, every part of it quoted. Settings that do not fit the spec are passed over for all of them.

    A benchmark is given by its name: where the stream came from a file of the user's, the line needs its path instead.
    """
    spec = record.spec
    settings = record.settings if record.settings is not None and _fit(record.settings, spec) else all_settings(spec)
    words = ["dfbench", "eval", "-d", spec.detector, "--preset", spec.preset, "-s", spec.strategy]
    words += ["-b", spec.benchmark, "--seed", str(spec.seed)]
    words += [] if spec.init is None else ["--init", spec.init.reference]
    words += ["--split", spec.split] * (spec.split != "test") + ["--device", record.environment.device]
    measures = [(name, getattr(spec, name)) for name in MEASURES if name not in FURTHER]
    measures.append(("skip_tests", ",".join(spec.skipped_tests)))
    for option, value in (("tune", ",".join(spec.tuned)), *measures):
        words += [f"--{option.replace('_', '-')}", str(value)] * bool(value)
    words += ["--allow-leaks"] * bool(record.data.allowed_leaks)
    for setting in settings:
        words += ["--set", setting]
    threads = record.environment.threads
    before = f"OMP_NUM_THREADS={threads} " if threads else ""
    return before + shlex.join(words)


def _budget(benchmark: str, registry: Registry) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """What the benchmark sets, and what must be written out because its file is not known here."""
    if benchmark not in registry.benchmarks:
        return {}, DETECTOR_BUDGET
    from pathlib import Path

    stream, _ = read_stream_file(Path(registry.benchmarks[benchmark].target))
    found = stream.budget.model_dump()
    return {k: v for k, v in found.items() if v is not None and k in DETECTOR_BUDGET}, ()


def _fit(settings: list[str], spec: RunSpec) -> bool:
    return set(settings) <= set(all_settings(spec))  # never parsed: they may come from a stranger


def _means(plain: str, key: str, value: str) -> bool:
    """Whether a setting without quotes is read as this text; YAML takes some for dates, lists or numbers."""
    try:
        return parse_settings([plain]) in (({key: value}, {}), ({}, {key: value}))
    except (DfbenchError, ValueError, RecursionError):
        return False


def setting(prefix: str, key: str, value: Any) -> str:
    """An option as ``--set`` takes it: ``lr=0.1``; texts that YAML would take for something else are quoted."""
    plain = f"{prefix}{key}={value}"
    if isinstance(value, str) and value and _means(plain, key, value):
        return plain
    text = json.dumps(value, ensure_ascii=False)  # an escaped pair of surrogates would be two characters in YAML
    return f"{prefix}{key}=" + _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
