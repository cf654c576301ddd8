"""DER and GDumb: strategies whose memory is more than replayed units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer, ReservoirSamplingBuffer
from pydantic import Field

from dfbench import Effects, Memory, Need, Strategy, StrategyContext, Training, UsageError, unit_ids


class DERPlugin(SupervisedPlugin):
    """Dark experience replay: a reservoir of units with the logits that they had when they were stored.

    As in the paper, and unlike Avalanche's: units are stored while they are trained on, with the logits of that step;
    stored units have forward passes of their own; the two terms draw separately.

    A unit may have several rows of logits, and be mixed inside (:meth:`dfbench.Detector.unit_rows`). Its mix is stored
    with them and used again, so that both are of the same picture. The squared distance is then the mean over the rows
    of each network that both passes have, and summed over the networks of an ensemble, as their losses are.

    Attributes:
        ids: stored units, int64 (M,).
        kept: what is stored with them, on the training device: logits of each network of the ensemble, float32
            (M, K, classes), and after them what was mixed in the units, (M, …), if ``mixed``.
        mixed: whether the detector mixes what is inside a unit.
        partial: whether some networks see some units only; NaN stands for the rows of the others.
        seen: number of units offered to the reservoir.
    """

    def __init__(self, size: int, batch_size: int | None, alpha: float, beta: float, effects: Effects) -> None:
        super().__init__()
        self.size, self.batch_size = size, batch_size
        self.alpha, self.beta = alpha, beta
        self.effects = effects
        self.ids = torch.empty(0, dtype=torch.int64)
        self.kept: list[torch.Tensor] = []
        self.mixed = self.partial = False
        self.seen = 0
        self._passed: tuple[torch.Tensor, list[torch.Tensor]] | None = None  # units and outputs of the last pass
        self._new: list[tuple[torch.Tensor, list[torch.Tensor]]] = []  # of this iteration's batches, stepped on

    def after_forward(self, training: Training, **kwargs: Any) -> None:
        """Remember the logits of the new units."""
        outputs = training.step_outputs()
        self.mixed = outputs.mix is not None
        self.partial |= not outputs.complete
        mix = [] if outputs.mix is None else [outputs.mix]
        self._passed = training.units, [*(part.detach() for part in outputs.by_part()), *mix]

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Add both terms on the memory. The detector steps on this batch, so that its units may be stored."""
        if self._passed is not None:
            self._new.append(self._passed)
            self._passed = None
        count = min(self.batch_size or training.train_mb_size, len(self.ids))
        if count < min(2, training.train_mb_size):  # batch normalisation cannot train on one
            return
        chosen = self.draw(count)
        training.loss = training.loss + self.alpha * self.distance(training, chosen)
        if self.beta:
            training.loss = training.loss + self.beta * training.reference_loss(self.ids[self.draw(count)])
        self.effects.add("replayed_units", count * (2 if self.beta else 1))

    def after_training_iteration(self, training: Training, **kwargs: Any) -> None:
        """Offer the new units to the reservoir."""
        for ids, logits in self._new:
            self.offer(ids, logits)
        self._new = []

    def distance(self, training: Training, chosen: torch.Tensor) -> torch.Tensor:
        """Squared distance of stored units' logits (positions, int64 (N,)) to the stored ones, a scalar."""
        before = [kept[chosen.to(kept.device)] for kept in self.kept]
        mix = before.pop() if self.mixed else None
        outputs = training.reference_outputs(self.ids[chosen], mix)
        self.partial |= not outputs.complete
        distance = partial_distance if self.partial else F.mse_loss
        pairs = zip(outputs.by_part(), before, strict=True)
        return torch.stack([distance(now, stored) for now, stored in pairs]).sum()

    def draw(self, count: int) -> torch.Tensor:
        """Positions of ``count`` stored units, int64 (count,), at random without repetition."""
        return torch.randperm(len(self.ids))[:count]

    def offer(self, ids: torch.Tensor, outputs: list[torch.Tensor]) -> None:
        """Reservoir sampling (Vitter 1985): all units offered so far are stored with the same probability.

        Args:
            ids: int64 (N,).
            outputs: what is stored with them, (N, …) each; see ``kept``.
        """
        places: dict[int, int] = {}
        for row, chance in enumerate(torch.rand(len(ids), dtype=torch.float64).tolist()):
            place = self.seen if self.seen < self.size else int(chance * (self.seen + 1))
            self.seen += 1
            if place < self.size:
                places[place] = row
        if not places:
            return
        grown = min(self.seen, self.size) - len(self.ids)
        if grown:
            self.ids = torch.cat([self.ids, self.ids.new_zeros(grown)])
            more = [output.new_zeros(grown, *output.shape[1:]) for output in outputs]
            self.kept = [torch.cat(both) for both in zip(self.kept, more, strict=True)] if self.kept else more
        where, rows = torch.tensor(list(places)), torch.tensor(list(places.values()))
        self.ids[where] = ids[rows]
        for kept, output in zip(self.kept, outputs, strict=True):
            kept[where.to(kept.device)] = output[rows.to(output.device)]


