"""Checks of single calls: the loss, the augmentation, the predictions, the head."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from dfbench.data.loader import Batch
from dfbench.errors import IncompatibleError
from dfbench.runs.detector_state import kept_tensors
from dfbench.runs.randomness import restored, seed_everything
from dfbench.testing.outcome import Broken, NotChecked
from dfbench.testing.subject import Workbench
from dfbench.training.compatibility import has_unit_rows, probe
from dfbench.training.detector import Detector
from dfbench.training.modeling import copy_network, linear_heads
from dfbench.training.unit_rows import check_unit_logits

CLOSE = 1e-4
"""Largest difference of two probabilities that are to be equal, in float32; rounding depends on the batch."""
DRAWS = 6
"""Seeds under which a prediction must be the same."""
CLOSE_HALF = 2e-2
"""The same in bf16."""


def loss(bench: Workbench) -> str:
    """The loss depends on the model and the batch alone, and leaves both as they are."""
    session = bench.looked_at
    detector, model, batch = session.detector, copy_network(session.template.model), bench.training_batch()
    pixels = batch.pixels.clone()
    _depends_on(bench, model, batch)
    batch.pixels.copy_(pixels)
    for training in (True, False):
        mode = "train" if training else "eval"
        model.train(training)
        before, kept = _state(model), kept_tensors(detector, model)
        values = [_loss(bench, model, batch, 0).item() for _ in range(2)]
        if not torch.equal(batch.pixels, pixels):
            raise Broken("loss() changes batch.pixels in place: strategies use the batch again")
        if training:
            model.load_state_dict(before)  # batch normalisation moves in train mode
        elif changed := [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]:
            raise Broken(
                f"loss() in eval mode changes {changed[0]} of the network: strategies call it for their own passes, "
                "which would then train"
            )
        if values[0] != values[1] and not (training and _close(*values)):
            raise Broken(
                f"loss() gives {values[0]:.6g} and then {values[1]:.6g} on one batch in {mode} mode, with torch, NumPy "
                "and random seeded alike: it draws from another generator, or keeps something from call to call; it "
                "may depend on the model and the batch alone"
            )
        if kept != kept_tensors(detector, model):
            raise Broken(
                "loss() changes tensors in the detector: strategies call it for their own passes; do it in train()"
            )
    return "the same in two calls, in train and eval mode"


def _depends_on(bench: Workbench, model: nn.Module, batch: Batch) -> None:
    """Check that the loss is that of the network it is given, not of one that the detector keeps."""
    given, others = copy_network(model).train(), [model, bench.looked_at.template.model]
    for network in (given, *others):
        network.zero_grad(set_to_none=True)
    _loss(bench, given, batch, 0).backward()
    try:
        if any(p.grad is not None for other in others for p in other.parameters()):
            raise Broken("loss(model, batch) uses another network than the model that it is given")
        if all(p.grad is None for p in given.parameters()):
            raise Broken("loss(model, batch) has no gradient in the model that it is given")
    finally:
        for other in others:
            other.zero_grad(set_to_none=True)


def augment(bench: Workbench) -> str:
    """Augmentation draws from the generator that it is given, and from nothing else."""
    if bench.kind.augment is Detector.augment:
        raise NotChecked("no augment() of its own")
    session = bench.looked_at
    rows = session.loader.units.rows
    shapes = set()
    for index in range(min(4, len(rows))):
        unit = session.loader.pixels.fetch(torch.as_tensor(np.atleast_1d(rows[index]).reshape(-1))).numpy()
        unit = unit.reshape(*rows.shape[1:], *unit.shape[1:])
        made = []
        for seed in range(2):  # of everything but the generator
            with restored():
                seed_everything(seed, 7)
                made.append(np.asarray(session.detector.augment(unit.copy(), np.random.default_rng(index))))
        if made[0].shape != made[1].shape or not np.array_equal(made[0], made[1]):
            raise Broken(
                "augment() gives two results under one generator: it draws from another one, so a run would depend on "
                "which process does the work"
            )
        if made[0].dtype not in (np.uint8, np.float32):
            raise Broken(f"augment() returns {made[0].dtype}: uint8 or float32 is needed")
        shapes.add(made[0].shape)
    if len(shapes) > 1:
        raise Broken(f"augment() returns several shapes ({', '.join(map(str, sorted(shapes)))}): one is needed")
    return f"shape {shapes.pop()}"


def predict(bench: Workbench) -> str:
    """A prediction is of one unit alone, the same each time, by the network that is given."""
    session = bench.looked_at
    model, ids, close = session.template.model, bench.test_ids(), _tolerance(bench)
    fetch = session.tests.loader.fetch
    probe(session.detector, model, fetch(ids))  # of the right shape, and probabilities
    before = _state(model)
    seen = []
    for seed in range(DRAWS):
        with restored():
            seed_everything(seed, 7)
            seen.append(bench.probabilities(session, model, [fetch(ids)]))
    if np.ptp(np.stack(seen), axis=0).max() > close:
        raise Broken("predict() gives two answers for one picture: nothing random belongs there")
    if changed := [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]:
        raise Broken(f"predict() changes {changed[0]} of the network: a test would train it")
    single = bench.probabilities(session, model, [fetch(ids[i : i + 1]) for i in range(len(ids))])
    turned = bench.probabilities(session, model, [fetch(ids.flip(0))])[::-1]
    if (worst := max(np.abs(seen[0] - single).max(), np.abs(seen[0] - turned).max())) > close:
        raise Broken(
            f"the prediction of a unit depends on what else is in the batch, by up to {worst:.2g}: normalise with "
            "stored statistics, not with the batch's, and keep the order"
        )
    other = _noisy(model)
    if np.abs(bench.probabilities(session, other, [fetch(ids)]) - seen[0]).max() == 0:
        raise Broken("predict(model, batch) does not depend on the model that it is given")
    return "the same alone and in a batch"


def head(bench: Workbench) -> str:
    """The linear layer that is called the head gives the logits, a row per class."""
    session = bench.looked_at
    detector, model = session.detector, copy_network(session.template.model).eval()
    classes = detector.task.num_classes
    heads = linear_heads(model, detector.head)
    batch = session.tests.loader.fetch(bench.test_ids())
    logits = probe(detector, model, batch).output
    if not (isinstance(logits, torch.Tensor) and logits.shape[1:] == (classes,)):
        raise NotChecked("model(x) gives no logits, one column per class; strategies that read them are refused")
    if not heads or any(layer.out_features != classes for layer in heads.values()):
        if detector.head is not None:
            raise Broken(f"head is {detector.head!r}, which is no linear layer of {classes} rows")
        raise NotChecked("no final linear layer with a row per class; strategies that work on one are refused")
    for row in range(classes):
        changed = copy_network(model)
        with torch.no_grad():
            for name in heads:
                layer = changed.get_submodule(name)
                assert isinstance(layer, nn.Linear)
                layer.weight[row] += torch.linspace(-1, 1, layer.in_features, device=layer.weight.device)
                if layer.bias is not None:
                    layer.bias[row] += 0.5
        other = probe(detector, changed, batch).output
        moved = (other - logits).abs().amax(0)
        others = [k for k in range(classes) if k != row]
        if moved[row] == 0 or moved[others].max() > 1e-3 * moved[row]:
            advice = "name the layer that gives the logits" if detector.head is None else "it is not the head"
            raise Broken(
                f"row {row} of {' and '.join(heads)} does not give logit {row} alone: {advice}; strategies that work "
                "on the head would work on something else"
            )
    return " and ".join(heads)


def rows(bench: Workbench) -> str:
    """Each row of the network's output is of the unit that unit_rows names."""
    session = bench.looked_at
    detector = session.detector
    if not has_unit_rows(detector):
        raise NotChecked("no unit_rows() of its own: row i is unit i, or strategies that keep outputs refuse it")
    session.loader.seed(0)
    batch = session.loader.fetch(session.few_units())
    model = copy_network(session.template.model)
    try:
        with restored():
            check_unit_logits(detector, model, batch, (bench.subject.detector, "that keeps outputs"), True)
    except IncompatibleError as error:
        raise Broken(str(error)) from None
    for number, mix in enumerate(mixes := detector.unmixed(batch)):
        if len(mix) != len(batch):
            raise Broken(f"unmixed() returns {len(mix)} rows for {len(batch)} units (tensor {number})")
    return f"{len(mixes)} things mixed inside a unit" if mixes else "nothing is mixed inside a unit"


def _loss(bench: Workbench, model: nn.Module, batch: Batch, seed: int) -> torch.Tensor:
    """The detector's loss with all generators seeded."""
    session = bench.looked_at
    with restored(), session.template.autocast(), torch.enable_grad():
        seed_everything(seed, 7)
        value: Any = session.detector.loss(model, batch)
    if not isinstance(value, torch.Tensor) or value.dim() or not value.requires_grad:
        raise Broken("loss() must return a scalar tensor with a gradient")
    if not value.isfinite():
        raise Broken("loss() is not finite on the first batch")
    return value


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _noisy(model: nn.Module) -> nn.Module:
    other = copy_network(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(torch.randn(p.shape, generator=generator).to(p) * 0.1)
    return other


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b))


def _tolerance(bench: Workbench) -> float:
    return CLOSE_HALF if bench.looked_at.detector.config.precision == "bf16" else CLOSE
