"""From what a user asks for to what can be run: names looked up, options validated, data opened."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from dfbench.benchmarks.stream import Stream, load_stream
from dfbench.errors import PluginError, UsageError
from dfbench.plugin_faults import calling
from dfbench.plugins import Registry
from dfbench.processes import started_by_torchrun
from dfbench.records import spec as specs
from dfbench.records.record import Metric
from dfbench.records.spec import RunSpec
from dfbench.runs.code import code_of
from dfbench.runs.environment import choose_device
from dfbench.runs.events import EventStream, Listener
from dfbench.runs.initial import Initial
from dfbench.runs.randomness import seed_everything
from dfbench.training.adaptation import Adaptation, AdapterTable
from dfbench.training.compatibility import build_network, check_declared, check_distributed
from dfbench.training.detector import Detector, Task, load_detector
from dfbench.training.ranks import ALONE, Ranks, joined
from dfbench.training.strategies import Strategy

DEFAULT_BENCHMARK = "forge5"


@dataclass(frozen=True)
class Request:
    """What a user asks for. Names are looked up in the registry; ``benchmark`` may be a YAML file.

    Without a benchmark it is the detector's own choice, else :data:`DEFAULT_BENCHMARK`; without a
    preset it is that of the checkpoint to start from, else the detector chooses by the device.
    """

    detector: str
    strategy: str
    benchmark: str | None = None
    preset: str | None = None
    settings: Sequence[str] | Mapping[str, Any] = ()
    """``KEY=VALUE`` texts as ``--set`` takes them, or key → value."""
    seed: int = 0
    split: Literal["test", "val"] = "test"
    device: str = "auto"
    out: Path = Path("runs")
    data_root: Path | None = None
    fresh: bool = False
    allow_leaks: bool = False
    """Run on data with leaks or wrong labels, which the record then names."""
    eval_every: int | None = None
    """Optimizer steps from one evaluation in the middle of a training to the next; None: there is none."""
    eval_samples: int | None = None
    """Test units of each experience in those evaluations; None: all."""
    log: Sequence[str] = ()
    """Loggers, each ``NAME[:key=value,key=value]``; not part of the spec."""
    skip_tests: Sequence[str] = ()
    """Unseen sets of the benchmark that are not scored, nor even opened; ``perturbed``; or ``all``."""
    tune: str | None = None
    """``measure`` speed settings and take the fastest, or their names (``bf16,channels_last``), or ``plain``."""
    init: Initial | None = None
    """The checkpoint to start from; None: the network as the detector builds it."""

    def __post_init__(self) -> None:
        if self.eval_samples is not None and self.eval_every is None:
            raise UsageError("--eval-samples goes with --eval-every")


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
    ranks: Ranks = ALONE
    """The processes that share the run."""


def prepare(request: Request, registry: Registry, listener: Listener | None = None) -> Prepared:
    """Look everything up, build the network and make the spec; nothing is trained or written.

    Raises:
        DfbenchError: A name, an option, the device or the data are wrong.
    """
    device = choose_device(local_device(request.device))
    detector_type = load_detector(registry, request.detector)
    strategy_type: type[Strategy] = registry.strategies.load(request.strategy, Strategy)
    metrics = {name: registry.metrics.load(name) for name in registry.metrics}
    for name, metric in metrics.items():
        if not callable(metric):
            raise registry.metrics.fault(name, f"its target is a {type(metric).__name__}, not a function")
    tuned = specs.parse_tuned(request.tune) if request.tune is not None else ()
    given, strategy_settings = specs.parse_settings(request.settings)
    init = request.init
    if init is not None:  # a damaged file must not wait for the data either
        init.check(request.detector, detector_type, given)
    detector_settings = given if init is None else specs.without_start(detector_type, given)
    with calling(detector_type, "default_preset"):
        known = init.network.preset if init is not None and init.network is not None else None
        chosen = request.preset or known or detector_type.default_preset(device)
    strategy_config = specs.strategy_config(strategy_type, request.strategy, strategy_settings)

    def configure(budget: dict[str, Any], but: Collection[str] = ()) -> tuple[str, Any]:
        values = {name: value for name, value in detector_settings.items() if name not in but}
        return specs.detector_config(detector_type, request.detector, chosen, values, budget, strategy_type)

    # Validated twice: the budget is known only when the data are open, and that may take minutes, after which nobody
    # wants to read that an option was mistyped.
    configure({})
    strategy = strategy_type(strategy_config)
    if not strategy.trains:
        _refuse_idle(request.strategy, {"--eval-every": request.eval_every, "--tune": request.tune})
    if strategy.adapts and request.tune is not None:
        raise UsageError(f"--tune: strategy {request.strategy} changes the network as it goes on: leave it out")
    check_declared(detector_type, strategy, (request.detector, request.strategy))
    if several := started_by_torchrun():
        _check_distributed(request, detector_type, strategy, tuned)
    events = EventStream(listener)
    benchmark = request.benchmark or registry.detectors[request.detector].benchmark or DEFAULT_BENCHMARK
    stream = open_stream(
        benchmark, registry, request.data_root, events, request.skip_tests, allow_leaks=request.allow_leaks
    )
    budget = {k: v for k, v in stream.budget.model_dump().items() if v is not None and k in specs.DETECTOR_BUDGET}
    preset, config = configure(budget)
    if stream.flow.one_pass and strategy.trains:
        _check_one_pass(stream, request.detector, config)
    if not strategy.trains:
        _, plain = configure(budget, but=specs.DETECTOR_BUDGET)
        changed = [name for name in specs.DETECTOR_BUDGET if getattr(config, name, None) != getattr(plain, name, None)]
        _refuse_idle(request.strategy, {f"--set {name}": given.get(name) for name in changed})
    for key in budget.keys() - detector_type.Config.model_fields.keys() if strategy.trains else ():
        events.notice(f"{stream.name} sets {key}: {budget[key]}, which {request.detector} does not have: not used")
    if not request.preset and len(detector_type.presets) > 1:
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
    spec = RunSpec(
        detector=request.detector,
        preset=preset,
        detector_config=config.model_dump(mode="json"),
        strategy=request.strategy,
        strategy_config=strategy_config.model_dump(mode="json"),
        benchmark=stream.name,
        data_fingerprint=stream.fingerprint,
        memory=specs.memory_budget(stream, strategy_config),
        split=request.split,
        seed=request.seed,
        tuned=tuned or (),
        eval_every=request.eval_every,
        eval_samples=request.eval_samples,
        further_tests=stream.further_fingerprint,
        skipped_tests=stream.skipped,
        initial_weights=(facts := _facts(detector, request.detector)),
        init=None if init is None else init.checkpoint,
    )
    if not strategy.trains and init is None:
        built = "".join(f", {name}: {json.dumps(value)}" for name, value in facts.items())
        events.notice(f"scoring the network as {request.detector} builds it (seed {request.seed}{built})")
    elif not strategy.trains and request.seed:
        events.notice("nothing is drawn where nothing is trained: every seed gives the same scores")
    tuning = None if request.tune is None else {"chosen": list(spec.tuned), "scores": config.precision}
    code = code_of(request.detector, request.strategy, registry)
    ranks = joined(device) if several else ALONE
    return Prepared(
        spec, stream, detector, network, strategy, device, metrics, code, registry.adapters, tuple(adaptations),
        tuned is None, tuning, init, ranks,
    )  # fmt: skip


def _check_distributed(
    request: Request, detector: type[Detector], strategy: Strategy, tuned: specs.Tuned | None
) -> None:
    """Check that several processes may share a run.

    Raises:
        IncompatibleError: The detector or the strategy does not allow it.
        UsageError: An option does not.
    """
    if strategy.trains:
        check_distributed(detector, strategy, (request.detector, request.strategy))
    if tuned is None or "compile" in tuned:
        raise UsageError(
            f"--tune {request.tune} does not go with several processes: name bf16 or channels_last, which one measures"
        )


def local_device(name: str) -> str:
    """The device of this process: each of several on one machine has a GPU of its own."""
    if not started_by_torchrun() or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def _check_one_pass(stream: Stream, name: str, config: Any) -> None:
    """Check that a detector trains one epoch, where every sample is to be new once.

    Raises:
        UsageError: It has another number of epochs, or no such option.
    """
    epochs = getattr(config, "epochs", None)
    if epochs is None:
        raise UsageError(
            f"{stream.name} is seen once (flow: one_pass), and detector {name} has no option epochs, so it may repeat "
            "samples: take a stream without one_pass, or another detector"
        )
    if epochs != 1:
        raise UsageError(f"--set epochs={epochs}: {stream.name} is seen once (flow: one_pass); leave it out")


def _refuse_idle(strategy: str, options: Mapping[str, Any]) -> None:
    """Refuse options that only a training could use, where a strategy does not train.

    Raises:
        UsageError: naming the first that is given.
    """
    if idle := [option for option, value in options.items() if value is not None]:
        raise UsageError(f"{idle[0]} is about training, and strategy {strategy} never trains: leave it out")


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
