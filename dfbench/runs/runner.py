"""From a request to a record: the spine of ``dfbench eval``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dfbench.benchmarks.stream import Stream, load_stream
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.stability import stability
from dfbench.options import told
from dfbench.plugins import Registry
from dfbench.records import spec as specs
from dfbench.records.spec import RunSpec
from dfbench.runs.allocator import keep_freed_memory
from dfbench.runs.environment import choose_device, environment, git_state, peak_memory
from dfbench.runs.loggers import Events, make_loggers
from dfbench.runs.record import Metric, make_record
from dfbench.runs.report import Reporter
from dfbench.runs.session import Session
from dfbench.runs.storage import RunFolder
from dfbench.runs.telling import Telling
from dfbench.training.checkpoint import save_weights
from dfbench.training.detector import Detector, Task
from dfbench.training.passes import cost
from dfbench.training.strategies import Strategy

if TYPE_CHECKING:
    import torch

DEFAULT_BENCHMARK = "forge5"


@dataclass(frozen=True)
class Request:
    """What a user asks for. Names are looked up in the registry; ``benchmark`` may be a YAML file.

    Without a benchmark it is the detector's own choice, else :data:`DEFAULT_BENCHMARK`; without a
    preset the detector chooses by the device.
    """

    detector: str
    strategy: str
    benchmark: str | None = None
    preset: str | None = None
    settings: Sequence[str] = field(default_factory=tuple)
    seed: int = 0
    split: Literal["test", "val"] = "test"
    device: str = "auto"
    out: Path = Path("runs")
    data_root: Path | None = None
    fresh: bool = False
    eval_every: int | None = None
    """Optimizer steps from one measure inside a training to the next; None: none."""
    eval_samples: int | None = None
    """Test units of each experience in those measures; None: all."""
    log: Sequence[str] = field(default_factory=tuple)
    """Loggers, each ``NAME[:key=value,key=value]``; no part of the spec."""
    tune: str | None = None
    """``measure`` speed settings and take the fastest, or their names (``bf16,channels_last``), or ``plain``."""


@dataclass(frozen=True)
class Prepared:
    """A request with everything looked up and checked."""

    spec: RunSpec
    stream: Stream
    detector: Detector
    strategy: Strategy
    metrics: dict[str, Metric]
    """Further metrics of a test set, by name."""


def run(request: Request, registry: Registry, reporter: Reporter) -> dict[str, Any]:
    """Run a benchmark, or go on with it, or fetch its record if it is finished.

    Returns the record, with ``path`` (of ``record.json``) added.

    Raises:
        DfbenchError: bad input, each with its own exit code; see :mod:`dfbench.errors`. Nothing is
            written where the fault is in the input.
    """
    device = choose_device(request.device)
    if device.type == "cpu":
        keep_freed_memory()
    loggers = make_loggers(request.log, registry)
    prepared = prepare(request, registry, reporter)
    tuning = None
    if request.tune is not None:
        prepared, tuning = _tuned(request, prepared, device, reporter)
    folder = RunFolder(request.out, prepared.spec)
    record = None if request.fresh else folder.record()
    if record is not None:
        unlogged = ", nothing is left to log" if loggers else ""
        reporter.notice(f"this run is finished already ({folder.path}){unlogged}; --fresh runs it again")
    else:
        events = Events(loggers, reporter.notice)
        session = Session(
            prepared.spec, prepared.stream, prepared.detector, prepared.strategy, device, events.through(reporter)
        )
        session.tuning = tuning
        telling = Telling(events, folder.path)
        with contextlib.closing(session), folder.opened(request.fresh), telling.to_the_end():
            record = folder.record() or _train(session, folder, prepared.metrics, registry, telling)
    return {**record, "path": str(folder.path / "record.json")}


def prepare(request: Request, registry: Registry, reporter: Reporter) -> Prepared:
    """Look everything up and make the spec; nothing is trained or written."""
    detector_type: type[Detector] = registry.detectors.load(request.detector)
    strategy_type: type[Strategy] = registry.strategies.load(request.strategy)
    metrics = {name: registry.metrics.load(name) for name in registry.metrics}
    tuned = specs.parse_tuned(request.tune) if request.tune is not None else ()
    detector_settings, strategy_settings = specs.parse_settings(request.settings)
    chosen = request.preset or detector_type.default_preset(choose_device(request.device))
    strategy_config = specs.strategy_config(strategy_type, request.strategy, strategy_settings)

    def configure(budget: dict[str, Any]) -> tuple[str, Any]:
        return specs.detector_config(detector_type, request.detector, chosen, detector_settings, budget, strategy_type)

    configure({})  # a mistyped option is told before a large data set is looked through
    benchmark = request.benchmark or registry.detectors[request.detector].benchmark or DEFAULT_BENCHMARK
    stream = open_stream(benchmark, registry, request.data_root, reporter)
    budget = {k: v for k, v in stream.budget.model_dump().items() if v is not None and k in specs.DETECTOR_BUDGET}
    preset, config = configure(budget)
    for key in budget.keys() - detector_type.Config.model_fields.keys():
        reporter.notice(f"{stream.name} sets {key}: {budget[key]}, which {request.detector} does not have: not used")
    spec = RunSpec(
        detector=request.detector,
        preset=preset,
        detector_config=told(config),
        strategy=request.strategy,
        strategy_config=told(strategy_config),
        benchmark=stream.name,
        data_fingerprint=stream.fingerprint,
        memory=specs.memory_budget(stream, strategy_config),
        split=request.split,
        seed=request.seed,
        tuned=tuned or (),
        eval_every=request.eval_every,
        eval_samples=request.eval_samples,
    )
    task = Task(classes=stream.classes, native_size=stream.native_size, experiences=len(stream.experiences))
    if not request.preset and len(detector_type.presets) > 1:
        others = ", ".join(name for name in detector_type.presets if name != preset)
        reporter.notice(f"preset {preset} of {request.detector} on {stream.name} (--preset for {others})")
    return Prepared(spec, stream, detector_type(config, task), strategy_type(strategy_config), metrics)


def _tuned(
    request: Request, prepared: Prepared, device: torch.device, reporter: Reporter
) -> tuple[Prepared, dict[str, Any]]:
    """The same with its speed settings settled, and how that was done."""
    report: dict[str, Any] = {"chosen": list(prepared.spec.tuned)}
    if request.tune == "measure":
        from dfbench.runs.tuning import tune

        tuned, report = tune(prepared, device, request.out, request.fresh, reporter)
        prepared = replace(prepared, spec=prepared.spec.model_copy(update={"tuned": tuned}))
    return prepared, {**report, "scores": prepared.detector.config.precision}


def open_stream(name: str, registry: Registry, data_root: Path | None, reporter: Reporter) -> Stream:
    """Load a benchmark by name or YAML path, with all registered sources."""
    is_file = Path(name).suffix.lower() in (".yaml", ".yml")
    stream = load_stream(
        name,
        sources=_Loaded(registry),
        benchmarks={} if is_file else {name: registry.benchmarks[name].target},
        data_root=data_root,
        progress=reporter.data,
    )
    for note in stream.notes:
        reporter.notice(note)
    return stream


class _Loaded(Mapping[str, Any]):
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


def _train(
    session: Session, folder: RunFolder, metrics: dict[str, Metric], registry: Registry, telling: Telling
) -> dict[str, Any]:
    """Train what is left, storing after every experience, and write the record."""
    parts: list[Scores] = []
    done = folder.finished()
    if done:
        session.load_state_dict(folder.load(done))
        session.reporter.notice(f"going on after {done} of {session.trainings} trainings")
    telling.start(session, done)
    for number in range(session.trainings + 1):
        scores = folder.load_scores(number) if number <= done else None
        if scores is None:
            if number:
                telling.training(session, number)
                session.train(number)
                telling.trained(session, number)
            scores = session.evaluate(number)
            telling.scored(session, number, scores)
            folder.save_scores(number, scores)
            if number:
                folder.save(number, session.state_dict())
        parts.append(scores)
    weights = save_weights(folder.path / "model.safetensors", session.final_weights)
    scores = Scores.concat(parts)
    record = folder.finish(
        scores, make_record(session.spec, session.stream, scores, metrics, _facts(session, registry, weights))
    )
    telling.finish(record)
    return record


def _facts(session: Session, registry: Registry, weights: str) -> dict[str, Any]:
    spec, seconds = session.spec, session.seconds
    plugins = (registry.detectors.plugin(spec.detector), registry.strategies.plugin(spec.strategy))
    return {
        "detector": {
            "parameters": sum(p.numel() for p in session.template.model.parameters()),
            "head": session.detector.head,
            "weights_sha256": weights,
            **session.detector.facts,
        },
        "input": {  # what it takes to build this network again without the data
            "native_size": session.stream.native_size,
            "size": session.loader.pixels.shape[1:3],
            "unit": session.tests.units.rows.shape[1:],
        },
        "effects": {name: value for name, value in session.strategy.effects.values().items() if value},
        "memory": session.memory(),
        "steps": session.steps,
        **_tuning(session),
        **_compute(session),
        **_within(session),
        "seconds": {**seconds, "total": sum(sum(part) for part in seconds.values())},
        "peak_memory": peak_memory(session.device),
        "resumed": session.resumed,
        "environment": environment(session.device, {f"{p.name} ({p.distribution})": p.version for p in plugins}),
        "git": git_state(),
    }


def _tuning(session: Session) -> dict[str, Any]:
    """``tuning``: how the speed settings were found, and whether compiling had to be given up."""
    if session.tuning is None:
        return {}
    failure = session.fast.failure if session.fast is not None else None
    return {"tuning": {**session.tuning, **({"compile_failed": failure} if failure else {})}}


def _compute(session: Session) -> dict[str, Any]:
    """``compute``: rows through the network in each training; left out where some were not counted.

    ``cached``: rows of them whose features were known already, where there are any; the cost does not change with it.
    """
    counted = {name: rows for name, rows in session.compute.items() if name != "cached" or any(rows)}
    if len(counted["forward"]) < session.trainings or not sum(counted["forward"]):
        return {}
    passes = cost(sum(counted["forward"]), sum(counted["backward"]))
    return {"compute": {**counted, "passes": round(passes, 1)}}


def _within(session: Session) -> dict[str, Any]:
    """``within``: what was measured inside trainings, and ``stability``, the measures of it."""
    if session.within is None:
        return {}
    points = session.within.points
    return {
        "within": points,
        "stability": {
            metric: stability(points, metric, len(session.stream.experiences)) for metric in session.within.metrics
        },
    }
