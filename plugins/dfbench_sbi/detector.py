"""SBI (Shiohara & Yamasaki 2022, CVPR, arXiv:2204.08376): fakes are made of the reals, picture by picture.

Our implementation. ``docs/sbi.md`` says what is the authors' and what is not.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from dfbench_imagenet import load_packaged
from torch import nn

from dfbench import Batch, DataError, Detector, Loop, Samples, UnitRows, Units, UsageError, frames
from dfbench_sbi.augmentation import Augmentation
from dfbench_sbi.blending import self_blended
from dfbench_sbi.config import PRESETS, SBIConfig
from dfbench_sbi.sam import Uphill

log = logging.getLogger("dfbench.sbi")

HEAD = "classifier"


class SBI(Detector):
    """An EfficientNet that learns to distinguish real faces from blends of them with changed copies of themselves.

    A unit to train on is one picture, and two rows of the network: the real one and the fake made of it, new in every
    pass. A memory stores real pictures alone. With ``fakes=both`` the stream's fakes are units too, with a blend
    that is a fake as well; with ``fakes=own`` nothing is blended.
    """

    Config: ClassVar = SBIConfig
    presets: ClassVar[dict[str, dict[str, Any]]] = PRESETS
    head: ClassVar[str | None] = HEAD

    @classmethod
    def default_preset(cls, device: torch.device) -> str:
        """``lite`` on a CPU, ``paper`` on anything faster."""
        return "lite" if device.type == "cpu" else "paper"

    def build(self) -> nn.Module:
        """Input (N, 3, S, S), output (N, 2); ``facts`` says what it starts from.

        Raises:
            UsageError: the stream has more than two classes, or timm has no such body.
        """
        import timm

        body = self.config.body
        if self.task.num_classes != 2:
            raise UsageError(f"sbi distinguishes real from fake; this stream has {self.task.num_classes} classes")
        if body.partition(".")[0] not in timm.list_models():
            raise UsageError(f"body {body!r} is no network of timm; the paper's is tf_efficientnet_b4.ap_in1k")
        options: dict[str, Any] = {"num_classes": self.task.num_classes}
        if self.config.pretrained:
            network = timm.create_model(body, pretrained=False, **options)
            if origin := load_packaged(network, body):
                self.facts.update(pretrained=True, imagenet=origin)
            else:
                network = self._fetched(options) or network
        else:
            network = timm.create_model(body, pretrained=False, **options)
        self.facts.setdefault("pretrained", False)
        head = getattr(network, HEAD, None)
        if not isinstance(head, nn.Linear):
            raise UsageError(f"body {body!r} does not end in a linear layer called {HEAD}: take an EfficientNet")
        # timm draws a final layer of ±1/√outputs, far too large for two.
        head.reset_parameters()
        return network.to(memory_format=torch.channels_last)

    def _fetched(self, options: dict[str, Any]) -> nn.Module | None:
        import timm

        try:
            network = timm.create_model(self.config.body, pretrained=True, **options)
        except Exception as error:
            log.warning(
                "sbi starts from random weights: the ImageNet weights of %s could not be fetched (%s)",
                self.config.body,
                type(error).__name__,
            )
            return None
        self.facts["pretrained"] = True
        return network

    @property
    def image_size(self) -> tuple[int, int]:
        """Square pictures."""
        return (self.config.image_size, self.config.image_size)

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        """Single pictures; those to train on are labelled as their two rows are, (real, fake) or (fake, fake).

        Raises:
            DataError: there is no real picture to train on.
        """
        single = frames(samples, rows)
        if not training or self.config.fakes == "own":
            return single
        if self.config.fakes == "blended":
            single = single.take(np.flatnonzero(single.labels == 0))
        if not (single.labels == 0).any():
            raise DataError("no real picture in this split: sbi makes its fakes of real ones")
        labels = np.stack([single.labels, np.ones_like(single.labels)], axis=1)
        # Where a strategy counts classes, a pair of both counts under each in turn, as dfbench's own pairs do.
        target = np.arange(len(single)) % 2 if self.config.fakes == "blended" else single.target
        return Units(single.rows, labels, target)

    def augment(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Flip, blend and augment one picture (H, W, 3); two of them, (2, S, S, 3), unless ``fakes=own``."""
        c = self.config
        if random.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        alike = Augmentation(c.train_size or c.image_size, c.crop, c.jpeg, c.quality, c.shrink, c.smallest)
        if c.fakes == "own":
            return alike(pixels[None], random)[0]
        real, fake, _ = self_blended(pixels, c.margin, random)
        return alike(np.stack([real, fake]), random)

    def inputs(self, batch: Batch, training: bool) -> torch.Tensor:
        """Float32 (N, 3, S, S), or (2N, 3, S, S) in training: the two rows of each unit follow each other."""
        pixels = batch.pixels
        return super().inputs(Batch(pixels.flatten(0, -4), batch.labels, batch.units, batch.experience), training)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Cross-entropy in which reals and fakes weigh the same, whatever their numbers."""
        labels = batch.labels.flatten()
        each = F.cross_entropy(model(self.inputs(batch, model.training)).float(), labels, reduction="none")
        fake = labels.to(each.dtype)
        counts = torch.stack([(1 - fake).sum(), fake.sum()])
        present = counts.clamp(max=1).sum()  # 1 where a batch has one class alone
        return (each / (counts[labels] * present)).sum()

    def unit_rows(self, model: nn.Module, batch: Batch) -> UnitRows | None:
        """A picture and its blend, one after another; one row per unit with ``fakes=own``."""
        if batch.labels.dim() == 1:
            return None
        labels = batch.labels.flatten()
        units = torch.arange(len(batch)).repeat_interleave(2)
        return UnitRows(units, F.one_hot(labels, 2).float(), (len(labels),))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """SGD with momentum, also below SAM; or AdamW."""
        c = self.config
        if c.optimizer == "adamw":
            return torch.optim.AdamW(model.parameters(), lr=c.lr, weight_decay=c.weight_decay, fused=True)
        return torch.optim.SGD(model.parameters(), lr=c.lr, momentum=c.momentum, weight_decay=c.weight_decay)

    def train(self, loop: Loop) -> None:
        """Passes over the data; the rate and the optimizer restart with each experience."""
        c, model = self.config, loop.model
        optimizer = self.optimizer(model)
        total = max(1, c.epochs * loop.batches_per_epoch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._rate((step + 0.5) / total))
        loop.optimize(optimizer, schedulers=[schedule])
        for _ in loop.epochs(c.epochs):
            for batch in loop.batches():
                with loop.autocast():
                    loss = self.loss(model, batch)
                    if c.optimizer == "sam":
                        loss = self.loss(Uphill(model, loss, c.rho), batch)
                loop.step(loss)

    def _rate(self, done: float) -> float:
        """The factor of the learning rate when this share of the steps is done."""
        c = self.config
        if done < c.warm_up:
            return done / c.warm_up
        return min(1.0, max(0.0, (1 - done) / (1 - c.decay_from)))
