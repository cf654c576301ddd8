"""The zoo: checkpoints by name, folder or Hub id, and the one way to load them.

``load("NAME")`` is what everything that predicts uses. It checks the sha256 of the weights before
they are opened, builds the network with the stored configuration, fits the weights strictly, and
imports no Avalanche.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dfbench.errors import DataError, DfbenchError, UsageError, unknown
from dfbench.publish.zoo.entry import ENTRY_FILE, Checkpoint, File, read_entry
from dfbench.publish.zoo.places import pulled

if TYPE_CHECKING:
    from torch import nn

    from dfbench.plugins import Registry
    from dfbench.training.detector import Detector

HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>\S+))?")
"""``user/repo`` or ``user/repo@revision``."""
Notice = Callable[[str], None]


@dataclass(frozen=True)
class Located:
    """An entry, and the folder that its files' paths are relative to; ``folder`` may not exist yet (Hub)."""

    entry: Checkpoint
    folder: Path

    @property
    def weights(self) -> Path:
        """The weights' file."""
        return self.folder / self.entry.weights.path

    @property
    def present(self) -> bool:
        """Whether all files are on this machine."""
        return all((self.folder / file.path).is_file() for file in self.entry.files)


class Loaded(NamedTuple):
    """A checkpoint ready to predict: ``detector.predict(model, batch)``."""

    detector: Detector
    model: nn.Module
    """In eval mode, on the CPU."""
    entry: Checkpoint


def named(name: str, registry: Registry) -> Located:
    """The zoo entry of this name.

    Raises:
        UsageError: no such name. PluginError: two plugins brought it. DataError: the entry is not valid.
    """
    return at(Path(registry.zoo[name].target), name)


def at(path: Path, name: str | None = None) -> Located:
    """The entry in this file; ``name`` is what it must be called."""
    entry = read_entry(path)
    if name is not None and entry.name != name:
        raise DataError(f"{path}: the entry calls itself {entry.name!r} but is registered as {name!r}")
    folder = path.parent if entry.hub is None else pulled(entry.hub.repo, entry.hub.commit)
    return Located(entry, folder)


def find(ref: str, registry: Registry, notice: Notice | None = None) -> Located:
    """What ``ref`` means: a zoo name, an entry's file, a folder (pulled, or of a finished run), or a Hub id.

    Only a Hub id is looked up in the network. The files may still have to be pulled.

    Raises:
        UsageError: it means nothing. DataError: the entry or the run is not valid. HubError: see :mod:`hub_pull`.
    """
    path = Path(ref).expanduser()
    if ref in registry.zoo:
        return named(ref, registry)
    if path.is_file():
        return at(path)
    if path.is_dir():
        if (path / ENTRY_FILE).is_file():
            return Located(read_entry(path / ENTRY_FILE), path)
        from dfbench.publish.zoo.from_run import entry_from_run

        return Located(entry_from_run(path, registry), path)
    if match := HUB_ID.fullmatch(ref):
        from dfbench.publish.hub.pull import entry_of

        entry = entry_of(match["repo"], match["revision"] or "main", notice=notice)
        assert entry.hub is not None
        return Located(entry, pulled(entry.hub.repo, entry.hub.commit))
    if os.sep in ref or path.suffix in (".yaml", ".yml", ".json"):
        raise UsageError(f"{ref}: there is no such file or folder, and it is no Hub id (user/repo)")
    error = unknown("checkpoint", ref, registry.zoo)
    raise UsageError(f"{error} (or give a run's folder, an entry's file, or a Hub id: user/repo)")


def load(ref: str, registry: Registry | None = None, notice: Notice | None = None) -> Loaded:
    """Load a checkpoint by zoo name, entry file, folder or Hub id, fetching it first where that is needed.

    Raises:
        UsageError: nothing is called that. DataError: a hash is wrong, or the weights do not fit.
        PluginError: its detector's plugin is broken. HubError: it cannot be fetched.
    """
    from dfbench import plugins

    registry = registry or plugins.registry()
    return load_located(fetch(find(ref, registry, notice), notice), registry)


