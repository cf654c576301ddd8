"""A checkpoint on this machine: its entry, the folder of its files, and the network that is built from both.

The sha256 of the weights is checked before they are opened, the network is built with the stored configuration,
and the weights must fit it strictly. Nothing here uses the network or imports Avalanche.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dfbench.errors import DataError, DfbenchError, UsageError, first_problem
from dfbench.publish.zoo.entry import CheckpointEntry, check_file, read_entry
from dfbench.publish.zoo.places import pulled
from dfbench.records.spec import without_start

if TYPE_CHECKING:
    from torch import nn

    from dfbench.plugins import Registry
    from dfbench.training.detector import Detector


@dataclass(frozen=True)
class LocatedEntry:
    """An entry, and the folder that the paths of its files are relative to."""

    entry: CheckpointEntry
    folder: Path
    """May not exist yet, where the files are on the Hub."""
    checked: bool = False
    """Whether every file was just compared with the entry, so that no file is hashed twice."""

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return self.folder / self.entry.weights.path

    @property
    def present(self) -> bool:
        """Whether all files are on this machine."""
        return all((self.folder / file.path).is_file() for file in self.entry.files)

    def check(self) -> LocatedEntry:
        """The same, once every file was compared with the entry.

        Raises:
            DataError: A file is missing or not the one that the entry names.
        """
        if not self.checked:
            for file in self.entry.files:
                check_file(self.folder, file, self.entry.name)
        return replace(self, checked=True)


class LoadedCheckpoint(NamedTuple):
    """A checkpoint that can predict: ``detector.predict(model, batch)``."""

    detector: Detector
    model: nn.Module
    """In eval mode, on the CPU."""
    entry: CheckpointEntry


def entry_by_name(name: str, registry: Registry) -> LocatedEntry:
    """The zoo entry of this name.

    Raises:
        UsageError: There is no such name.
        PluginError: Two plugins registered it.
        DataError: The entry is not valid.
    """
    return entry_from_file(Path(registry.zoo[name].target), name)


def entry_from_file(path: Path, name: str | None = None) -> LocatedEntry:
    """The entry in a file.

    Args:
        path: The ``.yaml`` or ``.json`` file.
        name: The name it is registered under and must have.

    Raises:
        DataError: The entry is not valid, or has another name.
    """
    entry = read_entry(path)
    if name is not None and entry.name != name:
        raise DataError(f"{path}: the entry calls itself {entry.name!r} but is registered as {name!r}")
    folder = path.parent if entry.hub is None else pulled(entry.hub.repo, entry.hub.commit)
    return LocatedEntry(entry, folder)


def entries(registry: Registry) -> list[tuple[str, LocatedEntry | DfbenchError]]:
    """Every name of the zoo with its entry, or with what is wrong with it."""
    found: list[tuple[str, LocatedEntry | DfbenchError]] = []
    for name in registry.zoo:
        try:
            found.append((name, entry_by_name(name, registry)))
        except DfbenchError as error:
            found.append((name, error))
    return found


def load_located(located: LocatedEntry, registry: Registry) -> LoadedCheckpoint:
    """Build the network of an entry and fit its weights strictly.

    Raises:
        DataError: The weights are not the recorded ones, do not fit the network, or are not finite.
        UsageError: The detector is not installed.
        PluginError: Its plugin is broken.
    """
    from dfbench.training.adaptation import add_adaptations, read_adaptations
    from dfbench.training.checkpoint import load_weights, misfit

    entry = located.entry
    if not located.checked:
        check_file(located.folder, entry.weights, entry.name)
    detector = detector_of(entry, registry)
    model = detector.build()
    add_adaptations(
        model, read_adaptations(located.weights, entry.name), registry.adapters, origin=f"checkpoint {entry.name}"
    )
    state = load_weights(located.weights, entry.name)
    if problem := misfit(model.state_dict(), state):
        installed = registry.detectors.plugin(entry.detector).version or "an unknown version"
        raise DataError(
            f"{entry.name}: the weights do not fit the network that detector {entry.detector!r} builds: {problem}; "
            f"they were made with {entry.plugin.distribution} {entry.plugin.version}, and {installed} is "
            "installed"
        )
    model.load_state_dict(state, strict=True)
    return LoadedCheckpoint(detector, model.eval(), entry)


def detector_of(entry: CheckpointEntry, registry: Registry) -> Detector:
    """The detector of an entry with its stored configuration.

    Options that decide the weights to start from are off: those that they would fetch are replaced at once.

    Raises:
        UsageError: There is no such detector.
        PluginError: Its plugin is broken.
        DataError: The configuration is not valid for the installed version.
    """
    from pydantic import ValidationError

    from dfbench.training.detector import Task, load_detector

    made_with = f"{entry.plugin.distribution} {entry.plugin.version}"
    try:
        kind = load_detector(registry, entry.detector)
    except UsageError as error:
        raise UsageError(f"{entry.name} needs plugin {entry.plugin.name!r} of {made_with}: {error}") from error
    try:
        checked = kind.Config.model_validate(without_start(kind, entry.config))
    except ValidationError as error:
        raise DataError(
            f"{entry.name}: its configuration does not suit the installed detector {entry.detector!r}: option "
            f"{first_problem(error)}; it was made with {made_with}"
        ) from error
    return kind(checked, Task(entry.classes, entry.input.native_size, len(entry.training.experiences)))
