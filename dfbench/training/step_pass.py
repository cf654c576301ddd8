"""The pass through the network that belongs to a step: strategies' callbacks fire around it.

It is the first call of ``loop.model(x)`` with gradients after a batch is dealt out. Calls without gradients
(pseudo-labels, weights of hard examples, a teacher) are the detector's own affair, and no strategy sees them.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from dfbench.plugin_faults import Fault
from dfbench.training.calls import CHANGED_IN_PLACE, NOT_ONE_TENSOR, is_one_tensor
from dfbench.training.host import LoopHost
from dfbench.training.strategies import Need


class Turn(enum.Enum):
    """How far the detector is with the batch last dealt out."""

    NONE = enum.auto()
    DEALT = enum.auto()
    FORWARDED = enum.auto()
    STEPPED = enum.auto()


class StepPass:
    """Fires the callbacks around the pass of each step.

    Args:
        host: The training.
        enforce_modes: Puts back into eval mode what is frozen.

    Attributes:
        turn: How far the detector is with the batch last dealt out.
    """

    def __init__(self, host: LoopHost, enforce_modes: Callable[[], None]) -> None:
        self._host, self._enforce_modes = host, enforce_modes
        self.turn = Turn.NONE
        self._in_callback = False
        self._version = 0

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """A context in which the network's forward passes fire callbacks.

        Its hooks are gone before ``after_training_exp``, where strategies copy the network.
        """
        before = self._host.model.register_forward_pre_hook(_Hook(self._before_forward), with_kwargs=True)
        after = self._host.model.register_forward_hook(_Hook(self._after_forward))
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def _is_of_the_step(self) -> bool:
        """Whether a pass through the network is the detector's own, and one that its loss can depend on."""
        return not self._in_callback and torch.is_grad_enabled()

    def _before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if module.training:  # a detector may have called model.train() since the batch was dealt out
            self._enforce_modes()
        if not self._is_of_the_step():
            return
        host = self._host
        if self.turn is Turn.FORWARDED and host.needs & {Need.LOGITS, Need.UNIT_LOGITS, Need.UNIT_ROWS}:
            raise Fault(
                host.detector_name,
                "",
                "it calls model(x) twice with gradients in one step, and this strategy reads the outputs of one pass: "
                "join both inputs in one call, or compute what needs no gradient under torch.no_grad()",
            )
        if self.turn is Turn.DEALT:
            # Plugins read the network's input, as in Avalanche; until now this was the batch's pixels.
            if Need.INPUTS in host.needs and not is_one_tensor(args, kwargs):
                raise Fault(host.detector_name, "", f"this strategy {Need.INPUTS.value}, and {NOT_ONE_TENSOR}")
            if args and isinstance(args[0], torch.Tensor):
                host.mbatch[0] = args[0]
            self._version = host.mbatch[0]._version
            with self._callback():
                host._before_forward()

    def _after_forward(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self.turn is not Turn.DEALT or not self._is_of_the_step():
            return
        host = self._host
        if Need.INPUTS in host.needs and host.mbatch[0]._version != self._version:
            raise Fault(host.detector_name, "", f"this strategy {Need.INPUTS.value}, and {CHANGED_IN_PLACE}")
        if Need.LOGITS in host.needs and isinstance(output, torch.Tensor) and not output.requires_grad:
            raise Fault(
                host.detector_name, "", "this strategy reads the outputs of model(x), and they have no gradient"
            )
        host.mb_output = output
        with self._callback():
            host._after_forward()
        self.turn = Turn.FORWARDED

    def without_forward(self) -> None:
        """Fire the callbacks around forward for a detector that called parts of the network, not ``model(x)``."""
        if Need.LOGITS in self._host.needs:
            raise Fault(
                self._host.detector_name,
                "",
                "this strategy reads the logits of loop.model(x), but the training loop never called it with "
                "gradients: call the model itself, not its parts",
            )
        self.turn = Turn.FORWARDED
        self._host._before_forward()
        self._host._after_forward()

    @contextlib.contextmanager
    def _callback(self) -> Iterator[None]:
        """A context in which passes through the network are the strategy's."""
        self._in_callback = True
        try:
            yield
        finally:
            self._in_callback = False


class _Hook:
    """A forward hook that a copy of the model (a teacher, an average) does not carry along."""

    def __init__(self, call: Callable[..., None] | None) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        if self._call is not None:
            self._call(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        return _Hook(None)
