"""The classifiers of past experiences next to the one that is trained: their pass, their steps, their alignment.

SUR-LID has one per experience, a network one head. So the head is the newest, and the others are here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dfbench import PluginError, Training
from dfbench_avalanche.domains import aligned, partners

Classifier = dict[str, torch.Tensor]
"""Weight (classes, D) and, where the head has one, bias (classes,)."""


class OwnClassifier:
    """A hook on the head that classifies stored units by the classifier of their experience.

    Args:
        experience: int64 (N,), index of each unit's classifier; negative for new units, which the head classifies.
        classifiers: those of the past experiences.
    """

    def __init__(self, experience: torch.Tensor, classifiers: list[Classifier]) -> None:
        self.experience, self.classifiers = experience, classifiers

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        (features,) = args
        if len(features) != len(self.experience):
            raise PluginError(f"sur_lid needs one row per unit, not {len(features)} for {len(self.experience)} units")
        for index, classifier in enumerate(self.classifiers):
            mine = (self.experience == index)[:, None]
            output = torch.where(mine, F.linear(features, **classifier).to(output.dtype), output)
        return output


class PastClassifiers:
    """Classifiers of past experiences, in the training of another one.

    Args:
        kept: as the last experience left them, the oldest first.
        trained: whether they are trained on their experience's stored units.

    Attributes:
        each: as they are now.
    """

    def __init__(self, kept: list[Classifier], trained: bool) -> None:
        self.trained = trained
        self.each: list[Classifier] = [
            {name: nn.Parameter(p.clone(), requires_grad=trained) for name, p in c.items()} for c in kept
        ]
        self._leaders: torch.optim.Optimizer | None = None
        self._optimizer: torch.optim.Optimizer | None = None

    def __len__(self) -> int:
        return len(self.each)

    def detached(self) -> list[Classifier]:
        """Copies of them, without gradients."""
        return [{name: p.detach().clone() for name, p in c.items()} for c in self.each]

    def step(self, training: Training, head: nn.Linear) -> None:
        """Step them as the detector's optimizers step the head; not in a phase that does not train it."""
        if not (self.trained and self.each):
            return
        if head.weight.requires_grad:
            if self._optimizer is None or self._leaders is not training.optimizer:
                own = dict(head.named_parameters())
                pairs = [(own[name], p) for c in self.each for name, p in c.items() if isinstance(p, nn.Parameter)]
                self._leaders, self._optimizer = training.optimizer, training.optimizer_like(pairs)
            self._optimizer.step()
        for classifier in self.each:
            for p in classifier.values():
                p.grad = None

    @torch.no_grad()
    def align(self, head: nn.Linear, shares: list[float], farthest: bool) -> None:
        """Turn all classifiers at once, each towards another one as they are now.

        Args:
            head: the newest.
            shares: by which each turns, the newest first.
            farthest: towards the one that is least like it, or towards the one before it; the oldest then stays.
        """
        weights = [head.weight, *(c["weight"] for c in reversed(self.each))]
        for weight, towards, share in zip(weights, partners(weights, farthest), shares, strict=True):
            if share and towards is not None:
                weight.copy_(aligned(weight, towards, share))
