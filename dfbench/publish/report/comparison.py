"""The figures of several runs on the same data: methods side by side, seeds averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dfbench.evaluation import continual
from dfbench.evaluation.significance import Sample, compare, moderated
from dfbench.publish.plotting import (
    COLUMN,
    FAINT,
    MARKERS,
    PAGE,
    Panel,
    colours,
    common_unseen,
    draw_matrices,
    new_figure,
    titled,
)
from dfbench.publish.report.axes import class_legend, headed, in_stream, metric_axis, stream_axis
from dfbench.publish.report.runs import Method, average_per_seed, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AVERAGE = "average"


@dataclass(frozen=True)
class Difference:
    """What a method ends with on one experience, minus what the reference ends with."""

    position: int
    """Of the experience, from 0; their number: the average of all of them."""
    experience: str
    """Its name, or :data:`AVERAGE`."""
    value: float
    low: float
    high: float
    """The 95 % interval: people or videos redrawn, in pairs, and the spread over seeds where there are several."""


def moderated_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Samples with their variances over seeds; without one where a value is undefined."""
    finite = [bool(np.isfinite(sample.values).all()) for sample in samples]
    seeds = iter(moderated([sample.values for sample, is_finite in zip(samples, finite, strict=True) if is_finite]))
    return [
        replace(sample, seeds=next(seeds) if is_finite else None)
        for sample, is_finite in zip(samples, finite, strict=True)
    ]


def differences(methods: Sequence[Method]) -> list[list[Difference]]:
    """For each method after the first: the headline metric at the end, minus the first method's.

    Experiences where it is undefined are left out. The variances over seeds are those of
    :func:`dfbench.evaluation.significance.moderated`.
    """
    names = methods[0].runs[0].names
    found: list[list[Difference]] = [[] for _ in methods[1:]]
    for j, name in enumerate([*names, AVERAGE]):
        samples = [_sample(method, j if j < len(names) else None) for method in methods]
        reference, *others = moderated_samples(samples)
        for rows, other in zip(found, others, strict=True):
            if all(defined(sample) for sample in (other, reference)):
                result = compare(other, reference)
                rows.append(Difference(j, name, result.difference, result.low, result.high))
    return found


def _sample(method: Method, column: int | None) -> Sample:
    """The seeds' final values on one experience, or of the average, and their replicates."""
    if column is None:
        drawn = [np.array([continual.average(R) for R in run.replicates]) for run in method.runs]
        return Sample(average_per_seed(method), drawn)
    return Sample(
        [run.matrix[-1, column] for run in method.runs], [run.replicates[:, -1, column] for run in method.runs]
    )


def defined(sample: Sample) -> bool:
    """Whether the metric of every seed and of every replicate has a value."""
    return bool(np.isfinite(sample.values).all() and all(np.isfinite(d).all() for d in sample.drawn if d is not None))


def subject(methods: Sequence[Method]) -> str:
    """What a figure is of, for its second line."""
    spec = methods[0].runs[0].record.spec
    detectors = dict.fromkeys(run.record.spec.detector for method in methods for run in method.runs)
    seeds = sorted({len(method.runs) for method in methods})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
    means = "" if seeds[-1] == 1 else f" · mean of {count} seeds ± standard deviation"
    return f"{', '.join(detectors)} · {spec.benchmark} {spec.split}{means}"


def matrices(methods: Sequence[Method]) -> Figure:
    """R of each method, averaged over seeds."""
    first = methods[0].runs[0]
    panels = []
    sets = common_unseen([run.record for method in methods for run in method.runs])
    for method in methods:
        seeds = f"seed {method.seeds[0]}" if len(method.runs) == 1 else f"mean of {len(method.runs)} seeds"
        unseen = method.unseen if sets else None
        panels.append(Panel(method.label, seeds, method.mean, method.spread, unseen))
    return draw_matrices(panels, first.labels, first.record.headline, shortened(sets))


