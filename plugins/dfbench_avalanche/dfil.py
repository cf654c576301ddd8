"""DFIL: replay of hard and of central samples, two kinds of distillation, and a contrastive loss.

Pan et al., ACM MM 2023, arXiv:2309.09526, with the weights of the authors' code (``DeepFakeIL/DFIL``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field

from dfbench import Memory, Need, Strategy, StrategyContext, Training, UsageError
from dfbench_avalanche.storage_policies import PolicyReplayPlugin, Ranked, to_centre
from dfbench_avalanche.teacher import FeaturePlugin, Measured, check_copy, measured, soft_labels, supervised_contrast


def hard_and_central(units: Measured) -> torch.Tensor:
    """Positions, alternately of the largest entropy and of the feature nearest to the mean of all.

    Args:
        units: N units of one class.

    Returns:
        int64 (N,), the position to keep longest first.
    """
    hard = units.entropy.argsort(descending=True, stable=True)
    central = to_centre(units.features)
    turns = torch.stack([hard, central], dim=1).flatten().tolist()
    return torch.tensor(list(dict.fromkeys(turns)), dtype=torch.int64)


class DFILPlugin(FeaturePlugin):
    """Adds soft labels, the distance of features and the contrastive loss to the detector's own loss."""

    def __init__(self, heads: tuple[str, ...], config: DFILConfig) -> None:
        super().__init__(heads)
        self.config = config

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add the terms; in the first experience the contrastive loss alone."""
        c, present = self.config, self.labelled(training)
        contrasts = [supervised_contrast(rows.features, rows.classes, c.contrast_temperature) for rows in present]
        if self.previous is None:
            training.loss = training.loss + c.first_contrast * total(contrasts)
            return
        pairs = list(zip(present, self.of_previous_labelled(training, training.mbatch[0]), strict=True))
        kept = total(
            F.mse_loss(F.normalize(now.features, dim=1), F.normalize(before.features, dim=1)) for now, before in pairs
        )
        soft = total(soft_labels(now.logits, before.logits, c.temperature) for now, before in pairs)
        training.loss = (
            (2 - c.alpha) * training.loss + c.alpha * soft + c.features * kept + c.contrast * total(contrasts)
        )


def total(terms: Iterable[torch.Tensor]) -> torch.Tensor:
    """The sum over the networks of an ensemble, each of which is trained by its own terms."""
    return torch.stack(list(terms)).sum()


class DFILConfig(Memory):
    """Options of DFIL; the defaults are the authors'."""

    alpha: float = Field(0.3, ge=0, le=1, description="weight of the soft labels; the loss has 1 + (1 - alpha) then")
    temperature: float = Field(20.0, gt=0, description="of the soft labels")
    features: float = Field(0.01, ge=0, description="weight of the mean squared distance between features of length 1")
    contrast: float = Field(0.1, ge=0, description="weight of the contrastive loss after the first experience")
    first_contrast: float = Field(1.0, ge=0, description="weight of the contrastive loss in the first experience")
    contrast_temperature: float = Field(1.0, gt=0, description="of the contrastive loss")
    batch_size: int | None = Field(None, ge=1, description="replayed units per step (default: as many as new ones)")


class DFIL(Strategy):
    """Deepfake incremental learning (Pan et al. 2023): domain-invariant features, kept by replay and distillation.

    Added to the detector's loss: T²·KL to the previous network's softened outputs, the squared distance of features,
    and the supervised contrastive loss over the classes. Of each class of each experience half is stored for the
    entropy of its output, half for being near the class's mean feature.

    Differences from the authors' code: the detector's own loss replaces cross-entropy; stored units follow each
    batch as in ``replay``, where theirs are added to the training set; the budget is shared by all experiences,
    where theirs is 500 for each; a unit is stored once, even if it is both hard and central. Their ``KLDivLoss``
    takes logarithms for probabilities; this one does not. Of an ensemble each network has its own terms, and a mixed
    row is of its likelier class (:meth:`dfbench.Detector.unit_rows`).
    """

    Config: ClassVar = DFILConfig
    repeated_passes: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.UNIT_ROWS, Need.INPUTS}
    )

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        size, heads = context.units_in_memory(self.config), context.heads
        if size < context.experiences:
            raise UsageError(
                f"a memory of {size} units is too small for {context.experiences} experiences: "
                "raise it with --set strategy.memory=N"
            )
        self._model = context.model
        check_copy(context.model)
        self._memory = Ranked(size, lambda training, ids: ids[hard_and_central(measured(training, ids, heads))])
        self._plugin = DFILPlugin(heads, self.config)
        return [PolicyReplayPlugin(self._memory, self.config.batch_size, context.targets), self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The memory's units."""
        return self._memory.ids

    def state_dict(self) -> dict[str, Any]:
        """The memory and the previous network."""
        return {"memory": self._memory.state_dict(), "previous": self._plugin.state_dict()}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._memory.load_state_dict(state["memory"])
        self._plugin.load_state_dict(state["previous"], self._model)
