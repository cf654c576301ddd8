"""Whether a checkpoint is what its entry says: hashes, network, record, and the scores predicted again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dfbench.errors import DataError, DfbenchError, UsageError
from dfbench.publish.zoo.checkpoint import Loaded, Located, check_file, load_located
from dfbench.publish.zoo.from_run import RECORD
from dfbench.records.comparison import read_record
from dfbench.runs.report import Reporter

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream
    from dfbench.plugins import Registry

TOLERANCE = 1e-3
"""How far a metric predicted again may be from the recorded one: other processors round differently, and
a pair of samples whose order changes moves an AUC of 240 + 240 samples by 1/57 600."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: Literal["files", "network", "record", "scores"]
    status: Literal["ok", "failed", "skipped"]
    detail: str


def verify(
    located: Located,
    registry: Registry,
    *,
    scores: bool = True,
    benchmark: str | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> list[Check]:
    """Every check of a checkpoint whose files are on this machine; a failed one ends the list.

    Args:
        scores: predict the benchmark's sets again, if its data are at hand.
        benchmark: the stream's YAML file; the registered one of the recorded name unless given.
    """
    checks: list[Check] = []
    loaded: Loaded | None = None

    def network() -> str:
        nonlocal loaded
        loaded = _network(located, registry)
        return f"{located.entry.parameters:,} parameters fit detector {located.entry.detector}"

    def predicted() -> str:
        assert loaded is not None
        stream = _stream(located, registry, benchmark, data_root, reporter or Reporter())
        return _scores(loaded, stream, device, reporter or Reporter())

    steps: list[tuple[Literal["files", "network", "record", "scores"], Callable[[], str]]] = [
        ("files", lambda: _files(located)),
        ("network", network),
        ("record", lambda: _record(located)),
    ]
    if scores:
        steps.append(("scores", predicted))
    for name, step in steps:
        try:
            checks.append(Check(name, "ok", step()))
        except _Absent as absent:
            checks.append(Check(name, "skipped", str(absent)))
        except DfbenchError as error:
            return [*checks, Check(name, "failed", str(error))]
    return checks


class _Absent(Exception):
    """What a check needs is not here."""


def _files(located: Located) -> str:
    for file in located.entry.files:
        check_file(located.folder, file, located.entry.name)
    return ", ".join(f"{file.path} {file.sha256[:12]}…" for file in located.entry.files)


def _network(located: Located, registry: Registry) -> Loaded:
    loaded = load_located(located, registry)
    found = sum(p.numel() for p in loaded.model.parameters())
    if found != located.entry.parameters:
        raise DataError(f"the network has {found:,} parameters and not {located.entry.parameters:,}")
    return loaded


def _record(located: Located) -> str:
    """Compare the entry with the record beside the weights."""
    entry = located.entry
    if RECORD not in {file.path for file in entry.files}:
        raise _Absent(f"the record is not beside the weights; it is the run {', '.join(entry.records)}")
    record = read_record(located.folder / RECORD)
    spec, training, results = record["spec"], entry.training, entry.results
    final = dict(
        zip(
            [e["name"] for e in record["data"]["experiences"]],
            record["matrix"].get(results.metric, [[]])[-1],
            strict=False,
        )
    )
    pairs = {
        "run": (record["run"] in entry.records, True),
        "detector": (spec["detector"], entry.detector),
        "configuration": (spec["detector_config"], entry.config),
        "strategy": (spec["strategy"], training.strategy),
        "seed": (spec["seed"], training.seed),
        "data": (spec["data_fingerprint"], training.fingerprint),
        "scored split": (spec["split"], results.split),
        "weights": (record.get("files", {}).get("model.safetensors"), entry.weights.sha256),
        "scores of the last row": (final, results.per_experience),
    }
    for what, (found, said) in pairs.items():
        if found != said:
            raise DataError(f"{what} of {RECORD} is not that of the entry")
    return f"run {record['run']}"


def _stream(
    located: Located, registry: Registry, benchmark: str | None, data_root: Path | None, reporter: Reporter
) -> Stream:
    from dfbench.runs.runner import open_stream

    training = located.entry.training
    try:
        stream = open_stream(benchmark or training.benchmark, registry, data_root, reporter)
    except (UsageError, DataError) as error:
        if benchmark is not None:
            raise
        raise _Absent(f"the benchmark is not at hand: {error}") from error
    if stream.fingerprint != training.fingerprint:
        raise DataError(
            f"{stream.name} holds other data here ({stream.fingerprint[:12]}…) than the checkpoint was made with "
            f"({training.fingerprint[:12]}…)"
        )
    return stream


def _scores(loaded: Loaded, stream: Stream, device: str, reporter: Reporter) -> str:
    """Predict every set again and compare the metric with the recorded one."""
    import torch

    from dfbench.evaluation.scores import Scores
    from dfbench.evaluation.summary import evaluate
    from dfbench.runs.environment import choose_device
    from dfbench.runs.prediction import TestSets

    detector, model, entry = loaded
    results, on = entry.results, choose_device(device)
    sets = TestSets(
        detector, stream, stream.pixels(detector.image_size, progress=reporter.data), on, entry.results.split
    )
    reporter.evaluating(1, 1)
    half = detector.config.precision == "bf16"
    probabilities = sets.predict(
        model.to(on), lambda: torch.autocast(on.type, torch.bfloat16, enabled=half), reporter.tested
    )
    scores = Scores()
    sets.add_scores(scores, len(stream.experiences) - 1, probabilities)
    names = [e.name for e in stream.experiences]
    summary = evaluate(scores, names, results.metric, len(stream.classes))
    found = dict(zip(names, summary["matrix"][results.metric][-1], strict=True))
    for name, said in results.per_experience.items():
        if (found.get(name) is None) != (said is None) or abs((found[name] or 0) - (said or 0)) > TOLERANCE:
            raise DataError(f"{results.metric} on {name} is {_number(found[name])}, and {_number(said)} was recorded")
    values = [value for value in found.values() if value is not None]
    average = sum(values) / len(values)
    if abs(average - results.average) > TOLERANCE:
        raise DataError(f"the average {results.metric} is {average:.4f}, and {results.average:.4f} was recorded")
    gap = max((abs(found[n] - v) for n, v in results.per_experience.items() if v is not None), default=0.0)
    return f"average {results.metric} {average:.6f} on {results.split}, largest difference {gap:.2g}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
