"""Can this detector be trained with this strategy? Decided before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dfbench.data.loader import Batch
from dfbench.errors import IncompatibleError, PluginError
from dfbench.training.detector import Detector
from dfbench.training.strategies import Need, Strategy


def check_pair(detector: Detector, strategy: Strategy, model: nn.Module, batch: Batch, names: tuple[str, str]) -> None:
    """Try one batch of test units and compare what the detector gives with what the strategy needs.

    Args:
        names: of detector and strategy, as the user knows them.

    Raises:
        IncompatibleError: naming both and the need that is not met. PluginError: the detector's
            predictions are not probabilities of the task's classes.
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
        heads = linear_heads(detector, model)
        wrong = [head.out_features for head in heads.values() if head.out_features != classes]
        if wrong or not heads:
            given = f"its last one has {wrong[0]}" if wrong else "it has none"
            raise IncompatibleError(f"{pair}: it {Need.LINEAR_HEAD.value} ({classes} rows), and {given}")


@torch.no_grad()
def check_unit_logits(detector: Detector, model: nn.Module, batch: Batch, names: tuple[str, str]) -> None:
    """Do stored outputs belong to units? For strategies with ``Need.UNIT_LOGITS``.

    Args:
        batch: some training units. names: of detector and strategy, as the user knows them.

    Raises:
        IncompatibleError: ``model(x)`` gives not one row a unit, or others at each pass in eval mode.
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
        raise IncompatibleError(f"{pair} its loss mixes or cuts the same units anew at each pass")


def linear_heads(detector: Detector, model: nn.Module) -> dict[str, nn.Linear]:
    """The layers that the detector names as its heads, or its last linear layer; empty where one is no such layer."""
    if detector.head is not None:
        names = (detector.head,) if isinstance(detector.head, str) else detector.head
        named = {name: model.get_submodule(name) for name in names}
        heads = {name: module for name, module in named.items() if isinstance(module, nn.Linear)}
        return heads if len(heads) == len(named) else {}
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    return dict(layers[-1:])


@torch.no_grad()
def probe(detector: Detector, model: nn.Module, batch: Batch) -> Any:
    """What ``model(x)`` returned while the detector predicted ``batch``; checks the prediction itself."""
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
