"""MIR: replay of the stored units whose loss a step would raise most.

Aljundi et al., "Online Continual Learning with Maximally Interfered Retrieval", NeurIPS 2019, arXiv:1908.04742.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from avalanche.core import SupervisedPlugin
from pydantic import Field
from torch import nn

from dfbench import Effects, Memory, Need, Strategy, StrategyContext, Training, UsageError, unit_ids
from dfbench_avalanche.storage_policies import Reservoir, losses
from dfbench_avalanche.teacher import evaluated


@contextlib.contextmanager
def virtual_step(parameters: list[nn.Parameter], loss: torch.Tensor, lr: float) -> Iterator[None]:
    """A context in which the weights have made a step of plain gradient descent; afterwards they are as before.

    Args:
        parameters: those that the step may move.
        loss: scalar; its graph is kept.
        lr: the step's learning rate.
    """
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    own = [p.data for p in parameters]
    # By .data and not in place: the graph of the loss still needs the weights that it was computed with.
    for p, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            p.data = p.data - lr * gradient.to(p.dtype)
    try:
        yield
    finally:
        for p, data in zip(parameters, own, strict=True):
            p.data = data


class MIRPlugin(SupervisedPlugin):
    """Adds the detector's loss on the stored units that the step interferes with most."""

    def __init__(self, size: int, config: MIRConfig, targets: torch.Tensor, effects: Effects) -> None:
        super().__init__()
        self.memory = Reservoir(size)
        self.config, self.targets, self.effects = config, targets, effects

    def before_backward(self, training: Training, **kwargs: Any) -> None:
        """Draw candidates, choose among them, and add their loss."""
        count = min(self.config.batch_size or training.train_mb_size, len(self.memory.ids))
        if count < min(2, training.train_mb_size):  # batch normalisation cannot train on one
            return
        drawn = torch.randperm(len(self.memory.ids))[: max(self.config.candidates, count)]
        chosen = self.retrieve(training, self.memory.ids[drawn], count)
        training.loss = training.loss + training.reference_loss(chosen)
        self.effects.add("replayed_units", len(chosen))

    def retrieve(self, training: Training, candidates: torch.Tensor, count: int) -> torch.Tensor:
        """Of candidates, int64 (N,), the ``count`` whose loss rises most in a virtual step on the batch.

        Losses are those of the units alone, in eval mode, before and after with the same random numbers.
        """
        if len(candidates) <= count:
            return candidates
        lr = self.config.lr or float(training.optimizer.param_groups[0]["lr"])
        parameters = [p for p in training.model.parameters() if p.requires_grad]
        with evaluated(training.model), torch.random.fork_rng(), torch.no_grad():
            state = torch.get_rng_state()
            before = losses(training, candidates)
            torch.set_rng_state(state)
            with virtual_step(parameters, training.loss, lr):
                after = losses(training, candidates)
        self.effects.add("virtual_steps", 1)
        rise = (after - before).double()
        return candidates[rise.argsort(descending=True, stable=True)[:count]]

    def after_training_exp(self, training: Training, **kwargs: Any) -> None:
        """Offer the experience's units to the reservoir."""
        ids = unit_ids(training.experience.dataset)
        self.memory.update(training, ids, self.targets[ids])


class MIRConfig(Memory):
    """Options of MIR."""

    candidates: int = Field(50, ge=1, description="stored units per step that are drawn, for some to be chosen")
    batch_size: int | None = Field(None, ge=1, description="units chosen per step (default: as many as new ones)")
    lr: float | None = Field(None, gt=0, description="of the virtual step (default: the optimizer's own)")


class MIR(Strategy):
    """Maximally interfered retrieval (Aljundi et al. 2019): replays what the coming step would do most harm to.

    The memory is a uniform sample of all units seen. Our implementation. Differences from the authors' code: the
    detector's own loss replaces cross-entropy, and a unit's loss is measured on the unit alone and in eval mode, so
    that it depends on no other unit. Units are offered to the memory after their experience, not while they are
    trained on; theirs never replays units of the present one either.
    """

    Config: ClassVar = MIRConfig
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRADIENTS})

    def plugins(self, context: StrategyContext) -> list[SupervisedPlugin]:
        size = context.units_in_memory(self.config)
        if size < 2:
            raise UsageError(f"a memory of {size} units is too small: raise it with --set strategy.memory=N")
        self._plugin = MIRPlugin(size, self.config, context.targets, self.effects)
        return [self._plugin]

    def stored_units(self) -> torch.Tensor:
        """The reservoir's units."""
        return self._plugin.memory.ids

    def state_dict(self) -> dict[str, Any]:
        """The reservoir."""
        return self._plugin.memory.state_dict()

    def load_state_dict(self, state: dict[str, Any], rebuild: Callable[[torch.Tensor], Any]) -> None:
        self._plugin.memory.load_state_dict(state)
