"""SUR-LID: a sparse, uniform memory, features isolated by domain, and aligned classifiers.

Cheng et al., "Stacking Brick by Brick: Aligned Feature Isolation for Incremental Face Forgery Detection",
CVPR 2025, arXiv:2411.11396; the grid of the shuffle and the contrastive loss as in the authors' code
(``beautyremain/SUR-LID``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Effects, Memory, Need, PluginError, Strategy, StrategyContext, Training, UsageError, unit_ids
from dfbench_avalanche.domains import aligned, centre, mean, refilled, shuffled, sparse_uniform
from dfbench_avalanche.features import HeadInputs
from dfbench_avalanche.teacher import (
    FeaturePlugin,
    check_copy,
    evaluated,
    joined,
    network_inputs,
    predicting,
    soft_labels,
    supervised_contrast,
)


class _OwnClassifier:
    """A hook on the head that classifies stored units by the classifier of their experience.

    Args:
        experience: int64 (N,), index of each unit's classifier; negative for new units, which the head classifies.
        classifiers: weight and bias of each past experience.
    """

    def __init__(self, experience: torch.Tensor, classifiers: list[dict[str, torch.Tensor]]) -> None:
        self.experience, self.classifiers = experience, classifiers

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        (features,) = args
        if len(features) != len(self.experience):
            raise PluginError(f"sur_lid needs one row per unit, not {len(features)} for {len(self.experience)} units")
        for index, classifier in enumerate(self.classifiers):
            mine = (self.experience == index)[:, None]
            output = torch.where(mine, F.linear(features, **classifier).to(output.dtype), output)
        return output


class SURLIDPlugin(FeaturePlugin):
    """Isolation, distillation and alignment, with one head that is the mean of all classifiers between trainings.

    A domain is one class of one experience; its index is experience × classes + class.

    Attributes:
        stored: ids of stored units by domain.
        centres: mean features by domain, float32 (domains, D), on the CPU.
        classifiers: weight and bias of the head, by experience.
    """

    def __init__(
        self, heads: tuple[str, ...], config: SURLIDConfig, share: int, targets: torch.Tensor, effects: Effects
    ) -> None:
        super().__init__(heads)
        self.config, self.share, self.targets, self.effects = config, share, targets, effects
        self.classes = int(targets.max()) + 1
        self.stored: list[torch.Tensor] = []
        self.centres = torch.empty(0)
        self.classifiers: list[dict[str, torch.Tensor]] = []
        self._domain = torch.full_like(targets, -1)  # of each unit of the stream; -1: not stored
        self._hook: Any = None

    # --- Training -------------------------------------------------------------------------------

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Replay stored units, and start from the last experience's own classifier instead of the mean."""
        self._domain.fill_(-1)
        for domain, ids in enumerate(self.stored):
            self._domain[ids] = domain
        if not self.classifiers:
            return
        self._put(training.model, self.classifiers[-1])
        memory, c = torch.cat(self.stored), self.config
        count = c.batch_size or (c.per_domain and c.per_domain * len(self.stored)) or training.train_mb_size
        if len(memory):
            training.mix_in(memory, min(count, len(memory)))

    def before_forward(self, training: Training, **kwargs: Any) -> None:
        """Have stored units classified by the classifier of their experience, in this pass alone."""
        super().before_forward(training, **kwargs)
        if self.classifiers:
            # New units have domain -1; rounded down, not towards 0, their experience is -1 too.
            origin = self._domain[training.units].div(self.classes, rounding_mode="floor").to(training.device)
            head = training.model.get_submodule(self.heads[0])
            self._hook = head.register_forward_hook(_OwnClassifier(origin, self.classifiers))

    def after_forward(self, training: Training, **kwargs: Any) -> None:
        """Let the head alone classify in all other passes."""
        super().after_forward(training, **kwargs)
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add isolation of the domains, and distillation of the features and logits of stored units."""
        c, rows, labels = self.config, self.rows(training), training.mbatch[1]
        features = rows.features
        domains = self._domain[training.units].to(labels.device)
        old = (domains >= 0).nonzero()[:, 0]
        # Units of this experience form domains after the stored ones.
        domains = torch.where(domains >= 0, domains, len(self.stored) + labels)
        points, names = features, domains
        if len(old):
            before = self.of_previous(training, training.mbatch[0][old])
            away = F.mse_loss(features[old], before.features)
            training.loss = training.loss + c.distillation * away
            if c.kd:
                said = self._classified(before.features, domains[old] // self.classes)
                training.loss = training.loss + c.kd * soft_labels(rows.logits[old], said, c.kd_temperature)
            if c.refill:
                more, theirs = refilled(features[old], domains[old], self.centres.to(features))
                points, names = torch.cat([points, more]), torch.cat([names, theirs])
        if c.shared_real:  # the domains of class 0 become one
            names = torch.where(names % self.classes == 0, 0, names)
        training.loss = training.loss + c.isolation * supervised_contrast(points, names, c.temperature)

    @torch.no_grad()
    def after_update(self, training: Training, **kwargs: Any) -> None:
        """Turn the new classifier a little towards the last one."""
        if self.classifiers and self.config.alignment:
            head = self._head(training.model)
            if head.weight.requires_grad:  # not in a phase that trains other layers
                head.weight.copy_(aligned(head.weight, self.classifiers[-1]["weight"], self.config.alignment))
                self.effects.add("alignments", 1)

    # --- After it -------------------------------------------------------------------------------

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Store units, and make the head the mean of all classifiers."""
        ids = unit_ids(training.experience.dataset)
        centres = [self.centres] if len(self.centres) else []
        with predicting(training):
            with evaluated(training.model):
                for target in range(self.classes):
                    features, kept = self._select(training, ids[self.targets[ids] == target], target)
                    self.stored.append(kept)
                    centres.append(centre(features, self.config.moving)[None])
            self.keep(training.model)
            self.classifiers.append(self._classifier(training.model))
        self.centres = torch.cat(centres)
        for model in (training.model, training.averaged):
            if model is not None:
                self._put(model, mean(self.classifiers))

    def _classified(self, features: torch.Tensor, experience: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) that the classifiers of these past experiences, int64 (N,), give features (N, D)."""
        each = torch.stack([F.linear(features, **classifier) for classifier in self.classifiers])
        return each[experience, torch.arange(len(features), device=features.device)]

    def _select(self, training: Training, ids: torch.Tensor, target: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (N, D) of one class of the experience, and the ids to store, both on the CPU."""
        if not len(ids):
            return torch.zeros(1, self._head(training.model).in_features), ids
        found, steady = [], []
        for batch in ids.split(training.train_mb_size):
            x = network_inputs(training, batch)
            found.append(self._features(training, x))
            moved = self._features(training, shuffled(x, self.config.grid))
            steady.append(F.cosine_similarity(found[-1], moved, dim=1))
        features = torch.cat(found)
        count = self.share // self.classes + (target < self.share % self.classes)
        return features, ids[sparse_uniform(features, torch.cat(steady), count)]

    @torch.no_grad()
    def _features(self, training: Training, x: torch.Tensor) -> torch.Tensor:
        with HeadInputs(training.model, self.heads) as inputs, training.autocast():
            logits = training.model(x)
        return joined(inputs.caught, self.heads, logits, len(x)).features.cpu()

    def _head(self, model: nn.Module) -> nn.Linear:
        head = model.get_submodule(self.heads[0])
        assert isinstance(head, nn.Linear)
        return head

    def _classifier(self, model: nn.Module) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in self._head(model).named_parameters()}

    @torch.no_grad()
    def _put(self, model: nn.Module, classifier: dict[str, torch.Tensor]) -> None:
        for name, p in self._head(model).named_parameters():
            p.copy_(classifier[name])


