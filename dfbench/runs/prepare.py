"""From what a user asks for to what can be run: names looked up, options validated, data opened."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfbench.benchmarks.stream import Stream, load_stream
from dfbench.errors import PluginError
from dfbench.plugin_faults import calling
from dfbench.plugins import Registry
from dfbench.records.choice import Chosen
from dfbench.records.record import Metric
from dfbench.records.spec import RunSpec
from dfbench.runs.asked import Request as Request
from dfbench.runs.asked import budget_of, look_up
from dfbench.runs.code import code_of
from dfbench.runs.events import EventStream, Listener
from dfbench.runs.initial import Initial
from dfbench.runs.randomness import seed_everything
from dfbench.training.adaptation import Adaptation, AdapterTable
from dfbench.training.compatibility import build_network
from dfbench.training.detector import Detector, Task
from dfbench.training.ranks import ALONE, Ranks, joined
from dfbench.training.strategies import Strategy


@dataclass(frozen=True)
class Prepared:
    """A request with everything looked up and checked."""

    spec: RunSpec
    stream: Stream
    detector: Detector
    network: nn.Module
    """The network before any training, on the CPU; the run trains this very object."""
    strategy: Strategy
    device: torch.device
    metrics: dict[str, Metric]
    """Further metrics of a test set, by name."""
    code: dict[str, str]
    """What the plugins are that decide the result; see :func:`dfbench.runs.code.code_of`."""
    adapters: AdapterTable
    """What strategies may add to the network."""
    adaptations: tuple[Adaptation, ...] = ()
    """What is in the network already, beyond what its detector builds."""
    measure: bool = False
    """The speed settings are still to be measured."""
    tuning: dict[str, Any] | None = None
    """How the speed settings were found, for the record; None where none were asked for."""
    init: Initial | None = None
    """The checkpoint that the network's weights are from."""
    chosen: Chosen | None = None
    """Where the options come from; None where no file chose them."""
    ranks: Ranks = ALONE
    """The processes that share the run."""


def prepare(request: Request, registry: Registry, listener: Listener | None = None) -> Prepared:
    """Look everything up, build the network and make the spec; nothing is trained or written.

    Raises:
        DfbenchError: A name, an option, the device or the data are wrong.
    """
    asked = look_up(request, registry)
    metrics = {name: registry.metrics.load(name) for name in registry.metrics}
    for name, metric in metrics.items():
        if not callable(metric):
            raise registry.metrics.fault(name, f"its target is a {type(metric).__name__}, not a function")
    detector_type, strategy, preset, init = asked.detector_type, asked.strategy, asked.preset, request.init
    events = EventStream(listener)
    stream = open_stream(
        asked.benchmark, registry, request.data_root, events, request.skip_tests, allow_leaks=request.allow_leaks
    )
    config, budget = asked.configured(stream), budget_of(stream)
    for key in budget.keys() - detector_type.Config.model_fields.keys() if strategy.trains else ():
        events.notice(f"{stream.name} sets {key}: {budget[key]}, which {request.detector} does not have: not used")
    if not request.preset and request.chosen is None and len(detector_type.presets) > 1:
        others = ", ".join(name for name in detector_type.presets if name != preset)
        events.notice(f"preset {preset} of {request.detector} on {stream.name} (--preset for {others})")
    task = Task(classes=stream.classes, native_size=stream.native_size, experiences=len(stream.experiences))
    with calling(detector_type, "__init__"):
        detector = detector_type(config, task)
    if init is not None:
        init.check_stream(stream, detector)
    network, adaptations = initial_network(detector, request.seed, init, preset, registry.adapters)
    for notice in init.notices(detector, stream) if init is not None else ():
        events.notice(notice)
    facts = _facts(detector, request.detector)
    spec = asked.spec(stream, config, facts)
    if not strategy.trains and init is None:
        built = "".join(f", {name}: {json.dumps(value)}" for name, value in facts.items())
        events.notice(f"scoring the network as {request.detector} builds it (seed {request.seed}{built})")
    elif not strategy.trains and request.seed:
        events.notice("nothing is drawn where nothing is trained: every seed gives the same scores")
    tuning = None if request.tune is None else {"chosen": list(spec.tuned), "scores": config.precision}
    code = code_of(request.detector, request.strategy, registry)
    measure, chosen = asked.tuned is None, request.chosen
    return Prepared(
        spec, stream, detector, network, strategy, asked.device, metrics, code, registry.adapters, tuple(adaptations),
        measure, tuning, init, chosen, joined(asked.device),
    )  # fmt: skip


def initial_network(
    detector: Detector, seed: int, init: Initial | None, preset: str, adapters: AdapterTable
) -> tuple[nn.Module, list[Adaptation]]:
    """The network that a run starts from: as the detector builds it with this seed, or with a checkpoint's weights.

    Returns:
        The network, and what was added to it by the strategies that made the checkpoint.

    Raises:
        DataError: The weights are damaged, or do not fit the network.
    """
    seed_everything(seed, 0)
    network = build_network(detector)
    return network, [] if init is None else init.load_into(network, detector, preset, adapters)


def _facts(detector: Detector, name: str) -> dict[str, Any]:
    """The detector's facts as JSON holds them; a copy, since training may add to them."""
    try:
        return dict(json.loads(json.dumps(detector.facts, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"detector {name!r}: its facts must be JSON, which {detector.facts} is not: {error}"
        ) from error


def open_stream(
    name: str,
    registry: Registry,
    data_root: Path | None,
    listener: Listener | None = None,
    skip: Collection[str] = (),
    *,
    allow_leaks: bool = False,
) -> Stream:
    """Load a benchmark by name or YAML path, with all registered sources.

    Args:
        name: Of the benchmark, or the path of a stream's file.
        registry: What plugins brought.
        data_root: Folder that holds the data sets.
        listener: Receives progress, and the stream's notes as notices.
        skip: What not to open, as in :func:`dfbench.benchmarks.stream.load_stream`.
        allow_leaks: Open data with leaks or wrong labels too; the stream names them.
    """
    events = EventStream(listener)
    is_file = Path(name).suffix.lower() in (".yaml", ".yml")
    stream = load_stream(
        name,
        sources=_RegisteredSources(registry),
        benchmarks={} if is_file else {name: registry.benchmarks[name].target},
        data_root=data_root,
        progress=events.data,
        skip=skip,
        allow_leaks=allow_leaks,
    )
    for note in (*stream.notes, *(f"allowed: {line}" for line in stream.allowed_leaks)):
        events.notice(note)
    return stream


class _RegisteredSources(Mapping[str, Any]):
    """The registered sources by name, each imported when it is asked for."""

    def __init__(self, registry: Registry) -> None:
        self._names = registry.sources

    def __getitem__(self, name: str) -> Any:
        return self._names.load(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
