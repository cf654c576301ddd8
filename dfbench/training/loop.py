"""The ``Loop``: what a detector's own training loop drives.

The detector writes an ordinary PyTorch loop; the :class:`Loop` deals out batches and takes the loss,
and behind it every Avalanche callback fires once an iteration, in Avalanche's own order::

    batches()  before_training_iteration · zero_grad
    model(x)   before_forward · after_forward                 (the first call in an iteration)
    step()     before_backward · backward · after_backward
               before_update · optimizers · after_update
    batches()  after_training_iteration

With gradient accumulation an iteration is one optimizer step: the callbacks around forward and
``before_backward`` fire for each of its micro-batches, so that penalties on the data see all of it and
are averaged like the loss, and the others once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dfbench.data.loader import Batch
from dfbench.errors import PluginError

if TYPE_CHECKING:
    from dfbench.training.template import LoopTemplate


class Progress(Protocol):
    """Told of every training step."""

    def __call__(self, done: int, total: int, loss: torch.Tensor) -> None:
        """``done`` of ``total`` steps of this experience; ``loss``: the mean so far, on the device."""
        ...


class Optimizers(torch.optim.Optimizer):
    """Several optimizers that Avalanche's plugins see as one."""

    def __init__(self, members: Sequence[torch.optim.Optimizer]) -> None:  # the base class wants parameters
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
        """Zero the gradients of every member."""
        for member in self.members:
            member.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step every member."""
        for member in self.members:
            member.step()


class Loop:
    """Handed to :meth:`dfbench.Detector.train`, once an experience."""

    def __init__(self, template: LoopTemplate, experience: int) -> None:
        self._template = template
        self.experience: int = experience
        """Index of the experience being trained, from 0."""
        self.epoch = 0
        """Passes finished."""
        self._set_optimizers = False
        self._clip_norm: float | None = None
        self._accumulate = 1
        self._step_schedulers: list[Any] = []
        self._epoch_schedulers: list[Any] = []
        self._averaged: AveragedModel | None = None
        self._armed = self._forwarded = self._stepped = False
        self._group_size, self._group_left, self._group_stepped = 1, 0, False
        self._done, self._planned, self._losses = 0, 0, 0
        self._limit: int | None = None
        self._loss_sum = torch.zeros((), device=template.device)
        self._off = [m for m in template.model.modules() if not m.training]

    # --- What a detector uses -------------------------------------------------------------------

    @property
    def model(self) -> nn.Module:
        """The network, on its device, in train mode."""
        return self._template.model

    @property
    def device(self) -> torch.device:
        """Where the network and the batches are."""
        return self._template.device

    @property
    def batches_an_epoch(self) -> int:
        """How many batches :meth:`batches` gives, for schedules."""
        return len(self._template.dataloader)  # type: ignore[arg-type]

    def epochs(self, count: int) -> Iterator[int]:
        """0 … ``count`` − 1."""
        self._planned = self._done + count * -(-self.batches_an_epoch // self._accumulate)
        yield from range(count)

    def steps(self, count: int) -> Iterator[Batch]:
        """Batches for ``count`` optimizer steps, pass after pass over the data.

        Where a strategy trains on several experiences at once (joint, cumulative), ``count`` is
        multiplied by their number, as a budget in epochs is by itself.
        """
        self._limit = self._planned = self._done + self.total_steps(count)
        try:
            while self._done < self._limit:
                before = self._done
                yield from self.batches()
                if self._done == before:
                    raise PluginError("a training loop over loop.steps() must call loop.step(loss) for its batches")
        finally:
            self._limit = None

    def total_steps(self, count: int) -> int:
        """What ``steps(count)`` amounts to here, for schedules: ``count`` × the experiences trained on at once."""
        return count * self._template.merged

    def batches(self) -> Iterator[Batch]:
        """One pass over the experience, the strategy's replayed samples mixed in."""
        template = self._template
        if template.detector.opaque:
            raise PluginError("an opaque detector reads loop.data, not loop.batches(): its steps cannot be seen")
        template._before_training_epoch()
        with contextlib.suppress(GeneratorExit):  # the detector left the pass early: it ends here
            yield from self._iterations()
        if self._group_left:  # left in the middle of an accumulation group: what it has is its step
            self._group_left = 0
            if self._group_stepped:
                self._update()
            template._after_training_iteration()
        for scheduler in self._epoch_schedulers:
            scheduler.step()
        template._after_training_epoch()
        self.epoch += 1

    @property
    def data(self) -> Iterator[Batch]:
        """For opaque detectors: one pass over the experience and the strategy's memory; no callbacks."""
        template = self._template
        if not template.detector.opaque:
            raise PluginError("loop.data is for detectors that declare themselves opaque: use loop.batches()")
        for batch in template.loader.stream(_ids(template.dataloader)):
            template.effects.add("replayed_units", template.replayed(batch))
            yield batch

    def optimize(
        self,
        *optimizers: torch.optim.Optimizer,
        schedulers: Sequence[Any] = (),
        epoch_schedulers: Sequence[Any] = (),
        clip_norm: float | None = None,
        accumulate: int = 1,
    ) -> None:
        """Say how the following steps are made; call it at the start of an experience or a phase.

        Args:
            optimizers: all stepped at each optimizer step. schedulers: stepped after each optimizer step;
            epoch_schedulers: after each pass. Made anew in ``train``, they restart with each experience.
            clip_norm: largest gradient norm, applied after the strategy has changed the gradient.
            accumulate: batches an optimizer step.
        """
        if not optimizers:
            raise PluginError("loop.optimize() needs an optimizer")
        self._template.optimizer = Optimizers(optimizers)
        self._set_optimizers = True
        self._step_schedulers, self._epoch_schedulers = list(schedulers), list(epoch_schedulers)
        self._clip_norm, self._accumulate = clip_norm, accumulate

    @contextlib.contextmanager
    def phase(self, *trainable: nn.Module, freeze_statistics: bool = True) -> Iterator[None]:
        """While inside, only these modules train; the rest is frozen and, unless told otherwise, in eval mode.

        What the strategy has frozen stays frozen. Call :meth:`optimize` inside for the phase's own
        optimizer, and again after it.
        """
        model = self.model
        kept = {id(p) for module in trainable for p in module.parameters()}
        living = {id(m) for module in trainable for m in module.modules()}
        flags = {p: p.requires_grad for p in model.parameters()}
        off = self._off
        for p, flag in flags.items():
            p.requires_grad_(flag and id(p) in kept)
        if freeze_statistics:
            # A module that contains a trainable one keeps its mode; only its other parts are frozen.
            holders = {id(m) for m in model.modules() if living & {id(c) for c in m.modules()}}
            self._off = [*off, *(m for m in model.modules() if id(m) not in holders)]
        self.enforce_modes()
        try:
            yield
        finally:
            for p, flag in flags.items():
                p.requires_grad_(flag)
            self._off = off
            self._template.train_mode()

    def autocast(self) -> torch.autocast:
        """The precision that the detector's configuration asks for, as a context for forward and loss."""
        return self._template.autocast()

    def average(self, decay: float = 0.999) -> nn.Module:
        """Keep an exponential moving average of the weights; it is what predicts after this experience."""
        self._averaged = AveragedModel(
            self.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True, device=self.device
        )
        return self._averaged.module

    def step(self, loss: torch.Tensor) -> None:
        """Backward, the strategy's callbacks, the optimizer (at the end of an accumulation group).

        Args:
            loss: a scalar, the mean loss of the batch last dealt out.
        """
        if not self._armed or self._stepped:
            raise PluginError("loop.step(loss) goes once with each batch of loop.batches() or loop.steps()")
        if not self._set_optimizers:
            raise PluginError("call loop.optimize(optimizer) before the first loop.step(loss)")
        if loss.dim() != 0:
            raise PluginError(f"loop.step() takes a scalar loss, not one of shape {tuple(loss.shape)}")
        template = self._template
        if not self._forwarded:
            self._without_forward()
            template.passes.add(len(template.units))
        self._stepped = self._group_stepped = True
        self._armed = False
        self._group_left -= 1

        template.loss = template._make_empty_loss() + loss
        own = template.loss.detach().clone()
        template._before_backward()
        template.effects.add("penalty", template.loss.detach() - own)
        self._loss_sum += own.squeeze()
        self._losses += 1
        if self._group_size > 1:
            template.loss = template.loss / self._group_size
        template.backward()
        if self._group_left == 0:
            self._update()

    # --- Behind it ------------------------------------------------------------------------------

    def _update(self) -> None:
        template = self._template
        template._after_backward()
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm)
        template._before_update()
        template.optimizer_step()
        template._after_update()
        for scheduler in self._step_schedulers:
            scheduler.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self.model)
        self._done += 1
        if template.progress is not None:
            template.progress(self._done, max(self._planned, self._done), self._loss_sum / self._losses)
        if template.within is not None:
            template.within(self.model if self._averaged is None else self._averaged.module, self._done)

    def _iterations(self) -> Iterator[Batch]:
        template = self._template
        total = len(template.dataloader)  # type: ignore[arg-type]
        if template.frozen is not None:
            end = self._done + -(-total // self._accumulate)
            template.frozen.next_pass(last=0 < self._planned <= end)
        stream = template.loader.stream(_ids(template.dataloader))
        for index, batch in enumerate(stream):
            if self._limit is not None and self._done >= self._limit:
                return
            if self._group_left == 0:
                self._group_size = self._group_left = min(self._accumulate, total - index)
                self._group_stepped = False
                template._before_training_iteration()
                template.optimizer.zero_grad()
            self.enforce_modes()
            template.mbatch = [batch.pixels, batch.labels, torch.zeros_like(batch.units)]
            template.units = batch.units
            template.mb_output = None
            template.loss = template._make_empty_loss()
            template.effects.add("replayed_units", template.replayed(batch))
            self._armed, self._forwarded, self._stepped = True, False, False
            try:
                yield batch
            finally:
                self._end_of_batch()

    def _end_of_batch(self) -> None:
        self._armed = False
        if not self._stepped:  # the detector passed this batch over; the rest of its group still counts
            self._group_left -= 1
            if self._group_left == 0 and self._group_stepped:
                self._update()
        if self._group_left == 0:
            self._template._after_training_iteration()

    def enforce_modes(self) -> None:
        """Put back into eval mode what the strategy or the phase has frozen."""
        for module in self._off:
            module.training = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Forward callbacks on while inside; off before anybody copies the model."""
        before = self.model.register_forward_pre_hook(_Hook(self._before_forward))
        after = self.model.register_forward_hook(_Hook(self._after_forward))
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def finish(self) -> None:
        """Called after the detector's loop; a loop that did nothing is an error, never a silent result."""
        if self._done == 0 and not self._template.detector.opaque:
            raise PluginError(
                f"the training loop of {type(self._template.detector).__name__} made no step: it must draw from "
                "loop.batches() and call loop.step(loss), or declare itself opaque"
            )
        if self._averaged is not None:
            self._template.averaged = self._averaged.module

    def _before_forward(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if module.training:
            self.enforce_modes()
        if self._armed and not self._forwarded and not self._stepped:
            if args and isinstance(args[0], torch.Tensor):
                self._template.mbatch[0] = args[0]  # type: ignore[index]
            self._template._before_forward()

    def _after_forward(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._armed and not self._forwarded and not self._stepped:
            self._template.mb_output = output
            self._forwarded = True
            self._template._after_forward()

    def _without_forward(self) -> None:
        """The detector did not call ``model(x)`` itself (it called parts of it)."""
        if self._template.needs_logits:
            raise PluginError(
                "this strategy reads the logits of loop.model(x), but the training loop never called it: "
                "call the model itself, not its parts"
            )
        self._forwarded = True
        self._template._before_forward()
        self._template._after_forward()


class _Hook:
    """A forward hook that a copy of the model does not carry along (a teacher, an average)."""

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
