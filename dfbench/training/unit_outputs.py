"""Outputs of single training units, for strategies that store them and meet them again.

Row i of ``model(x)`` is training unit i, unless the detector says otherwise (:meth:`dfbench.Detector.unit_rows`): a
pair of clips has a row for each frame and each network of an ensemble, and what is mixed inside a unit has soft labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class UnitRows:
    """Which unit of a batch each row of ``model(x)`` belongs to, and what it is trained towards.

    Attributes:
        units: int64 (R,), on the CPU: position in the batch of each row's unit.
        targets: float (R, classes), on the device: the label of each row as probabilities.
        parts: Rows of each network of an ensemble, one after another in the order of ``Detector.head``; they sum to
            R. One number for a single network.
    """

    units: torch.Tensor
    targets: torch.Tensor
    parts: tuple[int, ...]


@dataclass(frozen=True)
class UnitOutputs:
    """What the network returned for N units.

    Attributes:
        logits: float32 (R, classes), in the order of the network's output.
        rows: Where each row belongs.
        count: N.
        mix: What was mixed inside the units, (N, …); None where nothing is. See :attr:`dfbench.Batch.mix`.
    """

    logits: torch.Tensor
    rows: UnitRows
    count: int
    mix: torch.Tensor | None = None

    @property
    def complete(self) -> bool:
        """Whether each network of the ensemble has as many rows of one unit as of another."""
        counts = (torch.bincount(units, minlength=self.count) for units in self.rows.units.split(self.rows.parts))
        return all(bool((found == found[0]).all()) for found in counts)

    def by_part(self) -> list[torch.Tensor]:
        """Logits of each network of the ensemble, float32 (N, K, classes), K being its rows per unit.

        NaN stands for the rows of units that the network did not see.
        """
        parts = zip(self.rows.units.split(self.rows.parts), self.logits.split(self.rows.parts), strict=True)
        return [arranged(logits, units, self.count) for units, logits in parts]


def arranged(values: torch.Tensor, units: torch.Tensor, count: int) -> torch.Tensor:
    """Rows by the unit that they belong to.

    Args:
        values: (R, D).
        units: int64 (R,), on the CPU: the unit of each row.
        count: N, the number of units.

    Returns:
        (N, K, D), where K is the largest number of rows of a unit; NaN where a unit has fewer.
    """
    per_unit = torch.bincount(units, minlength=count)
    width = int(per_unit.max()) if len(units) else 0
    order = units.argsort(stable=True)
    starts = per_unit.cumsum(0) - per_unit
    place = torch.empty_like(units)
    place[order] = torch.arange(len(units)) - starts[units[order]]
    if bool((per_unit == width).all()):
        whole = values[order.to(values.device)] if not torch.equal(order, torch.arange(len(order))) else values
        return whole.reshape(count, width, *values.shape[1:])
    table = values.new_full((count * width, *values.shape[1:]), torch.nan)
    return table.index_copy(0, (units * width + place).to(values.device), values).reshape(count, width, -1)
