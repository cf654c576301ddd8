"""From a finished run to a zoo entry: every fact comes from the record, the detector or the files."""

from __future__ import annotations

import contextlib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dfbench.errors import DataError, UsageError, first_problem
from dfbench.files import sha256_of, write_whole
from dfbench.publish.zoo.checkpoint import detector_of
from dfbench.publish.zoo.decided import BANK, Decided, stored_calibration
from dfbench.publish.zoo.entry import (
    CheckpointEntry,
    Decision,
    File,
    Input,
    Licence,
    Normalisation,
    Plugin,
    Results,
    Training,
    check_file,
    write_entry,
)
from dfbench.records.finished import FinishedRun
from dfbench.records.record import RECORD, SCORES, WEIGHTS, Record

if TYPE_CHECKING:
    import torch

    from dfbench.plugins import Registry
    from dfbench.records.spec import RunSpec
    from dfbench.training.detector import Detector

NAME = re.compile(r"(?=.{1,96}\Z)[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What a zoo entry may be called (:data:`dfbench.publish.zoo.entry.Name`)."""
UNKNOWN = "unknown"
INTENDED_USE = (
    "Research on deepfake detection and on what detectors forget; a starting point and a baseline. "
    "It is no evidence about a person or a recording."
)
CALIBRATED, NOT_CALIBRATED = "P(fake) is calibrated for these data alone.", "P(fake) is not calibrated."
PROBE_SIZE = (64, 64)
"""(height, width) at which the input is measured where pictures have no size of their own."""


def entry_from_run(
    run: FinishedRun,
    registry: Registry,
    *,
    name: str | None = None,
    weights_licence: str = UNKNOWN,
    intended_use: str = INTENDED_USE,
    limits: str | None = None,
    crop_margin: float | None = None,
    face_detector: str | None = None,
    scores: bool = False,
) -> CheckpointEntry:
    """The entry of a finished run whose files lie next to it.

    The sha256 of the weights is the one that the record states; it is compared when they are loaded.

    Args:
        run: The run, in its own folder.
        registry: What is installed.
        name: Of the checkpoint; :func:`checkpoint_name` unless given.
        weights_licence: SPDX identifier; the data decide it, so nothing is assumed.
        intended_use: In words.
        limits: In words; what the run does not show unless given.
        crop_margin: Share of the face box's side that was added around it.
        face_detector: What found the faces.
        scores: Whether ``scores.parquet`` is among the files.

    Raises:
        DataError: The run is not finished or trained nothing, its scores are not the recorded ones, its average is
            undefined, or its record states what no entry may.
        UsageError: The name is not one that a file and a repository may have.
        PluginError: Its detector's plugin is broken.
    """
    record, spec = run.record, run.record.spec
    if not record.trained:
        whose = f"those of {spec.init.short}: use that" if spec.init is not None else "the untrained network's"
        raise DataError(f"{run.path}: this run trained nothing, its weights are {whose}")
    if spec.detector not in registry.detectors:
        raise DataError(
            f"{run.path}: its detector {spec.detector!r} is not installed: install the plugin that registers it"
        )
    plugin = registry.detectors.plugin(spec.detector)
    decided = stored_calibration(run.folder, record.weights_sha256)
    with _stated_by(run):
        entry = CheckpointEntry(
            name=checkpoint_name(spec) if name is None else checked_name(name),
            summary=f"{spec.detector} ({spec.preset}) trained under {spec.strategy} on {spec.benchmark}"
            + (f", from {spec.init.name}" if spec.init is not None else ""),
            detector=spec.detector,
            plugin=Plugin(name=plugin.name, distribution=plugin.distribution, version=plugin.version),
            preset=spec.preset,
            config=spec.detector_config,
            classes=tuple(record.data.classes),
            files=(*_files(run, scores), *_bank(run, decided)),
            parameters=record.detector.parameters,
            input=Input(
                native_size=record.input.native_size,
                size=None,
                unit=record.input.unit,
                crop_margin=crop_margin,
                face_detector=face_detector,
            ),
            decision=_decision(record, decided),
            licence=Licence(code=_code_licence(plugin.distribution), weights=weights_licence),
            training=_training(record),
            results=_results(run),
            records=(record.run,),
            intended_use=intended_use,
            limits=limits or _limits(record, decided is not None),
        )
    return entry.model_copy(update={"input": _measured(entry.input, detector_of(entry, registry))})


@contextlib.contextmanager
def _stated_by(run: FinishedRun) -> Iterator[None]:
    """A context in which an entry is made of what the run's record states."""
    try:
        yield
    except ValidationError as error:
        raise DataError(f"{run.path}: no entry of the zoo can be made of it: {first_problem(error)}") from error


def checkpoint_name(spec: RunSpec) -> str:
    """Detector, strategy and benchmark, as a name that a file and a repository may have.

    ``Celeb-DF (v2)`` gives ``xception-replay-Celeb-DF-v2-`` and eight digits: what had to be changed or cut is followed
    by a part of its hash, so that benchmarks of different names give different ones.
    """
    whole = "-".join((spec.detector, spec.strategy, spec.benchmark))
    if NAME.fullmatch(whole):
        return whole
    letters = unicodedata.normalize("NFKD", whole).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", letters).strip("-._")
    return f"{plain[:80].rstrip('-._') or 'checkpoint'}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def checked_name(name: str) -> str:
    """The name itself.

    Raises:
        UsageError: A file or a repository may not be called so.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"--name {name!r}: a checkpoint's name has 1 to 96 letters (A-Z, a-z), digits, '.', '_' and '-', and "
            "begins with a letter or a digit"
        )
    return name


def package_run(run: Path, zoo: Path, registry: Registry, **facts: Any) -> Path:
    """Put a finished run into a zoo folder: ``NAME.yaml``, ``weights/NAME.safetensors`` and its training features.

    For a checkpoint small enough to ship with its plugin.

    Args:
        run: The run's folder.
        zoo: The folder; made where it does not exist.
        registry: What is installed.
        facts: As :func:`entry_from_run`.

    Returns:
        The path of the entry.
    """
    entry = entry_from_run(FinishedRun.open(run), registry, **facts)
    check_file(run, entry.weights, entry.name)
    weights = entry.weights.model_copy(update={"path": f"weights/{entry.name}.safetensors"})
    write_whole(zoo / weights.path, (run / WEIGHTS).read_bytes())
    files: tuple[File, ...] = (weights,)
    decision = entry.decision
    if (familiarity := decision.familiarity) is not None:
        stated = next(file for file in entry.files if file.path == familiarity.bank)
        bank = stated.model_copy(update={"path": f"weights/{entry.name}.{BANK}"})
        write_whole(zoo / bank.path, (run / stated.path).read_bytes())
        files = (weights, bank)
        decision = decision.model_copy(update={"familiarity": familiarity.model_copy(update={"bank": bank.path})})
    path = zoo / f"{entry.name}.yaml"
    write_entry(entry.model_copy(update={"files": files, "decision": decision}), path)
    return path


def _files(run: FinishedRun, scores: bool) -> tuple[File, ...]:
    """Weights, record and, if asked for, scores; the sha256 of the weights is the recorded one."""
    weights = File(path=WEIGHTS, sha256=run.record.weights_sha256, size=_path(run, WEIGHTS).stat().st_size)
    others = [_path(run, name) for name in ((RECORD, SCORES) if scores else (RECORD,))]
    if scores:
        _ = run.scores  # reading them compares them with the record
    hashed = (File(path=path.name, sha256=sha256_of(path), size=path.stat().st_size) for path in others)
    return (weights, *hashed)


def _path(run: FinishedRun, name: str) -> Path:
    path = run.folder / name
    if not path.is_file():
        raise DataError(f"{path} is missing: only a finished run can be published")
    return path


def _bank(run: FinishedRun, decided: Decided | None) -> tuple[File, ...]:
    """The file of training features, where the run was calibrated with one."""
    if decided is None or decided.familiarity is None:
        return ()
    path = _path(run, decided.familiarity.bank)
    return (File(path=path.name, sha256=sha256_of(path), size=path.stat().st_size),)


def _decision(record: Record, decided: Decided | None) -> Decision:
    real = _mean(record, "accuracy_real")
    return Decision(
        threshold=0.5,
        calibration="none" if decided is None else decided.calibration,
        familiarity=None if decided is None else decided.familiarity,
        ece=_mean(record, "ece"),
        false_positive_rate=None if real is None else round(1 - real, 6),
    )


def _mean(record: Record, key: str) -> float | None:
    """Mean of a figure of the final network over the test sets."""
    values = [float(value) for row in record.per_experience if (value := row.get(key)) is not None]
    return round(sum(values) / len(values), 6) if values else None


def _training(record: Record) -> Training:
    spec = record.spec
    return Training(
        benchmark=spec.benchmark,
        fingerprint=spec.data_fingerprint,
        experiences=tuple(record.names),
        strategy=spec.strategy,
        strategy_config=spec.strategy_config,
        scope=record.data.scope,
        memory=spec.memory,
        seed=spec.seed,
        init=spec.init,
    )


def _results(run: FinishedRun) -> Results:
    record = run.record
    if record.average is None:
        raise DataError(f"{run.path}: its average {record.headline} is undefined; there is nothing to publish")
    return Results(
        metric=record.headline,
        split=record.spec.split,
        average=record.average,
        forgetting=record.metrics.get("forgetting"),
        per_experience=dict(zip(record.names, record.matrix[record.headline][-1], strict=True)),
    )


def _measured(recipe: Input, detector: Detector) -> Input:
    """The recipe with what only the detector knows: the size it asks for, and the normalisation."""
    size = detector.image_size
    normalisation = _normalisation(detector, size or recipe.native_size or PROBE_SIZE)
    return recipe.model_copy(update={"size": size, "normalisation": normalisation})


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


def _limits(record: Record, calibrated: bool) -> str:
    init = record.spec.init
    start = "" if init is None else f" It {init.note(record.data.fingerprint)}."
    return (
        f"Trained and tested on {record.spec.benchmark} alone ({', '.join(record.names)}).{start} What it does on "
        "other forgeries, cameras, compressions, ages and skin tones was not measured. "
        f"{CALIBRATED if calibrated else NOT_CALIBRATED}"
    )


def _code_licence(distribution: str) -> str:
    try:
        about: Any = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    found = about.get("License-Expression") or about.get("License") or ""
    return found if found and len(found) < 40 and "\n" not in found else UNKNOWN
