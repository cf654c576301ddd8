"""Losses as their papers write them, and a plain loop that trains with one on the batches that dfbench dealt out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.training.harness import LR, Problem, copy_of, network, seed


def softmax(x: torch.Tensor) -> torch.Tensor:
    return x.exp() / x.exp().sum(1, keepdim=True)


def unit(features: torch.Tensor) -> torch.Tensor:
    """Rows of length 1; those of nothing but zeros, which a ReLU may give, stay."""
    return features / features.norm(dim=1, keepdim=True).clamp(min=1e-12)


def contrast(features: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """The formula, anchor by anchor."""
    points = unit(features)
    found = []
    for i in range(len(points)):
        others = [a for a in range(len(points)) if a != i]
        near = {a: (points[i] @ points[a] / temperature).exp() for a in others}
        positive = [near[a] / sum(near.values()) for a in others if labels[a] == labels[i]]
        if positive:
            found.append(-sum(share.log() for share in positive) / len(positive))
    return temperature * sum(found) / len(found)  # type: ignore[return-value,operator]


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return temperature**2 * (p * (p / q).log()).sum() / len(p)


class PlainLoop:
    """A plain loop over the batches that dfbench dealt out, with a loss of its own for each experience."""

    def __init__(self, problem: Problem, seen: list[list[torch.Tensor]], model: nn.Module | None = None) -> None:
        self.problem, self.seen, self.model = problem, seen, model or network()
        self.teacher: Any = None

    def split(self, model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = model[:-1](self.problem.inputs(ids))
        return features, model[-1](features)

    def in_eval(self, model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            return self.split(copy_of(model).eval(), ids)

    def run(self) -> nn.Module:
        optimizer = torch.optim.SGD(self.model.parameters(), lr=LR, momentum=0.9)
        for experience, batches in enumerate(self.seen):
            seed(experience)  # as dfbench does, for strategies that draw
            self.before(experience)
            for ids in batches:
                optimizer.zero_grad()
                features, logits = self.split(self.model, ids)
                labels = self.problem.labels[ids]
                own = nn.functional.cross_entropy(logits, labels)
                self.loss(ids, labels, features, logits, own).backward()
                optimizer.step()
                self.after_step()
            self.teacher = copy_of(self.model).eval()
            self.after(experience)
        return self.model

    def before(self, experience: int) -> None:
        """Before an experience."""

    def after(self, experience: int) -> None:
        """After it."""

    def after_step(self) -> None:
        """After a step."""

    def loss(self, ids: Any, labels: Any, features: Any, logits: Any, own: Any) -> torch.Tensor:
        raise NotImplementedError
