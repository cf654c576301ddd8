"""The adapter: an Avalanche strategy whose training loop is the detector's own.

:class:`LoopTemplate` is Avalanche's ``SupervisedTemplate`` with the control turned around. Its ``_train_exp`` passes a
:class:`~dfbench.training.loop.Loop` to the detector, and the loop fires every callback in Avalanche's own order. Any
Avalanche plugin that does not itself iterate over pictures runs in it unchanged.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin
from torch import nn

from dfbench.data.loader import Batch, UnitLoader, epoch_order, replay_order
from dfbench.plugin_faults import Fault, calling
from dfbench.training.calls import check_loss, graded_outputs
from dfbench.training.compute import ComputeCounter
from dfbench.training.dataset import unit_ids
from dfbench.training.detector import Detector
from dfbench.training.host import Progress
from dfbench.training.loop import Loop
from dfbench.training.optimizers import Followers, Optimizers
from dfbench.training.ranks import ALONE, Ranks
from dfbench.training.strategies import Effects, Need
from dfbench.training.unit_outputs import UnitOutputs
from dfbench.training.unit_reading import unit_outputs
from dfbench.training.validation import ValidationSet

if TYPE_CHECKING:
    from dfbench.training.avalanche_types import SupervisedTemplate
else:
    from avalanche.training.templates import SupervisedTemplate


log = logging.getLogger("dfbench.training")

PASS = ("before_forward", "after_forward", "before_backward", "after_backward")
"""Callbacks around each evaluation of a loss."""


def _no_evaluator() -> EvaluationPlugin:
    """Avalanche requires one and warns that it logs nothing, but here every metric comes from stored scores."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified")
        return EvaluationPlugin()


class UnitOrder:
    """What Avalanche calls the data loader: batches of unit ids, reshuffled for each pass.

    The number of batches is only known once they are drawn, so ``len()`` draws the next pass and keeps it for the
    iteration that follows. Each pass draws once, whether or not its length is asked for.
    """

    def __init__(self, order: Callable[[], list[torch.Tensor]]) -> None:
        self._order = order
        self._next: list[torch.Tensor] | None = None

    def __len__(self) -> int:
        if self._next is None:
            self._next = self._order()
        return len(self._next)

    def __iter__(self) -> Iterator[torch.Tensor]:
        batches = self._next or self._order()
        self._next = None
        return iter(batches)


