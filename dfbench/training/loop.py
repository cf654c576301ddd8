"""The ``Loop``: what a detector's own training loop drives.

The detector writes an ordinary PyTorch loop. The :class:`Loop` deals out batches and receives the loss, and behind it
every Avalanche callback fires once per iteration, in Avalanche's own order::

    batches()  before_training_iteration · zero_grad
    model(x)   before_forward · after_forward                 (the first call with gradients in an iteration)
    step()     before_backward · backward · after_backward
               before_update · optimizers · after_update
    batches()  after_training_iteration

An optimizer that evaluates the loss again within its step (SAM, L-BFGS) has the callbacks from ``before_forward`` to
``after_backward`` fired for each evaluation. With gradient accumulation an iteration is one optimizer step. The
callbacks around forward and ``before_backward`` fire for each of its micro-batches, so that penalties on the data see
all of it and are averaged like the loss. The others fire once. An iteration without a step counts neither as one nor in
the strategy's effects.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dfbench.data.loader import Batch
from dfbench.training.calls import check_loss
from dfbench.training.host import LoopHost
from dfbench.training.loop_validation import ValidationPart
from dfbench.training.modeling import copy_network
from dfbench.training.optimizers import Optimizers, check_optimizers
from dfbench.training.parts import PENALTY, Parts
from dfbench.training.passes import Passes, ids_of
from dfbench.training.step_pass import StepPass, Turn
from dfbench.training.watch import Watch, check_scale


@dataclass
class _Recipe:
    """How steps are made: what the detector passed to :meth:`Loop.optimize`."""

    given: bool = False
    clip_norm: float | None = None
    accumulate: int = 1
    schedulers: list[Any] = field(default_factory=list)
    epoch_schedulers: list[Any] = field(default_factory=list)
    checked: bool = False


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


_ONCE = "loop.step(loss) goes once with each batch of loop.batches() or loop.steps(), and of loop.again()"


class Loop(ValidationPart):
    """Drives the training of one experience; a detector's ``train`` receives it.

    Attributes:
        experience: index of the experience, from 0.
        epoch: number of passes finished.
    """

    def __init__(self, host: LoopHost, experience: int) -> None:
        super().__init__(host)
        self.experience: int = experience
        self.epoch = 0
        self._recipe = _Recipe()
        self._group = _Group()
        self._count = _Count(torch.zeros((), device=host.device))
        self._step_pass = StepPass(host, self.enforce_modes)
        self._watch = Watch(host.detector_name, host.device)
        self._weights = {id(p) for p in host.model.parameters()}
        self._held: set[int] = set()
        self._trains = False
        self._dealing = False
        self._in_phase = False
        self._batch: Batch | None = None
        self._again: Callable[[], torch.Tensor] | None = None
        # In eval mode already: frozen by the strategy (CWR*), and not to be woken by a detector's model.train().
        self._frozen = [m for m in host.model.modules() if not m.training]
        self._parts = Parts(host)

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
                    raise self._fault("a training loop over loop.steps() must call loop.step(loss) for its batches")
        finally:
            progress.limit = None

    def total_steps(self, count: int) -> int:
        """Number of steps that ``steps(count)`` makes, for schedules: ``count`` × the experiences trained at once."""
        return count * self._host.experiences_at_once

    def batches(self) -> Iterator[Batch]:
        """One pass over the experience, the strategy's replayed samples mixed in.

        Raises:
            PluginError: the detector declares itself opaque, or another pass is not finished.
        """
        if self._host.opaque:
            raise self._fault("an opaque detector reads loop.data, not loop.batches(): its steps cannot be seen")
        if self._dealing:
            raise self._fault(
                "a second loop.batches() or loop.steps() began while the first goes on: a step belongs to one batch; "
                "finish the first pass, or draw both parts from one batch"
            )
        self._dealing = True
        try:
            yield from self._pass()
        finally:
            self._dealing = False

    def _pass(self) -> Iterator[Batch]:
        host, group = self._host, self._group
        host._before_training_epoch()
        # A detector that breaks out of its loop closes this generator at the yield. The pass then ends here as an
        # ordinary one does, so that callbacks stay paired and schedules go on.
        with contextlib.suppress(GeneratorExit):
            yield from self._iterations()
        if group.left:  # left in the middle of an accumulation group: the batches that it got make its step
            group.left = 0
            if group.stepped:
                self._update()
            self._end_of_iteration()
        for scheduler in self._recipe.epoch_schedulers:
            scheduler.step()
        host._after_training_epoch()
        self.epoch += 1

    @property
    def data(self) -> Passes:
        """For opaque detectors: passes over the experience and the strategy's memory, without callbacks.

        Each iteration over it is one pass in a new order; its length is the number of batches of the next one.

        Raises:
            PluginError: the detector does not declare itself opaque.
        """
        if not self._host.opaque:
            raise self._fault("loop.data is for detectors that declare themselves opaque: use loop.batches()")
        self._trains = True
        return Passes(self._host)

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
            PluginError: there is no optimizer, or something that is none.
        """
        check_optimizers(optimizers, self._host.detector_name)
        self._host.optimizer = Optimizers(optimizers, self.model)
        self._held |= {id(p) for each in optimizers for group in each.param_groups for p in group["params"]}
        if self._group.left == 0 or not self._group.stepped:  # not within a step: nobody needs what is there
            self._host.optimizer.zero_grad()
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
        frozen, in_phase = self._frozen, self._in_phase
        self._in_phase = True
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
            self._frozen, self._in_phase = frozen, in_phase
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
            copy_network(self.model), multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True, device=self.device
        )
        return self._averaged.module

    def again(self) -> Batch:
        """The batch last dealt out once more, for another optimizer step on it, which is an iteration of its own.

        Raises:
            PluginError: no step was made on it, or gradients are accumulated over batches.
        """
        if self._step_pass.turn is not Turn.STEPPED or self._batch is None:
            raise self._fault("loop.again() goes after a loop.step(loss) on the batch")
        if self._group.size > 1:
            raise self._fault("loop.again() goes without accumulate: a group of batches makes one step")
        self._end_of_batch()
        self._open_group(1)
        self._deal(self._batch)
        return self._batch

    def step(self, loss: torch.Tensor | Callable[[], torch.Tensor]) -> None:
        """Backward, the strategy's callbacks and, at the end of an accumulation group, the optimizer.

        Args:
            loss: scalar, the mean loss of the batch last dealt out; or a function that computes it, which an optimizer
                that evaluates the loss several times per step (SAM, L-BFGS) needs.

        Raises:
            PluginError: it is not a scalar with a gradient, there is no optimizer, or no batch to step on; the
                optimizer needs a function; or the strategy's penalty has no gradient.
            DfbenchError: it is not finite.
        """
        self._again = None
        if not isinstance(loss, torch.Tensor) and callable(loss):
            if not self._armed:
                raise self._fault(_ONCE)
            self._again = loss
            loss = loss()
        self._check_step(loss)
        host, group, progress = self._host, self._group, self._count
        if self._step_pass.turn is Turn.DEALT:
            self._step_pass.without_forward()
            host.compute.add(len(host.units))
        # From here on passes through the network are the strategy's (GEM, DER), not this batch's.
        self._step_pass.turn = Turn.STEPPED
        group.stepped = True
        group.left -= 1
        host.effects.add("replayed_units", self._replayed)

        self._parts.leave()
        own = host._make_empty_loss() + loss
        host.loss = own.clone()
        untouched = host.loss.grad_fn
        host._before_backward()
        # Whatever a plugin added to the loss is its penalty. It stays on the device until the record is written.
        if host.loss.grad_fn is not untouched and self._watch.penalty(host.loss, own, self._in_phase):
            host.effects.add(PENALTY, self._parts.weighted(host.loss.detach() - own.detach()))
        self._watch.loss(host.loss, own)
        progress.loss_sum += own.detach().squeeze()
        progress.losses += 1
        if group.size > 1:  # after before_backward: a plugin's penalty is averaged over the group too
            host.loss = host.loss / group.size
        host.loss = self._parts.weighted(host.loss)
        host.backward()
        if group.left == 0:
            self._update()

    # --- Behind it ------------------------------------------------------------------------------

    @property
    def _armed(self) -> bool:
        """Whether a batch is dealt out that was not stepped on."""
        return self._step_pass.turn in (Turn.DEALT, Turn.FORWARDED)

    def _check_step(self, loss: Any) -> None:
        if not self._armed:
            raise self._fault(_ONCE)
        if not self._recipe.given:
            raise self._fault("call loop.optimize(optimizer) before the first loop.step(loss)")
        check_loss(loss, self._host.detector_name, "train", "passed", "to loop.step()")
        if not self._recipe.checked:  # once: it waits for the device
            check_scale(loss, self._host.detector_name)
            self._check_evaluations()
            self._recipe.checked = True

    def _check_evaluations(self) -> None:
        """Whether the optimizers may evaluate the loss as often as they need."""
        assert isinstance(self._host.optimizer, Optimizers)
        if (member := self._host.optimizer.evaluating) is None:
            return
        several = f"{type(member).__name__} evaluates the loss several times per step"
        if self._again is None:
            raise self._fault(f"{several}: pass a function, as in loop.step(lambda: self.loss(model, batch))")
        if self._recipe.accumulate > 1:
            raise self._fault(f"{several}, which goes without accumulate")
        if not self._host.repeated_passes:
            raise self._fault(f"{several}, and this strategy needs one evaluation per step")

    def _update(self) -> None:
        """The optimizer step of a group, and everything that happens once per step."""
        host, recipe, progress = self._host, self._recipe, self._count
        host.ranks.average_gradients(self.model.parameters())
        host._after_backward()  # here GEM and A-GEM project the gradient: clipping comes after them
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        host._before_update()
        groups = () if self._trains else host.optimizer.param_groups
        self._trains |= any(p.grad is not None and id(p) in self._weights for g in groups for p in g["params"])
        optimizers = host.optimizer
        assert isinstance(optimizers, Optimizers)
        evaluating = self._again is not None and optimizers.evaluating is not None
        host.optimizer_step(self._evaluations() if evaluating else None)
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

    def _evaluations(self) -> Callable[[], torch.Tensor]:
        """What an optimizer that evaluates the loss several times calls; the step has evaluated it once already."""
        first, seen = self._host.loss.detach(), self._versions()

        def evaluate() -> torch.Tensor:
            if seen == self._versions():  # L-BFGS begins where the gradient is known
                return first
            with torch.enable_grad():
                return self._evaluate()

        return evaluate

    def _versions(self) -> list[int]:
        return [p._version for p in self.model.parameters()]

    def _evaluate(self) -> torch.Tensor:
        """Compute loss and gradient of the batch once more, the strategy's part included; counters stay."""
        host, closure = self._host, self._again
        assert closure is not None
        effects = dict(host.effects.counts)
        host.optimizer.zero_grad()
        self._step_pass.turn = Turn.DEALT
        with self._parts.entered():
            own = closure()
        check_loss(own, host.detector_name, "train", "passed", "to loop.step()")
        if self._step_pass.turn is Turn.DEALT:
            self._step_pass.without_forward()
        self._step_pass.turn = Turn.STEPPED
        host.loss = host._make_empty_loss() + own
        host._before_backward()
        host.loss = self._parts.weighted(host.loss)
        host.backward()
        host.ranks.average_gradients(self.model.parameters())
        host._after_backward()
        if self._recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.clip_norm)
        host.effects.counts = effects
        return host.loss.detach()

    def _iterations(self) -> Iterator[Batch]:
        """The batches of one pass. Groups open before their first batch and close in :meth:`_end_of_batch`."""
        host, group = self._host, self._group
        total = len(host.dataloader)  # for which UnitOrder draws the order that it then deals out
        for index, batch in enumerate(host.loader.stream(self._parts.of(ids_of(host.dataloader)))):
            if self._count.exhausted:
                return
            if group.left == 0:
                # The last group of a pass may be smaller; its size is the divisor of its losses.
                self._open_group(min(self._recipe.accumulate, total - index))
            self._deal(batch)
            try:
                yield batch
            finally:  # also if the detector leaves the pass here
                self._end_of_batch()

    def _open_group(self, size: int) -> None:
        """Begin an iteration of so many batches."""
        host, group = self._host, self._group
        group.size = group.left = size
        group.stepped = False
        if host.needs:  # a strategy that only chooses the data draws nothing within a training
            host.ranks.same_random()
        self._before_iteration = dict(host.effects.counts), dict(vars(host.clock))
        host._before_training_iteration()
        # After the callback: a reference pass in it may leave gradients behind.
        host.optimizer.zero_grad()
        self.model.zero_grad()  # an optimizer may be set only after the batch is dealt out

    def _deal(self, batch: Batch) -> None:
        """What callbacks may read of a batch."""
        host = self._host
        self.enforce_modes()
        batch.mix = None  # dealt out again, it is mixed anew
        host.batch = batch
        host.mbatch = [batch.pixels, batch.labels, torch.zeros_like(batch.units)]
        host.units = batch.units
        host.mb_output = None
        host.loss = host._make_empty_loss()
        if batch is not self._batch:  # it may be dealt out again
            self._parts.next()
        self._batch = batch
        self._replayed = self._parts.replayed(batch)
        self._parts.enter()
        self._step_pass.turn = Turn.DEALT

    def _end_of_batch(self) -> None:
        """The detector asks for the next batch, or leaves."""
        group, stepped = self._group, self._step_pass.turn is Turn.STEPPED
        self._parts.leave()
        self._step_pass.turn = Turn.NONE
        if not stepped:  # it passed this batch over; the rest of its group still counts
            group.left -= 1
            if group.left == 0 and group.stepped:
                self._update()
        if group.left == 0:
            self._end_of_iteration()

    def _end_of_iteration(self) -> None:
        """Close an iteration; one without a step leaves no trace in the counters."""
        host = self._host
        host._after_training_iteration()
        if not self._group.stepped:
            effects, clock = self._before_iteration
            host.effects.counts = effects
            vars(host.clock).update(clock)

    def enforce_modes(self) -> None:
        """Put back into eval mode what the strategy or the phase has frozen."""
        for module in self._frozen:
            module.training = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """A context in which the network's forward passes fire callbacks."""
        with self._step_pass.attached(), contextlib.closing(self._parts):
            yield

    def finish(self) -> None:
        """Close the experience, after the detector's loop.

        Raises:
            PluginError: the loop made no step, or none on the network, which would be a silent result otherwise.
            DfbenchError: the training diverged.
        """
        host = self._host
        self._parts.finish()
        if self._count.done == 0 and not host.opaque:
            raise self._fault(
                "made no step: it must draw from loop.batches() and call loop.step(loss), or declare itself opaque",
                "train",
            )
        if not self._trains:
            what = "it never read loop.data" if host.opaque else "no weight in its optimizers got a gradient"
            raise self._fault(f"did not train loop.model, the network that predicts: {what}", "train")
        if any(p.requires_grad and id(p) not in self._held for p in host.added) and not host.opaque:
            raise self._fault(
                "its optimizers do not hold what the strategy has put into the network for this experience: make them "
                "in train(), from all of loop.model.parameters()",
                "train",
            )
        self._watch.finish(host.effects)
        self._best.restore(self._networks)
        if self._averaged is not None:
            host.averaged = self._averaged.module
