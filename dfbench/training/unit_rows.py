"""Whether the rows of a network's output belong to the units that they should, which strategies that keep outputs of
units rely on: row i to unit i, or to the unit that the detector's ``unit_rows`` says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from dfbench.data.loader import Batch
from dfbench.errors import IncompatibleError
from dfbench.plugin_faults import calling
from dfbench.training.calls import graded_outputs
from dfbench.training.detector import Detector
from dfbench.training.strategies import Need
from dfbench.training.unit_outputs import UnitRows
from dfbench.training.unit_reading import check_rows

DRAWS = 8
"""Seeds with which a training batch is looked at: a batch may be mixed with some probability only."""
STATEFUL = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
"""Layers through which units see each other, or themselves at random, in train mode; that is not the loss's doing."""


def check_unit_logits(
    detector: Detector, model: nn.Module, batch: Batch, names: tuple[str, str], several: bool = False
) -> None:
    """Check that each row of ``model(x)`` is of its training unit, for strategies that keep outputs of units.

    That is one row per unit, in order, or with ``several`` what the detector's ``unit_rows`` says. The loss is computed
    on the batch and on copies of it in which some units have other pixels. With the same random numbers, exactly the
    rows of those units may change: in the network's input in both modes, and in its output in train mode.

    Args:
        detector: Made for the task of the run.
        model: The detector's network; its modes and buffers are restored.
        batch: Some training units, of more than one class where the data have them.
        names: Of detector and strategy, as the user knows them.
        several: A unit may have several rows (``Need.UNIT_ROWS``).

    Raises:
        IncompatibleError: The number of rows is another, two passes in eval mode differ, or a row is not of its unit.
        Fault: What ``unit_rows`` returns does not fit the output.
    """
    need = Need.UNIT_ROWS if several else Need.UNIT_LOGITS
    pair = f"strategy {names[1]} cannot train detector {names[0]}: it {need.value}, and"
    with _restored(model), torch.enable_grad(), calling(detector, "loss"):
        model.eval()
        known = _check_rows(detector, model, batch, pair, several)
        for mode in ("eval", "train"):
            model.train(mode == "train")
            _check_origin(lambda b, seed: _inputs(detector, model, b, seed), batch, DRAWS, f"{pair} its loss", mode)
        for module in model.modules():
            module.training = module.training and not isinstance(module, STATEFUL)
        _check_origin(
            lambda b, seed: _outputs(detector, model, b, seed), batch, 1, f"{pair} its network", "train", known
        )


def _check_rows(detector: Detector, model: nn.Module, batch: Batch, pair: str, several: bool) -> UnitRows | None:
    """Check the number of rows and that two passes are equal; the unit of each row, where the detector says so."""
    passes: list[Any] = []
    first = replace(batch, mix=None)
    for again in (first, first if several else replace(batch, mix=None)):  # with what was mixed inside the units
        with graded_outputs(model) as outputs:
            detector.loss(model, again)
        passes += outputs
    if len(passes) != 2 or not isinstance(passes[0], torch.Tensor):
        raise IncompatibleError(f"{pair} its loss does not call model(x) exactly once")
    said = detector.unit_rows(model, first) if several else None
    if said is not None:
        check_rows(detector, said, first, passes[0])
    elif passes[0].dim() == 0 or len(passes[0]) != len(batch):
        raise IncompatibleError(f"{pair} model(x) gives {tuple(passes[0].shape)} for {len(batch)} training units")
    if not torch.equal(passes[0], passes[1]):
        raise IncompatibleError(f"{pair} its loss mixes or cuts the same units differently at each pass")
    return said


def _check_origin(
    rows: Callable[[Batch, int], list[torch.Tensor]],
    batch: Batch,
    draws: int,
    who: str,
    mode: str,
    known: UnitRows | None = None,
) -> None:
    """Change half of the units, then the other half, in two ways of halving: exactly their rows may change.

    ``known`` has the unit of each row; None: row i is of unit i.
    """
    number = torch.arange(len(batch))
    halves = [number % 2 == 0, number % 2 == 1, number // 2 % 2 == 0, number // 2 % 2 == 1]
    for seed in range(draws):
        plain = rows(replace(batch, mix=None), seed)
        for changed in halves:
            if not changed.any():
                continue
            other = rows(_noisy(batch, changed), seed)
            for before, after in zip(plain, other, strict=True):
                change = (after.float() - before.float()).abs().reshape(len(before), -1).amax(1).cpu()
                expected = changed if known is None else changed[known.units]
                parts = [len(change)] if known is None else list(known.parts)
                # Relative to the largest of a network: an untrained one may hardly react at all.
                for found, right in zip(change.split(parts), expected.split(parts), strict=True):
                    if len(found) and found.max() > 0 and not torch.equal(found > 1e-3 * found.max(), right):
                        row = "row i is not unit i alone" if known is None else "unit_rows names another unit for a row"
                        what = "mixes units or puts them into another order"
                        raise IncompatibleError(f"{who} {what} in {mode} mode: {row}")


def _noisy(batch: Batch, changed: torch.Tensor) -> Batch:
    """The batch with noise for the pixels of these units, bool (N,)."""
    pixels = batch.pixels.clone()
    noise = torch.randint(0, 256, pixels.shape, generator=torch.Generator().manual_seed(1)).to(pixels)
    where = changed.to(pixels.device)
    pixels[where] = noise[where]
    return replace(batch, pixels=pixels)


class _Seen(BaseException):
    """Ends a loss when the network's input is known; not an Exception, so that no detector's code catches it."""


def _inputs(detector: Detector, model: nn.Module, batch: Batch, seed: int) -> list[torch.Tensor]:
    """The tensors with a row for each unit that the loss passes to the network; the network does not run."""
    seen: list[torch.Tensor] = []

    def catch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            seen.extend(t.detach() for t in _tensors([args, kwargs]) if t.dim() and len(t) == len(batch))
            raise _Seen

    hook = model.register_forward_pre_hook(catch, with_kwargs=True)
    _seed(seed)
    try:
        detector.loss(model, batch)
    except _Seen:
        pass
    finally:
        hook.remove()
    return seen


def _outputs(detector: Detector, model: nn.Module, batch: Batch, seed: int) -> list[torch.Tensor]:
    _seed(seed)
    with graded_outputs(model) as outputs:
        detector.loss(model, batch)
    return [output.detach() for output in outputs]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """A context after which the network's modes and buffers are as before."""
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
