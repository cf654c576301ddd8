"""The ``Loop``: what a detector's own training loop drives.

The detector writes an ordinary PyTorch loop. The :class:`Loop` deals out batches and receives the loss, and behind it
every Avalanche callback fires once per iteration, in Avalanche's own order::

    batches()  before_training_iteration · zero_grad
    model(x)   before_forward · after_forward                 (the first call in an iteration)
    step()     before_backward · backward · after_backward
               before_update · optimizers · after_update
    batches()  after_training_iteration

With gradient accumulation an iteration is one optimizer step. The callbacks around forward and ``before_backward`` fire
for each of its micro-batches, so that penalties on the data see all of it and are averaged like the loss. The others
fire once.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dfbench.data.loader import Batch, UnitLoader
from dfbench.errors import PluginError
from dfbench.training.compute import ComputeCounter
from dfbench.training.protocol import Training


class Progress(Protocol):
    """Receives every training step."""

    def __call__(self, done: int, total: int, loss: torch.Tensor) -> None:
        """Called after each optimizer step.

        Args:
            done: optimizer steps made in this experience.
            total: steps planned for it, as far as the loop has said.
            loss: scalar, the mean loss of the experience so far, on the device.
        """
        ...


class LoopHost(Training, Protocol):
    """What a :class:`Loop` needs of the training that it runs in, beyond what strategies may use.

    Attributes:
        opaque: whether the detector hides its steps.
        detector_name: for error messages.
        loader: turns unit ids into batches.
        dataloader: the unit ids of each batch of a pass.
        compute: counts the passes through the network.
        progress: receives every step; may be None.
        mid_training: called with the network that would predict now and the number of steps made, before the first
            step and after each; may be None.
        needs_logits: whether a plugin reads ``mb_output``.
        experiences_at_once: number of experiences that the training set holds.
    """

    mbatch: list[torch.Tensor]
    mb_output: Any
    units: torch.Tensor
    averaged: nn.Module | None
    loader: UnitLoader
    dataloader: Any
    compute: ComputeCounter
    progress: Progress | None
    mid_training: Callable[[nn.Module, int], None] | None
    needs_logits: bool
    experiences_at_once: int

    @property
    def opaque(self) -> bool: ...

    @property
    def detector_name(self) -> str: ...

    def replayed(self, batch: Batch) -> int:
        """Number of units of a batch that are not of the present experience."""
        ...

    def backward(self) -> None: ...

    def optimizer_step(self) -> None: ...

    def _make_empty_loss(self) -> torch.Tensor: ...

    # Avalanche's callbacks: each calls all plugins.

    def _before_training_epoch(self) -> None: ...

    def _after_training_epoch(self) -> None: ...

    def _before_training_iteration(self) -> None: ...

    def _after_training_iteration(self) -> None: ...

    def _before_forward(self) -> None: ...

    def _after_forward(self) -> None: ...

    def _before_backward(self) -> None: ...

    def _after_backward(self) -> None: ...

    def _before_update(self) -> None: ...

    def _after_update(self) -> None: ...


class Optimizers(torch.optim.Optimizer):
    """Several optimizers that Avalanche's plugins see as one."""

    def __init__(self, members: Sequence[torch.optim.Optimizer]) -> None:
        # Without super().__init__(): it requires parameters, and there are none before the detector's first step.
        self.members = tuple(members)
        self.defaults: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """All groups of all members."""
        return [group for member in self.members for group in member.param_groups]

    @property
    def state(self) -> dict[Any, Any]:  # type: ignore[override]
        """All state of all members."""
        return {key: value for member in self.members for key, value in member.state.items()}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of every member's parameters."""
        for member in self.members:
            member.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step every member; ``closure`` is ignored."""
        for member in self.members:
            member.step()


class _Turn(enum.Enum):
    """How far the detector is with the batch last dealt out."""

    NONE = enum.auto()
    DEALT = enum.auto()
    FORWARDED = enum.auto()
    STEPPED = enum.auto()


@dataclass
class _Recipe:
    """How steps are made: what the detector passed to :meth:`Loop.optimize`."""

    given: bool = False
    clip_norm: float | None = None
    accumulate: int = 1
    schedulers: list[Any] = field(default_factory=list)
    epoch_schedulers: list[Any] = field(default_factory=list)


@dataclass
class _Group:
    """An accumulation group: the batches of one optimizer step, which are one iteration to Avalanche.

    Attributes:
        size: batches of the group.
        left: batches of it that are still to come; 0: no group is open.
        stepped: whether the detector has stepped on any of them.
    """

    size: int = 1
    left: int = 0
    stepped: bool = False


@dataclass
class _Count:
    """Progress of the experience.

    Attributes:
        done: optimizer steps made.
        planned: steps expected in all.
        limit: number of steps after which :meth:`Loop.steps` ends; None outside of it.
        losses: number of losses in ``loss_sum``.
        loss_sum: scalar, on the device.
    """

    loss_sum: torch.Tensor
    losses: int = 0
    done: int = 0
    planned: int = 0
    limit: int | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the steps of :meth:`Loop.steps` are made."""
        return self.limit is not None and self.done >= self.limit


