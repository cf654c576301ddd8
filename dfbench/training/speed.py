"""The network's forward pass with the speed settings of a run, while it trains and only then.

Two of the settings act here: ``bf16`` (autocast, also where the detector's own loop does not ask for
``loop.autocast()``) and ``compile`` (``torch.compile``). ``channels_last`` is a layout of the weights.
"""

from __future__ import annotations

import copy
import logging
import types
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from dfbench.training.template import LoopTemplate

log = logging.getLogger("dfbench.speed")


def lay_out(model: nn.Module, tuned: tuple[str, ...]) -> nn.Module:
    """The weights of two-dimensional convolutions in channels-last order, where that is a setting."""
    return model.to(memory_format=torch.channels_last) if "channels_last" in tuned else model  # type: ignore[call-overload]


def could_be_laid_out(model: nn.Module) -> bool:
    """Whether ``channels_last`` would change anything: a weight of four dimensions that is not laid out so."""
    return any(p.dim() == 4 and not p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters())


class Fast:
    """Stands for ``model.forward``. A copy of the network (a teacher, an average) has one of its own, uncompiled.

    Outside of training it is the plain forward pass, so that predictions do not depend on the settings.
    """

    def __init__(self, model: nn.Module, template: LoopTemplate, compiled: bool) -> None:
        self.model, self.template = model, template
        plain = types.MethodType(type(model).forward, model)
        self._plain = vars(model).get("forward", plain)  # which may know a frozen trunk's features; a compiled one not
        self._compiled = torch.compile(plain) if compiled else None
        self.failure: str | None = None
        """Why the compiled network was given up, if it was."""

    @classmethod
    def attach(cls, template: LoopTemplate) -> Fast | None:
        """Put it into the template's network, where a setting asks for it."""
        if not {"bf16", "compile"} & set(template.tuned):
            return None
        fast = cls(template.model, template, "compile" in template.tuned)
        template.model.forward = fast  # type: ignore[method-assign]
        return fast

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The forward pass."""
        if not self.template.is_training:
            return self._plain(*args, **kwargs)
        if "bf16" not in self.template.tuned:
            return self._run(*args, **kwargs)
        device = self.template.device.type
        within = torch.is_autocast_enabled(device)
        with torch.autocast(device, torch.bfloat16):
            output = self._run(*args, **kwargs)
        # The loss of a loop that knows nothing of autocast is computed on float32 logits.
        return output if within or not isinstance(output, torch.Tensor) else output.float()

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        # A strategy that looks into the network needs its hooks called: a compiled one may not know of them.
        if self._compiled is None or _hooked(self.model):
            return self._plain(*args, **kwargs)
        try:
            return self._compiled(*args, **kwargs)
        except Exception as error:  # whatever a compiler raises; a fault of the network shows again below
            self._compiled, self.failure = None, type(error).__name__
            log.warning("torch.compile failed (%s): going on without it", self.failure)
            return self._plain(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Fast:
        return Fast(copy.deepcopy(self.model, memo), self.template, compiled=False)


def _hooked(model: nn.Module) -> bool:
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules() if m is not model)
