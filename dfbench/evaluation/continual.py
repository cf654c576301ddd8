"""Metrics of the matrix R of a continual run: learning, transfer and forgetting.

``R[i][j]`` is a metric (higher is better) on experience ``j`` after training experience ``i``, both
counted from 0 to T−1, in any unit: percent in, percent out. A ``nan`` means "not measured": above
the diagonal where only seen experiences were tested, in every row but the last of a joint run, or
below the diagonal where a long stream's test sets were sampled.
A function whose definition touches an unmeasured entry returns ``nan``, never a partial mean or a 0;
what can be said of a sampled R has names of its own (:func:`forgetting_at_least`, …).

Papers: GEM is Lopez-Paz & Ranzato 2017 (arXiv 1706.08840); RWalk is Chaudhry et al. 2018
(arXiv 1801.10112).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dfbench.errors import UsageError


def parse_matrix(rows: Sequence[Any]) -> np.ndarray:
    """R, shape (T, T), from a lower triangle (row i has i+1 numbers) or a full matrix (rows of T).

    ``None`` and NaN stand for an entry that was not measured.

    Raises:
        UsageError: the rows do not form such a matrix, an entry is not a finite number, or there is no number at all.
    """
    if not isinstance(rows, list | tuple) or not rows:
        raise UsageError("an R matrix is a non-empty list of rows, as in [[95.5], [87.8, 81.6]]")
    size = len(rows)
    for i, row in enumerate(rows):
        if not isinstance(row, list | tuple):
            raise UsageError(f"row {i} of the R matrix is {repr(row)[:60]}, not a list of numbers")
    lengths = [len(row) for row in rows]
    if lengths != [size] * size and lengths != list(range(1, size + 1)):
        raise UsageError(
            f"the {size} rows of the R matrix have {_listed(lengths)} numbers: they must all have {size}, "
            f"or 1 to {size} (a lower triangle)"
        )
    matrix = np.full((size, size), np.nan)
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = [_number(value, i, j) for j, value in enumerate(row)]
    if np.isnan(matrix).all():
        raise UsageError("the R matrix has no number in it")
    return matrix


def _listed(lengths: list[int]) -> str:
    """The row lengths for an error message, cut short for a long matrix."""
    return ", ".join(map(str, lengths[:12])) + (", …" if len(lengths) > 12 else "")


def _number(value: Any, i: int, j: int) -> float:
    """One entry of the matrix, checked; nan for None."""
    if value is None:
        return math.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise UsageError(f"row {i}, column {j} of the R matrix is {repr(value)[:60]}, not a number or null")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise UsageError(f"row {i}, column {j} of the R matrix is infinite or too large for a number")
    return number


def _matrix(R: ArrayLike) -> np.ndarray:
    """R as a float array; UsageError unless it is square and not empty."""
    matrix = np.asarray(R, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise UsageError(f"an R matrix is square and not empty; this one has the shape {matrix.shape}")
    return matrix


def _vector(values: ArrayLike, size: int, name: str) -> np.ndarray:
    """A float array of one value per experience; ``name`` is what the error calls it."""
    vector = np.asarray(values, dtype=float)
    if vector.shape != (size,):
        raise UsageError(f"{name} needs one number for each of the {size} experiences, not {vector.shape}")
    return vector


def _mean(values: np.ndarray) -> float:
    """The mean; nan if there is nothing to average or a value is undefined."""
    return float(np.mean(values)) if values.size else math.nan


def average(R: ArrayLike) -> float:
    """ACC = mean_j R[T−1][j]: the final model over all experiences (GEM, section 2, eq. ACC)."""
    return _mean(_matrix(R)[-1])


def average_incremental(R: ArrayLike) -> float:
    """mean_i mean_{j≤i} R[i][j]: the average over the experiences seen so far, over the whole run.

    The "average incremental accuracy" of iCaRL (Rebuffi et al. 2017, arXiv 1611.07725, section 4), and the past period
    of AI-GenBench (Pellegrini et al. 2025, arXiv 2504.20865).
    """
    matrix = _matrix(R)
    return _mean(np.array([matrix[i, : i + 1].mean() for i in range(len(matrix))]))


def learning_accuracy(R: ArrayLike) -> float:
    """mean_i R[i][i]: each experience right after it was learned (Riemer et al. 2019, arXiv 1810.11910)."""
    return _mean(np.diag(_matrix(R)))


def next_experience(R: ArrayLike) -> float:
    """mean_{i<T−1} R[i][i+1]: each experience right before it is trained on, the forgery that has just appeared.

    The next period of AI-GenBench (arXiv 2504.20865), whose windows are the experiences. nan for T = 1, and if an
    experience was not tested just before it was learned.
    """
    return _mean(np.diag(_matrix(R), k=1))


def whole(R: ArrayLike) -> float:
    """mean_i mean_j R[i][j]: all experiences after each training; AI-GenBench's whole period (arXiv 2504.20865)."""
    return _mean(_matrix(R))


def bwt(R: ArrayLike) -> float:
    """Backward transfer, mean_{j<T−1}(R[T−1][j] − R[j][j]) (GEM, section 2); below 0 is forgetting.

    nan for T = 1 and for a run that did not test each experience right after learning it (joint).
    """
    matrix = _matrix(R)
    return _mean((matrix[-1] - np.diag(matrix))[:-1])


