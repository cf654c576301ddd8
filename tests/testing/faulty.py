"""A sound detector, and others that each break one promise of the contract."""

from __future__ import annotations

import random
import time
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dfbench import Batch, Detector, EpochConfig, Loop, Samples, UnitRows, Units


class Network(nn.Module):
    """Batch normalisation, dropout, two linear layers of two rows."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.neck = nn.Linear(8 * 16, 2)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(8 * 16 + 2, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 2) of (N, 3, H, W)."""
        x = F.adaptive_avg_pool2d(self.trunk(x), 4).flatten(1)
        return self.head(torch.cat([self.drop(x), self.neck(x)], 1))


class Config(EpochConfig):
    """Small batches."""

    batch_size: int = 8
    epochs: int = 1


class Sound(Detector):
    """Keeps every promise."""

    Config: ClassVar = Config
    head: ClassVar[Any] = "head"

    def build(self) -> nn.Module:
        return Network()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=5e-3)


class Augmenting(Sound):
    """Augments as it should."""

    def augment(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return pixels[:, ::-1].copy() if random.random() < 0.5 else pixels


_CACHE: dict[str, nn.Module] = {}


class Cached(Sound):
    """State in a global: the network of an earlier run."""

    def build(self) -> nn.Module:
        return _CACHE.setdefault("network", Network())


class Unseeded(Sound):
    """Weights that no seed decides."""

    def build(self) -> nn.Module:
        network = Network()
        nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(time.time_ns() % 2**31))
        return network


class Timed(Sound):
    """A time in what identifies a run."""

    def build(self) -> nn.Module:
        self.facts["built"] = time.time_ns()
        return Network()


class Dropping(Sound):
    """Predicts half of the videos."""

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        units = super().units(samples, rows, training)
        return units if training else units.take(np.arange(len(units) // 4, len(units)))


class Relabelling(Sound):
    """Fakes are 0 in the units that it predicts."""

    def units(self, samples: Samples, rows: np.ndarray, training: bool) -> Units:
        units = super().units(samples, rows, training)
        return units if training else Units(units.rows, 1 - units.labels, units.target)


class Drawing(Sound):
    """A loss that draws outside of the seeded generators."""

    generator = np.random.default_rng()

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return super().loss(model, batch) * float(self.generator.uniform(0.5, 1.5))


class Counting(Sound):
    """A loss that trains something by itself."""

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        loss = super().loss(model, batch)
        model.seen += 1  # type: ignore[operator]
        return loss


class Remembering(Sound):
    """A loss that keeps a running mean in the detector."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.mean = torch.zeros(())

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        loss = super().loss(model, batch)
        self.mean.lerp_(loss.detach(), 0.1)
        return loss


class Scaling(Sound):
    """A loss that works in the batch's own memory."""

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        batch.pixels.div_(2, rounding_mode="floor")
        return super().loss(model, batch)


class Attached(Sound):
    """A loss of the network that it keeps, whichever it is given."""

    def build(self) -> nn.Module:
        self.network = [Network()]
        return self.network[0]

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return super().loss(self.network[0].train(model.training), batch)


class Elsewhere(Sound):
    """Augmentation that draws from Python's generator."""

    def augment(self, pixels: np.ndarray, random_: np.random.Generator) -> np.ndarray:
        return pixels[:, ::-1].copy() if random.random() < 0.5 else pixels


class Batchwise(Sound):
    """Predictions that are normalised over the batch."""

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = model(self.inputs(batch, training=False))
        return torch.softmax(logits - logits.mean(0), 1)


class Flipping(Sound):
    """Test-time augmentation at random."""

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        x = self.inputs(batch, training=False)
        return torch.softmax(model(x.flip(3) if torch.rand(()) < 0.5 else x), 1)


class Adapting(Sound):
    """Predictions that move the statistics of batch normalisation."""

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        model.seen += len(batch)  # type: ignore[operator]
        return super().predict(model, batch)


class Neck(Sound):
    """A head that is not the head."""

    head: ClassVar[Any] = "neck"


class Swapped(Sound):
    """The fakes' column first."""

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return super().predict(model, batch).flip(1)


class Idle(Sound):
    """A rate at which nothing is learned."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1e-12)


class Outside(Sound):
    """Predictions that need what no checkpoint holds."""

    bias = 0.0

    def train(self, loop: Loop) -> None:
        super().train(loop)
        self.bias = 2.0

    def predict(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return torch.softmax(model(self.inputs(batch, False)) + torch.tensor([0.0, self.bias]), 1)


class Moody(Sound):
    """A class attribute that goes on from run to run."""

    runs: ClassVar[list[int]] = []

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        self.runs.append(1)
        return torch.optim.Adam(model.parameters(), lr=1e-3 * (1 + len(self.runs)))


class Taught(Sound):
    """A teacher of the experience before, which no checkpoint holds."""

    teacher: nn.Module | None = None

    def train(self, loop: Loop) -> None:
        loop.optimize(self.optimizer(loop.model))
        for batch in loop.batches():
            x = self.inputs(batch, True)
            logits = loop.model(x)
            loss = F.cross_entropy(logits, batch.labels)
            if self.teacher is not None:
                with torch.no_grad():
                    taught = self.teacher(x)
                loss = loss + F.mse_loss(logits, taught)
            loop.step(loss)
        self.teacher = self.build()
        self.teacher.load_state_dict(loop.model.state_dict())
        self.teacher.eval()


class Mixing(Sound):
    """Mixes units, and says so: strategies that keep outputs of units refuse it."""

    mixes: ClassVar[bool] = True

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        x = self.inputs(batch, model.training)
        logits = model((x + x.flip(0)) / 2)
        return (F.cross_entropy(logits, batch.labels) + F.cross_entropy(logits, batch.labels.flip(0))) / 2


class Displaced(Sound):
    """Takes each row of the network's output for that of the unit before."""

    def unit_rows(self, model: nn.Module, batch: Batch) -> UnitRows:
        units = torch.arange(len(batch)).roll(1)
        return UnitRows(units, F.one_hot(batch.labels[units], 2).float(), (len(batch),))


class Failing(Sound):
    """Raises where a batch holds stored units."""

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        (_,) = batch.experience.unique()
        return super().loss(model, batch)
