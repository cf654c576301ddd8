"""From a finished run to a zoo entry: every fact comes from the record, the detector or the files."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfbench.errors import DataError, DfbenchError
from dfbench.files import write_whole
from dfbench.publish.zoo.entry import (
    Checkpoint,
    Decision,
    File,
    Input,
    Licence,
    Normalisation,
    Plugin,
    Results,
    Training,
    write_entry,
)
from dfbench.records.comparison import read_record
from dfbench.records.record import parse_record

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream
    from dfbench.plugins import Registry
    from dfbench.training.detector import Detector

WEIGHTS, RECORD, SCORES = "model.safetensors", "record.json", "scores.parquet"
UNKNOWN = "unknown"
INTENDED_USE = (
    "Research on deepfake detection and on what detectors forget; a starting point and a baseline. "
    "It is no evidence about a person or a recording."
)


def entry_from_run(
    run: Path,
    registry: Registry,
    *,
    name: str | None = None,
    weights_licence: str = UNKNOWN,
    intended_use: str = INTENDED_USE,
    limits: str | None = None,
    crop_margin: float | None = None,
    face_detector: str | None = None,
    scores: bool = False,
    benchmark: str | None = None,
    data_root: Path | None = None,
) -> Checkpoint:
    """The entry of a finished run, its files beside it.

    Args:
        run: the run's folder, with ``record.json`` and ``model.safetensors``.
        name: of the checkpoint; detector, strategy and benchmark unless given.
        weights_licence: SPDX identifier; the data decide it, so nothing is assumed.
        scores: name ``scores.parquet`` among the files too.
        benchmark: the stream's YAML file, for a record that does not say how its pictures were stored.

    Raises:
        DataError: no finished run is there, its weights are not the recorded ones, or its record lacks
            what cannot be found out otherwise. UsageError, PluginError: its detector is not here.
    """
    record = read_record(run)
    checked = parse_record(record, run / RECORD)
    spec = record["spec"]
    metric = record["headline"]
    if checked.average is None:
        raise DataError(f"{run}: its average {metric} is undefined; there is nothing to publish")
    if spec["detector"] not in registry.detectors:
        raise DataError(f"{run}: its detector {spec['detector']!r} is not here: install the plugin that brings it")
    files = [_file(run, n) for n in (WEIGHTS, RECORD, *([SCORES] if scores else []))]
    recorded = record.get("files", {})
    for file in files:
        if file.path in recorded and recorded[file.path] != file.sha256:
            raise DataError(f"{run / file.path} is not the file that the record names (another sha256)")
    detector, native_size, unit = _detector(record, registry, benchmark, data_root, run)
    model = detector.build()
    size = detector.image_size or native_size
    names = [e["name"] for e in record["data"]["experiences"]]
    final = record["matrix"][metric][-1]
    plugin = registry.detectors.plugin(spec["detector"])
    return Checkpoint(
        name=name or "-".join((spec["detector"], spec["strategy"], spec["benchmark"])),
        summary=f"{spec['detector']} ({spec['preset']}) trained under {spec['strategy']} on {spec['benchmark']}",
        detector=spec["detector"],
        plugin=Plugin(name=plugin.name, distribution=plugin.distribution, version=plugin.version),
        preset=spec["preset"],
        config=spec["detector_config"],
        classes=tuple(record["data"]["classes"]),
        files=tuple(files),
        parameters=sum(p.numel() for p in model.parameters()),
        input=Input(
            native_size=native_size,
            size=detector.image_size,
            unit=unit,
            normalisation=_normalisation(detector, size or (64, 64)),
            crop_margin=crop_margin,
            face_detector=face_detector,
        ),
        decision=Decision(
            threshold=0.5,
            ece=_mean(record, "ece"),
            false_positive_rate=None if (kept := _mean(record, "accuracy_real")) is None else round(1 - kept, 6),
        ),
        licence=Licence(code=_code_licence(plugin.distribution), weights=weights_licence),
        training=Training(
            benchmark=spec["benchmark"],
            fingerprint=spec["data_fingerprint"],
            experiences=tuple(names),
            strategy=spec["strategy"],
            strategy_config=spec["strategy_config"],
            memory=spec["memory"],
            seed=spec["seed"],
        ),
        results=Results(
            metric=metric,
            split=spec["split"],
            average=checked.average,
            forgetting=record["metrics"].get("forgetting"),
            per_experience=dict(zip(names, final, strict=True)),
        ),
        records=(record["run"],),
        intended_use=intended_use,
        limits=limits or _limits(spec["benchmark"], names),
    )


def package_run(run: Path, zoo: Path, registry: Registry, **facts: Any) -> Path:
    """Put a finished run into a zoo folder: ``NAME.yaml`` and ``weights/NAME.safetensors``; returns the entry's path.

    For a checkpoint small enough to ship with its plugin. ``facts`` as :func:`entry_from_run`.
    """
    entry = entry_from_run(run, registry, **facts)
    inside = f"weights/{entry.name}.safetensors"
    write_whole(zoo / inside, (run / WEIGHTS).read_bytes())
    path = zoo / f"{entry.name}.yaml"
    weights = entry.weights.model_copy(update={"path": inside})
    write_entry(entry.model_copy(update={"files": (weights,)}), path)
    return path


def _detector(
    record: dict[str, Any], registry: Registry, benchmark: str | None, data_root: Path | None, run: Path
) -> tuple[Detector, tuple[int, int] | None, tuple[int, ...]]:
    """The detector as it was in the run, the pictures' native size, and the shape of a unit.

    Records say both; for older ones the benchmark is opened.
    """
    from dfbench.training.detector import Task

    spec = record["spec"]
    kind: type[Detector] = registry.detectors.load(spec["detector"])
    options = {k: v for k, v in spec["detector_config"].items() if k != "pretrained"}
    if "pretrained" in kind.Config.model_fields:
        options["pretrained"] = False
    config = kind.Config.model_validate(options)
    classes = tuple(record["data"]["classes"])
    experiences = len(record["data"]["experiences"])
    said = record.get("input")
    if said is not None:
        size = said["native_size"]
        native_size = None if size is None else (int(size[0]), int(size[1]))
        return kind(config, Task(classes, native_size, experiences)), native_size, tuple(said["unit"])
    stream = _stream(spec, registry, benchmark, data_root, run)
    detector = kind(config, Task(classes, stream.native_size, experiences))
    units = detector.units(stream.samples, stream.experiences[0].rows[spec["split"]], training=False)
    return detector, stream.native_size, tuple(units.rows.shape[1:])


def _stream(
    spec: dict[str, Any], registry: Registry, benchmark: str | None, data_root: Path | None, run: Path
) -> Stream:
    from dfbench.runs.report import Reporter
    from dfbench.runs.runner import open_stream

    try:
        stream = open_stream(benchmark or spec["benchmark"], registry, data_root, Reporter())
    except DfbenchError as error:
        raise DataError(
            f"{run}: the record does not say how its pictures were stored, and its benchmark cannot be opened: {error}"
        ) from error
    if stream.fingerprint != spec["data_fingerprint"]:
        raise DataError(f"{run}: {stream.name!r} holds other data here than the run had (another fingerprint)")
    return stream


def _normalisation(detector: Detector, size: tuple[int, int]) -> Normalisation | None:
    """Mean and standard deviation, found by showing the detector black, white and noise."""
    import torch

    from dfbench.data.loader import Batch

    def shown(pixels: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros(len(pixels), dtype=torch.int64)
        return detector.inputs(Batch(pixels, zeros, zeros, zeros), training=False).float()

    noise = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    try:
        black, white, other = (shown(p) for p in (torch.zeros_like(noise), torch.full_like(noise, 255), noise))
    except Exception:  # a detector of clips or of several inputs: nothing can be said
        return None
    if black.shape != (1, 3, *size):
        return None
    low, high = black[0, :, 0, 0], white[0, :, 0, 0]
    std = 1 / (high - low)
    mean = -low * std
    affine = (noise.permute(0, 3, 1, 2).float() / 255 - mean[:, None, None]) / std[:, None, None]
    if not torch.allclose(affine, other, atol=1e-4):
        return None
    return Normalisation.model_validate({"mean": _rounded(mean), "std": _rounded(std)})


def _rounded(values: Iterable[Any]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _file(run: Path, name: str) -> File:
    from dfbench.files import sha256_of

    path = run / name
    if not path.is_file():
        raise DataError(f"{path} is missing: only a finished run can be published")
    return File(path=name, sha256=sha256_of(path), size=path.stat().st_size)


def _mean(record: dict[str, Any], key: str) -> float | None:
    values = [row[key] for row in record["per_experience"] if row.get(key) is not None]
    return round(sum(values) / len(values), 6) if values else None


def _limits(benchmark: str, names: list[str]) -> str:
    return (
        f"Trained and tested on {benchmark} alone ({', '.join(names)}). What it does on other forgeries, cameras, "
        "compressions, ages and skin tones was not measured. P(fake) is not calibrated."
    )


def _code_licence(distribution: str) -> str:
    try:
        about: Any = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    found = about.get("License-Expression") or about.get("License") or ""
    return found if found and len(found) < 40 and "\n" not in found else UNKNOWN
