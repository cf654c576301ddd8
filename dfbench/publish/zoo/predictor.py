"""``dfbench.load``: from a reference to something that says how likely a picture is fake.

Pictures are resized by the function that stored the training pictures, and predicted by the detector's own
``predict`` in the batches, the precision and the mode of an evaluation. Avalanche is not imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from dfbench.data.loader import Batch
from dfbench.data.pictures import resize
from dfbench.errors import UsageError
from dfbench.plugin_faults import named
from dfbench.plugins import registry
from dfbench.publish.zoo.checkpoint import LoadedCheckpoint
from dfbench.publish.zoo.resolve import open_checkpoint
from dfbench.runs.environment import choose_device
from dfbench.runs.prediction import EVAL_BATCH, class_probabilities


def load(ref: str | Path, *, device: str = "auto") -> Predictor:
    """Load a checkpoint, ready to predict; a missing one is fetched from the Hub.

    The sha256 of the weights is checked before they are opened.

    Args:
        ref: A name of the zoo (``dfbench zoo list``), an entry's ``.yaml`` file, a folder (pulled, or of a
            finished run), or a Hub id: ``user/repo`` or ``user/repo@revision``.
        device: ``auto`` (a CUDA device if there is one), ``cpu``, ``cuda``, ``cuda:1``, …

    Raises:
        UsageError: The reference means nothing, the detector is not installed, or the device is not available.
        DataError: The weights are not the recorded ones, or do not fit.
        PluginError: The detector's plugin is broken.
        HubError: The checkpoint cannot be fetched.
    """
    chosen = choose_device(device)
    return Predictor(open_checkpoint(str(ref), registry()), chosen)


class Predictor:
    """A checkpoint that judges pictures, or clips where its detector was trained on clips.

    Attributes:
        entry: Everything that is known of the checkpoint.
        detector: The detector with its stored configuration.
        model: Its network, in eval mode on ``device``.
        device: Where predictions are computed.
    """

    def __init__(self, loaded: LoadedCheckpoint, device: torch.device) -> None:
        self.detector, model, self.entry = loaded
        self.model = model.to(device)
        self.device = device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of :meth:`predict_proba`'s columns."""
        return self.entry.classes

    def predict(self, pictures: np.ndarray | Sequence[np.ndarray]) -> float | np.ndarray:
        """P(fake) of one picture, or of many.

        Args:
            pictures: uint8 RGB of shape (H, W, 3), of any size; a batch (N, H, W, 3), or a list of pictures
                whose sizes may differ. A checkpoint of clips takes (T, H, W, 3) and (N, T, H, W, 3) instead.

        Returns:
            A float in [0, 1] for one picture or clip, else float32 (N,).

        Raises:
            UsageError: The array has another shape or type, or the checkpoint has more than two classes.
        """
        if len(self.classes) != 2:
            raise UsageError(
                f"{self.entry.name} tells {len(self.classes)} classes apart and has no P(fake): use predict_proba"
            )
        fake = self.predict_proba(pictures)[:, 1]
        return float(fake[0]) if self._is_one(pictures) else fake

    def predict_proba(self, pictures: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Class probabilities, float32 (N, classes), of pictures as :meth:`predict` takes them; one is N = 1.

        Raises:
            UsageError: The array has another shape or type.
            PluginError: The detector's own code raised something.
        """
        units = self._units(pictures)
        if self._size is None and len({unit.shape for unit in units}) > 1:
            raise UsageError(f"{self.entry.name} takes pictures as they are: predict those of each size on their own")
        with named(registry):
            return class_probabilities(self.detector, self.model, self._batches(units), self.autocast)

    def autocast(self) -> torch.autocast:
        """The precision that the detector's configuration asks for."""
        half = self.detector.config.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    @property
    def _size(self) -> tuple[int, int] | None:
        return self.entry.input.picture_size

    @property
    def _needed(self) -> str:
        shape = ", ".join(map(str, (*self.entry.input.unit, "H", "W", "3")))
        return f"{self.entry.name} needs uint8 RGB arrays: ({shape}), a batch (N, {shape}), or a list"

    def _is_one(self, pictures: object) -> bool:
        return isinstance(pictures, np.ndarray) and pictures.ndim == len(self.entry.input.unit) + 3

    def _units(self, pictures: object) -> list[np.ndarray]:
        """The single pictures or clips in what a user passed, each of the right type and shape."""
        is_array = isinstance(pictures, np.ndarray) and pictures.ndim > len(self.entry.input.unit) + 3
        if isinstance(pictures, np.ndarray) and not is_array:
            units = [pictures]
        elif isinstance(pictures, (np.ndarray, list, tuple)):
            units = list(pictures)
        else:
            raise UsageError(f"{self._needed}, not {_described(pictures)}")
        for unit in units:
            if not self._fits(unit):
                raise UsageError(f"{self._needed}, not {_described(pictures if is_array else unit)}")
        if not units:
            raise UsageError(f"{self._needed}, not an empty one")
        return units

    def _fits(self, unit: object) -> bool:
        shape = self.entry.input.unit
        return (
            isinstance(unit, np.ndarray)
            and unit.dtype == np.uint8
            and unit.ndim == len(shape) + 3
            and unit.shape[: len(shape)] == shape
            and unit.shape[-1] == 3
            and unit.size > 0
        )

    def _batches(self, units: Sequence[np.ndarray]) -> Iterator[Batch]:
        """The units in batches of as many pictures as an evaluation has."""
        length = max(1, EVAL_BATCH // int(np.prod(self.entry.input.unit, dtype=np.int64)))
        for start in range(0, len(units), length):
            pixels = torch.from_numpy(np.stack([self._resized(unit) for unit in units[start : start + length]]))
            zeros = torch.zeros(len(pixels), dtype=torch.int64)
            yield Batch(pixels.to(self.device), zeros.to(self.device), torch.arange(len(pixels)), zeros)

    def _resized(self, unit: np.ndarray) -> np.ndarray:
        """Every picture of a unit at the size that the network was trained on."""
        if self._size is None:
            return unit
        frames = unit.reshape(-1, *unit.shape[-3:])
        return np.stack([resize(frame, *self._size) for frame in frames]).reshape(*unit.shape[:-3], *self._size, 3)


def _described(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