def fetch(located: Located, notice: Notice | None = None) -> Located:
    """The same, with its files on this machine."""
    if located.entry.hub is not None and not located.present:
        from dfbench.publish.hub.pull import pull_entry

        pull_entry(located.entry, notice=notice)
    return located


def load_located(located: Located, registry: Registry) -> Loaded:
    """Build the network of an entry and fit its weights strictly."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    entry = located.entry
    check_file(located.folder, entry.weights, entry.name)
    detector, model = build(entry, registry)
    try:
        state = load_file(located.weights)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{located.weights}: not a safetensors file ({_line(error)})") from error
    expected = model.state_dict()
    missing, surplus = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    wrong = [
        f"{name} is {_shape(state[name])} and not {_shape(expected[name])}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    differs = [f"{n} is missing" for n in missing] + [f"{n} is unknown" for n in surplus] + wrong
    if differs:
        raise DataError(
            f"{entry.name}: the weights do not fit the network that detector {entry.detector!r} builds: {differs[0]}"
            f"{f' ({len(differs) - 1} more)' if len(differs) > 1 else ''}; they were made with "
            f"{entry.plugin.distribution} {entry.plugin.version}, here is "
            f"{registry.detectors.plugin(entry.detector).version or 'an unknown version'}"
        )
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not torch.isfinite(value).all():
                raise DataError(f"{entry.name}: {name} holds values that are not finite; training diverged")
    return Loaded(detector, model.eval(), entry)


def build(entry: Checkpoint, registry: Registry) -> tuple[Detector, nn.Module]:
    """The detector of an entry with its stored configuration, and its network with fresh weights.

    An option called ``pretrained`` is turned off: the weights that it would fetch are replaced at once.

    Raises:
        UsageError: there is no such detector here. DataError: the configuration is not one of this version's.
    """
    from pydantic import ValidationError

    from dfbench.training.detector import Task

    try:
        kind: type[Detector] = registry.detectors.load(entry.detector)
    except UsageError as error:
        raise UsageError(
            f"{entry.name} needs plugin {entry.plugin.name!r} of {entry.plugin.distribution} {entry.plugin.version}: "
            f"{error}"
        ) from error
    config: dict[str, Any] = dict(entry.config)
    if "pretrained" in kind.Config.model_fields:
        config["pretrained"] = False
    try:
        checked = kind.Config.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{entry.name}: option {'.'.join(map(str, first['loc']))!r} of its configuration does not suit detector "
            f"{entry.detector!r} as it is here: {first['msg']}; it was made with {entry.plugin.distribution} "
            f"{entry.plugin.version}"
        ) from error
    task = Task(entry.classes, entry.input.native_size, len(entry.training.experiences))
    detector = kind(checked, task)
    return detector, detector.build()


def check_file(folder: Path, file: File, name: str) -> None:
    """Make sure that a file is the one that the entry means.

    Raises:
        DataError: it is missing, or has another size or another sha256.
    """
    from dfbench.files import sha256_of

    path = folder / file.path
    try:
        size = path.stat().st_size
        found = "" if size != file.size else sha256_of(path)
    except FileNotFoundError:
        raise DataError(f"{name}: {path} is missing; fetch it with: dfbench zoo pull {name}") from None
    except OSError as error:
        raise DataError(f"{name}: {path}: cannot be read ({error.strerror or error})") from error
    if size != file.size:
        raise DataError(f"{name}: {path} has {size} bytes and not {file.size}: it is not the recorded file; not used")
    if found != file.sha256:
        raise DataError(f"{name}: {path} has sha256 {found[:12]}… and not {file.sha256[:12]}…; it is not used")


def entries(registry: Registry) -> list[tuple[str, Located | DfbenchError]]:
    """Every name of the zoo with its entry, or with what is wrong with it."""
    found: list[tuple[str, Located | DfbenchError]] = []
    for name in registry.zoo:
        try:
            found.append((name, named(name, registry)))
        except DfbenchError as error:
            found.append((name, error))
    return found


def _shape(tensor: Any) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
