"""Weights that a run starts from instead of those of :meth:`dfbench.Detector.build`: checked, read and loaded.

What a reference means (a name of the zoo, a Hub id, …) is decided above, in :mod:`dfbench.publish.zoo.initial`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfbench.benchmarks.stream import Stream
from dfbench.errors import DataError, UsageError
from dfbench.files import sha256_of
from dfbench.records.command import setting
from dfbench.records.initial import InitialCheckpoint
from dfbench.records.spec import DETECTOR_BUDGET, without_start
from dfbench.training.adaptation import Adaptation, AdapterTable, add_adaptations, read_adaptations
from dfbench.training.checkpoint import load_weights, misfit
from dfbench.training.detector import Detector

NAMED = 4
"""Options that a message names."""


@dataclass(frozen=True)
class KnownNetwork:
    """What is known of the network that weights belong to."""

    detector: str
    preset: str
    config: Mapping[str, Any]
    """All options of the detector, as JSON holds them."""
    classes: tuple[str, ...]
    picture_size: tuple[int, int] | None
    """(height, width) of the pictures that it was trained on, as they were stored; None: their own sizes."""


@dataclass(frozen=True)
class Initial:
    """A checkpoint on this machine, to start a run from."""

    path: Path
    """Of the weights, safetensors."""
    checkpoint: InitialCheckpoint
    network: KnownNetwork | None = None
    """None: a bare file, which must fit whatever network the run builds."""

    def weights(self) -> dict[str, torch.Tensor]:
        """The state dict, on the CPU.

        Raises:
            DataError: The file is missing, damaged or not the one that is meant.
        """
        name, digest = self.checkpoint.name, self.checkpoint.sha256
        if not self.path.is_file():
            raise DataError(f"--init {name}: {self.path} is missing")
        if (found := sha256_of(self.path)) != digest:
            raise DataError(f"--init {name}: {self.path} has sha256 {found[:12]}… and not {digest[:12]}…: not used")
        return load_weights(self.path, f"--init {name}")

    def check(self, detector: str, kind: type[Detector], given: Mapping[str, Any]) -> None:
        """Refuse what is known to be wrong before any data are opened.

        Args:
            detector: Its name.
            kind: Its class.
            given: The options that the user set.

        Raises:
            UsageError: The checkpoint is another detector's, or an option asks for weights from elsewhere.
            DataError: The file is missing, damaged or not the one that is meant.
        """
        name, network = self.checkpoint.name, self.network
        if network is not None and network.detector != detector:
            raise UsageError(f"--init {name} is a checkpoint of detector {network.detector}, not of {detector}")
        for option in kind.start_options:
            if given.get(option) not in (None, False):
                raise UsageError(f"--set {option}={given[option]}: the weights come from --init; leave one of them out")
        self.weights()

    def check_stream(self, stream: Stream, detector: Detector) -> None:
        """Refuse a stream that the checkpoint's network was not made for.

        Raises:
            DataError: Its classes are not those of the network's outputs.
            UsageError: Its pictures have another size, and an option of the detector gives them the right one.
        """
        name, network = self.checkpoint.name, self.network
        if network is None:
            return
        if network.classes != stream.classes:
            theirs, ours = (f"{len(names)} classes ({_some(names)})" for names in (network.classes, stream.classes))
            raise DataError(f"--init {name} distinguishes {theirs}, {stream.name} has {ours}")
        size = network.picture_size
        if "image_size" in type(detector.config).model_fields and size and size != _stored(detector, stream):
            advice = f": add --set image_size={size[0]}" if size[0] == size[1] else ""
            raise UsageError(
                f"--init {name} was trained on pictures of {_pixels(size)}, and those of {stream.name} are "
                f"{_pixels(_stored(detector, stream))} here{advice}"
            )

    def load_into(self, model: nn.Module, detector: Detector, preset: str, adapters: AdapterTable) -> list[Adaptation]:
        """Put the weights into a network, and before them what strategies had added to theirs; returns what that is.

        Raises:
            DataError: They are damaged or do not fit; the message says what they were made with.
            UsageError: What was added needs a plugin that is not installed.
        """
        state = self.weights()
        adaptations = read_adaptations(self.path, f"--init {self.checkpoint.name}")
        add_adaptations(model, adaptations, adapters, origin=f"--init {self.checkpoint.name}")
        if problem := misfit(model.state_dict(), state):
            raise DataError(
                f"--init {self.checkpoint.name} does not fit this network (preset {preset}): {problem}; "
                f"{self._advice(detector, preset)}"
            )
        model.load_state_dict(state)
        for name in type(detector).start_options:  # what build() said of the weights that are no more
            detector.facts.pop(name, None)
        return adaptations

    def notices(self, detector: Detector, stream: Stream) -> list[str]:
        """Lines for the user: what of the run differs from what the checkpoint was trained with, and fits all the same.

        Args:
            detector: The run's.
            stream: What it is on.
        """
        network, name = self.network, self.checkpoint.name
        found = [self.checkpoint.note(stream.fingerprint)]
        if network is None:
            return found
        if other := self._other_options(detector):
            mine = detector.config.model_dump(mode="json")
            listed = _some([f"{key}={value} (here {mine.get(key)})" for key, value in other.items()])
            found.append(f"{name} was made with {listed}")
        if network.picture_size != (stored := _stored(detector, stream)):
            theirs, ours = _pixels(network.picture_size), _pixels(stored)
            found.append(f"{name} was trained on pictures of {theirs}; those of {stream.name} are {ours} here")
        return found

    def _other_options(self, detector: Detector) -> dict[str, Any]:
        """The checkpoint's options that are not the run's, those aside that cannot matter to its weights."""
        if self.network is None:
            return {}
        theirs, ours = without_start(type(detector), self.network.config), detector.config.model_dump(mode="json")
        return {k: v for k, v in theirs.items() if k not in DETECTOR_BUDGET and ours.get(k, ...) != v}

    def _advice(self, detector: Detector, preset: str) -> str:
        if self.network is None:
            about = ", ".join(f"{key}={value}" for key, value in _about(self.path).items())
            return f"the file says: {about[:200]}" if about else "it does not say what it was made with"
        options = [f"--preset {self.network.preset}"] * (self.network.preset != preset)
        options += [f"--set {setting('', *pair)}" for pair in self._other_options(detector).items()][:NAMED]
        return f"it was made with {' '.join(options)}" if options else "it was made by another version of the detector"


def _stored(detector: Detector, stream: Stream) -> tuple[int, int] | None:
    """(height, width) at which a stream's pictures are stored for a detector; None: they differ."""
    return detector.image_size or stream.native_size


def _pixels(size: tuple[int, int] | None) -> str:
    return f"{size[0]}×{size[1]} pixels" if size else "various sizes"


def _about(path: Path) -> dict[str, str]:
    """What a file of safetensors says of itself."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {k: v for k, v in (file.metadata() or {}).items() if k != "format" or v != "pt"}


def _some(texts: tuple[str, ...] | list[str]) -> str:
    return ", ".join(texts[:NAMED]) + ", …" * (len(texts) > NAMED)
