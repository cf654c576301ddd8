"""Detectors whose procedures Avalanche's own templates cannot run. Public API only."""

from __future__ import annotations

import os
import signal

import torch
import torch.nn.functional as F
from torch import nn

from dfbench import Detector, DetectorConfig, EpochConfig, frames, normalize, pairs


class Net(nn.Module):
    """A small network with a trunk and a head."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.head = nn.Linear(64, outputs)

    def forward(self, x):
        return self.head(self.trunk(x))


class OddConfig(DetectorConfig):
    """Options of the odd loop."""

    batch_size: int = 4
    warm_up: int = 2
    steps: int = 4
    accumulate: int = 2


class Odd(Detector):
    """Aligned pairs mixed into soft labels; a head-only warm-up with its own optimizer; then a budget
    of steps with gradient accumulation, clipping, two optimizers and a schedule."""

    Config = OddConfig
    head = "head"

    def build(self):
        return Net(self.task.num_classes)

    @property
    def image_size(self):
        return (32, 32)

    def units(self, samples, rows, training):
        return pairs(samples, rows) if training else frames(samples, rows)

    def loss(self, model, batch):
        x = normalize(batch.pixels)
        t = torch.distributions.Beta(0.5, 0.5).sample((len(x), 1, 1, 1))
        mixed = (1 - t) * x[:, 0] + t * x[:, 1]
        fake = t.flatten()
        return F.cross_entropy(model(mixed), torch.stack([1 - fake, fake], 1))

    def train(self, loop):
        config = self.config
        with loop.phase(loop.model.head):
            trunk = [p.clone() for p in loop.model.trunk.parameters()]
            statistics = loop.model.trunk[1].running_mean.clone()
            loop.optimize(torch.optim.SGD(loop.model.head.parameters(), lr=0.01))
            for batch in loop.steps(config.warm_up):
                loop.step(self.loss(loop.model, batch))
            assert all(torch.equal(a, b) for a, b in zip(trunk, loop.model.trunk.parameters(), strict=True))
            assert torch.equal(statistics, loop.model.trunk[1].running_mean)
        body = torch.optim.SGD(loop.model.trunk.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        head = torch.optim.Adam(loop.model.head.parameters(), lr=0.01)
        total = loop.total_steps(config.steps)
        decay = torch.optim.lr_scheduler.LambdaLR(body, lambda i: max(0.0, 1 - i / total))
        loop.optimize(body, head, schedulers=[decay], clip_norm=1.0, accumulate=config.accumulate)
        for batch in loop.steps(config.steps):
            loop.step(self.loss(loop.model, batch))


class Opaque(Detector):
    """Its steps are hidden: it collects the data and fits in a way of its own."""

    opaque = True

    def build(self):
        return Net(self.task.num_classes)

    @property
    def image_size(self):
        return (32, 32)

    def train(self, loop):
        optimizer = torch.optim.LBFGS(loop.model.parameters(), lr=0.1, max_iter=3)
        batches = list(loop.data)
        x = torch.cat([normalize(b.pixels) for b in batches])
        y = torch.cat([b.labels for b in batches])

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(loop.model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)


class OneLogit(Detector):
    """A network with one logit, as much published code has it."""

    def build(self):
        return Net(1)

    @property
    def image_size(self):
        return (32, 32)

    def loss(self, model, batch):
        return F.binary_cross_entropy_with_logits(model(self.inputs(batch, True))[:, 0], batch.labels.float())

    def predict(self, model, batch):
        fake = torch.sigmoid(model(self.inputs(batch, False))[:, 0])
        return torch.stack([1 - fake, fake], 1)


class MortalConfig(EpochConfig):
    """As ever."""

    batch_size: int = 8
    epochs: int = 2


class Mortal(Detector):
    """Sends its own process the signal ``$MORTAL_SIGNAL`` at step 2 of experience ``$MORTAL_AT``."""

    Config = MortalConfig

    def build(self):
        return Net(self.task.num_classes)

    @property
    def image_size(self):
        return (32, 32)

    def train(self, loop):
        loop.optimize(torch.optim.SGD(loop.model.parameters(), lr=0.05))
        step = 0
        for _ in loop.epochs(self.config.epochs):
            for batch in loop.batches():
                loop.step(self.loss(loop.model, batch))
                step += 1
                if step == 2 and os.environ.get("MORTAL_AT") == str(loop.experience):
                    os.kill(os.getpid(), getattr(signal, os.environ["MORTAL_SIGNAL"]))
