"""Reference gradients, and GEM's projection from their inner products.

Avalanche stacks the reference gradients anew at every step and copies them, as float64, to the CPU,
although its quadratic program has one variable an experience. Here they stay where they are, in one
buffer; k·k + k numbers leave the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import quadprog
import torch
from torch import nn

from dfbench import DfbenchError

RIDGE = 1e-3
"""Added to the diagonal of the quadratic program, as Avalanche and the paper's authors do."""
VECTOR, MATRIX, LAUNCH = 1 << 15, 1 << 12, 1 << 20
"""Parameters a block: on a CPU for products with a vector (speed) and with a matrix (precision); elsewhere for
both, since launches are what costs there."""


def reference_backward(strategy: Any, ids: torch.Tensor, chunk: int | None) -> None:
    """Add the gradient of the detector's mean loss over stored units to ``.grad``.

    Args:
        strategy: the template. ids: int64 (N,), N ≥ 1.
        chunk: units a pass at most. The passes are of nearly equal sizes, each weighted by its share of
            the units. Batch normalisation sees each pass alone. None: one pass.
    """
    passes = 1 if chunk is None else -(-len(ids) // chunk)
    if passes == 1:  # no factor: the very numbers of an undivided pass
        strategy.reference_loss(ids).backward()
        return
    for part in torch.tensor_split(ids, passes):
        (strategy.reference_loss(part) * (len(part) / len(ids))).backward()


def multipliers(gram: np.ndarray, products: np.ndarray, strength: float) -> np.ndarray:
    """GEM's dual program: the v ≥ ``strength`` with the least ½ v·(``gram`` + 0.001)·v + ``products``·v.

    Args:
        gram: float64 (k, k), inner products of the reference gradients. products: float64 (k,), those with
            the gradient of the step. strength: the paper's γ.

    Returns:
        float64 (k,): how much of each reference gradient is added.

    Raises:
        DfbenchError: the numbers are not finite or too large for the program: the training has diverged.
    """
    k = len(products)
    try:
        if not (np.isfinite(gram).all() and np.isfinite(products).all()):
            raise ValueError("not finite")
        quadratic = (gram + gram.T) / 2 + RIDGE * np.eye(k)
        return np.asarray(quadprog.solve_qp(quadratic, -products, np.eye(k), np.full(k, strength))[0])
    except ValueError as error:
        largest = float(np.sqrt(np.abs(np.diag(gram)).max()))
        raise DfbenchError(
            f"GEM cannot project: reference gradients of norm {largest:.3g} ({error}); the training has diverged, "
            "lower the learning rate"
        ) from error


class ReferenceGradients:
    """k gradients of a network as rows of one buffer, which each step fills anew.

    Args:
        model: the network. count: k, at least 1.
        dtype: of the rows. Half-precision rows take half the memory; sums are made in float32 and float64
            whatever it is.
    """

    def __init__(self, model: nn.Module, count: int, dtype: torch.dtype = torch.float32) -> None:
        self.parameters = list(model.parameters())
        self.device = self.parameters[0].device
        self.block = VECTOR if self.device.type == "cpu" else LAUNCH
        self.spans = _spans(self.parameters, self.block)
        self.rows = torch.empty(count, self.spans[-1][1], dtype=dtype, device=self.device)
        self._scratch: dict[torch.dtype, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def keep(self, index: int) -> None:
        """Copy the network's gradient into row ``index``; zeros where a parameter has none."""
        start = 0
        for p in self.parameters:
            place = self.rows[index, start : start + p.numel()].view(p.shape)
            if p.grad is None:
                place.zero_()
            else:
                place.copy_(p.grad)  # whatever its memory layout
            start += p.numel()

    @torch.no_grad()
    def products(self) -> torch.Tensor:
        """Inner products of the rows and the network's gradient: float64 (k,), on the CPU."""
        sums = torch.zeros(len(self), dtype=torch.float64, device=self.device)
        with self._exact():
            for start, stop, members in self.spans:
                gradient = _flat(members)
                if gradient is None:
                    continue
                for a in range(start, stop, self.block):
                    b = min(a + self.block, stop)
                    sums += torch.mv(self._columns(a, b, torch.float32), gradient[a - start : b - start])
        return sums.cpu()

    @torch.no_grad()
    def gram(self) -> torch.Tensor:
        """Inner products of the rows with each other: float64 (k, k), on the CPU.

        On a CPU sums of 4096 float32 products are added up in float64: as precise as the float32 rows are (off by 2e-8
        of the norms' product, measured) and more than twice as fast as float64. Elsewhere float64
        throughout, since float32 there may mean TF32.
        """
        on_cpu = self.device.type == "cpu"
        block, dtype = (MATRIX, torch.float32) if on_cpu else (LAUNCH, torch.float64)
        sums = torch.zeros(len(self), len(self), dtype=torch.float64, device=self.device)
        with self._exact():
            for a in range(0, self.rows.shape[1], block):
                columns = self._columns(a, min(a + block, self.rows.shape[1]), dtype)
                sums += torch.mm(columns, columns.T)
        return sums.cpu()

    @torch.no_grad()
    def add(self, amounts: np.ndarray) -> None:
        """Add ``amounts``, float64 (k,), of the rows to the network's gradient, in place.

        Parameters without a gradient stay without.
        """
        weights = torch.from_numpy(amounts).to(self.device, torch.float32)
        with self._exact():
            for start, stop, members in self.spans:
                alone = members[0].grad if len(members) == 1 else None
                if alone is not None and alone.is_contiguous() and alone.dtype == torch.float32:
                    self._add_to(alone.view(-1), start, weights)
                    continue
                if all(p.grad is None for p in members):
                    continue
                change = torch.zeros(stop - start, dtype=torch.float32, device=self.device)
                self._add_to(change, start, weights)
                for p, part in zip(members, change.split([p.numel() for p in members]), strict=True):
                    if p.grad is not None:
                        p.grad.add_(part.view(p.shape))

    def _add_to(self, flat: torch.Tensor, start: int, weights: torch.Tensor) -> None:
        for a in range(0, len(flat), self.block):
            b = min(a + self.block, len(flat))
            flat[a:b].addmv_(self._columns(start + a, start + b, torch.float32).T, weights)

    def _columns(self, a: int, b: int, dtype: torch.dtype) -> torch.Tensor:
        """Columns a … b of the rows; a wider type goes through one small scratch block."""
        columns = self.rows[:, a:b]
        if dtype == columns.dtype:
            return columns
        if dtype not in self._scratch:
            self._scratch[dtype] = torch.empty(len(self), self.block, dtype=dtype, device=self.device)
        return self._scratch[dtype][:, : b - a].copy_(columns)

    def _exact(self) -> torch.autocast:
        """No autocast: a detector may step inside its own."""
        return torch.autocast(self.device.type, enabled=False)


def _spans(parameters: Sequence[nn.Parameter], least: int) -> list[tuple[int, int, list[nn.Parameter]]]:
    """(start, stop, parameters) in order; small parameters together, so that a span has ``least`` numbers or more."""
    spans: list[tuple[int, int, list[nn.Parameter]]] = []
    start = stop = 0
    members: list[nn.Parameter] = []
    for i, p in enumerate(parameters):
        members.append(p)
        stop += p.numel()
        following = parameters[i + 1].numel() if i + 1 < len(parameters) else least
        if stop - start >= least or following >= least:
            spans.append((start, stop, members))
            start, members = stop, []
    return spans


def _flat(members: Sequence[nn.Parameter]) -> torch.Tensor | None:
    """The gradients of these parameters in one float32 vector, without a copy where there is one; None: no gradient."""
    if all(p.grad is None for p in members):
        return None
    parts = [torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1) for p in members]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).float()
