"""What a report comes to, in sentences: where each method ends, what it forgot, and by how much methods differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dfbench.evaluation import continual
from dfbench.evaluation.significance import Comparison, Sample, compare, estimate
from dfbench.publish.report.comparison import defined, moderated_samples
from dfbench.publish.report.runs import Method
from dfbench.records.text import number

ONE_SEED = (
    "Each method has one seed: this compares two or more trained networks, not methods. Training again may change the "
    "order; run every method with the same three seeds or more."
)


@dataclass(frozen=True)
class Figure:
    """A continual metric of a method, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def conclusions(methods: Sequence[Method]) -> list[str]:
    """A sentence per method; those after the first say how they differ from it."""
    averages, lost = _samples(methods, continual.average), _samples(methods, continual.forgetting)
    first = methods[0]
    found = []
    for i, method in enumerate(methods):
        how_many = f"seed {method.seeds[0]}" if len(method.seeds) == 1 else f"{len(method.seeds)} seeds"
        text = f"{method.label} ({how_many}) ends at {first.runs[0].metric} {_average(averages[i])}"
        if forgotten := _level(lost[i]):
            text += f" and forgets {forgotten}"
        if i and (gap := _against(averages[i], averages[0])):
            text += f"; it ends {_more(gap, 'above', 'below')} {first.label}"
            if more := _against(lost[i], lost[0]):
                text += f" and forgets {_more(more, 'more', 'less')}"
        found.append(f"{text}.")
    return found


def warning(methods: Sequence[Method]) -> str:
    """That a comparison rests on one seed per method; empty where it does not."""
    return ONE_SEED if len(methods) > 1 and all(len(method.runs) == 1 for method in methods) else ""


def _samples(methods: Sequence[Method], metric: Callable[[np.ndarray], float]) -> list[Sample]:
    """The metric of each seed with its replicates, and its variance over seeds, moderated by the other methods'."""
    found = [
        Sample([metric(run.matrix) for run in method.runs],
               [np.array([metric(R) for R in run.replicates]) for run in method.runs])
        for method in methods
    ]  # fmt: skip
    return moderated_samples(found)


def _average(sample: Sample) -> str:
    found = estimate(sample)
    if not defined(sample) or found.low is None or found.high is None:
        return number(continual.defined(found.mean))
    return str(Figure(found.mean, found.low, found.high))


def _level(sample: Sample) -> Figure | None:
    """The metric itself, as its difference from 0: unlike a share it may be negative."""
    nothing = Sample([0.0], [np.zeros(len(d)) for d in sample.drawn[:1] if d is not None])
    return _against(sample, nothing)


def _against(sample: Sample, other: Sample) -> Figure | None:
    if not (defined(sample) and defined(other)):
        return None
    found: Comparison = compare(sample, other)
    return Figure(found.difference, found.low, found.high)


def _more(gap: Figure, above: str, below: str) -> str:
    """``0.077 [0.060, 0.100] above``: the sign in words, the interval's ends with it."""
    if gap.value < 0:
        return f"{Figure(-gap.value, -gap.high, -gap.low)} {below}"
    return f"{gap} {above}"
