"""The network's forward pass with the speed settings of a run, in training alone.

Two of the settings act here: ``bf16`` (autocast, also where the detector's own loop does not ask for
``loop.autocast()``) and ``compile`` (``torch.compile``). ``channels_last`` is a layout of the weights.
"""

from __future__ import annotations

import copy
import logging
import types
from typing import Any, Protocol

import torch
from torch import nn

log = logging.getLogger("dfbench.tuned_forward")


def to_channels_last(model: nn.Module, tuned: tuple[str, ...]) -> nn.Module:
    """The network, weights of two-dimensional convolutions in channels-last order if ``tuned`` says so."""
    return model.to(memory_format=torch.channels_last) if "channels_last" in tuned else model  # type: ignore[call-overload]


def has_channels_last_gain(model: nn.Module) -> bool:
    """Whether ``channels_last`` would change anything: a weight of four dimensions in another order."""
    return any(p.dim() == 4 and not p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters())


class TunedTraining(Protocol):
    """What :class:`TunedForward` needs of a training.

    Attributes:
        model: the network.
        tuned: speed settings of the run: ``bf16``, ``channels_last``, ``compile``.
        is_training: False for predictions, also those in the middle of a training.
    """

    model: nn.Module
    tuned: tuple[str, ...]
    is_training: bool

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        ...


class TunedForward:
    """Replaces ``model.forward``. In predictions it is the plain forward pass, so scores do not depend on the settings.

    Attributes:
        failure: name of the exception that made it give up the compiled network; None if there was none.
    """

    def __init__(self, model: nn.Module, training: TunedTraining, compiled: bool) -> None:
        self.model, self.training = model, training
        self._plain = types.MethodType(type(model).forward, model)
        self._compiled = torch.compile(self._plain) if compiled else None
        self.failure: str | None = None

    @classmethod
    def attach(cls, training: TunedTraining) -> TunedForward | None:
        """Replace the forward pass of the training's network if a setting asks for it; None if none does."""
        if not {"bf16", "compile"} & set(training.tuned):
            return None
        tuned = cls(training.model, training, "compile" in training.tuned)
        training.model.forward = tuned  # type: ignore[method-assign]
        return tuned

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The forward pass."""
        if not self.training.is_training:
            return self._plain(*args, **kwargs)
        if "bf16" not in self.training.tuned:
            return self._run(*args, **kwargs)
        device = self.training.device.type
        already = torch.is_autocast_enabled(device)
        with torch.autocast(device, torch.bfloat16):
            output = self._run(*args, **kwargs)
        # A loop that does not use autocast itself computes its loss on float32 logits.
        return output if already or not isinstance(output, torch.Tensor) else output.float()

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        # A strategy that looks into the network needs its hooks called, which a compiled network may leave out.
        if self._compiled is None or _has_inner_hooks(self.model):
            return self._plain(*args, **kwargs)
        try:
            return self._compiled(*args, **kwargs)
        except Exception as error:  # whatever a compiler raises; a fault of the network itself recurs below
            self._compiled, self.failure = None, type(error).__name__
            log.warning("torch.compile failed (%s): going on without it", self.failure)
            return self._plain(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> TunedForward:
        # A copy of the network (a teacher, an average) is not compiled: it may be replaced in every experience.
        return TunedForward(copy.deepcopy(self.model, memo), self.training, compiled=False)


def _has_inner_hooks(model: nn.Module) -> bool:
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules() if m is not model)
