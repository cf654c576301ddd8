"""Whether a strategy can train a detector, decided before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dfbench.data.loader import Batch
from dfbench.errors import IncompatibleError
from dfbench.plugin_faults import Fault, calling
from dfbench.training.calls import CHANGED_IN_PLACE, NOT_ONE_TENSOR, is_one_tensor
from dfbench.training.detector import Detector
from dfbench.training.modeling import linear_heads
from dfbench.training.strategies import Need, Strategy
from dfbench.training.transformers import takes_prompts, transformer_blocks


def check_declared(detector: Detector | type[Detector], strategy: Strategy, names: tuple[str, str]) -> None:
    """What the detector's class alone says against a strategy, so that it is known before any data are opened.

    Args:
        detector: or its class.
        strategy: whose needs must be met.
        names: of detector and strategy, as the user knows them.

    Raises:
        IncompatibleError: a need is not met.
    """
    pair = f"strategy {names[1]} cannot train detector {names[0]}"
    if detector.opaque and strategy.needs:
        need = sorted(need.value for need in strategy.needs)[0]
        raise IncompatibleError(
            f"{pair}: it {need}, and this detector's loop is opaque; use a strategy that only chooses the data"
        )
    for kept in (Need.UNIT_LOGITS, Need.UNIT_ROWS):
        if kept in strategy.needs and detector.mixes and not (kept is Need.UNIT_ROWS and has_unit_rows(detector)):
            raise IncompatibleError(
                f"{pair}: it {kept.value}, and this detector declares that its loss mixes units (mixes = True)"
            )


def check_distributed(detector: type[Detector], strategy: Strategy, names: tuple[str, str]) -> None:
    """Whether several processes may share a training of this pair.

    Args:
        detector: the detector's class.
        strategy: with its options.
        names: of detector and strategy, as the user knows them.

    Raises:
        IncompatibleError: they may not; the message says which of the pair is in the way, and why.
    """
    advice = "start one process, without torchrun"
    if detector.opaque:
        raise IncompatibleError(
            f"detector {names[0]} cannot be trained by several processes: its loop is opaque; {advice}"
        )
    for what, name, part in (("detector", names[0], detector), ("strategy", names[1], strategy)):
        if not part.distributes:
            why = (
                "its loss or its loop may depend on which units are in a batch"
                if what == "detector"
                else ("it keeps or compares units of single batches")
            )
            raise IncompatibleError(
                f"{what} {name} does not say that several processes may share a training (distributes = True): {why}; "
                f"{advice}"
            )


def has_unit_rows(detector: Detector | type[Detector]) -> bool:
    """Whether a detector may say which rows of its network's output belong to which unit."""
    kind = detector if isinstance(detector, type) else type(detector)
    return kind.unit_rows is not Detector.unit_rows


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
        Fault: the detector's predictions are not probabilities of the task's classes.
    """
    check_declared(detector, strategy, names)
    pair = f"strategy {names[1]} cannot train detector {names[0]}"
    probed = probe(detector, model, batch)
    logits = probed.output
    classes = detector.task.num_classes
    if Need.LOGITS in strategy.needs and not (
        isinstance(logits, torch.Tensor) and logits.dim() == 2 and logits.shape[1] == classes
    ):
        given = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise IncompatibleError(
            f"{pair}: it {Need.LOGITS.value}, and model(x) gives {given} where (N, {classes}) is needed; "
            "a one-logit network can be lifted with dfbench.lift_one_logit"
        )
    if Need.INPUTS in strategy.needs and probed.fault:
        raise IncompatibleError(f"{pair}: it {Need.INPUTS.value}, and {probed.fault}")
    for need, offered, other in (
        (Need.BLOCKS, bool(transformer_blocks(model)), "has no block of one (attn.qkv, attn.proj, mlp.fc1, mlp.fc2)"),
        (Need.PROMPTS, takes_prompts(model), f"is a {type(model).__name__}"),
    ):
        if need in strategy.needs and not offered:
            raise IncompatibleError(
                f"{pair}: it {need.value}, and this network {other}; timm's vit_* are such networks "
                "(detector timm with --set network=vit_tiny_patch16_224)"
            )
    if Need.LINEAR_HEAD in strategy.needs:
        heads = linear_heads(model, detector.head)
        wrong = [head.out_features for head in heads.values() if head.out_features != classes]
        if wrong or not heads:
            given = f"its last one has {wrong[0]}" if wrong else "it has none"
            raise IncompatibleError(f"{pair}: it {Need.LINEAR_HEAD.value} ({classes} rows), and {given}")


@dataclass(frozen=True)
class Probed:
    """What was seen while a detector predicted.

    Attributes:
        output: Of the first ``model(x)``; None if the detector called only parts of the network.
        fault: Why the network's input cannot be passed to another network; empty if it can.
    """

    output: Any = None
    fault: str = ""


@torch.no_grad()
def probe(detector: Detector, model: nn.Module, batch: Batch) -> Probed:
    """Have the detector predict a batch, and look at how it calls its network.

    Args:
        detector: made for the task of the run.
        model: the detector's network.
        batch: some test units.

    Raises:
        Fault: the prediction is not probabilities of shape (N, classes).
    """
    inputs: list[Any] = []
    seen: list[Probed] = []

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        # What else predictions pass to it, the training may leave out; there it is checked at the first step.
        inputs.append((args[0], args[0].clone()) if is_one_tensor(args[:1], {}) else None)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        given = inputs.pop()
        fault = NOT_ONE_TENSOR if given is None else "" if torch.equal(*given) else CHANGED_IN_PLACE
        seen.append(Probed(output, fault))

    hooks = [model.register_forward_pre_hook(before), model.register_forward_hook(after)]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with calling(detector, "predict"):
            predicted = detector.predict(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    _check_probabilities(predicted, (len(batch), detector.task.num_classes), detector)
    return seen[0] if seen else Probed()


def _check_probabilities(predicted: Any, expected: tuple[int, int], detector: Detector) -> None:
    if returned := _no_probabilities(predicted, expected):
        needed = f"probabilities of shape {expected}, rows summing to 1, are needed"
        raise Fault(detector, "predict", f"returned {returned}; {needed}")


def _no_probabilities(predicted: Any, expected: tuple[int, int]) -> str:
    """What a detector predicted instead of probabilities; empty if it did predict them."""
    if not isinstance(predicted, torch.Tensor):
        return f"a {type(predicted).__name__}"
    if tuple(predicted.shape) != expected:
        return f"shape {tuple(predicted.shape)}"
    p = predicted.float()
    if not p.isfinite().all():
        return "numbers that are not finite before any training"
    wrong = p.min() < 0 or p.max() > 1.001 or (p.sum(1) - 1).abs().max() > 0.02  # bf16 has 3 digits
    return "values that are not probabilities (logits?)" if wrong else ""


def build_network(detector: Detector) -> nn.Module:
    """The detector's untrained network.

    Raises:
        Fault: ``build`` returned something else.
    """
    with calling(detector, "build"):
        model = detector.build()
    if not isinstance(model, nn.Module):
        raise Fault(detector, "build", f"returned a {type(model).__name__}: it must return a torch.nn.Module")
    return model