def partial_distance(now: torch.Tensor, stored: torch.Tensor) -> torch.Tensor:
    """The mean squared distance of what both have, NaN being what one has not; 0 if they have nothing in common."""
    both = ~(now.isnan() | stored.isnan())
    # Nothing that is NaN may enter the difference: its gradient would be NaN however it is masked afterwards.
    difference = torch.where(both, now, 0.0) - torch.where(both, stored, 0.0)
    return difference.square().sum() / both.sum().clamp(min=1)


class DERConfig(Memory):
    """Options of DER."""

    alpha: float = Field(0.1, ge=0, description="weight of the squared distance to the stored logits")
    beta: float = Field(0.5, ge=0, description="weight of the loss on stored units (DER++); 0 is DER")
    batch_size: int | None = Field(None, ge=1, description="stored units per draw (default: as many as new ones)")


class DER(Strategy):
    """Dark Experience Replay, DER and DER++ (Buzzega et al. 2020)."""

    Config: ClassVar = DERConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.UNIT_ROWS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        size, c = context.units_in_memory(self.config), self.config
        if size < 2:
            raise UsageError(f"a memory of {size} units is too small: raise it with --set strategy.memory=N")
        self._device = next(context.model.parameters()).device
        self._plugin = DERPlugin(size, c.batch_size, c.alpha, c.beta, self.effects)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The reservoir's units; one that was stored in two epochs occurs twice."""
        return self._plugin.ids

    def state_dict(self) -> dict[str, Any]:
        """The reservoir, what is stored with its units, and the number of units offered to it."""
        plugin = self._plugin
        flags = {"mixed": plugin.mixed, "partial": plugin.partial}
        return {"ids": plugin.ids, "kept": plugin.kept, "seen": plugin.seen, **flags}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        plugin = self._plugin
        plugin.ids, plugin.seen = state["ids"], state["seen"]
        plugin.mixed, plugin.partial = state["mixed"], state["partial"]
        plugin.kept = [kept.to(self._device) for kept in state["kept"]]


class GDumbPlugin(SupervisedPlugin):
    """Starts each experience from the network's first weights, with the memory as the only training set."""

    def __init__(self, initial: dict[str, torch.Tensor], policy: ClassBalancedBuffer) -> None:
        super().__init__()
        self.initial, self.policy = initial, policy

    def before_train_dataset_adaptation(self, training: Training, **kwargs: Any) -> None:
        """Reset the network."""
        training.model.load_state_dict(self.initial)

    def after_train_dataset_adaptation(self, training: Training, **kwargs: Any) -> None:
        """Store units of the experience, and train on the memory."""
        self.policy.post_adapt(training, training.experience)
        training.adapted_dataset = self.policy.buffer


class GDumb(Strategy):
    """GDumb (Prabhu et al. 2020): trained from the start at each experience, on a class-balanced memory alone.

    Within a class the memory is a uniform sample of the stream, as in Avalanche. The paper's greedy sampler takes no
    sample of a class that has its share; where classes recur, it would keep the first experience for ever.
    """

    distributes: ClassVar[bool] = True
    Config: ClassVar = Memory

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        size, classes = context.units_in_memory(self.config), len(torch.unique(context.targets))
        if size < classes:
            raise UsageError(
                f"a memory of {size} units is too small for {classes} classes: raise it with --set strategy.memory=N"
            )
        initial = {name: tensor.detach().clone() for name, tensor in context.model.state_dict().items()}
        self._policy = ClassBalancedBuffer(max_size=size, adaptive_size=True)
        self._plugin = GDumbPlugin(initial, self._policy)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The memory's units."""
        return unit_ids(self._policy.buffer)

    def state_dict(self) -> dict[str, Any]:
        """Each class's part of the memory with the reservoir's weights, and the network's first weights."""
        groups = {
            str(c): {"ids": unit_ids(b.buffer), "weights": b._buffer_weights, "size": b.max_size}
            for c, b in self._policy.buffer_groups.items()
        }
        return {"groups": groups, "initial": self._plugin.initial}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.initial = state["initial"]
        for name, saved in state["groups"].items():
            group = ReservoirSamplingBuffer(saved["size"])
            group.buffer, group._buffer_weights = rebuild(saved["ids"]), saved["weights"]
            self._policy.buffer_groups[int(name)] = group
            self._policy.seen_classes.add(int(name))