class SURLIDConfig(Memory):
    """Options of SUR-LID; the defaults are those of the published configuration, as far as it can be expressed."""

    isolation: float = Field(4.0, ge=0, description="weight of the contrastive loss over the domains")
    distillation: float = Field(10.0, ge=0, description="weight of the mean squared distance of stored units' features")
    kd: float = Field(1.0, ge=0, description="weight of the divergence from the previous logits of stored units")
    kd_temperature: float = Field(20.0, gt=0, description="of that divergence")
    alignment: float = Field(
        0.001, ge=0, lt=1, description="share by which the classifier turns to the last one's per step"
    )
    temperature: float = Field(0.1, gt=0, description="of the contrastive loss")
    refill: bool = Field(True, description="also isolate points between stored units and their domain's centre")
    shared_real: bool = Field(False, description="real units of all experiences are one domain")
    moving: float = Field(
        0.1, ge=0, le=1, description="share of each next feature in a domain's moving centre; 0: the centre is the mean"
    )
    grid: int = Field(2, ge=2, le=16, description="tiles per side when a unit's stability is measured")
    per_domain: int | None = Field(
        3, ge=1, description="replayed units per step and stored domain; null: as many units in all as new ones"
    )
    batch_size: int | None = Field(None, ge=1, description="replayed units per step in all, instead of per_domain")


class SURLID(Strategy):
    """Sparse uniform replay and a latent-space incremental detector (Cheng et al. 2025).

    Our implementation. A domain is one class of one experience. Three terms are added to the detector's loss: a
    contrastive loss that isolates the domains, and the distances of stored units' features and logits to the previous
    network's. Each experience has a classifier of its own, turned towards the last one's at each step; their mean
    predicts.

    Differences from the paper: the detector's own loss replaces cross-entropy. The network has one head. While it is
    trained it is the new classifier, and stored units are classified by copies of the past ones, which are no longer
    trained. Between trainings it is the mean of all, whose logits are the mean of theirs. A new classifier starts as
    the last one. Squares are averaged over rows and features. Each stored unit contributes one new point next to its
    own. A memory is divided by the number of experiences in advance.
    """

    Config: ClassVar = SURLIDConfig
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.GRADIENTS, Need.LOGITS, Need.LINEAR_HEAD, Need.UNIT_LOGITS, Need.INPUTS}
    )

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        share = context.units_per_experience(self.config)
        if share < 1:
            raise UsageError(
                f"a memory of {context.units_in_memory(self.config)} units is too small for {context.experiences} "
                "experiences: raise it with --set strategy.memory=N"
            )
        if len(context.heads) != 1:
            raise UsageError(
                f"sur_lid gives every experience a classifier: it needs one head, not {len(context.heads)}"
            )
        self._model = context.model
        check_copy(context.model)
        self._device = next(context.model.parameters()).device
        self._plugin = SURLIDPlugin(context.heads, self.config, share, context.targets, self.effects)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The memory's units."""
        return torch.cat([torch.empty(0, dtype=torch.int64), *self._plugin.stored])

    def state_dict(self) -> dict[str, Any]:
        """The memory, centres, classifiers and the previous network."""
        plugin = self._plugin
        return {
            "stored": plugin.stored,
            "centres": plugin.centres,
            "classifiers": plugin.classifiers,
            "previous": plugin.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        plugin = self._plugin
        plugin.stored, plugin.centres = list(state["stored"]), state["centres"]
        plugin.classifiers = [{name: p.to(self._device) for name, p in c.items()} for c in state["classifiers"]]
        plugin.load_state_dict(state["previous"], self._model)
