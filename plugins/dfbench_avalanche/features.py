"""Features of a network: the inputs of its final linear layers, before a dropout in front of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout)
RESHAPES = (
    torch.flatten,
    torch.reshape,
    torch.squeeze,
    *(getattr(torch.Tensor, name) for name in ("flatten", "reshape", "squeeze", "view")),
)


class HeadInputs:
    """Catches the input of each head while it is attached. A copy of the network catches nothing.

    A dropout directly in front of a head is left out: with it, a network would be at a distance from itself, and a
    penalty on that distance would pull its features towards 0. Modules and function calls are both seen.

    Attributes:
        caught: by name of the head, (rows, features) of its last call, with the graph.
    """

    def __init__(self, model: nn.Module, heads: tuple[str, ...]) -> None:
        self.caught: dict[str, torch.Tensor] = {}
        self._watch: _BeforeDropout | None = _BeforeDropout()
        self._handles: list[Any] = [
            model.get_submodule(head).register_forward_pre_hook(_Catch(self.caught, head, self._watch.origin))
            for head in heads
        ]
        # Also called if the pass fails: the mode must not outlive it.
        self._handles.append(model.register_forward_hook(_End(self._unwatch), always_call=True))
        self._watch.__enter__()

    def __enter__(self) -> HeadInputs:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Stop catching."""
        self._unwatch()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.__exit__(None, None, None)
            self._watch = None


class _BeforeDropout(TorchFunctionMode):
    """Remembers what the last dropout received, in the shape of what was made of its output since."""

    def __init__(self) -> None:
        super().__init__()
        self._output: torch.Tensor | None = None
        self._input: torch.Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS and args:
            before = args[0].clone() if kwargs.get("inplace") else args[0]
            self._output, self._input = func(*args, **kwargs), before
            return self._output
        output = func(*args, **kwargs)
        if func in RESHAPES and args and args[0] is self._output:
            self._output, self._input = output, func(self._input, *args[1:], **kwargs)
        return output

    def origin(self, features: torch.Tensor) -> torch.Tensor:
        """``features`` without the dropout that made them."""
        return self._input if features is self._output and self._input is not None else features


class _Catch:
    """A hook that a copy of the model (a teacher, an average) does not carry along."""

    def __init__(
        self,
        caught: dict[str, torch.Tensor] | None,
        head: str,
        origin: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.caught, self.head, self.origin = caught, head, origin

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        # A pass without gradients after the loss's own is the detector's affair.
        if self.caught is not None and (torch.is_grad_enabled() or self.head not in self.caught):
            self.caught[self.head] = self.origin(args[0]) if self.origin is not None else args[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Catch:
        return _Catch(None, self.head)


class _End:
    """A hook at the end of a pass, which a copy of the model does not carry along."""

    def __init__(self, call: Callable[[], None] | None) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        if self._call is not None:
            self._call()

    def __deepcopy__(self, memo: dict[int, Any]) -> _End:
        return _End(None)
