"""What may go wrong in a step without an exception: a penalty without gradient, a scaled loss, a divergence.

On a CPU every step is checked. Elsewhere reading a value waits for the device: the steps 1, 2, 4, 8, … are checked,
and all of them at the end of the experience.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from dfbench.errors import DfbenchError, PluginError
from dfbench.plugin_faults import Fault
from dfbench.training.strategies import Effects

log = logging.getLogger("dfbench.training")

EXPLODED = 1e6
"""A loss beyond so many times the detector's first one (at least 1), penalties included, counts as diverged."""
SCALED = 2.0**7
"""A power of two from which on a factor of the whole loss is a gradient scaler's."""


class Watch:
    """Looks at every loss of an experience.

    Args:
        detector: For messages.
        device: Where the losses are.
    """

    def __init__(self, detector: str, device: torch.device) -> None:
        self._detector, self._device = detector, device
        self._seen = 0
        self._largest, self._exploded, self._constant = (torch.zeros((), device=device) for _ in range(3))

    def loss(self, total: torch.Tensor, own: torch.Tensor) -> None:
        """Note the loss of a batch, penalties included.

        Args:
            total: The loss that is minimised, with one element.
            own: The detector's part of it.

        Raises:
            DfbenchError: It is not finite.
        """
        self._seen += 1
        if self._seen == 1:
            self._limit = EXPLODED * own.detach().abs().reshape(()).clamp(min=1)
        size = total.detach().abs().reshape(())
        self._largest = torch.maximum(self._largest, size)  # of NaN and a number: NaN
        self._exploded = self._exploded + (size > self._limit)
        if self._reads():
            self._check_finite(bool(torch.isfinite(own.detach())))

    def penalty(self, total: torch.Tensor, own: torch.Tensor, in_phase: bool) -> bool:
        """Whether the strategy's penalty has a gradient.

        Args:
            total: The detector's loss and the penalty, with their graphs.
            own: The detector's loss, a part of that graph.
            in_phase: Whether the detector has frozen a part of the network for now, and with it what is penalised.

        Raises:
            PluginError: There is a penalty, and it has none.
        """
        if _has_weights(total, stop=own.grad_fn):
            return True
        if in_phase:
            return False
        factor = None
        if total.requires_grad:
            (factor,) = torch.autograd.grad(total.sum(), own, retain_graph=True, allow_unused=True)
        rest = total.detach() if factor is None else total.detach() - factor * own.detach()  # a weight of the loss
        constant = rest.abs().reshape(())
        constant = constant * (constant > 1e-6 * total.detach().abs().reshape(()))  # not a rounding error
        self._constant = self._constant + constant
        if self._reads():
            self._check_penalty()
        return False

    def finish(self, effects: Effects) -> None:
        """Check what was not read yet.

        Args:
            effects: Receives the number of batches whose loss has exploded, if there are any.

        Raises:
            DfbenchError: A loss was not finite, or a penalty had no gradient.
        """
        self._check_penalty()
        self._check_finite(True)
        if (exploded := int(self._exploded)) > 0:
            effects.add("exploded_losses", exploded)
            log.warning(
                "the training of %s has diverged: the loss reached %.1e, and was above %.1e on %d batches; "
                "try a lower learning rate or a weaker strategy",
                *(self._detector, float(self._largest), float(self._limit), exploded),
            )

    def _reads(self) -> bool:
        return self._device.type == "cpu" or self._seen & (self._seen - 1) == 0

    def _check_finite(self, own_is_finite: bool) -> None:
        if bool(torch.isfinite(self._largest)):
            return
        if self._seen == 1 and not own_is_finite:
            raise Fault(self._detector, "", "the first loss of this training is not a finite number")
        raise DfbenchError(
            f"{self._detector}: the loss is not a finite number by batch {self._seen} of this experience: training "
            "diverged; try a lower learning rate or a weaker strategy"
        )

    def _check_penalty(self) -> None:
        if float(self._constant) > 0:
            raise PluginError(
                f"the strategy's penalty has no gradient, so it would do nothing in the training of {self._detector}: "
                "what it reads was computed without gradients, or is frozen"
            )


def check_scale(loss: torch.Tensor, detector: str) -> None:
    """Refuse a loss that was multiplied for half precision, next to which a strategy's penalty weighs nothing.

    Args:
        loss: A scalar.
        detector: Name of its class.

    Raises:
        Fault: The last operation on it is a multiplication by a large power of two.
    """
    node: Any = loss.grad_fn
    if node is None or node.name() != "MulBackward0":
        return
    for saved, (parent, _) in zip((node._saved_self, node._saved_other), node.next_functions, strict=True):
        if parent is not None or saved is None or saved.numel() != 1:  # not a constant
            continue
        factor = abs(float(saved))
        if factor >= SCALED and torch.frexp(torch.tensor(factor)).mantissa == 0.5:
            raise Fault(
                detector,
                "",
                f"loop.step() got a loss scaled by {factor:g}, as by a GradScaler: next to it the strategy's "
                "penalties would weigh nothing; pass the loss itself, and use precision bf16 with loop.autocast()",
            )


def _has_weights(total: torch.Tensor, stop: Any) -> bool:
    """Whether a leaf of the graph of ``total`` is reached without passing ``stop``."""
    waiting, seen = [total.grad_fn], {stop}
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if not node.next_functions:  # AccumulateGrad
            return True
        waiting += [parent for parent, _ in node.next_functions]
    return False
