"""Reading a network's output by unit, as its detector says."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dfbench.data.loader import Batch
from dfbench.plugin_faults import Fault, calling
from dfbench.training.detector import Detector
from dfbench.training.unit_outputs import UnitOutputs, UnitRows


def unit_outputs(detector: Detector, model: nn.Module, batch: Batch, logits: Any) -> UnitOutputs:
    """The network's output for a batch, as its detector reads it.

    Args:
        detector: whose loss made the pass.
        model: its network.
        batch: of N units; ``mix`` as the loss left it.
        logits: what ``model(x)`` returned.

    Raises:
        Fault: the rows do not fit the output.
    """
    with calling(detector, "unit_rows"):
        rows = detector.unit_rows(model, batch)
    if rows is None:
        if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or len(logits) != len(batch):
            shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise Fault(detector, "loss", f"model(x) gave {shape} for {len(batch)} units: one row each is needed")
        targets = F.one_hot(batch.labels, detector.task.num_classes).to(logits)
        rows = UnitRows(torch.arange(len(batch)), targets, (len(batch),))
        return UnitOutputs(logits.float(), rows, len(batch))
    check_rows(detector, rows, batch, logits)
    return UnitOutputs(logits.float(), rows, len(batch), batch.mix)


def check_rows(detector: Detector, rows: UnitRows, batch: Batch, logits: Any) -> None:
    """Check that what ``unit_rows`` says fits what the network returned.

    Raises:
        Fault: it does not.
    """
    classes = detector.task.num_classes
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or logits.shape[1] != classes:
        raise Fault(detector, "unit_rows", f"is for networks whose model(x) is a tensor (R, {classes})")
    count = len(logits)
    if rows.units.shape != (count,) or rows.targets.shape != (count, classes) or sum(rows.parts) != count:
        given = f"{len(rows.units)} units, targets {tuple(rows.targets.shape)} and parts {rows.parts}"
        raise Fault(detector, "unit_rows", f"returned {given} for the {count} rows of model(x)")
    if rows.units.device.type != "cpu" or rows.units.dtype != torch.int64:
        raise Fault(detector, "unit_rows", "returned units that are not int64 on the CPU")
    if count and (int(rows.units.min()) < 0 or int(rows.units.max()) >= len(batch)):
        raise Fault(detector, "unit_rows", f"returned units that are not positions in a batch of {len(batch)}")
    if batch.mix is not None and len(batch.mix) != len(batch):
        raise Fault(detector, "loss", f"left a batch.mix of {len(batch.mix)} rows for {len(batch)} units")
