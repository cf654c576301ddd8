"""What a strategy may use of the training that it takes part in.

Avalanche calls a strategy's plugins with the object that trains, here a
:class:`~dfbench.training.template.LoopTemplate`. :class:`Training` is the part of it that plugins may rely on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from dfbench.training.strategies import Effects
    from dfbench.training.unit_outputs import UnitOutputs


class Experience(Protocol):
    """Avalanche's experience: one part of the stream.

    Attributes:
        dataset: its units, for :func:`dfbench.unit_ids`.
        current_experience: its index in the stream, from 0.
    """

    dataset: Any
    current_experience: int


class Clock(Protocol):
    """Avalanche's counters.

    Attributes:
        train_exp_counter: experiences finished; in all callbacks of an experience, its index from 0.
        train_iterations: iterations finished since the run began. An iteration is one optimizer step.
    """

    train_exp_counter: int
    train_iterations: int


class Training(Protocol):
    """The training that a strategy's callbacks receive. B below is the number of units in the present batch.

    Names are Avalanche's where Avalanche has one. A batch consists of new units and, after them, of those that
    :meth:`mix_in` added. *Within an iteration* means: from ``before_forward`` to ``after_update``.

    Attributes:
        model: the network that is trained, on ``device``.
        optimizer: steps all parameters; several optimizers of a detector appear as one. Its ``zero_grad`` resets the
            gradients of the whole network.
        loss: scalar tensor, within an iteration from ``before_backward`` on. Assign another tensor to it in
            ``before_backward`` to add a penalty.
        averaged: the averaged network, where the detector keeps one; in ``after_training_exp``, else None. Assign a
            network of the same shape there to have it predict.
        adapted_dataset: an Avalanche data set of unit ids, what this experience is trained on. Assign another one
            in ``after_train_dataset_adaptation``.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: torch.Tensor
    adapted_dataset: Any
    averaged: nn.Module | None

    @property
    def device(self) -> torch.device:
        """Where the network and the batches are."""
        ...

    @property
    def train_mb_size(self) -> int:
        """The detector's ``batch_size``: new units per batch."""
        ...

    @property
    def mbatch(self) -> list[torch.Tensor]:
        """Network input (B, …), labels int64 (B,) or (B, 2), and zeros (B,), Avalanche's task labels.

        Within an iteration. The first is what ``model(x)`` received, one tensor if the strategy declares
        ``Need.INPUTS``; before that call it is the batch's pixels, uint8.
        """
        ...

    @property
    def mb_output(self) -> torch.Tensor:
        """What ``model(x)`` returned for the batch, with its graph; from ``after_forward`` to ``after_update``.

        It is the one call with gradients in this step: others are refused with ``Need.LOGITS``,
        ``Need.UNIT_LOGITS`` or ``Need.UNIT_ROWS``, and those without gradients are not seen.
        """
        ...

    @property
    def units(self) -> torch.Tensor:
        """Ids of the batch's units, int64 (B,), on the CPU; within an iteration."""
        ...

    @property
    def experience(self) -> Experience:
        """The experience that is trained; from the first to the last callback of an experience."""
        ...

    @property
    def clock(self) -> Clock:
        """Counters of iterations and experiences."""
        ...

    @property
    def effects(self) -> Effects:
        """The strategy's counters, which the record shows; the same object as ``Strategy.effects``."""
        ...

    @property
    def generator(self) -> torch.Generator:
        """Random numbers of the order of batches, on the CPU, seeded for each experience."""
        ...

    def reference_loss(self, ids: torch.Tensor) -> torch.Tensor:
        """The detector's own loss on some units, with its graph, in the network's present mode.

        It is computed with gradients also where they are switched off; the result has no graph then.

        Args:
            ids: int64 (N,), N ≥ 1.

        Returns:
            A scalar.
        """
        ...

    def reference_logits(self, ids: torch.Tensor) -> torch.Tensor:
        """What ``model(x)`` returns while the detector computes its loss on some units, with its graph.

        Args:
            ids: int64 (N,), N ≥ 1.

        Returns:
            The network's rows: (N, classes), or several rows per unit (a clip, a pair, an ensemble) unless the
            strategy declares ``Need.UNIT_LOGITS``.

        Raises:
            PluginError: the detector's loss does not call the network itself, or twice with gradients.
        """
        ...

    def step_outputs(self) -> UnitOutputs:
        """What ``model(x)`` returned for the batch, by unit, with its graph.

        From ``after_forward`` to ``after_update``.

        For strategies that declare ``Need.UNIT_ROWS``. Where the detector does not define ``unit_rows``, each unit has
        one row, and ``mix`` is None.
        """
        ...

    def reference_outputs(self, ids: torch.Tensor, mix: torch.Tensor | None = None) -> UnitOutputs:
        """As :meth:`reference_logits`, by unit. For strategies that declare ``Need.UNIT_ROWS``.

        Args:
            ids: int64 (N,), N ≥ 1.
            mix: (N, …), what is mixed inside each unit, as outputs of these units had it, or of :meth:`unmixed`. None:
                the detector draws it.
        """
        ...

    def unmixed(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Values of ``mix`` with which nothing is mixed inside these units, int64 (N,): one for each thing in a unit.

        Empty where the detector mixes nothing inside its units.
        """
        ...

    def batches_of(self, ids: torch.Tensor, size: int | None = None) -> Iterator[torch.Tensor]:
        """Some units, batch by batch, for a pass of the strategy's own; the user sees how far it is.

        Args:
            ids: int64 (N,).
            size: units per batch (default: :attr:`train_mb_size`).
        """
        ...

    def mix_in(self, ids: torch.Tensor, batch_size: int) -> None:
        """Append stored units to every batch of the experience. Call it in ``before_training_exp``.

        Args:
            ids: int64 (M,), the stored units. They are drawn in shuffled rounds, each equally often.
            batch_size: stored units per batch, M at most.
        """
        ...

    def optimizer_like(self, pairs: Sequence[tuple[torch.Tensor, nn.Parameter]]) -> torch.optim.Optimizer:
        """An optimizer that steps a strategy's own parameters as the detector's step the network's.

        It has their kinds and, at each step, their settings, and begins without state. Make another one when
        ``optimizer`` is another object. Within an iteration.

        Args:
            pairs: a parameter of the network, and one that is to be stepped like it. One stays where the detector's
                optimizers do not hold the first.

        Raises:
            PluginError: an optimizer cannot be copied.
        """
        ...

    def train_mode(self) -> None:
        """Put the network into train mode, except what the detector's phase or the strategy has frozen."""
        ...

    def autocast(self) -> torch.autocast:
        """The precision of training, as a context for forward passes of the strategy's own."""
        ...
