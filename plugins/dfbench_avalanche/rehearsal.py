"""DER and GDumb: strategies whose memory is more than replayed units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from avalanche.core import SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer, ReservoirSamplingBuffer
from pydantic import Field

from dfbench import Memory, Need, PluginError, Strategy, StrategyContext, UsageError, unit_ids


class DERPlugin(SupervisedPlugin):
    """Dark experience replay: a reservoir of units with the logits that they had when they came in.

    As in the paper, and unlike Avalanche's: units come in while they are trained on, with the logits of
    that very step; stored units have forward passes of their own; the two terms draw separately.
    """

    def __init__(self, size: int, batch_size: int | None, alpha: float, beta: float, effects: Any) -> None:
        super().__init__()
        self.size, self.batch_size = size, batch_size
        self.alpha, self.beta = alpha, beta
        self.effects = effects
        self.ids = torch.empty(0, dtype=torch.int64)
        self.logits = torch.empty(0)
        self.seen = 0
        self._new: list[tuple[torch.Tensor, torch.Tensor]] = []

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: what the network says of the new units."""
        if len(strategy.mb_output) != len(strategy.units):
            raise PluginError(f"model(x) gave {len(strategy.mb_output)} rows for {len(strategy.units)} units")
        self._new.append((strategy.units, strategy.mb_output.detach().float()))

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: both terms on the memory."""
        count = min(self.batch_size or strategy.train_mb_size, len(self.ids))
        if count < min(2, strategy.train_mb_size):  # batch normalisation cannot train on one
            return
        chosen = self.draw(count)
        outputs = strategy.reference_logits(self.ids[chosen]).float()
        strategy.loss = strategy.loss + self.alpha * F.mse_loss(outputs, self.logits[chosen.to(self.logits.device)])
        if self.beta:
            strategy.loss = strategy.loss + self.beta * strategy.reference_loss(self.ids[self.draw(count)])
        self.effects.add("replayed_units", count * (2 if self.beta else 1))

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback: offer the new units to the reservoir."""
        for ids, logits in self._new:
            self.offer(ids, logits)
        self._new = []

    def draw(self, count: int) -> torch.Tensor:
        """Positions of ``count`` stored units, at random without repetition."""
        return torch.randperm(len(self.ids))[:count]

    def offer(self, ids: torch.Tensor, logits: torch.Tensor) -> None:
        """Reservoir sampling (Vitter 1985): all units offered so far are stored with the same probability."""
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
            more = logits.new_zeros(grown, *logits.shape[1:])
            self.logits = torch.cat([self.logits, more]) if len(self.logits) else more
        where, rows = torch.tensor(list(places)), torch.tensor(list(places.values()))
        self.ids[where] = ids[rows]
        self.logits[where.to(logits.device)] = logits[rows.to(logits.device)]


class DERConfig(Memory):
    """Options of DER."""

    alpha: float = Field(0.1, ge=0, description="weight of the squared distance to the stored logits")
    beta: float = Field(0.5, ge=0, description="weight of the loss on stored units (DER++); 0 is DER")
    batch_size: int | None = Field(None, ge=1, description="stored units a draw (default: as many as new ones)")


class DER(Strategy):
    """Dark Experience Replay, DER and DER++ (Buzzega et al. 2020)."""

    Config: ClassVar = DERConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS, Need.LOGITS, Need.UNIT_LOGITS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
        size, c = context.units_in_memory(self.config), self.config
        if size < 2:
            raise UsageError(f"a memory of {size} units is too small: raise it with --set strategy.memory=N")
        self._device = next(context.model.parameters()).device
        self._plugin = DERPlugin(size, c.batch_size, c.alpha, c.beta, self.effects)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The reservoir's units; one that came in at two epochs is there twice."""
        return self._plugin.ids

    def state_dict(self) -> dict[str, Any]:
        """The reservoir, and how many units were offered to it."""
        return {"ids": self._plugin.ids, "logits": self._plugin.logits, "seen": self._plugin.seen}

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        """See :class:`Strategy`."""
        self._plugin.ids, self._plugin.seen = state["ids"], state["seen"]
        self._plugin.logits = state["logits"].to(self._device)


class GDumbPlugin(SupervisedPlugin):
    """The network's first weights again, and the memory as the only training set."""

    def __init__(self, initial: dict[str, torch.Tensor], policy: ClassBalancedBuffer) -> None:
        super().__init__()
        self.initial, self.policy = initial, policy

    def before_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        strategy.model.load_state_dict(self.initial)

    def after_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        """Avalanche callback."""
        self.policy.post_adapt(strategy, strategy.experience)
        strategy.adapted_dataset = self.policy.buffer


class GDumb(Strategy):
    """GDumb (Prabhu et al. 2020): trained anew at each experience, on a class-balanced memory alone.

    Within a class the memory is a uniform sample of the stream, as in Avalanche. The paper's greedy sampler
    takes no sample of a class that has its share: where classes recur it would keep the first experience for ever.
    """

    Config: ClassVar = Memory

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        """See :class:`Strategy`."""
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
        """See :class:`Strategy`."""
        self._plugin.initial = state["initial"]
        for name, saved in state["groups"].items():
            group = ReservoirSamplingBuffer(saved["size"])
            group.buffer, group._buffer_weights = rebuild(saved["ids"]), saved["weights"]
            self._policy.buffer_groups[int(name)] = group
            self._policy.seen_classes.add(int(name))
