"""From a grid to requests: every combination, without what is excluded and what cannot be."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dfbench.errors import DfbenchError, IncompatibleError, unknown
from dfbench.plugins import Registry
from dfbench.records.choice import Chosen, options_from
from dfbench.records.spec import STRATEGY_PREFIX
from dfbench.runs.asked import DEFAULT_BENCHMARK, Asked, Request, look_up
from dfbench.runs.initial import Initial
from dfbench.runs.sweep.grid import LARGEST, Axes, DetectorEntry, Grid, GridFaults, StrategyEntry, values_of

FindInitial = Callable[[str], Initial]
"""Finds the checkpoint that ``init`` names."""
AXES = ("detector", "preset", "strategy", "benchmark", "seed")
"""What ``exclude`` may name next to options."""


@dataclass(frozen=True)
class Point:
    """One combination of a grid, looked up."""

    asked: Asked
    settings: Mapping[str, Any]
    """The options that the grid sets."""
    varied: Mapping[str, Any]
    """Those of them that have several values in the grid."""

    @property
    def label(self) -> str:
        """What it is, for people; distinct within a grid."""
        request, asked = self.asked.request, self.asked
        options = " ".join(f"{key.removeprefix(STRATEGY_PREFIX)}={value}" for key, value in self.varied.items())
        start = f" from {request.init.checkpoint.label}" if request.init is not None else ""
        stream = Path(asked.benchmark).stem if asked.benchmark.lower().endswith((".yaml", ".yml")) else asked.benchmark
        preset = f" {asked.preset}" if len(asked.detector_type.presets) > 1 else ""
        head = f"{request.detector}{preset}{start} · {request.strategy}"
        return f"{head} · {options} · {stream} · seed {request.seed}".replace(" ·  · ", " · ")


@dataclass
class Expansion:
    """What a grid comes to."""

    points: list[Point] = field(default_factory=list)
    impossible: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """(detector, strategy) that cannot work together → how many runs that are left out, and why."""
    excluded: int = 0
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fixed:
    """What all runs of a sweep have in common beside the grid."""

    device: torch.device
    split: str
    data_root: Path | None
    skip_tests: tuple[str, ...]


def expand(grid: Grid, path: Path, registry: Registry, fixed: Fixed, find: FindInitial) -> Expansion:
    """Every combination of a grid.

    A pair of detector and strategy that cannot be is left out with its reason, since a product of lists is bound to
    hold some. An option that a detector or a strategy does not have is a fault: leaving out the option would make runs
    that nobody asked for.

    Args:
        grid: What is combined.
        path: Of its file: names of files in it are relative to it.
        registry: Where names are looked up.
        fixed: What else decides a run.
        find: Finds checkpoints.

    Raises:
        GridFaults: A name, an option or a value is wrong; with a line for each fault.
    """
    work = _Expanding(grid, path, registry, fixed, find)
    for part in grid.parts:
        work.add(part)
    unused = [number for number, hits in enumerate(work.hits) if not hits]
    work.result.notices += [f"{path}: exclude.{number} matches no run" for number in unused]
    if work.faults:
        raise GridFaults(path, list(dict.fromkeys(work.faults)))
    return work.result


class _Expanding:
    def __init__(self, grid: Grid, path: Path, registry: Registry, fixed: Fixed, find: FindInitial) -> None:
        self.grid, self.path, self.registry, self.fixed, self.find = grid, path, registry, fixed, find
        self.result, self.faults = Expansion(), list[str]()
        self.options: set[str] = set()
        """All options of the detectors and strategies that were met."""
        self.chosen: dict[tuple[str, str, str | None, str | None], Chosen | None] = {}
        self.hits = [0] * len(grid.exclude)
        self.initial: dict[str, Initial] = {}
        self._note_options()
        self.rules = [self._rule(number, entry) for number, entry in enumerate(grid.exclude)]

    def _note_options(self) -> None:
        for part in self.grid.parts:
            for entries, table, prefix in (
                (part.detectors, self.registry.detectors, ""),
                (part.strategies, self.registry.strategies, STRATEGY_PREFIX),
            ):
                for entry in entries:
                    if (kind := self._load(table, entry.name)) is not None:
                        self.options |= {prefix + name for name in kind.Config.model_fields}
            for name in part.benchmarks:
                if not _is_file(name) and name not in self.registry.benchmarks:
                    known = self.registry.benchmarks
                    self.faults.append(f"{unknown('benchmark', name, known)} (or give the path of a .yaml file)")

    def _load(self, table: Any, name: str) -> Any:
        try:
            return table.load(name)
        except DfbenchError as error:
            self.faults.append(str(error))
            return None

    def _rule(self, number: int, entry: Mapping[str, Any]) -> dict[str, list[Any]]:
        rule = {}
        for key, value in entry.items():
            if key not in AXES and key not in self.options:
                self.faults.append(f"exclude.{number}: {unknown('key', str(key), (*AXES, *sorted(self.options)))}")
            try:
                rule[str(key)] = values_of(value)
            except ValueError as error:
                self.faults.append(f"exclude.{number}.{key}: {error}")
        if not entry:
            self.faults.append(f"exclude.{number}: empty, which would leave out every run")
        return rule

    def add(self, part: Axes) -> None:
        """All combinations of one part."""
        for detector, strategy in itertools.product(part.detectors, part.strategies):
            if detector.name not in self.registry.detectors or strategy.name not in self.registry.strategies:
                continue
            settings = self._settings(part, detector, strategy)
            if settings is None:
                continue
            benchmarks = part.benchmarks or [self.registry.detectors[detector.name].benchmark or DEFAULT_BENCHMARK]
            seeds: Sequence[int] = part.seeds or [0]
            varied = [name for name, values in settings.items() if len(values) > 1]
            size = len(benchmarks) * len(seeds) * max(len(detector.presets), 1)
            for values in settings.values():
                size *= len(values)
            if size + len(self.result.points) > LARGEST:
                self.faults.append(f"more than {LARGEST} runs")
                return
            presets: list[str | None] = [*detector.presets] or [None]
            for benchmark, preset in itertools.product(benchmarks, presets):
                for chosen in itertools.product(*settings.values()):
                    options = dict(zip(settings, chosen, strict=True))
                    self._add(detector, strategy, benchmark, preset, options, varied, seeds)

    def _settings(
        self, part: Axes, detector: DetectorEntry, strategy: StrategyEntry
    ) -> dict[str, list[Any]] | None:  # fmt: skip
        """Option → values of a pair; what is nearer to it goes before what is meant for all."""
        kinds = self.registry.detectors.load(detector.name), self.registry.strategies.load(strategy.name)
        of_detector = set(kinds[0].Config.model_fields)
        of_strategy = {STRATEGY_PREFIX + name for name in kinds[1].Config.model_fields}
        found: dict[str, list[Any]] = {}
        for where, names, settings in (
            ("set", of_detector | of_strategy, part.settings),
            (f"detectors.{detector.name}.set", of_detector, detector.settings),
            (f"strategies.{strategy.name}.set", of_strategy, strategy.settings),
        ):
            for name, value in settings.items():
                if where.startswith("strategies.") and not name.startswith(STRATEGY_PREFIX):
                    name = STRATEGY_PREFIX + name  # below a strategy, its options need no prefix
                if name not in names:
                    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.7)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    whose = f"strategy {strategy.name}" if name.startswith(STRATEGY_PREFIX) else detector.name
                    advice = ": write it below the ones that have it" if where == "set" and name in self.options else ""
                    self.faults.append(f"{where}: {whose} has no option {name!r}{hint or advice}")
                    return None
                try:
                    found[name] = values_of(value)
                except ValueError as error:
                    self.faults.append(f"{where}.{name}: {error}")
                    return None
        return found

    def _add(
        self, detector: DetectorEntry, strategy: StrategyEntry, benchmark: str, preset: str | None,
        options: dict[str, Any], varied: Sequence[str], seeds: Sequence[int],
    ) -> None:  # fmt: skip
        """The runs of one combination, in every seed."""
        grid, fixed = self.grid, self.fixed
        try:
            stream = str(self.path.parent / benchmark) if _is_file(benchmark) else benchmark
            request = Request(
                detector.name, strategy.name, stream, preset, options,
                split=fixed.split, data_root=fixed.data_root, allow_leaks=grid.allow_leaks,  # type: ignore[arg-type]
                eval_every=grid.eval_every, eval_samples=grid.eval_samples, tune=grid.tune,
                skip_tests=fixed.skip_tests, device=fixed.device.type,
                init=self._initial(detector.init), chosen=self._chosen(detector.name, strategy.name, stream, preset),
            )  # fmt: skip
            asked = look_up(request, self.registry, fixed.device)
        except IncompatibleError as error:
            pair = detector.name, strategy.name
            count = self.result.impossible.get(pair, (0, ""))[0]
            self.result.impossible[pair] = count + len(seeds), str(error)
            return
        except DfbenchError as error:
            self.faults.append(str(error))
            return
        for seed in seeds:
            point = Point(asked.with_seed(seed), options, {name: options[name] for name in varied})
            if self._excluded(point, benchmark):
                self.result.excluded += 1
            else:
                self.result.points.append(point)

    def _initial(self, name: str | None) -> Initial | None:
        if name is None:
            return None
        if name not in self.initial:
            self.initial[name] = self.find(name)
        return self.initial[name]

    def _chosen(self, detector: str, strategy: str, benchmark: str, preset: str | None) -> Chosen | None:
        if self.grid.options_from is None:
            return None
        key = detector, strategy, benchmark, preset
        if key not in self.chosen:
            file = self.path.parent / self.grid.options_from
            self.chosen[key] = options_from(file, detector, strategy, benchmark, preset)
        return self.chosen[key]

    def _excluded(self, point: Point, benchmark: str) -> bool:
        request = point.asked.request
        has = {
            "detector": request.detector, "preset": point.asked.preset, "strategy": request.strategy,
            "benchmark": benchmark, "seed": request.seed, **point.settings,
        }  # fmt: skip
        for number, rule in enumerate(self.rules):
            if all(key in has and _among(has[key], values) for key, values in rule.items()):
                self.hits[number] += 1
                return True
        return False


def _among(value: Any, values: Sequence[Any]) -> bool:
    """Whether a value is one of these; true is not 1."""
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in values)


def _is_file(benchmark: str) -> bool:
    return benchmark.lower().endswith((".yaml", ".yml"))


def pairs(expansion: Expansion) -> Iterator[str]:
    """A line for each pair that is left out."""
    for count, why in expansion.impossible.values():
        yield f"left out: {count} run{'s' * (count != 1)}: {why}"
