"""SUR-LID: a sparse, uniform memory, features isolated by domain, and aligned classifiers.

Cheng et al., "Stacking Brick by Brick: Aligned Feature Isolation for Incremental Face Forgery Detection",
CVPR 2025, arXiv:2411.11396; the grid of the shuffle and the contrastive loss as in the authors' code
(``beautyremain/SUR-LID``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Effects, Memory, Need, Strategy, StrategyContext, Training, UsageError, unit_ids
from dfbench_avalanche.classifiers import Classifier, OwnClassifier, PastClassifiers
from dfbench_avalanche.domains import centre, mean, refilled, shuffled, sparse_uniform
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


class SURLIDPlugin(FeaturePlugin):
    """Isolation, distillation and alignment, with one head that is the mean of all classifiers between trainings.

    A domain is one class of one experience; its index is experience × classes + class.

    Attributes:
        stored: ids of stored units by domain.
        centres: mean features by domain, float32 (domains, D), on the CPU.
        classifiers: of each finished experience, as the last one left them.
        past: the same in the present training, in which they may move.
    """

    def __init__(
        self, heads: tuple[str, ...], config: SURLIDConfig, share: int, targets: torch.Tensor, effects: Effects
    ) -> None:
        super().__init__(heads)
        self.config, self.share, self.targets, self.effects = config, share, targets, effects
        self.classes = int(targets.max()) + 1
        self.stored: list[torch.Tensor] = []
        self.centres = torch.empty(0)
        self.classifiers: list[Classifier] = []
        self.past = PastClassifiers([], trained=False)
        self._epoch = 0  # number of epochs begun in this experience
        self._domain = torch.full_like(targets, -1)  # of each unit of the stream; -1: not stored
        self._hook: Any = None

    # --- Training -------------------------------------------------------------------------------

    def before_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Replay stored units, and start from the last experience's own classifier instead of the mean."""
        self._domain.fill_(-1)
        for domain, ids in enumerate(self.stored):
            self._domain[ids] = domain
        self.past = PastClassifiers(self.classifiers, trained=self.config.frozen == "semi")
        self._epoch = 0
        if not self.classifiers:
            return
        self.effects.add("alignments", 0)  # so that a record shows a training too short for any
        self._put(training.model, self.classifiers[-1])
        memory, c = torch.cat(self.stored), self.config
        count = c.batch_size or (c.per_domain and c.per_domain * len(self.stored)) or training.train_mb_size
        if len(memory):
            training.mix_in(memory, min(count, len(memory)))

    def before_training_epoch(self, training: Training, **kwargs: Any) -> None:
        """Count epochs."""
        self._epoch += 1

    def before_forward(self, training: Training, **kwargs: Any) -> None:
        """Have stored units classified by the classifier of their experience, in this pass alone."""
        super().before_forward(training, **kwargs)
        if len(self.past):
            # New units have domain -1; rounded down, not towards 0, their experience is -1 too.
            origin = self._domain[training.units].div(self.classes, rounding_mode="floor").to(training.device)
            head = training.model.get_submodule(self.heads[0])
            self._hook = head.register_forward_hook(OwnClassifier(origin, self.past.each))

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

    def after_update(self, training: Training, **kwargs: Any) -> None:
        """Train the past classifiers with the new one, and turn all a little towards each other."""
        head, c, past = self._head(training.model), self.config, len(self.past)
        self.past.step(training, head)
        shares = [c.alignment, *(self._past_share(age) for age in range(past))]
        # Not in the first epochs, and not in a phase that trains other layers.
        if past and any(shares) and self._epoch > c.align_epoch + 1 and head.weight.requires_grad:
            self.past.align(head, shares, c.towards == "farthest")
            self.effects.add("alignments", 1)

    def _past_share(self, age: int) -> float:
        """The share by which a past classifier turns per step; ``age`` is 0 for the last experience's."""
        shares = self.config.past_alignment
        return shares[min(age, len(shares) - 1)] if shares and self.past.trained else 0.0

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
            self.classifiers = [*self.past.detached(), self._classifier(training.model)]
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
        for batch in training.batches_of(ids):
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

    def _classifier(self, model: nn.Module) -> Classifier:
        return {name: p.detach().clone() for name, p in self._head(model).named_parameters()}

    @torch.no_grad()
    def _put(self, model: nn.Module, classifier: Classifier) -> None:
        for name, p in self._head(model).named_parameters():
            p.copy_(classifier[name])


Share = Annotated[float, Field(ge=0, lt=1)]


class SURLIDConfig(Memory):
    """Options of SUR-LID; the defaults are those of the published configuration, as far as it can be expressed."""

    isolation: float = Field(4.0, ge=0, description="weight of the contrastive loss over the domains")
    distillation: float = Field(10.0, ge=0, description="weight of the mean squared distance of stored units' features")
    kd: float = Field(1.0, ge=0, description="weight of the divergence from the previous logits of stored units")
    kd_temperature: float = Field(20.0, gt=0, description="of that divergence")
    alignment: float = Field(0.01, ge=0, lt=1, description="share by which the new classifier turns per step")
    past_alignment: list[Share] = Field(
        [0.001, 0.0001, 0.00005],
        description="the same of past ones with frozen=semi, the latest first; the last value is for all older ones",
    )
    align_epoch: int = Field(
        1, ge=-1, description="last epoch, counted from 0, without such turns; -1: none is without"
    )
    towards: Literal["farthest", "last"] = Field(
        "farthest", description="what a classifier turns to: the one least like it, or the one before it"
    )
    frozen: Literal["semi", "full"] = Field(
        "semi", description="past classifiers are trained on their stored units and turn (semi), or stay (full)"
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
    network's. Each experience has a classifier of its own, trained on its units, the stored ones later on, and turned
    towards the one that is least like it. The mean of all predicts.

    Differences from the paper: the detector's own loss replaces cross-entropy. The network has one head. While it is
    trained it is the new classifier; past ones are next to it, stepped as the detector's optimizers step the head.
    Between trainings the head is the mean of all, whose logits are the mean of theirs. A new classifier starts as the
    last one. Squares are averaged over rows and features. Each stored unit contributes one new point next to its own.
    A memory is divided by the number of experiences in advance.
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
