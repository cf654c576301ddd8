"""``dfbench zoo calibrate``: measure, and keep what was found next to the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfbench.benchmarks.schema import Scope
from dfbench.errors import UsageError
from dfbench.files import sha256_of, write_whole
from dfbench.publish.zoo.calibration import BANK_KEY, calibrate
from dfbench.publish.zoo.checkpoint import LocatedEntry, load_located
from dfbench.publish.zoo.decided import BANK, Decided, store_calibration
from dfbench.publish.zoo.entry import CheckpointEntry, File, write_entry
from dfbench.publish.zoo.from_run import CALIBRATED, NOT_CALIBRATED
from dfbench.publish.zoo.predictor import Predictor
from dfbench.publish.zoo.resolve import resolve
from dfbench.runs.environment import choose_device
from dfbench.runs.events import EventStream, Listener
from dfbench.runs.prepare import open_stream

if TYPE_CHECKING:
    from dfbench.plugins import Registry


def calibrate_and_store(
    place: Path,
    registry: Registry,
    benchmark: str | None = None,
    data_root: Path | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> Decided:
    """Calibrate the checkpoint at ``place`` and store the result there.

    Args:
        place: The folder of a finished run, or an entry's ``.yaml`` file whose weights lie next to it.
        registry: What is installed.
        benchmark: The stream's YAML file; the registered one of the recorded name unless given.
        data_root: Folder that holds the data sets.
        device: ``auto``, ``cpu``, ``cuda``, …
        listener: Receives the progress.

    Raises:
        UsageError: ``place`` is neither, or its files are on the Hub.
        DataError: The checkpoint or the benchmark's data do not fit each other, or there is no validation set.
    """
    if not place.exists():
        raise UsageError(f"{place}: give the folder of a finished run, or an entry's .yaml file")
    located = resolve(str(place), registry)
    entry = located.entry
    if entry.hub is not None:
        raise UsageError(f"{place}: its files are on the Hub; calibrate the run and push it (dfbench zoo push)")
    is_run = place.is_dir()
    bank = BANK if is_run else entry.weights.path.removesuffix(".safetensors") + f".{BANK}"
    predictor = Predictor(load_located(located, registry), choose_device(device))
    stream = open_stream(benchmark or entry.training.benchmark, registry, data_root, EventStream(listener))
    found = calibrate(predictor, stream, bank, listener)
    if found.bank is not None:
        _write_bank(located.folder / bank, found.bank)
    decided = Decided(weights=entry.weights.sha256, calibration=found.calibration, familiarity=found.familiarity)
    if is_run:
        store_calibration(located.folder, decided)
    else:
        write_entry(_with(located, decided, bank, stream.scope), place)
    return decided


def _with(located: LocatedEntry, decided: Decided, bank: str, scope: Scope | None) -> CheckpointEntry:
    entry = located.entry
    files = [file for file in entry.files if file.path != bank]
    if decided.familiarity is not None:
        path = located.folder / bank
        files.append(File(path=bank, sha256=sha256_of(path), size=path.stat().st_size))
    training = entry.training if entry.training.scope else entry.training.model_copy(update={"scope": scope})
    decision = entry.decision.model_copy(
        update={"calibration": decided.calibration, "familiarity": decided.familiarity}
    )
    limits = entry.limits.replace(NOT_CALIBRATED, CALIBRATED)
    changes = {"files": tuple(files), "decision": decision, "training": training, "limits": limits}
    return entry.model_copy(update=changes)


def _write_bank(path: Path, bank: np.ndarray) -> None:
    from safetensors.numpy import save

    write_whole(path, save({BANK_KEY: np.ascontiguousarray(bank)}))
