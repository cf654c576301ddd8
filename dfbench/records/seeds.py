"""Runs that differ in the seed alone: grouped, averaged, and distinguished from other groups."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from dfbench.records.spec import RunSpec

T = TypeVar("T")


def by_seed(runs: Iterable[T], spec: Callable[[T], RunSpec]) -> list[tuple[T, ...]]:
    """Runs in groups that share everything but the seed, groups in the order given, each sorted by seed."""
    groups: dict[str, list[T]] = {}
    for run in runs:
        groups.setdefault(spec(run).row_id, []).append(run)
    return [tuple(sorted(group, key=lambda run: spec(run).seed)) for group in groups.values()]


def mean_and_spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """(mean, sample standard deviation); None where a value is undefined, or for the spread of one value."""
    known = [v for v in values if v is not None]
    if not known or len(known) < len(values):
        return None, None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def differing_options(specs: Sequence[RunSpec]) -> list[list[tuple[str, Any]]]:
    """For each spec the (option, value) pairs by which the specs differ, the seed aside; options sorted by name.

    Options of detector and strategy are named ``detector_config.KEY`` and ``strategy_config.KEY``.
    """
    everything = [flat({k: v for k, v in spec.training.items() if k not in ("seed", "init")}) for spec in specs]
    for options, spec in zip(everything, specs, strict=True):
        options["init"] = None if spec.init is None else spec.init.short
    names = sorted({name for options in everything for name in options})
    differing = [name for name in names if len({repr(options.get(name)) for options in everything}) > 1]
    return [[(name, options[name]) for name in differing if name in options] for options in everything]


def labels(specs: Sequence[RunSpec]) -> list[str]:
    """A distinct name for each spec: ``naive``, ``replay · memory=99``, ``xception · naive``.

    The strategy is always named, detector and preset where they differ, then the differing options: those of a strategy
    or a detector only where other specs of the same one have another value.
    """
    first = ("detector", "preset")
    named = []
    for spec, every in zip(specs, differing_options(specs), strict=True):
        same = {
            "strategy_config": [s.strategy_config for s in specs if s.strategy == spec.strategy],
            "detector_config": [s.detector_config for s in specs if s.detector == spec.detector],
        }
        options = [pair for pair in every if _tells_apart(pair[0], same) and pair != ("init", None)]
        parts = [value for name, value in options if name in first] + [spec.strategy]
        parts += [f"{name.rpartition('.')[2]}={_text(v)}" for name, v in options if name not in (*first, "strategy")]
        named.append(" · ".join(parts))
    return named


def _tells_apart(name: str, same: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    kind, _, key = name.partition(".")
    return kind not in same or len({repr(flat(config).get(key)) for config in same[kind]}) > 1


def _text(value: Any) -> str:
    return (",".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    result: dict[str, Any] = {}
    for key, item in value.items():
        result |= flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item}
    return result
