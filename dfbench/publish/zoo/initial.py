"""What ``--init`` means: the checkpoint that a run starts from, found by its name, its place or its digest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dfbench.documents import read_json
from dfbench.errors import DataError, DfbenchError, UsageError, first_problem
from dfbench.files import cache_root, sha256_of
from dfbench.publish.zoo.checkpoint import LocatedEntry, entries
from dfbench.publish.zoo.entry import ENTRY_FILE, PICKLES, read_entry
from dfbench.publish.zoo.resolve import fetch, resolve
from dfbench.records.finished import FinishedRun
from dfbench.records.initial import InitialCheckpoint, TrainedOn, parse_reference
from dfbench.records.record import RECORD, WEIGHTS
from dfbench.runs.initial import Initial, KnownNetwork

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.publish.hub.pull import Notice

BARE = ".safetensors"


def find_initial(
    text: str, registry: Registry, runs: Sequence[Path] = (Path("runs"),), notice: Notice | None = None
) -> Initial:
    """The checkpoint that a text means, on this machine; what is on the Hub is fetched.

    Args:
        text: What :func:`dfbench.publish.zoo.resolve.resolve` takes, or a file of weights (``.safetensors``). With
            ``#sha256=HEX`` behind it, it must be these weights; where the name means nothing here, they are looked
            for by their digest: in the zoo, among pulled checkpoints, in ``runs`` and in the present folder.
        registry: What is installed.
        runs: Folders of runs.
        notice: Receives the commit that a branch or tag stands for.

    Raises:
        UsageError: It means nothing, or a file of another kind.
        DataError: It is damaged, or has another digest.
        HubError: The Hub refuses, or cannot be reached.
    """
    name, digest = parse_reference(text)
    try:
        found = _named(name, registry, notice)
    except UsageError as error:
        if digest is None or isinstance(error, _NotWeights):
            raise
        same = _by_digest(digest, registry, runs)
        if same is None:
            raise UsageError(
                f"--init: the weights {name or 'that are meant'} (sha256 {digest[:12]}…) are not here: give the path "
                "of the run's folder or of the file, or put the file into the present folder"
            ) from None
        return replace(same, checkpoint=same.checkpoint.model_copy(update={"name": name or same.checkpoint.name}))
    if digest not in (None, stated := found.checkpoint.sha256):
        raise DataError(f"--init {name} is another checkpoint here: sha256 {stated[:12]}… and not {str(digest)[:12]}…")
    return found


class _NotWeights(UsageError):
    """A file that cannot be weights; looking further would not help."""


def _named(text: str, registry: Registry, notice: Notice | None) -> Initial:
    path = Path(text).expanduser()
    if text not in registry.zoo and path.suffix.lower() in PICKLES:
        raise _NotWeights(
            f"--init {text}: such a file can run code when it is read; weights are taken as .safetensors alone"
        )
    if text not in registry.zoo and path.suffix == BARE and os.path.isfile(path):  # False where a name is too long
        return _of_file(path, registry)
    if text not in registry.zoo and os.path.isdir(path) and not os.path.isfile(path / ENTRY_FILE):
        return _of_run(FinishedRun.open(path))
    located = fetch(resolve(text, registry, notice), notice)
    hub = located.entry.hub  # a folder, or a branch: the commit names these weights everywhere
    named = text if text in registry.zoo else located.entry.name if hub is None else f"{hub.repo}@{hub.commit}"
    return _of_entry(located, named)


def _of_run(run: FinishedRun) -> Initial:
    """The final weights of a run; those of one that trained nothing are what it started from."""
    record, spec = run.record, run.record.spec
    with _stated_by(str(run.path)):
        trained = None if spec.init is None else spec.init.trained
        if record.trained:
            trained = TrainedOn(
                run=record.run,
                benchmark=spec.benchmark,
                fingerprint=spec.data_fingerprint,
                strategy=spec.strategy,
                init=spec.init,
            )
        checkpoint = InitialCheckpoint(name=record.run, sha256=record.weights_sha256, trained=trained)
    size, classes = record.input.size, tuple(record.data.classes)
    network = KnownNetwork(spec.detector, spec.preset, spec.detector_config, classes, size)
    return Initial(run.path.with_name(WEIGHTS), checkpoint, network)


def _of_entry(located: LocatedEntry, name: str) -> Initial:
    entry = located.entry
    training = entry.training
    with _stated_by(name):
        trained = TrainedOn(
            run=entry.records[0] if entry.records else entry.name,
            benchmark=training.benchmark,
            fingerprint=training.fingerprint,
            strategy=training.strategy,
            init=training.init,
        )
        checkpoint = InitialCheckpoint(name=name, sha256=entry.weights.sha256, trained=trained)
    network = KnownNetwork(entry.detector, entry.preset, entry.config, entry.classes, entry.input.picture_size)
    return Initial(located.weights, checkpoint, network)


@contextlib.contextmanager
def _stated_by(origin: str) -> Iterator[None]:
    """A context in which a checkpoint is described with what an entry or a record of anybody states."""
    try:
        yield
    except ValidationError as error:
        raise DataError(f"--init: {origin} cannot be started from: {first_problem(error)}") from error


def _of_file(path: Path, registry: Registry) -> Initial:
    """A bare file; the record next to it, or an entry of the zoo, may say what it is."""
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise DataError(f"--init: {path} cannot be read ({error.strerror or error})") from error
    if path.name == WEIGHTS and _weights_of(path.with_name(RECORD)) == digest:
        return _of_run(FinishedRun.open(path.parent))
    for name, located in _zoo(registry):
        if located.entry.weights.sha256 == digest:
            return replace(_of_entry(located, name), path=path)
    with _stated_by(ascii(path.name)):
        return Initial(path, InitialCheckpoint(name=path.name, sha256=digest))


def _by_digest(digest: str, registry: Registry, runs: Sequence[Path]) -> Initial | None:
    for name, located in _zoo(registry):
        if located.entry.weights.sha256 == digest and located.present:
            return _of_entry(located, name)
    for path in cache_root().glob(f"zoo/*/*/{ENTRY_FILE}"):
        if read_entry(path).weights.sha256 == digest:
            return _named(str(path.parent), registry, None)
    for record in (path for folder in runs for path in sorted(folder.glob(f"*/{RECORD}"))):
        if _weights_of(record) == digest and record.with_name(WEIGHTS).is_file():
            return _of_run(FinishedRun.open(record))
    for path in sorted(Path().glob(f"*{BARE}")):
        if sha256_of(path) == digest:
            return _of_file(path, registry)
    return None


def _zoo(registry: Registry) -> Iterator[tuple[str, LocatedEntry]]:
    for name, located in entries(registry):
        if not isinstance(located, DfbenchError):
            yield name, located


def _weights_of(record: Path) -> str | None:
    """The digest of the weights that a record states; None where there is no record."""
    try:
        value = read_json(record)
    except DataError:
        return None
    return value.get("weights_sha256") if isinstance(value, dict) else None
