"""Averages, forgetting and margins of papers, computed again from what is printed next to them.

Printed figures are rounded, so what follows from them is known up to a tolerance: half a unit of the last printed digit
for each rounded number that enters. A figure beyond it does not follow from the table that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dfbench.evaluation import continual

Formula = Literal["average", "af", "bwt", "forgetting", "difference"]
"""What a computed column is of those before the first computed one: a metric of R, or the first minus the second."""

FIGURE = re.compile(r"[−-]?(\d+\.?\d*|\.\d+)")
_METRICS: dict[str, tuple[Callable[[np.ndarray], float], float]] = {
    "average": (continual.average, 1.0),
    "af": (continual.af, 1.5),
    "bwt": (continual.bwt, 1.5),
    "forgetting": (continual.forgetting, 1.5),
}
"""The metric of R, and its tolerance in units of the last digit.

Half a unit is the printed result's own; a mean of entries adds half a unit, one of differences of two entries a whole.
"""
_EPSILON = 1e-9  # binary fractions: 1.1 − 1.0 is more than .1


@dataclass(frozen=True)
class Recomputed:
    """A printed figure, and what follows from the figures next to it."""

    where: str
    """The column; ``AF after 3`` for one that is printed for an earlier training."""
    printed: str
    value: float
    digits: int
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the printed figure may be a rounding of the recomputed one."""
        return abs(number(self.printed) - self.value) <= self.tolerance + _EPSILON

    @property
    def words(self) -> str:
        """``printed 85.49, recomputed 85.512``: with one digit more, in the spelling of the table."""
        shown = f"{self.value:.{self.digits + 1}f}".replace("-", "−")
        if not re.match(r"[−-]?0", self.printed):
            shown = re.sub(r"^(−?)0\.", r"\1.", shown)
        return f"printed {self.printed}, recomputed {shown}"


def number(printed: str) -> float:
    """A printed figure as a number; nan for an empty one."""
    return float(printed.replace("−", "-")) if printed else float("nan")


def recompute(
    columns: Sequence[str],
    computed: Mapping[str, Formula],
    values: Sequence[str],
    matrix: Sequence[str] | None = None,
    along: Mapping[str, Sequence[str]] | None = None,
) -> list[Recomputed]:
    """The computed columns of a row that follow from what is printed; those that need more are left out.

    Args:
        columns: Names, in order.
        computed: Column → what it is.
        values: The row as printed, one per column, empty where the paper has none.
        matrix: The lower triangle as printed: line i has the i + 1 figures after training i, by spaces.
        along: Column → its figures as printed after each training from the second on.
    """
    first = min(map(columns.index, computed), default=0)
    inputs = values[:first]
    digits = max((len(v.partition(".")[2]) for v in values), default=0)
    R = _matrix(inputs, matrix)
    found = []
    for column, formula in computed.items():
        printed = {column: (values[columns.index(column)], R)}
        steps = (along or {}).get(column, ())[:-1]
        printed |= {f"{column} after {n}": (step, R[:n, :n]) for n, step in enumerate(steps, 2)}
        for where, (figure, known) in printed.items():
            value, tolerance = _compute(formula, known)
            if figure and not np.isnan(value):
                found.append(Recomputed(where, figure, value, digits, tolerance * 10.0**-digits))
    return found


def _matrix(last: Sequence[str], matrix: Sequence[str] | None) -> np.ndarray:
    """R from a printed triangle, or with its last row alone."""
    if matrix is not None:
        return continual.parse_matrix([[number(figure) for figure in line.split()] for line in matrix])
    R = np.full((len(last), len(last)), np.nan)
    if len(last):
        R[-1] = [number(figure) for figure in last]
    return R


def _compute(formula: Formula, R: np.ndarray) -> tuple[float, float]:
    """A value, nan where what it needs was not printed, and its tolerance in units of the last digit."""
    if formula == "difference":
        return float(R[-1, 0] - R[-1, 1]), 1.5
    metric, tolerance = _METRICS[formula]
    return metric(R), tolerance
