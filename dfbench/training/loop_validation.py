"""What a detector's loop does with validation data: early stopping, and the weights of the best epoch."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.optim.swa_utils import AveragedModel

from dfbench.data.loader import Batch
from dfbench.plugin_faults import Fault
from dfbench.training.host import LoopHost
from dfbench.training.validation import BestWeights, Validation, ValidationSet


class ValidationPart:
    """The part of :class:`~dfbench.training.loop.Loop` that looks at validation data.

    Args:
        host: the training.
    """

    def __init__(self, host: LoopHost) -> None:
        self._host = host
        self._averaged: AveragedModel | None = None
        self._best = BestWeights()

    @property
    def has_validation(self) -> bool:
        """Whether the benchmark has validation data of what is trained now."""
        return self._host.validation_set() is not None

    def validation_batches(self) -> Iterator[Batch]:
        """The validation data of what is trained now, as units to predict, once; augmentation is left out.

        Raises:
            PluginError: there are none; see :attr:`has_validation`.
        """
        return self._validation_set().batches()

    def validate(self) -> Validation:
        """Score the network that would predict now on the validation data of what is trained now.

        That is the ``val`` split of the experience; under strategies that train on several whole experiences at once
        (joint, cumulative), of each of them. Random numbers, modes and gradients are as before.

        Raises:
            PluginError: there are none; see :attr:`has_validation`.
        """
        return self._validation_set().score(self._predicting)

    def keep_best(self, value: float, larger: bool = True) -> bool:
        """Keep the present weights if this value is the best of the experience so far; they are put back at its end.

        With :meth:`average`, both the weights and their average are kept. Weights of the strategy that are trained next
        to the network's (classifiers of earlier experiences, say) are kept with them.

        Args:
            value: of the present weights, as in ``loop.keep_best(loop.validate().auc)``.
            larger: whether larger values are better.

        Returns:
            Whether it is the best so far.
        """
        return self._best.offer(float(value), larger, self._networks)

    @property
    def since_best(self) -> int:
        """Calls of :meth:`keep_best` since the best one, for early stopping."""
        return self._best.since

    @property
    def _networks(self) -> list[nn.Module]:
        found: list[nn.Module] = [self._host.model]
        if self._averaged is not None:
            found.append(self._averaged)
        if self._host.following:
            found.append(nn.ParameterList(self._host.following))
        return found

    def _validation_set(self) -> ValidationSet:
        found = self._host.validation_set()
        if found is None:
            raise self._fault(
                "it asks for validation data, and what is trained now has none: give the benchmark a val split, or ask "
                "loop.has_validation first"
            )
        return found

    def _fault(self, what: str, method: str = "") -> Fault:
        return Fault(self._host.detector_name, method, what)

    @property
    def _predicting(self) -> nn.Module:
        """The network that would predict now."""
        return self._host.model if self._averaged is None else self._averaged.module
