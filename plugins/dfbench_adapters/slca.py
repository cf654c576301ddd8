"""SLCA: a slow trunk, and a head aligned on Gaussians of the features of all experiences so far.

Zhang et al., "SLCA: Slow Learner with Classifier Alignment for Continual Learning on a Pre-trained Model", ICCV 2023,
arXiv:2303.05118.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from dfbench_avalanche.teacher import evaluated, measure, predicting
from pydantic import Field
from torch import nn

from dfbench import Effects, Need, Strategy, StrategyConfig, StrategyContext, Training, UsageError, unit_ids

MOMENTUM, WEIGHT_DECAY, BATCH = 0.9, 5e-4, 128
"""Of the alignment, as in the authors' code."""


@dataclass(frozen=True)
class Gaussian:
    """Features of one class of one experience.

    Attributes:
        label: the class.
        mean: float64 (D,).
        root: float64 (K, D), K ≤ D: rootᵀ·root is the covariance. Its rank is below the number of units, so few units
            take less than D² numbers, and drawing needs no decomposition.
    """

    label: int
    mean: torch.Tensor
    root: torch.Tensor

    @classmethod
    def of(cls, label: int, features: torch.Tensor) -> Gaussian:
        """Mean and covariance of features, (N, D); a single row has no spread."""
        rows = features.double()
        away = rows - rows.mean(0)
        return cls(label, rows.mean(0), torch.linalg.qr(away, mode="r").R / max(len(rows) - 1, 1) ** 0.5)

    @property
    def covariance(self) -> torch.Tensor:
        """float64 (D, D)."""
        return self.root.T @ self.root

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Random features, float32 (count, D), also where the covariance is singular."""
        noise = torch.randn(count, len(self.root), generator=generator, dtype=torch.float64)
        return (self.mean + noise @ self.root).float()


def normalised_loss(logits: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of logits of length 1 over the temperature, Eq. 2 of the paper: none gets large by its length.

    Args:
        logits: (N, classes).
        labels: int64 (N,).
        temperature: τ; 0: logits as they are.
    """
    if temperature:
        logits = logits / (temperature * logits.norm(dim=1, keepdim=True).clamp_min(1e-7))
    return F.cross_entropy(logits, labels)


class SLCAPlugin(SupervisedPlugin):
    """Slows the trunk down in each step, and aligns the head after each experience.

    Attributes:
        gaussians: of each class of each finished experience.
    """

    def __init__(self, head: str, config: SLCAConfig, targets: torch.Tensor, effects: Effects) -> None:
        super().__init__()
        self.head, self.config, self.targets, self.effects = head, config, targets, effects
        self.gaussians: list[Gaussian] = []
        self._before: list[tuple[nn.Parameter, torch.Tensor]] = []

    def before_update(self, training: Training, **kwargs: Any) -> None:
        """Remember the trunk."""
        own = {id(p) for p in training.model.get_submodule(self.head).parameters()}
        self._before = [
            (p, p.detach().clone()) for p in training.model.parameters() if id(p) not in own and p.grad is not None
        ]

    @torch.no_grad()
    def after_update(self, training: Training, **kwargs: Any) -> None:
        """Leave the trunk where a learning rate of ``slow`` times the detector's would have brought it."""
        for parameter, before in self._before:
            parameter.lerp_(before, 1 - self.config.slow)
        self._before = []
        self.effects.add("slowed_steps", 1)

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Note the features of each class in the network that predicts, and align its head."""
        ids = unit_ids(training.experience.dataset)
        targets = self.targets[ids]
        with predicting(training), evaluated(training.model):
            features = measure(training, ids, (self.head,)).features
            for label in targets.unique().tolist():
                self.gaussians.append(Gaussian.of(label, features[targets == label]))
            layer = training.model.get_submodule(self.head)
            assert isinstance(layer, nn.Linear)
            generator = torch.Generator().manual_seed(len(self.gaussians))
            aligned = align(layer, self.gaussians, self.config, generator)
        for model in (training.model, training.averaged):
            if model is not None:
                model.get_submodule(self.head).load_state_dict(aligned)
        self.effects.add("aligned_gaussians", len(self.gaussians))


def align(
    layer: nn.Linear, gaussians: list[Gaussian], config: SLCAConfig, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Train a copy of a head on features that are drawn anew in each epoch; returns its state dict (Sec. 3.3).

    Args:
        layer: the head, which stays as it is.
        gaussians: of all experiences so far.
        config: the number of draws, epochs, the rate and τ.
        generator: of draws and order, on the CPU.
    """
    device = layer.weight.device
    head = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device=device)
    head.load_state_dict({name: tensor.detach().clone() for name, tensor in layer.state_dict().items()})
    optimizer = torch.optim.SGD(head.parameters(), config.align_lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(config.align_epochs, 1))
    labels = torch.tensor([g.label for g in gaussians]).repeat_interleave(config.samples)
    with torch.enable_grad():
        for _ in range(config.align_epochs):
            drawn = torch.cat([g.sample(config.samples, generator) for g in gaussians])
            for batch in torch.randperm(len(drawn), generator=generator).split(BATCH):
                loss = normalised_loss(head(drawn[batch].to(device)), labels[batch].to(device), config.temperature)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
    return {name: tensor.detach() for name, tensor in head.state_dict().items()}


class SLCAConfig(StrategyConfig):
    """Options of SLCA."""

    slow: float = Field(0.1, gt=0, le=1, description="learning rate of the trunk, as a share of the detector's")
    samples: int = Field(256, ge=1, description="features drawn of each class of each experience, per epoch")
    align_epochs: int = Field(5, ge=0, description="of the alignment")
    align_lr: float = Field(0.01, gt=0, description="of the alignment, SGD with a cosine")
    temperature: float = Field(0.1, ge=0, description="τ of the normalised logits; 0: logits as they are")


class SLCA(Strategy):
    """SLCA (Zhang et al. 2023): the trunk learns slowly, and after each experience the head is trained on features that
    are drawn from a Gaussian for each class of each experience.

    Our implementation. Differences from the paper: its trunk learns at a hundredth of the head's SGD rate of .01. A
    detector's rate here is one that suits its trunk already, often Adam's, so the share is a tenth unless set. Classes
    come again in each experience, so the Gaussians are of classes of experiences. The authors' code also moves older
    means outwards, by up to a tenth of their length, which the paper does not have and this leaves out.
    """

    Config: ClassVar = SLCAConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.UNIT_LOGITS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        if len(context.heads) != 1:
            raise UsageError(f"slca aligns one head, and this network has {len(context.heads)}")
        self._plugin = SLCAPlugin(context.heads[0], self.config, context.targets, self.effects)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The Gaussians."""
        return {"gaussians": [vars(g) for g in self._plugin.gaussians]}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.gaussians = [Gaussian(**saved) for saved in state["gaussians"]]
