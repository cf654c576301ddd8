"""The contract of a detector: its network, its view of the data, and its own training loop.

A detector is a class with a typed configuration and named presets. Only :meth:`Detector.build` must be written. The
rest has ordinary defaults (frames, cross-entropy, a loop over epochs), and each part can be replaced, above all the
training loop::

    class MyDetector(Detector):
        def build(self):
            return MyNetwork(num_classes=self.task.num_classes)

        def train(self, loop):                                # any procedure of your own
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
    from dfbench.plugins import Registry
    from dfbench.training.loop import Loop
    from dfbench.training.unit_outputs import UnitRows


class DetectorConfig(BaseModel):
    """Options that every detector has; subclass it for more. ``--set key=value`` sets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(32, ge=1, description="training units per step, before replayed ones are added")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: forward and loss under autocast")


class EpochConfig(DetectorConfig):
    """Options of a detector that trains by passes over the data, as the default loop does."""

    epochs: int = Field(4, ge=1, description="passes over each experience")


@dataclass(frozen=True)
class Task:
    """What a detector may know of the benchmark before it builds its network.

    Attributes:
        classes: names of the classes in label order.
        native_size: (height, width) of the pictures as the benchmark has them; None if they differ.
        experiences: number of experiences of the stream.
    """

    classes: tuple[str, ...] = ("real", "fake")
    native_size: tuple[int, int] | None = None
    experiences: int = 1

    @property
    def num_classes(self) -> int:
        """Number of logits per prediction."""
        return len(self.classes)


class Detector:
    """Base class of detectors.

    Attributes:
        Config: class of the options.
        presets: named configurations, as values that differ from ``Config``'s defaults. The first is the default.
        head: name of the final ``nn.Linear`` in the network, for methods that work on it; several names for an
            ensemble of networks with a head each. None: the last one.
        opaque: True if :meth:`train` hides its steps because it hands the model to another trainer. Then only
            strategies that choose the data can be used, and the loop reads ``loop.data``, not ``loop.batches()``.
        mixes: True if :meth:`loss` mixes the units of a batch (mixup) or puts them into another order, which cannot
            always be seen from outside, or what is inside a unit. Strategies that keep outputs of single units are
            then refused, but for those that :meth:`unit_rows` is for, where it is defined.
        distributes: True if several processes may share a training: :meth:`loss` is a mean over the units of the batch,
            and nothing in :meth:`train` depends on which units are in it (a queue of features, in-batch negatives).
        start_options: options that say nothing but which weights :meth:`build` starts from. They are off (False or
            None) where the weights come from a checkpoint, and ``facts`` of their names are then left out.
        config: the validated configuration, a ``Config``.
        task: what is known of the benchmark.
        facts: what the record should say of this network beyond its configuration (``{"pretrained": False}``).
    """

    Config: ClassVar[type[DetectorConfig]] = EpochConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}
    head: ClassVar[str | tuple[str, ...] | None] = None
    opaque: ClassVar[bool] = False
    mixes: ClassVar[bool] = False
    distributes: ClassVar[bool] = False
    start_options: ClassVar[tuple[str, ...]] = ("pretrained",)

    def __init__(self, config: DetectorConfig, task: Task) -> None:
        self.config: Any = config
        self.task = task
        self.facts: dict[str, Any] = {}

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """The preset of a run that names none: the first, unless a detector chooses by the device."""
        return next(iter(cls.presets))

    def build(self) -> nn.Module:
        """The network: its input is what :meth:`inputs` returns, its output (N, num_classes) logits, real first."""
        raise NotImplementedError(f"{type(self).__name__} must define build()")

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) at which pictures are stored for this detector; None: as they are."""
        return None

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        """The units to train on or to predict: frames unless overridden.

        Args:
            samples: the stream's sample table.
            rows: int64, the samples of one split of one experience.
            training: True for units to train on, False for units to predict.
        """
        return frames(samples, rows)

    def augment(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """CPU-side augmentation of one training unit, in worker processes: recompression, PIL transforms.

        Only a detector that overrides it pays for it. What can be done to whole batches on the device belongs in
        :meth:`inputs`.

        Args:
            pixels: uint8, the unit's shape + (H, W, 3), 0…255 RGB; the method may write into it.
            random: the only source of random numbers to use. It is seeded by run, experience and position, so the
                result does not depend on which process does the work.

        Returns:
            uint8 or float32 of any shape, the same for every unit; ``batch.pixels`` holds N of them.
        """
        return pixels

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Network input of a batch.

        Args:
            batch: its ``pixels`` are uint8 (N, …, H, W, 3).
            training: augment only if True.

        Returns:
            float32 (N, …, 3, H, W) unless overridden.
        """
        return normalize(batch.pixels)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The training loss of a batch, a scalar.

        Strategies use it for their reference passes too, in train or eval mode (``model.training``), so it must
        depend on ``model`` and ``batch`` alone. It is always called with gradients enabled.
        """
        return F.cross_entropy(model(self.inputs(batch, model.training)), batch.labels)

    def unit_rows(self, model: nn.Module, batch: Batch) -> UnitRows | None:
        """Which training unit each row of ``model(x)`` belongs to, after :meth:`loss` on this batch.

        For detectors whose units have several rows (the frames of a clip, the networks of an ensemble), or soft labels
        because the loss mixes what is inside a unit. Strategies that keep outputs of units can then train them
        (``Need.UNIT_ROWS``). A loss that mixes at random leaves its draws in ``batch.mix``, and uses what it finds
        there.

        Args:
            model: the network.
            batch: as the loss left it.

        Returns:
            The rows; None: row i is unit i, and has its label.
        """
        return None

    def unmixed(self, batch: Batch) -> list[torch.Tensor]:
        """Values of ``batch.mix`` with which the loss mixes nothing: one for each thing inside a unit, (N, …) each.

        Strategies that choose which units to store look at each of them. Empty where nothing is mixed.
        """
        return []

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the default loop."""
        return torch.optim.Adam(model.parameters(), lr=1e-3)

    def train(self, loop: Loop) -> None:
        """Train on one experience. Called once per experience, with the weights that the last one left."""
        loop.optimize(self.optimizer(loop.model))
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(loop.model, batch)
                loop.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """What ``self`` carries from one experience to the next: a teacher, an optimizer that goes on.

        It is stored after each experience, so that an interrupted run goes on as an undisturbed one.

        Returns:
            Nested dicts (with strings as keys) and lists of tensors, numbers, strings and None.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, before the next experience; its tensors are on the CPU."""
        if state:
            raise NotImplementedError(
                f"{type(self).__name__} defines state_dict() and must define load_state_dict() too"
            )

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Probabilities of the classes, (N, num_classes), rows summing to 1; called in eval mode without gradients."""
        return torch.softmax(model(self.inputs(batch, training=False)).float(), dim=1)


def load_detector(registry: Registry, name: str) -> type[Detector]:
    """The class of a registered detector.

    Raises:
        UsageError: No detector has this name.
        PluginError: It cannot be imported, is not a detector, or its presets are not configurations of it.
    """
    kind: type[Detector] = registry.detectors.load(name, Detector)
    if not isinstance(kind.presets, dict) or not kind.presets:
        raise registry.detectors.fault(name, 'presets names no preset: give one at least, as presets = {"default": {}}')
    for preset, values in kind.presets.items():
        if wrong := [key for key in values if key not in kind.Config.model_fields]:
            raise registry.detectors.fault(
                name, f"preset {preset!r} sets {wrong[0]!r}, which {kind.Config.__name__} does not have"
            )
    return kind