def curves(methods: Sequence[Method]) -> Figure | None:
    """The headline metric over the stream: of the experiences seen so far, and of each; None for one row only.

    A method that has its last row only (joint) is a dashed line at that height.
    """
    first = methods[0].runs[0]
    names = in_stream(first.labels)
    size = len(names)
    if size < 2:
        return None
    panels = size + 1
    columns = 3 if panels > 4 else 2
    rows = -(-panels // columns)
    figure = new_figure(PAGE if columns == 3 else COLUMN + 1.5, 1.75 * rows + 0.9)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[panels:]:
        axis.remove()
    every = np.concatenate([method.matrices.ravel() for method in methods])
    for index in range(panels):
        axis = axes.flat[index]
        for number, (method, colour) in enumerate(zip(methods, colours(len(methods)), strict=True)):
            values = method.seen if index == 0 else method.matrices[:, :, index - 1]
            from_its_start = 0 if index == 0 else index - 1
            _curve(axis, method, values, from_its_start, colour, number, f"compare-{index}-{number}")
        stream_axis(axis, names)
        axis.set_xlabel("after training on" if index + columns >= panels else "")
        axis.tick_params(labelbottom=index + columns >= panels)
        if index % columns == 0:
            axis.set_ylabel(first.metric)
        titled(axis, "mean of those seen so far" if index == 0 else names[index - 1], "")
    for axis in axes.flat[:panels]:
        metric_axis(axis, every, first.record.headline)
    headed(figure, f"What becomes of each experience: {first.metric}", subject(methods))
    class_legend(figure, axes.flat[0], columns=min(4, len(methods)))
    return figure


def _curve(axis: Axes, method: Method, values: np.ndarray, start: int, colour: Any, number: int, gid: str) -> None:
    """Mean over seeds with a band, from the experience's own training on; dotted before it."""
    mean = values.mean(0)
    known = np.flatnonzero(np.isfinite(mean))
    look: dict[str, Any] = {"color": colour, "label": method.label}
    if len(known) == 1:
        axis.axhline(mean[known[0]], linestyle="--", linewidth=1, gid=gid, **look)
        return
    x = np.arange(len(mean))
    if start:
        axis.plot(x[: start + 1], mean[: start + 1], color=colour, linestyle=":", linewidth=0.9)
    axis.plot(x[start:], mean[start:], marker=MARKERS[number % len(MARKERS)], gid=gid, **look)
    if len(values) > 1:
        spread = values.std(0, ddof=1)
        axis.fill_between(
            x[start:], (mean - spread)[start:], (mean + spread)[start:], color=colour, alpha=0.18, linewidth=0
        )


def difference_plot(methods: Sequence[Method]) -> Figure | None:
    """What each method ends with, minus what the first one ends with: points with 95 % intervals."""
    reference, *others = methods
    found = list(zip(others, differences(methods), strict=True))
    if not any(rows for _, rows in found):
        return None
    names = [*methods[0].runs[0].labels, AVERAGE]
    figure = new_figure(COLUMN + 0.6, 0.24 * len(names) * max(1, 0.5 * len(others) + 0.5) + 1.35)
    axis = figure.subplots()
    axis.axvline(0, color=FAINT, linewidth=0.8)
    hues = colours(len(methods))
    width = 0.62
    for number, (method, rows) in enumerate(found):
        shift = (number - (len(found) - 1) / 2) * width / max(len(found), 2)
        y = [row.position + shift for row in rows]
        values = np.array([row.value for row in rows])
        errors = np.array([[row.value - row.low for row in rows], [row.high - row.value for row in rows]])
        marker = MARKERS[(number + 1) % len(MARKERS)]
        drawn = axis.errorbar(values, y, xerr=errors, color=hues[number + 1], marker=marker, linestyle="none",
                              elinewidth=1, capsize=2, label=method.label)  # fmt: skip
        drawn[0].set_gid(f"difference-{number}")
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.axhline(len(names) - 1.5, color=FAINT, linewidth=0.5)
    axis.grid(True, axis="x")
    axis.set_xlabel(f"{methods[0].runs[0].metric} minus that of {reference.label}; bars: 95 % intervals")
    headed(figure, f"At the end of the stream, against {reference.label}", subject(methods))
    class_legend(figure, axis, columns=min(3, len(others)))
    return figure


COMPARISONS = {"forgetting": curves, "matrices": matrices, "differences": difference_plot}
"""By the name of their files."""
