"""Reference gradients, and GEM's projection from their inner products.

Avalanche stacks the reference gradients at every step and copies them, as float64, to the CPU, although its quadratic
program has one variable per experience. Here they stay where autograd allocated them and are read once, block by block,
for all inner products. Only (k + 1)² numbers leave the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import quadprog
import torch
from torch import nn

from dfbench import DfbenchError, Training

RIDGE = 1e-3
"""Added to the diagonal of the quadratic program, as Avalanche and the paper's authors do."""
CPU_BLOCK = 1 << 15
"""Parameters per block on a CPU: k + 1 such blocks stay in its cache."""
CPU_SUM = 1 << 12
"""Products per float32 sum on a CPU; such sums are added in float64. More lose precision, fewer cost time."""
DEVICE_BLOCK = 1 << 20
"""Parameters per block elsewhere, where the number of kernel launches is what costs."""


def reference_backward(training: Training, ids: torch.Tensor, chunk: int | None) -> None:
    """Add the gradient of the detector's mean loss over stored units to ``.grad``.

    Args:
        training: the training.
        ids: int64 (N,), N ≥ 1.
        chunk: units per pass at most. The passes are of nearly equal sizes, each weighted by its share of the units.
            Batch normalisation sees each pass alone. None: one pass.
    """
    passes = 1 if chunk is None else -(-len(ids) // chunk)
    if passes == 1:  # without a factor, so that the numbers are exactly those of an undivided pass
        training.reference_loss(ids).backward()
        return
    for part in torch.tensor_split(ids, passes):
        (training.reference_loss(part) * (len(part) / len(ids))).backward()


def multipliers(gram: np.ndarray, products: np.ndarray, strength: float) -> np.ndarray:
    """GEM's dual program: the v ≥ ``strength`` with the least ½ v·(``gram`` + 0.001)·v + ``products``·v.

    Args:
        gram: float64 (k, k), inner products of the reference gradients.
        products: float64 (k,), their inner products with the gradient of the step.
        strength: the paper's γ.

    Returns:
        float64 (k,): the factor with which each reference gradient is added.

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
    """k gradients of a network, recomputed at each step.

    Gradients are taken over from autograd, not copied. All parameters of a network, laid end to end, are cut into
    blocks of equal length. A parameter larger than a block has a part in several of them, and a block holds parts of
    several small parameters. For its inner products, one block of all gradients is copied into the rows of a buffer
    (the scratch), which a matrix product then reads from the cache.

    Args:
        model: the network.
        count: k, at least 1.
        dtype: in which gradients are held. Half precision takes half the memory; sums are float32 and float64 in
            either case.

    Attributes:
        kept: the references. Each is a list with one flat tensor per parameter, None if it has no gradient.
    """

    def __init__(self, model: nn.Module, count: int, dtype: torch.dtype = torch.float32) -> None:
        self.parameters = list(model.parameters())
        self.device = self.parameters[0].device
        on_cpu = self.device.type == "cpu"
        self.dtype = dtype
        self.kept: list[list[torch.Tensor | None]] = [[] for _ in range(count)]
        self._layouts = [torch.empty_like(p, device="meta").stride() for p in self.parameters]
        numels = [p.numel() for p in self.parameters]
        # A small network needs no whole block; a multiple of CPU_SUM, so that the rows divide into sums.
        block = min(CPU_BLOCK if on_cpu else DEVICE_BLOCK, -(-sum(numels) // CPU_SUM) * CPU_SUM)
        self._sizes, self._blocks = _cut(numels, block)
        self._sum = CPU_SUM if on_cpu else block
        self._places: dict[tuple[int, ...], list[torch.Tensor]] = {}
        precision = torch.float32 if on_cpu else torch.float64  # elsewhere float32 may mean TF32
        self._scratch = torch.empty(count + 1, block, dtype=precision, device=self.device)

    def __len__(self) -> int:
        return len(self.kept)

    @torch.no_grad()
    def keep(self, index: int) -> None:
        """Take over the network's gradient as reference ``index``; the network is left without one."""
        self.kept[index] = [None if flat is None else flat.to(self.dtype) for flat in self._gradient()]
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def inner_products(self) -> np.ndarray:
        """Inner products of the k references and, in the last row and column, of the network's gradient.

        A missing gradient counts as zeros. On a CPU sums of 4096 float32 products are added up in float64: as precise
        as float32 gradients are (off by 2e-8 of the norms' product, measured), in half of float64's time.

        Returns:
            float64 (k + 1, k + 1).
        """
        rows = [self._parts(flats) for flats in (*self.kept, self._gradient())]
        sums = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=self.device)
        with self._exact():
            for block, sizes in self._blocks:
                self._fill([row[block] for row in rows], sizes)
                # (sums of the block, k + 1, products per sum): one small Gram matrix per sum
                terms = self._scratch.view(len(rows), -1, self._sum).transpose(0, 1)
                sums += torch.bmm(terms, terms.mT).sum(0, dtype=torch.float64)
        return sums.cpu().numpy()

    @torch.no_grad()
    def add(self, amounts: np.ndarray) -> None:
        """Add multiples of the references to the network's gradient, in place.

        Parameters without a gradient stay without one.

        Args:
            amounts: float64 (k,), a factor per reference.
        """
        step, rows = self._parts(self._gradient()), [self._parts(flats) for flats in self.kept]
        with self._exact():
            for block, _ in self._blocks:  # so that the sum stays in the cache while k references are added
                for row, amount in zip(rows, amounts.tolist(), strict=True):
                    both = zip(step[block], row[block], strict=True)
                    pairs = [(g, r) for g, r in both if g is not None and r is not None]
                    if pairs:
                        torch._foreach_add_([g for g, _ in pairs], [r for _, r in pairs], alpha=amount)

    def _gradient(self) -> list[torch.Tensor | None]:
        """The network's gradient as one vector per parameter: its memory in the order of storage, not a copy."""
        flats: list[torch.Tensor | None] = []
        for p, layout in zip(self.parameters, self._layouts, strict=True):
            # Elements of two gradients only correspond in memory if both have one layout. A detector's hook may have
            # left another than the parameter's, which autograd itself chooses.
            if p.grad is not None and p.grad.stride() != layout:
                p.grad = torch.empty_strided(p.shape, layout, dtype=p.grad.dtype, device=p.device).copy_(p.grad)
            flats.append(None if p.grad is None else p.grad.as_strided((p.numel(),), (1,)))
        return flats

    def _parts(self, flats: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
        """All parts of a gradient, in the order of the blocks."""
        parts: list[torch.Tensor | None] = []
        for flat, sizes in zip(flats, self._sizes, strict=True):
            parts += [None] * len(sizes) if flat is None else flat.split(sizes)
        return parts

    def _fill(self, rows: Sequence[Sequence[torch.Tensor | None]], sizes: tuple[int, ...]) -> None:
        """Copy the parts of one block of each gradient into the rows of the scratch; zeros for missing gradients."""
        filled = sum(sizes)
        if sizes not in self._places:  # views of the scratch, the same at every step
            self._places[sizes] = [place for row in self._scratch[:, :filled] for place in row.split(sizes)]
        places, parts = self._places[sizes], [part for row in rows for part in row]
        for place in (place for place, part in zip(places, parts, strict=True) if part is None):
            place.zero_()
        pairs = [(place, part) for place, part in zip(places, parts, strict=True) if part is not None]
        if pairs:  # none of a frozen layer larger than a block
            torch._foreach_copy_([place for place, _ in pairs], [part for _, part in pairs])
        if filled < self._scratch.shape[1]:
            self._scratch[:, filled:] = 0

    def _exact(self) -> torch.autocast:
        """A context without autocast, since a detector may call ``loop.step`` within its own."""
        return torch.autocast(self.device.type, enabled=False)


def _cut(numels: Sequence[int], block: int) -> tuple[list[list[int]], list[tuple[slice, tuple[int, ...]]]]:
    """Cut parameters into parts, so that consecutive parts fill blocks of ``block`` numbers.

    Args:
        numels: number of elements of each parameter.
        block: elements per block; the last block may have fewer.

    Returns:
        The sizes of each parameter's parts. For each block its parts, as a slice of all parts, and their sizes.
    """
    sizes: list[list[int]] = []
    blocks: list[tuple[slice, tuple[int, ...]]] = []
    members: list[int] = []
    parts, room = 0, block
    for numel in numels:
        sizes.append([])
        while numel:
            size = min(numel, room)
            sizes[-1].append(size)
            members.append(size)
            numel, room = numel - size, room - size
            if not room:
                blocks.append((slice(parts, parts + len(members)), tuple(members)))
                parts, members, room = parts + len(members), [], block
    if members:
        blocks.append((slice(parts, parts + len(members)), tuple(members)))
    return sizes, blocks
