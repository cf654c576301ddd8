"""The contract of a detector: its network, its view of the data, and its own training loop.

A detector is a class with a typed configuration and named presets. Only :meth:`Detector.build` must
be written; everything else has the ordinary default (frames, cross-entropy, an epoch loop), and every
part can be replaced, the training loop above all::

    class MyDetector(Detector):
        def build(self):
            return MyNetwork(num_classes=self.task.num_classes)

        def train(self, loop):                                # your own procedure, whatever it is
            loop.optimize(torch.optim.SGD(loop.model.parameters(), lr=0.1))
            for epoch in loop.epochs(self.config.epochs):
                for batch in loop.batches():                  # replayed samples are already in it
                    loop.step(self.loss(loop.model, batch))   # backward, strategy, optimizer

``docs/detectors.md`` walks through a complete plugin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from dfbench.data.loader import Batch
from dfbench.data.units import Units, frames
from dfbench.training.modeling import normalize

if TYPE_CHECKING:
    from dfbench.data.samples import Samples
    from dfbench.training.loop import Loop


class DetectorConfig(BaseModel):
    """Options that every detector has; subclass it for more. ``--set key=value`` sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(32, ge=1, description="training units a step, before replayed ones are added")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: forward and loss under autocast")


class EpochConfig(DetectorConfig):
    """Options of a detector that trains by passes over the data, as the default loop does."""

    epochs: int = Field(4, ge=1, description="passes over each experience")


@dataclass(frozen=True)
class Task:
    """What a detector is told of the benchmark before it builds its network."""

    classes: tuple[str, ...] = ("real", "fake")
    """Names of the classes in label order."""
    native_size: tuple[int, int] | None = None
    """(height, width) of the stored pictures, None when they differ."""
    experiences: int = 1
    """How many experiences the stream has."""

    @property
    def num_classes(self) -> int:
        """How many logits the network is to give."""
        return len(self.classes)


class Detector:
    """A detector. ``self.config`` is its validated configuration, ``self.task`` the benchmark's facts."""

    Config: ClassVar[type[DetectorConfig]] = EpochConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}
    """Named configurations: values that differ from ``Config``'s defaults. The first is the default."""
    head: ClassVar[str | tuple[str, ...] | None] = None
    """Name of the final ``nn.Linear`` in the network, for methods that work on it; several names for an
    ensemble of networks with a head each. None: the last one."""
    opaque: ClassVar[bool] = False
    """True when :meth:`train` hides its steps (it hands the model to another trainer): data-level
    strategies only. Such a loop reads ``loop.data`` instead of ``loop.batches()``."""

    def __init__(self, config: DetectorConfig, task: Task) -> None:
        self.config: Any = config
        self.task = task
        self.facts: dict[str, Any] = {}
        """What the record should say of this network beyond its configuration (``{"pretrained": False}``)."""

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """The preset of a run that names none: the first, unless a detector chooses by the device."""
        return next(iter(cls.presets))

    def build(self) -> nn.Module:
        """The network: input as :meth:`inputs` gives it, output (N, num_classes) logits, real first."""
        raise NotImplementedError(f"{type(self).__name__} must define build()")

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) at which pictures are stored for this detector; None: as they are."""
        return None

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        """What to train on (``training``) and to predict: frames unless overridden.

        Args:
            samples: the stream's sample table. rows: int64, the samples of one split of one experience.
        """
        return frames(samples, rows)

    def augment(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """What is done to one training unit on the CPU, in worker processes beside the training: decoding,
        recompression, PIL transforms. Only a detector that overrides it pays for it; what can be done to
        whole batches on the device belongs in :meth:`inputs`.

        Args:
            pixels: uint8, the unit's shape + (H, W, 3), 0…255 RGB; the method may write into it.
            random: draw from it alone: it is seeded by run, experience and position, so the result does
                not depend on which process does the work.

        Returns: uint8 or float32 of any shape, the same for every unit; ``batch.pixels`` holds N of them.
        """
        return pixels

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """uint8 pixels (N, H, W, 3) to network input (N, 3, H, W); augmentation only if ``training``."""
        return normalize(batch.pixels)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The training loss of a batch, a scalar. Strategies use it for their reference passes too, in
        train or eval mode (``model.training``), so it must depend on ``model`` and ``batch`` alone."""
        return F.cross_entropy(model(self.inputs(batch, model.training)), batch.labels)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the default loop."""
        return torch.optim.Adam(model.parameters(), lr=1e-3)

    def train(self, loop: Loop) -> None:
        """One experience. Called once for each, with the weights the last one left."""
        loop.optimize(self.optimizer(loop.model))
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Probabilities of the classes, shape (N, num_classes), rows summing to 1. Runs in eval mode without grad."""
        return torch.softmax(model(self.inputs(batch, training=False)).float(), dim=1)
