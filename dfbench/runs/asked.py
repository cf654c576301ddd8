"""A request whose names are looked up and whose options are checked: what is known of a run before its data are open.

A run goes on from here to its stream and its network (:mod:`dfbench.runs.prepare`); a sweep of thousands of runs stops
here, opens each stream once and builds no network.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from dfbench.benchmarks.stream import Stream
from dfbench.errors import UsageError
from dfbench.plugin_faults import calling
from dfbench.plugins import Registry
from dfbench.processes import started_by_torchrun
from dfbench.records import spec as specs
from dfbench.records.choice import Chosen
from dfbench.records.spec import RunSpec
from dfbench.runs.environment import choose_device
from dfbench.runs.initial import Initial
from dfbench.training.compatibility import check_declared, check_distributed
from dfbench.training.detector import Detector, load_detector
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
    chosen: Chosen | None = None
    """The options as a file of ``dfbench sweep --choose`` has them, instead of preset and ``settings``."""

    def __post_init__(self) -> None:
        if self.eval_samples is not None and self.eval_every is None:
            raise UsageError("--eval-samples goes with --eval-every")
        if self.chosen is not None and self.settings:
            raise UsageError(f"{self.chosen.file.name} decides all options: leave out --set, or the file")


@dataclass(frozen=True)
class Asked:
    """A request with everything looked up that needs no data."""

    request: Request
    device: torch.device
    detector_type: type[Detector]
    preset: str
    settings: dict[str, Any]
    """The detector's options that the user set."""
    strategy: Strategy
    benchmark: str
    tuned: specs.Tuned | None
    """None: the speed settings are still to be measured."""

    def configured(self, stream: Stream) -> Any:
        """The detector's configuration on a stream, whose budget goes before the preset.

        Raises:
            UsageError: An option is wrong, or is about training where nothing is trained or everything once.
        """
        request, strategy = self.request, self.strategy
        budget = budget_of(stream)
        config = self._configure(budget)
        if stream.flow.one_pass and strategy.trains:
            _check_one_pass(stream, request.detector, config)
        if not strategy.trains:
            plain = self._configure(budget, but=specs.DETECTOR_BUDGET)
            changed = [n for n in specs.DETECTOR_BUDGET if getattr(config, n, None) != getattr(plain, n, None)]
            _refuse_idle(request.strategy, {f"--set {name}": self.settings.get(name) for name in changed})
        return config

    def spec(self, stream: Stream, config: Any, facts: Mapping[str, Any] | None = None) -> RunSpec:
        """The spec on a stream.

        Args:
            stream: What the run is on.
            config: As :meth:`configured` gives it.
            facts: What building the network said of its weights; without them the spec is good for ``asked`` alone.

        Raises:
            DataError: The options were chosen on other data, or for another spec.
        """
        request, init = self.request, self.request.init
        spec = RunSpec(
            detector=request.detector,
            preset=self.preset,
            detector_config=config.model_dump(mode="json"),
            strategy=request.strategy,
            strategy_config=self.strategy.config.model_dump(mode="json"),
            benchmark=stream.name,
            data_fingerprint=stream.fingerprint,
            memory=specs.memory_budget(stream, self.strategy.config),
            split=request.split,
            seed=request.seed,
            tuned=self.tuned or (),
            eval_every=request.eval_every,
            eval_samples=request.eval_samples,
            further_tests=stream.further_fingerprint,
            skipped_tests=stream.skipped,
            initial_weights=dict(facts or {}),
            init=None if init is None else init.checkpoint,
        )
        if request.chosen is not None:
            request.chosen.check(spec)
        return spec

    def with_seed(self, seed: int) -> Asked:
        """The same with another seed."""
        return replace(self, request=replace(self.request, seed=seed))

    def _configure(self, budget: Mapping[str, Any], but: Collection[str] = ()) -> Any:
        request = self.request
        values = {name: value for name, value in self.settings.items() if name not in but}
        strategy = type(self.strategy)
        return specs.detector_config(self.detector_type, request.detector, self.preset, values, budget, strategy)[1]


def look_up(request: Request, registry: Registry, device: torch.device | None = None) -> Asked:
    """Look names up and check options; no data are opened and no network is built.

    Args:
        request: What is asked for.
        registry: Where names are looked up.
        device: What it will run on; found by the request's ``device`` unless given.

    Raises:
        DfbenchError: A name, an option or the device is wrong, or the strategy cannot train the detector.
    """
    device = choose_device(local_device(request.device)) if device is None else device
    detector_type = load_detector(registry, request.detector)
    strategy_type: type[Strategy] = registry.strategies.load(request.strategy, Strategy)
    tuned = specs.parse_tuned(request.tune) if request.tune is not None else ()
    chosen = request.chosen
    given, strategy_settings = specs.parse_settings(request.settings if chosen is None else chosen.settings)
    init = request.init
    if init is not None:  # a damaged file must not wait for the data either
        init.check(request.detector, detector_type, given)
    settings = given if init is None else specs.without_start(detector_type, given)
    with calling(detector_type, "default_preset"):
        known = init.network.preset if init is not None and init.network is not None else None
        stated = chosen.preset if chosen is not None else request.preset
        preset = stated or known or detector_type.default_preset(device) or next(iter(detector_type.presets))
    strategy = strategy_type(specs.strategy_config(strategy_type, request.strategy, strategy_settings))
    benchmark = request.benchmark or registry.detectors[request.detector].benchmark or DEFAULT_BENCHMARK
    asked = Asked(request, device, detector_type, preset, settings, strategy, benchmark, tuned)
    # Validated twice: the budget is known only when the data are open, and that may take minutes, after which nobody
    # wants to read that an option was mistyped.
    asked._configure({})
    if not strategy.trains:
        _refuse_idle(request.strategy, {"--eval-every": request.eval_every, "--tune": request.tune})
    if strategy.adapts and request.tune is not None:
        raise UsageError(f"--tune: strategy {request.strategy} changes the network as it goes on: leave it out")
    check_declared(detector_type, strategy, (request.detector, request.strategy))
    if started_by_torchrun():
        _check_distributed(asked)
    return asked


def local_device(name: str) -> str:
    """The device of this process: each of several on one machine has a GPU of its own."""
    if not started_by_torchrun() or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def _check_distributed(asked: Asked) -> None:
    """Check that several processes may share a run.

    Raises:
        IncompatibleError: The detector or the strategy does not allow it.
        UsageError: An option does not.
    """
    request = asked.request
    if asked.strategy.trains:
        check_distributed(asked.detector_type, asked.strategy, (request.detector, request.strategy))
    if asked.tuned is None or "compile" in asked.tuned:
        raise UsageError(
            f"--tune {request.tune} does not go with several processes: name bf16 or channels_last, which one measures"
        )


def budget_of(stream: Stream) -> dict[str, int]:
    """What a stream says about training itself."""
    return {k: v for k, v in stream.budget.model_dump().items() if v is not None and k in specs.DETECTOR_BUDGET}


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