class Loop:
    """Drives the training of one experience; a detector's ``train`` receives it.

    Attributes:
        experience: index of the experience, from 0.
        epoch: number of passes finished.
    """

    def __init__(self, host: LoopHost, experience: int) -> None:
        self._host = host
        self.experience: int = experience
        self.epoch = 0
        self._recipe = _Recipe()
        self._group = _Group()
        self._count = _Count(torch.zeros((), device=host.device))
        self._turn = _Turn.NONE
        self._averaged: AveragedModel | None = None
        # In eval mode already: frozen by the strategy (CWR*), and not to be woken by a detector's model.train().
        self._frozen = [m for m in host.model.modules() if not m.training]

    # --- What a detector uses -------------------------------------------------------------------

    @property
    def model(self) -> nn.Module:
        """The network, on its device, in train mode."""
        return self._host.model

    @property
    def device(self) -> torch.device:
        """Where the network and the batches are."""
        return self._host.device

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches that :meth:`batches` deals out, for schedules."""
        return len(self._host.dataloader)

    def epochs(self, count: int) -> Iterator[int]:
        """0 … ``count`` − 1."""
        self._count.planned = self._count.done + count * -(-self.batches_per_epoch // self._recipe.accumulate)
        yield from range(count)

    def steps(self, count: int) -> Iterator[Batch]:
        """Batches for ``count`` optimizer steps, pass after pass over the data.

        Where a strategy trains on several experiences at once (joint, cumulative), ``count`` is multiplied by their
        number, as a budget in epochs is by itself.

        Raises:
            PluginError: a whole pass went by without a step.
        """
        progress = self._count
        progress.limit = progress.planned = progress.done + self.total_steps(count)
        try:
            while not progress.exhausted:
                before = progress.done
                yield from self.batches()
                if progress.done == before:
                    raise PluginError("a training loop over loop.steps() must call loop.step(loss) for its batches")
        finally:
            progress.limit = None

    def total_steps(self, count: int) -> int:
        """Number of steps that ``steps(count)`` makes, for schedules: ``count`` × the experiences trained at once."""
        return count * self._host.experiences_at_once

    def batches(self) -> Iterator[Batch]:
        """One pass over the experience, the strategy's replayed samples mixed in.

        Raises:
            PluginError: the detector declares itself opaque.
        """
        host, group = self._host, self._group
        if host.opaque:
            raise PluginError("an opaque detector reads loop.data, not loop.batches(): its steps cannot be seen")
        host._before_training_epoch()
        # A detector that breaks out of its loop closes this generator at the yield. The pass then ends here as an
        # ordinary one does, so that callbacks stay paired and schedules go on.
        with contextlib.suppress(GeneratorExit):
            yield from self._iterations()
        if group.left:  # left in the middle of an accumulation group: the batches that it got make its step
            group.left = 0
            if group.stepped:
                self._update()
            host._after_training_iteration()
        for scheduler in self._recipe.epoch_schedulers:
            scheduler.step()
        host._after_training_epoch()
        self.epoch += 1

    @property
    def data(self) -> Iterator[Batch]:
        """For opaque detectors: one pass over the experience and the strategy's memory, without callbacks.

        Raises:
            PluginError: the detector does not declare itself opaque.
        """
        host = self._host
        if not host.opaque:
            raise PluginError("loop.data is for detectors that declare themselves opaque: use loop.batches()")
        for batch in host.loader.stream(_ids(host.dataloader)):
            host.effects.add("replayed_units", host.replayed(batch))
            yield batch

    def optimize(
        self,
        *optimizers: torch.optim.Optimizer,
        schedulers: Sequence[Any] = (),
        epoch_schedulers: Sequence[Any] = (),
        clip_norm: float | None = None,
        accumulate: int = 1,
    ) -> None:
        """Set how the following steps are made; call it at the start of an experience or a phase.

        What is made in ``train`` restarts with each experience.

        Args:
            optimizers: all of them are stepped at each optimizer step.
            schedulers: stepped after each optimizer step.
            epoch_schedulers: stepped after each pass.
            clip_norm: largest norm of the gradient, applied after the strategy has changed it.
            accumulate: batches per optimizer step.

        Raises:
            PluginError: there is no optimizer.
        """
        if not optimizers:
            raise PluginError("loop.optimize() needs an optimizer")
        self._host.optimizer = Optimizers(optimizers)
        self._recipe = _Recipe(True, clip_norm, accumulate, list(schedulers), list(epoch_schedulers))

    @contextlib.contextmanager
    def phase(self, *trainable: nn.Module, freeze_statistics: bool = True) -> Iterator[None]:
        """A context in which only these modules train. What the strategy has frozen stays frozen.

        Call :meth:`optimize` inside for the phase's own optimizer, and after the phase for the next one.

        Args:
            trainable: parts of the network.
            freeze_statistics: put the other modules into eval mode, so that batch normalisation keeps its statistics.
        """
        model = self.model
        kept = {id(p) for module in trainable for p in module.parameters()}
        living = {id(m) for module in trainable for m in module.modules()}
        flags = {p: p.requires_grad for p in model.parameters()}
        frozen = self._frozen
        for p, flag in flags.items():
            p.requires_grad_(flag and id(p) in kept)
        if freeze_statistics:
            # A module that contains a trainable one keeps its mode; only its other parts are frozen.
            holders = {id(m) for m in model.modules() if living & {id(c) for c in m.modules()}}
            self._frozen = [*frozen, *(m for m in model.modules() if id(m) not in holders)]
        self.enforce_modes()
        try:
            yield
        finally:
            for p, flag in flags.items():
                p.requires_grad_(flag)
            self._frozen = frozen
            self._host.train_mode()

    def autocast(self) -> torch.autocast:
        """The precision that the detector's configuration asks for, as a context for forward and loss."""
        return self._host.autocast()

    def average(self, decay: float = 0.999) -> nn.Module:
        """Keep an exponential moving average of the weights, which predicts after this experience.

        Args:
            decay: share of the old average in the new one, per step.

        Returns:
            The averaged network.
        """
        self._averaged = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True, device=self.device
        )
        return self._averaged.module

    def step(self, loss: torch.Tensor) -> None:
        """Backward, the strategy's callbacks and, at the end of an accumulation group, the optimizer.

        Args:
            loss: scalar, the mean loss of the batch last dealt out.

        Raises:
            PluginError: it is not a scalar, there is no optimizer, or no batch to step on.
        """
        if not self._armed:
            raise PluginError("loop.step(loss) goes once with each batch of loop.batches() or loop.steps()")
        if not self._recipe.given:
            raise PluginError("call loop.optimize(optimizer) before the first loop.step(loss)")
        if loss.dim() != 0:
            raise PluginError(f"loop.step() takes a scalar loss, not one of shape {tuple(loss.shape)}")
        host, group, progress = self._host, self._group, self._count
        if self._turn is _Turn.DEALT:
            self._without_forward()
            host.compute.add(len(host.units))
        # From here on passes through the network are the strategy's (GEM, DER), not this batch's.
        self._turn = _Turn.STEPPED
        group.stepped = True
        group.left -= 1

        host.loss = host._make_empty_loss() + loss
        own = host.loss.detach().clone()
        host._before_backward()
        # Whatever a plugin added to the loss is its penalty. It stays on the device until the record is written.
        host.effects.add("penalty", host.loss.detach() - own)
        progress.loss_sum += own.squeeze()
        progress.losses += 1
        if group.size > 1:  # after before_backward: a plugin's penalty is averaged over the group too
            host.loss = host.loss / group.size
        host.backward()
        if group.left == 0:
            self._update()

    # --- Behind it ------------------------------------------------------------------------------

    @property
    def _armed(self) -> bool:
        """Whether a batch is dealt out that was not stepped on."""
        return self._turn in (_Turn.DEALT, _Turn.FORWARDED)

    @property
    def _predicting(self) -> nn.Module:
        """The network that would predict now."""
        return self.model if self._averaged is None else self._averaged.module

    def _update(self) -> None:
        """The optimizer step of a group, and everything that happens once per step."""
        host, recipe, progress = self._host, self._recipe, self._count
        host._after_backward()  # here GEM and A-GEM project the gradient: clipping comes after them
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        host._before_update()
        host.optimizer_step()
        host._after_update()
        for scheduler in recipe.schedulers:
            scheduler.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self.model)
        progress.done += 1
        if host.progress is not None:
            host.progress(progress.done, max(progress.planned, progress.done), progress.loss_sum / progress.losses)
        if host.mid_training is not None:
            host.mid_training(self._predicting, progress.done)

    def _iterations(self) -> Iterator[Batch]:
        """The batches of one pass. Groups open before their first batch and close in :meth:`_end_of_batch`."""
        host, group = self._host, self._group
        total = len(host.dataloader)  # for which UnitOrder draws the order that it then deals out
        for index, batch in enumerate(host.loader.stream(_ids(host.dataloader))):
            if self._count.exhausted:
                return
            if group.left == 0:
                # The last group of a pass may be smaller; its size is the divisor of its losses.
                group.size = group.left = min(self._recipe.accumulate, total - index)
                group.stepped = False
                host._before_training_iteration()
                # After the callback: a reference pass in it may leave gradients behind.
                host.optimizer.zero_grad()
            self.enforce_modes()
            host.mbatch = [batch.pixels, batch.labels, torch.zeros_like(batch.units)]
            host.units = batch.units
            host.mb_output = None
            host.loss = host._make_empty_loss()
            host.effects.add("replayed_units", host.replayed(batch))
            self._turn = _Turn.DEALT
            try:
                yield batch
            finally:  # also if the detector leaves the pass here
                self._end_of_batch()

    def _end_of_batch(self) -> None:
        """The detector asks for the next batch, or leaves."""
        group, stepped = self._group, self._turn is _Turn.STEPPED
        self._turn = _Turn.NONE
        if not stepped:  # it passed this batch over; the rest of its group still counts
            group.left -= 1
            if group.left == 0 and group.stepped:
                self._update()
        if group.left == 0:
            self._host._after_training_iteration()

    def enforce_modes(self) -> None:
        """Put back into eval mode what the strategy or the phase has frozen."""
        for module in self._frozen:
            module.training = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """A context in which the network's forward passes fire callbacks.

        Its hooks are gone before ``after_training_exp``, where strategies copy the network.
        """
        before = self.model.register_forward_pre_hook(_Hook(self._before_forward))
        after = self.model.register_forward_hook(_Hook(self._after_forward))
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def finish(self) -> None:
        """Close the experience, after the detector's loop.

        Raises:
            PluginError: the loop made no step, which would be a silent result otherwise.
        """
        if self._count.done == 0 and not self._host.opaque:
            raise PluginError(
                f"the training loop of {self._host.detector_name} made no step: it must draw from "
                "loop.batches() and call loop.step(loss), or declare itself opaque"
            )
        if self._averaged is not None:
            self._host.averaged = self._averaged.module

    def _before_forward(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if module.training:  # a detector may have called model.train() since the batch was dealt out
            self.enforce_modes()
        if self._turn is _Turn.DEALT:
            # Plugins read the network's input, as in Avalanche; until now this was the batch's pixels.
            if args and isinstance(args[0], torch.Tensor):
                self._host.mbatch[0] = args[0]
            self._host._before_forward()

    def _after_forward(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._turn is _Turn.DEALT:
            self._host.mb_output = output
            self._turn = _Turn.FORWARDED
            self._host._after_forward()

    def _without_forward(self) -> None:
        """Fire the callbacks around forward for a detector that called parts of the network, not ``model(x)``."""
        if self._host.needs_logits:
            raise PluginError(
                "this strategy reads the logits of loop.model(x), but the training loop never called it: "
                "call the model itself, not its parts"
            )
        self._turn = _Turn.FORWARDED
        self._host._before_forward()
        self._host._after_forward()


class _Hook:
    """A forward hook that a copy of the model (a teacher, an average) does not carry along."""

    def __init__(self, call: Callable[..., None] | None) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        if self._call is not None:
            self._call(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        return _Hook(None)


def _ids(order: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Unit ids of each batch, from our own order or from an Avalanche data loader over unit data sets."""
    for item in order:
        yield item if isinstance(item, torch.Tensor) else item[0]