def af(R: ArrayLike) -> float:
    """Average forgetting of DFIL and DevFD (NeurIPS 2025, table 1): mean_{j<T−1}(R[j][j] − R[T−1][j]).

    That is −BWT. CDDB and S-Prompts print the same figure with a negative sign.
    """
    matrix = _matrix(R)
    return _mean((np.diag(matrix) - matrix[-1])[:-1])


def fwt(R: ArrayLike, baseline: ArrayLike | None = None) -> float:
    """Forward transfer, mean_{j≥1}(R[j−1][j] − b_j) (GEM, section 2).

    nan without a baseline (0 would mean an untrained network that is always wrong), for T = 1, and if an
    experience was not tested just before it was learned.

    Args:
        R: the matrix, shape (T, T).
        baseline: shape (T,): the metric b_j of the untrained network on each experience; b_0 is not used.
    """
    matrix = _matrix(R)
    if baseline is None:
        return math.nan
    untrained = _vector(baseline, len(matrix), "the baseline")
    return _mean(np.diag(matrix, k=1) - untrained[1:])


def forgetting(R: ArrayLike) -> float:
    """F = mean_{j<T−1}(max_{j≤l<T−1} R[l][j] − R[T−1][j]) (RWalk, "Forgetting and Intransigence", k = T).

    l runs over the models that had learned j, as in the code of Mammoth, PyCIL and PILOT: the upper triangle of R does
    not enter, so a full matrix and its lower triangle have the same F. Read to the letter, the paper's equation also
    takes in models from before j was learned; what is lost of that knowledge is transfer, not forgetting. nan for
    T = 1, and if an entry on or below the diagonal is missing. F ≥ AF always.
    """
    matrix = _matrix(R)
    learned = np.tril(np.ones_like(matrix[:-1, :-1], dtype=bool))
    earlier, last = matrix[:-1, :-1], matrix[-1, :-1]
    if np.isnan(earlier[learned]).any():
        return math.nan
    best = np.where(learned, earlier, -np.inf).max(axis=0, initial=-np.inf)
    return _mean(best - last)


def forgetting_at_least(R: ArrayLike) -> float:
    """A lower bound of :func:`forgetting` for an R that was sampled below its diagonal: the best of what was measured.

    mean_{j<T−1}(max_{j≤l<T−1, measured} R[l][j] − R[T−1][j]). A maximum over some of the rows is at most that over all,
    and the row of the diagonal is among them: AF ≤ this ≤ F. nan for T = 1, and if an entry of the diagonal or of the
    last row is missing.
    """
    matrix = _matrix(R)
    if np.isnan(np.diag(matrix)).any():
        return math.nan
    learned = np.tril(np.ones_like(matrix[:-1, :-1], dtype=bool)) & ~np.isnan(matrix[:-1, :-1])
    best = np.where(learned, matrix[:-1, :-1], -np.inf).max(axis=0, initial=-np.inf)
    return _mean(best - matrix[-1, :-1])


def average_incremental_estimate(R: ArrayLike) -> float:
    """:func:`average_incremental`, estimated from an R that was sampled below its diagonal.

    Row i counts the first and its own experience as they are, and for the i − 1 between them the mean of those that
    were measured: unbiased over the draw where each of them was as likely to be measured as any other (stratified
    sampling; Cochran, Sampling Techniques, 1977, chapter 5). nan where a row lacks the first, its own, or all others.
    """
    matrix = _matrix(R)
    rows = [matrix[0, 0]]
    for i in range(1, len(matrix)):
        between = matrix[i, 1:i]
        measured = between[~np.isnan(between)]
        others = (i - 1) * _mean(measured) if i > 1 else 0.0
        rows.append((matrix[i, 0] + matrix[i, i] + others) / (i + 1))
    return _mean(np.array(rows))


def intransigence(R: ArrayLike, bound: ArrayLike) -> np.ndarray:
    """I_k = reference_k − R[k][k], shape (T,): how far learning fell short of a reference (RWalk, same section).

    nan where either is undefined.

    Args:
        R: the matrix, shape (T, T).
        bound: shape (T,): the metric on experience k of a reference. RWalk's is trained on experiences 0 … k at once,
            from the start, with one budget. Both usual references are stand-ins for it: the diagonal of a
            ``cumulative`` run (warm-started, and trained with k + 1 budgets by then) and the last row of a ``joint``
            run (which saw the later experiences too).
    """
    matrix = _matrix(R)
    return _vector(bound, len(matrix), "bound") - np.diag(matrix)


def summarize(R: ArrayLike, baseline: ArrayLike | None = None) -> dict[str, Any]:
    """All scalars above by name, and the last row as ``final``; None where undefined, for JSON."""
    matrix = _matrix(R)
    scalars = {
        "average": average(matrix),
        "average_incremental": average_incremental(matrix),
        "learning_accuracy": learning_accuracy(matrix),
        "next": next_experience(matrix),
        "whole": whole(matrix),
        "bwt": bwt(matrix),
        "fwt": fwt(matrix, baseline),
        "forgetting": forgetting(matrix),
        "af": af(matrix),
    }
    return {name: defined(value) for name, value in scalars.items()} | {"final": as_rows(matrix)[-1]}


def defined(value: float) -> float | None:
    """The value, or None for nan: JSON has no NaN."""
    return None if math.isnan(value) else float(value)


def as_rows(R: ArrayLike) -> list[list[float | None]]:
    """R as lists with None where undefined, as :func:`parse_matrix` reads it and a record stores it."""
    return [[defined(value) for value in row] for row in _matrix(R).tolist()]
