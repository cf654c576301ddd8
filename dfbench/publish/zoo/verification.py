"""Whether a checkpoint is what its entry says: hashes, network, record, and the recomputed scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfbench.errors import DataError, DfbenchError, UsageError
from dfbench.publish.zoo.checkpoint import LoadedCheckpoint, LocatedEntry, load_located
from dfbench.records.record import RECORD, Record
from dfbench.runs.events import EvaluationStarted, EventStream, Listener

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream
    from dfbench.plugins import Registry

TOLERANCE = 1e-3
"""How far a recomputed metric may be from the recorded one: other processors round differently, and a pair of
samples whose order changes moves an AUC of 240 + 240 samples by 1/57 600."""
CheckName = Literal["files", "network", "record", "scores"]


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    name: CheckName
    status: Literal["ok", "failed", "skipped"]
    detail: str


def verify(
    located: LocatedEntry,
    registry: Registry,
    *,
    scores: bool = True,
    benchmark: str | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> list[Check]:
    """Every check of a checkpoint whose files are on this machine; a failed one ends the list.

    Args:
        located: The checkpoint.
        registry: What is installed.
        scores: Whether to predict the benchmark's sets, if its data are available.
        benchmark: The stream's YAML file; the registered one of the recorded name unless given.
        data_root: Folder that holds the data sets.
        device: ``auto``, ``cpu``, ``cuda``, …
        listener: Receives the progress.
    """
    events = EventStream(listener)
    checks: list[Check] = []
    loaded: LoadedCheckpoint | None = None

    def files() -> str:
        nonlocal located
        located = located.check()
        return ", ".join(f"{file.path} {file.sha256[:12]}…" for file in located.entry.files)

    def network() -> str:
        nonlocal loaded
        loaded = _network(located, registry)
        return f"{located.entry.parameters:,} parameters fit detector {located.entry.detector}"

    def recomputed() -> str:
        assert loaded is not None
        return _scores(loaded, _stream(located, registry, benchmark, data_root, events), device, events)

    steps: dict[CheckName, Callable[[], str]] = {"files": files, "network": network, "record": lambda: _record(located)}
    if scores:
        steps["scores"] = recomputed
    for name, step in steps.items():
        try:
            checks.append(Check(name, "ok", step()))
        except _Absent as absent:
            checks.append(Check(name, "skipped", str(absent)))
        except DfbenchError as error:
            return [*checks, Check(name, "failed", str(error))]
    return checks


class _Absent(Exception):
    """What a check needs is not available."""


def _network(located: LocatedEntry, registry: Registry) -> LoadedCheckpoint:
    loaded = load_located(located, registry)
    found = sum(p.numel() for p in loaded.model.parameters())
    if found != located.entry.parameters:
        raise DataError(f"the network has {found:,} parameters and not {located.entry.parameters:,}")
    return loaded


def _record(located: LocatedEntry) -> str:
    """Compare the entry with the record next to the weights."""
    entry = located.entry
    if RECORD not in {file.path for file in entry.files}:
        raise _Absent(f"the record is not next to the weights; it is the run {', '.join(entry.records)}")
    record = Record.read(located.folder / RECORD)
    spec, training, results = record.spec, entry.training, entry.results
    rows = record.matrix.get(results.metric)
    pairs = {
        "run": (record.run in entry.records, True),
        "detector": (spec.detector, entry.detector),
        "configuration": (spec.detector_config, entry.config),
        "strategy": (spec.strategy, training.strategy),
        "seed": (spec.seed, training.seed),
        "data": (spec.data_fingerprint, training.fingerprint),
        "scored split": (spec.split, results.split),
        "weights": (record.weights_sha256, entry.weights.sha256),
        "scores of the last row": (rows and dict(zip(record.names, rows[-1], strict=True)), results.per_experience),
    }
    for what, (found, stated) in pairs.items():
        if found != stated:
            raise DataError(f"{what} of {RECORD} is not that of the entry")
    return f"run {record.run}"


def _stream(
    located: LocatedEntry, registry: Registry, benchmark: str | None, data_root: Path | None, events: EventStream
) -> Stream:
    from dfbench.benchmarks.schema import EVERYTHING
    from dfbench.runs.prepare import open_stream

    training = located.entry.training
    try:
        stream = open_stream(
            benchmark or training.benchmark, registry, data_root, events, skip=(EVERYTHING,), allow_leaks=True
        )
    except (UsageError, DataError) as error:
        if benchmark is not None:
            raise
        raise _Absent(f"the benchmark is not available: {error}") from error
    if stream.fingerprint != training.fingerprint:
        raise DataError(
            f"{stream.name} holds other data here ({stream.fingerprint[:12]}…) than the checkpoint was made with "
            f"({training.fingerprint[:12]}…)"
        )
    return stream


def _scores(loaded: LoadedCheckpoint, stream: Stream, device: str, events: EventStream) -> str:
    """Predict every set and compare the metric with the recorded one."""
    from dfbench.evaluation.scores import Scores
    from dfbench.evaluation.summary import evaluate
    from dfbench.publish.zoo.predictor import Predictor
    from dfbench.runs.environment import choose_device
    from dfbench.runs.prediction import TestSets

    predictor = Predictor(loaded, choose_device(device))
    detector, results = predictor.detector, loaded.entry.results
    pixels = stream.pixels(detector.image_size, progress=events.data)
    sets = TestSets(detector, stream, pixels, predictor.device, results.split)
    events.event(EvaluationStarted(1, 1))
    scores = Scores()
    probabilities = sets.predict(predictor.model, predictor.autocast, events.tested)
    sets.add_scores(scores, len(stream.experiences) - 1, probabilities)
    names = [e.name for e in stream.experiences]
    summary = evaluate(scores, names, results.metric, len(stream.classes))
    found = dict(zip(names, summary["matrix"][results.metric][-1], strict=True))
    average = summary["metrics"]["average"]
    metric, recorded = results.metric, results.per_experience
    gaps = [_gap(f"{metric} on {name}", found.get(name), value) for name, value in recorded.items()]
    _gap(f"the average {metric}", average, results.average)
    return f"average {metric} {average:.6f} on {results.split}, largest difference {max(gaps, default=0):.2g}"


def _gap(what: str, found: float | None, recorded: float | None) -> float:
    """How far a figure is from the recorded one; more than :data:`TOLERANCE` is a ``DataError``."""
    gap = abs((found or 0) - (recorded or 0))
    if (found is None) != (recorded is None) or gap > TOLERANCE:
        raise DataError(f"{what} is {_number(found)}, and {_number(recorded)} was recorded")
    return gap


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
