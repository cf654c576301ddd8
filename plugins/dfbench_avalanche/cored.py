"""CoReD: the previous network's soft labels, and its mean features of each class at each level of confidence.

Kim et al., ACM MM 2021, arXiv:2107.02408, with the weights of the authors' code (``alsgkals2/CoReD``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field

from dfbench import Effects, Need, Strategy, StrategyConfig, StrategyContext, Training, unit_ids
from dfbench_avalanche.teacher import FeaturePlugin, Rows, borrowed, check_copy, evaluated, measure, soft_labels


def members(logits: torch.Tensor, labels: torch.Tensor, stores: int) -> torch.Tensor:
    """The feature store that each row belongs to.

    The stores of a class divide the probability of the true class above ½ into equal steps. Their upper ends belong
    to them: with 5 stores, (0.5, 0.6] … (0.9, 1].

    Args:
        logits: (N, classes).
        labels: int64 (N,).
        stores: number of stores per class.

    Returns:
        float32 (N, classes × stores), one 1 per row; only zeros where the probability is ½ or less.
    """
    classes = logits.shape[1]
    confidence = F.softmax(logits.double(), dim=1).gather(1, labels[:, None])[:, 0]
    step = torch.ceil((confidence - 0.5) * 2 * stores).long() - 1
    cell = labels * stores + step.clamp(0, stores - 1)
    return F.one_hot(cell, classes * stores).float() * (confidence > 0.5)[:, None]


def means(features: torch.Tensor, belongs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean feature of each store, (stores, D), and whether it has any row, bool (stores,)."""
    count = belongs.sum(0)
    return belongs.T @ features / count.clamp(min=1)[:, None], count > 0


class CoReDPlugin(FeaturePlugin):
    """Adds both terms to the detector's own loss."""

    def __init__(self, heads: tuple[str, ...], config: CoReDConfig, targets: torch.Tensor, effects: Effects) -> None:
        super().__init__(heads)
        self.config, self.targets, self.effects = config, targets, effects
        self._stored: tuple[torch.Tensor, torch.Tensor] | None = None

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Fill the feature stores with the previous network, on the data that is about to be learned."""
        self._stored = None
        if self.previous is None:
            return
        ids = unit_ids(training.experience.dataset)
        with borrowed(training.model, self.previous), evaluated(training.model):
            rows: Rows = measure(training, ids, self.heads)
        stored, filled = means(rows.features, members(rows.logits, self.targets[ids], self.config.stores))
        self._stored = stored.to(training.device), filled.to(training.device)

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add soft labels and the distance to the feature stores."""
        if self.previous is None or self._stored is None:
            return
        c, rows, labels = self.config, self.rows(training), training.mbatch[1]
        before = self.of_previous(training, training.mbatch[0])
        own, present = means(rows.features, members(rows.logits.detach(), labels, c.stores))
        stored, filled = self._stored
        both = present & filled
        away = ((own - stored).square().mean(1) * both).sum()
        self.effects.add("matched_stores", both.sum())
        soft = soft_labels(rows.logits, before.logits, c.temperature)
        training.loss = (2 - c.alpha) * training.loss + c.alpha * soft + c.representation * away

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Empty the feature stores."""
        super().after_training_exp(training, **kwargs)
        self._stored = None


class CoReDConfig(StrategyConfig):
    """Options of CoReD; the defaults are the authors'."""

    alpha: float = Field(0.5, ge=0, le=1, description="weight of the soft labels; the loss has 1 + (1 - alpha) then")
    temperature: float = Field(20.0, gt=0, description="of the soft labels")
    representation: float = Field(1.0, ge=0, description="weight of the distance to the teacher's feature stores")
    stores: int = Field(5, ge=1, le=50, description="feature stores per class, equal steps of confidence above 0.5")


class CoReD(Strategy):
    """Continual representation using distillation (Kim et al. 2021). No sample is stored.

    Added to the detector's loss: T²·KL to the previous network's softened outputs, and for each class and level of
    confidence the squared distance of the batch's mean feature to the previous network's, which is measured on the
    new experience before it is learned, as in the authors' code.

    Differences from the authors' code: the detector's own loss replaces cross-entropy. Features are the head's
    input, a store is their mean vector, and squares are averaged over features; theirs averages the channels of a
    feature map first, so that a store is one number. Features and confidence are those of the training step; theirs
    makes a second pass in eval mode, and stays in it. Their exchange of patches between real and fake pictures is
    left out, since a strategy touches no pictures.
    """

    Config: ClassVar = CoReDConfig
    repeated_passes: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.UNIT_LOGITS, Need.INPUTS}
    )

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        self._model = context.model
        check_copy(context.model)
        self._plugin = CoReDPlugin(context.heads, self.config, context.targets, self.effects)
        return [self._plugin]

    def state_dict(self) -> dict[str, Any]:
        """The previous network, from which the stores are filled."""
        return self._plugin.state_dict()

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.load_state_dict(state, self._model)
