"""Whether a strategy can train a detector, decided before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dfbench.data.loader import Batch
from dfbench.errors import IncompatibleError, PluginError
from dfbench.training.detector import Detector
from dfbench.training.modeling import linear_heads
from dfbench.training.strategies import Need, Strategy


def check_pair(detector: Detector, strategy: Strategy, model: nn.Module, batch: Batch, names: tuple[str, str]) -> None:
    """Predict one batch and compare what the detector offers with what the strategy needs.

    Args:
        detector: made for the task of the run.
        strategy: whose needs must be met.
        model: the detector's network.
        batch: some test units.
        names: of detector and strategy, as the user knows them.

    Raises:
        IncompatibleError: a need is not met; the message names it and both of the pair.
        PluginError: the detector's predictions are not probabilities of the task's classes.
    """
    pair = f"strategy {names[1]} cannot train detector {names[0]}"
    if detector.opaque and strategy.needs:
        need = sorted(need.value for need in strategy.needs)[0]
        raise IncompatibleError(
            f"{pair}: it {need}, and this detector's loop is opaque; use a strategy that only chooses the data"
        )
    logits = probe(detector, model, batch)
    classes = detector.task.num_classes
    if Need.LOGITS in strategy.needs and not (
        isinstance(logits, torch.Tensor) and logits.dim() == 2 and logits.shape[1] == classes
    ):
        given = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise IncompatibleError(
            f"{pair}: it {Need.LOGITS.value}, and model(x) gives {given} where (N, {classes}) is needed; "
            "a one-logit network can be lifted with dfbench.lift_one_logit"
        )
    if Need.LINEAR_HEAD in strategy.needs:
        heads = linear_heads(model, detector.head)
        wrong = [head.out_features for head in heads.values() if head.out_features != classes]
        if wrong or not heads:
            given = f"its last one has {wrong[0]}" if wrong else "it has none"
            raise IncompatibleError(f"{pair}: it {Need.LINEAR_HEAD.value} ({classes} rows), and {given}")


@torch.no_grad()
def check_unit_logits(detector: Detector, model: nn.Module, batch: Batch, names: tuple[str, str]) -> None:
    """Check that ``model(x)`` returns one row per training unit, for strategies with ``Need.UNIT_LOGITS``.

    Args:
        detector: made for the task of the run.
        model: the detector's network.
        batch: some training units.
        names: of detector and strategy, as the user knows them.

    Raises:
        IncompatibleError: the number of rows is another, or two passes in eval mode differ.
    """
    pair = f"strategy {names[1]} cannot train detector {names[0]}: it {Need.UNIT_LOGITS.value}, and"
    passes: list[Any] = []
    hook = model.register_forward_hook(lambda module, args, output: passes.append(output))
    training = model.training
    model.eval()
    try:
        for _ in range(2):
            detector.loss(model, batch)
    finally:
        hook.remove()
        model.train(training)
    if len(passes) != 2 or not isinstance(passes[0], torch.Tensor):
        raise IncompatibleError(f"{pair} its loss does not call model(x) exactly once")
    if passes[0].dim() == 0 or len(passes[0]) != len(batch):
        raise IncompatibleError(f"{pair} model(x) gives {tuple(passes[0].shape)} for {len(batch)} training units")
    if not torch.equal(passes[0], passes[1]):
        raise IncompatibleError(f"{pair} its loss mixes or cuts the same units differently at each pass")


@torch.no_grad()
def probe(detector: Detector, model: nn.Module, batch: Batch) -> Any:
    """Have the detector predict a batch, and catch what its network returns.

    Args:
        detector: made for the task of the run.
        model: the detector's network.
        batch: some test units.

    Returns:
        The output of the first ``model(x)``; None if the detector called only parts of the network.

    Raises:
        PluginError: the prediction is not of shape (N, classes).
    """
    seen: list[Any] = []
    hook = model.register_forward_hook(lambda module, args, output: seen.append(output))
    training = model.training
    model.eval()
    try:
        predicted = detector.predict(model, batch)
    finally:
        hook.remove()
        model.train(training)
    expected = (len(batch), detector.task.num_classes)
    if tuple(predicted.shape) != expected:
        raise PluginError(
            f"{type(detector).__name__}.predict returned shape {tuple(predicted.shape)}; "
            f"probabilities of shape {expected} are needed"
        )
    return seen[0] if seen else None