class LoopTemplate(SupervisedTemplate):
    """An Avalanche strategy that trains a detector with the detector's own loop.

    To strategies it is a :class:`~dfbench.training.protocol.Training`, to the loop a
    :class:`~dfbench.training.host.LoopHost`.

    Args:
        detector: owns the loop and the loss.
        model: its network, on ``device``.
        loader: turns unit ids into batches.
        plugins: the strategy's Avalanche plugins.
        device: where to train.
        effects: counters of what the strategy did.
        progress: receives every step.
        needs: what the strategy needs of the detector.
        whole_stream: whether the one experience holds the whole stream.
        tuned: speed settings, see :mod:`dfbench.training.tuned_forward`.
        repeated_passes: whether the strategy allows several evaluations of the loss in a step.
        ranks: the processes that share the training.
        trains_detector: whether the detector's loop runs in an experience (index from 0).

    Attributes:
        added: parameters that were put into the network before the present experience.
        averaged: the averaged network of the last experience, where the detector keeps one.
        batch: the batch last dealt out.
        compute: counts the passes of the trainings.
        experiences_at_once: number of experiences that the present training set holds.
        generator: random numbers of the order of batches.
        is_training: True from the first to the last callback of a training, except in :meth:`paused`.
        loop: drives the present experience; None between trainings.
        mid_training: called with the network that would predict now and the number of steps made, before the first
            step and after each.
        units: ids of the units in the batch last dealt out, int64 (B,).
        validation: makes the validation set of what is trained, from the ids of the training set's units.
    """

    def __init__(
        self,
        *,
        detector: Detector,
        model: nn.Module,
        loader: UnitLoader,
        plugins: Sequence[SupervisedPlugin] = (),
        device: torch.device | str = "cpu",
        effects: Effects | None = None,
        progress: Progress | None = None,
        needs: frozenset[Need] = frozenset(),
        whole_stream: bool = False,
        tuned: tuple[str, ...] = (),
        repeated_passes: bool = False,
        ranks: Ranks = ALONE,
        trains_detector: Callable[[int], bool] = lambda experience: True,
    ) -> None:
        super().__init__(
            model=model,
            optimizer=Optimizers(()),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=detector.config.batch_size,
            device=device,
            plugins=list(plugins),
            evaluator=_no_evaluator(),
        )
        # Avalanche evaluates nothing here. Its evaluator and its periodic evaluation are left out, since they would
        # be called at every callback; the clock stays last, so that plugins see the counts before they are raised.
        self.plugins = [*plugins, self.clock]
        self.detector = detector
        self.loader = loader
        self.effects = effects or Effects()
        self.progress = progress
        self.needs = needs
        self.whole_stream = whole_stream
        self.tuned = tuned
        self.ranks = ranks
        if not ranks.alone:  # Avalanche asks its own plugins, which know its own way of dividing batches
            for plugin in self.plugins:
                plugin.supports_distributed = True
        self.repeated_passes = repeated_passes or not any(map(_takes_part_in_passes, plugins))
        self.trains_detector = trains_detector
        self.added: tuple[nn.Parameter, ...] = ()
        self.generator = torch.Generator()
        self.loop: Loop | None = None
        self.is_training = False
        self.averaged: nn.Module | None = None
        self.following: list[nn.Parameter] = []
        self.pass_progress: Callable[[int, int], None] | None = None
        self.batch: Batch | None = None
        self.compute = ComputeCounter()
        self.compute.watch(model)
        self.mid_training: Callable[[nn.Module, int], None] | None = None
        self.experiences_at_once = 1
        self.validation: Callable[[torch.Tensor], ValidationSet | None] | None = None
        self.units = torch.empty(0, dtype=torch.int64)

    @property
    def opaque(self) -> bool:
        """Whether the detector hides its steps."""
        return self.detector.opaque

    @property
    def detector_name(self) -> str:
        """The detector's class, for error messages."""
        return type(self.detector).__name__

    # Avalanche's own steps that the detector's loop replaces.

    def make_optimizer(self, **kwargs: Any) -> None:
        """Nothing: the detector makes its optimizers in its loop."""

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Set the order of unit ids; a plugin may put another into ``self.dataloader``."""
        ids = unit_ids(self.adapted_dataset)
        self.experiences_at_once = int(self.loader.experiences_in(ids))
        self.dataloader = UnitOrder(lambda: epoch_order(ids, self.train_mb_size, self.generator))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As Avalanche's. The speed settings are in force in it, also in reference passes of its callbacks."""
        self.is_training = True
        try:
            return super().train(*args, **kwargs)
        finally:
            self.is_training = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A context for predictions in the middle of a training: the speed settings are not in force."""
        before, self.is_training = self.is_training, False
        try:
            yield
        finally:
            self.is_training = before

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        """What Avalanche calls between ``before_training_exp`` and ``after_training_exp``."""
        self.averaged = None  # an average belongs to the experience that kept it
        self.following = []
        if not self.trains_detector(experience.current_experience):
            return
        self.loop = Loop(self, experience.current_experience)
        with self.loop.attached():
            if self.mid_training is not None:
                self.mid_training(self.model, 0)
            with calling(self.detector, "train"), _changing(self.model, self.detector):
                self.detector.train(self.loop)
        self.loop.finish()
        self.loop = None
        self.ranks.same_random()  # for what the strategy draws now

    def optimizer_step(self, closure: Callable[[], torch.Tensor] | None = None) -> None:
        """Step the detector's optimizers; those that evaluate the loss again call the closure."""
        self.optimizer.step(closure)  # type: ignore[arg-type]

    def validation_set(self) -> ValidationSet | None:
        """The validation units of what is trained now; None where the benchmark has none."""
        return None if self.validation is None else self.validation(unit_ids(self.adapted_dataset))

    def observe(self, plugins: Sequence[Any]) -> None:
        """Call these Avalanche plugins too, after the strategy's own. They must watch and change nothing."""
        self.plugins = [*self.plugins[:-1], *plugins, self.clock]

    # What strategies may ask for: see Training.

    def batches_of(self, ids: torch.Tensor, size: int | None = None) -> Iterator[torch.Tensor]:
        """Some units, int64 (N,), batch by batch, for a pass of the strategy's own."""
        parts = ids.split(size or self.train_mb_size)
        for done, part in enumerate(parts, start=1):
            yield part
            if self.pass_progress is not None:
                self.pass_progress(done, len(parts))

    def mix_in(self, ids: torch.Tensor, batch_size: int) -> None:
        """Append ``batch_size`` stored units of ``ids``, int64 (M,), to every batch of the experience."""
        new = unit_ids(self.adapted_dataset)
        self.dataloader = UnitOrder(lambda: replay_order(new, ids, self.train_mb_size, batch_size, self.generator))

    def optimizer_like(self, pairs: Sequence[tuple[torch.Tensor, nn.Parameter]]) -> Followers:
        """An optimizer that steps a strategy's own parameters as the detector's step the network's."""
        assert isinstance(self.optimizer, Optimizers)
        self.following = list({id(p): p for p in (*self.following, *(p for _, p in pairs))}.values())
        return Followers(self.optimizer, pairs)

    def train_mode(self) -> None:
        """Put the network into train mode, except what the detector's phase or the strategy has frozen."""
        self.model.train()
        if self.loop is not None:
            self.loop.enforce_modes()

    def reference_loss(self, ids: torch.Tensor) -> torch.Tensor:
        """The detector's own loss on some units, int64 (N,), a scalar; the network's mode is left as it is."""
        return self.batch_loss(self.loader.fetch(ids))

    def reference_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """What ``model(x)`` returns while the detector computes its loss on some units, with its graph.

        Args:
            ids: int64 (N,).

        Returns:
            The detector's rows: one per unit, or several (a clip, a pair, an ensemble). Without a graph where the
            caller has switched gradients off.

        Raises:
            Fault: the loss does not call the model itself, or calls it twice with gradients.
        """
        with graded_outputs(self.model) as outputs:
            self.reference_loss(ids)
        output = self._only(outputs)
        return output if torch.is_grad_enabled() else output.detach()

    def _only(self, outputs: list[Any]) -> Any:
        """The output of the one pass that a loss made."""
        if len(outputs) != 1:
            called = "called model(x) twice with gradients" if outputs else "never called model(x)"
            raise Fault(
                self.detector,
                "loss",
                f"{called}, whose logits this strategy reads: call the model itself, not its parts, and once",
            )
        return outputs[0]

    def reference_outputs(self, ids: torch.Tensor, mix: torch.Tensor | None = None) -> UnitOutputs:
        """Outputs of the network for some units, int64 (N,), mixed inside as ``mix`` says; see ``reference_logits``."""
        batch = self.loader.fetch(ids)
        batch.mix = mix
        with graded_outputs(self.model) as outputs:
            self.batch_loss(batch)
        found = unit_outputs(self.detector, self.model, batch, self._only(outputs))
        return found if torch.is_grad_enabled() else replace(found, logits=found.logits.detach())

    def step_outputs(self) -> UnitOutputs:
        """Outputs of the network for the present batch."""
        assert self.batch is not None
        return unit_outputs(self.detector, self.model, self.batch, self.mb_output)

    def unmixed(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Values of ``mix`` with which nothing is mixed in these units, int64 (N,); empty where nothing ever is."""
        if type(self.detector).unmixed is Detector.unmixed:
            return []
        with calling(self.detector, "unmixed"):
            return self.detector.unmixed(self.loader.fetch(ids))

    def batch_loss(self, batch: Batch) -> torch.Tensor:
        """The detector's own loss on a batch, a scalar, in the precision of training.

        It is computed with gradients, which a gradient penalty needs, even where the caller has switched them off.
        """
        with torch.enable_grad(), self.autocast(), calling(self.detector, "loss"):
            loss = self.detector.loss(self.model, batch)
        check_loss(loss, self.detector, "loss", "returned")
        return loss if torch.is_grad_enabled() else loss.detach()

    def autocast(self) -> torch.autocast:
        """The precision of training as a context: the detector's, or bf16 where the run is tuned so."""
        enabled = self.detector.config.precision == "bf16" or "bf16" in self.tuned
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def scoring(self) -> torch.autocast:
        """The precision of predictions as a context: the detector's, however training was tuned."""
        enabled = self.detector.config.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def replayed(self, batch: Batch) -> int:
        """Number of units of a batch that are not of the present experience."""
        if self.whole_stream:
            return 0
        return int((batch.experience != self.experience.current_experience).sum())

    def replayed_in(self, ids: torch.Tensor) -> int:
        """The same of unit ids, int64 (N,)."""
        return 0 if self.whole_stream else self.loader.outside(ids, self.experience.current_experience)


@contextlib.contextmanager
def _changing(model: nn.Module, detector: Detector) -> Iterator[None]:
    """A context in which an opaque loop should change the network. It may not, with a learning rate of 0."""
    before = {k: v.clone() for k, v in model.state_dict().items()} if detector.opaque else {}
    yield
    if before and all(torch.equal(before[name], value) for name, value in model.state_dict().items() if name in before):
        log.warning("%s.train changed no weight of loop.model, the network that predicts", type(detector).__name__)


def _takes_part_in_passes(plugin: Any) -> bool:
    """Whether an Avalanche plugin has a callback between ``before_forward`` and ``after_backward`` of its own."""
    callbacks = (getattr(type(plugin), name, None) for name in PASS)
    return any(found is not None and not found.__module__.startswith("avalanche.core") for found in callbacks)
