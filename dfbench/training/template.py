"""The adapter: an Avalanche strategy whose training loop is the detector's own.

:class:`LoopTemplate` is Avalanche's ``SupervisedTemplate`` with the control turned around: its
``_train_exp`` hands a :class:`~dfbench.training.loop.Loop` to the detector, and the loop fires every
callback in Avalanche's own order. Any Avalanche plugin that does not itself iterate over pictures
runs in it unchanged.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import nn

from dfbench.data.loader import Batch, UnitLoader, epoch_order, replay_order
from dfbench.errors import PluginError
from dfbench.training.compatibility import linear_heads
from dfbench.training.dataset import unit_ids
from dfbench.training.detector import Detector
from dfbench.training.frozen import Frozen
from dfbench.training.loop import Loop, Optimizers, Progress
from dfbench.training.passes import Passes
from dfbench.training.strategies import Effects


def _no_evaluator() -> EvaluationPlugin:
    """Avalanche wants one, and warns that it logs nothing: every metric here comes from stored scores."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified")
        return EvaluationPlugin()


class UnitOrder:
    """What Avalanche calls the data loader: batches of unit ids, shuffled anew for each pass."""

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

    Args:
        detector: owns the loop and the loss. model: its network, on ``device``.
        loader: turns unit ids into batches. plugins: the strategy's Avalanche plugins.
        effects: counters of what the strategy did.
        progress: told of every step. needs_logits: a plugin reads ``mb_output``.
        whole_stream: the one experience holds all of the stream.
        tuned: speed settings, see :mod:`dfbench.training.speed`.
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
        needs_logits: bool = False,
        whole_stream: bool = False,
        tuned: tuple[str, ...] = (),
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
        # Nothing is evaluated by Avalanche: its evaluator and periodic evaluation would only be called.
        self.plugins = [*plugins, self.clock]
        self.detector = detector
        self.loader = loader
        self.effects = effects or Effects()
        self.progress = progress
        self.needs_logits = needs_logits
        self.generator = torch.Generator()
        self.loop: Loop | None = None
        self.whole_stream = whole_stream
        self.tuned = tuned
        self.is_training = False
        """From the first to the last callback of a training."""
        self.averaged: nn.Module | None = None
        """The averaged network of the last experience, where the detector keeps one."""
        self.passes = Passes()
        """What the trainings compute."""
        self.passes.watch(model)
        self.frozen = Frozen.attach(model, tuple(linear_heads(detector, model)))
        """Keeps the features of a frozen trunk, in networks with one head."""
        self.within: Callable[[nn.Module, int], None] | None = None
        """Called with the network that would predict now and the steps made: before the first and after each."""
        self.merged = 1
        """How many experiences the current training set holds."""
        self.units = torch.empty(0, dtype=torch.int64)
        """Ids of the units in the batch last dealt out."""

    # Avalanche's own steps that the detector's loop replaces.

    def make_optimizer(self, **kwargs: Any) -> None:
        """The detector makes its optimizers in its loop."""

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """The order of unit ids; a plugin may put another in ``self.dataloader``."""
        ids = unit_ids(self.adapted_dataset)
        self.merged = int(self.loader.experiences_in(ids))
        self.dataloader = UnitOrder(lambda: epoch_order(ids, self.train_mb_size, self.generator))

    def mix_in(self, memory: torch.Tensor, memory_batch_size: int) -> None:
        """Let every batch be followed by ``memory_batch_size`` units of ``memory`` (ids). For replay plugins."""
        ids = unit_ids(self.adapted_dataset)
        self.dataloader = UnitOrder(
            lambda: replay_order(ids, memory, self.train_mb_size, memory_batch_size, self.generator)
        )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As Avalanche's; the speed settings are in force in it, reference passes of its callbacks included."""
        self.is_training = True
        try:
            return super().train(*args, **kwargs)
        finally:
            self.is_training = False
            if self.frozen is not None:
                self.frozen.forget_rows()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within a training, for predictions in the middle of it: the speed settings are out of force."""
        before, self.is_training = self.is_training, False
        try:
            yield
        finally:
            self.is_training = before

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        self.averaged = None  # an average belongs to the experience that kept it
        self.loop = Loop(self, experience.current_experience)
        with self.loop.attached():
            if self.within is not None:
                self.within(self.model, 0)
            self.detector.train(self.loop)
        self.loop.finish()
        self.loop = None

    def observe(self, plugins: Sequence[Any]) -> None:
        """Call these Avalanche plugins too, after the strategy's own; they watch and change nothing."""
        self.plugins = [*self.plugins[:-1], *plugins, self.clock]

    # What strategies may ask for.

    def train_mode(self) -> None:
        """Train mode, but for what the detector's phase or the strategy has frozen."""
        self.model.train()
        if self.loop is not None:
            self.loop.enforce_modes()

    def reference_loss(self, ids: torch.Tensor) -> torch.Tensor:
        """The detector's own loss on stored units (ids, int64 (N,)); the model's mode is left as it is."""
        return self.batch_loss(self.loader.fetch(ids))

    def reference_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """What ``model(x)`` gives while the detector computes its loss on stored units, with its graph.

        The rows are the detector's: one a unit, or several (a clip, a pair, an ensemble).

        Raises:
            PluginError: the loss does not call the model itself.
        """
        outputs: list[torch.Tensor] = []
        hook = self.model.register_forward_hook(lambda module, args, output: outputs.append(output))
        try:
            self.reference_loss(ids)
        finally:
            hook.remove()
        if not outputs:
            raise PluginError(
                f"this strategy reads the logits of model(x), but {type(self.detector).__name__}.loss never called it: "
                "call the model itself, not its parts"
            )
        return outputs[0]

    def batch_loss(self, batch: Batch) -> torch.Tensor:
        """The detector's own loss on a batch, under its precision."""
        with self.autocast():
            return self.detector.loss(self.model, batch)

    def autocast(self) -> torch.autocast:
        """The precision of training as a context: the detector's, or bf16 where the run is tuned so."""
        enabled = self.detector.config.precision == "bf16" or "bf16" in self.tuned
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def scoring(self) -> torch.autocast:
        """The precision of predictions as a context: the detector's, however training was tuned."""
        enabled = self.detector.config.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def replayed(self, batch: Batch) -> int:
        """How many of a batch's units are not of the current experience."""
        assert self.experience is not None
        if self.whole_stream:
            return 0
        return int((batch.experience != self.experience.current_experience).sum())
