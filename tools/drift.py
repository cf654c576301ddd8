"""Thresholds that are carried on, from the records on the leaderboard: ``make docs`` writes the table with cog.

``python -m tools.drift`` draws the figure.
"""

from __future__ import annotations

import numpy as np

from dfbench.files import write_whole
from dfbench.publish.plotting import FAINT, PAGE, PALETTE, new_figure, rendered, style, titled
from dfbench.records.parts import Operating, RatesOfNetworks
from dfbench.records.record import Record
from dfbench.records.text import NONE
from tools.tables import DOCS, Seeds, cell, rows_of

PANELS = {"drift": "Threshold drift", "carried_tpr": "True-positive rate of carried thresholds"}


def drift(detector: str, benchmark: str) -> str:
    """One line per continual row with carried thresholds, sorted by their drift."""
    lines = [
        "",
        "| strategy | drift | carried TPR | FPR, first threshold at the end | its balanced accuracy | at .5 | "
        "fixed again on 20 reals: FPR | TPR | on 100: FPR | TPR | n |",
        f"|{'---|' * 11}",
    ]
    rows = _rows(detector, benchmark)
    for name in sorted(rows, key=lambda name: _mean([_of(r).drift for r in rows[name]])):
        found = [_of(record) for record in rows[name]]
        cells = [_with_interval(found, each) for each in PANELS]
        cells += [
            cell(_mean([each.false_positive_rate[0][-1] for each in found]), None),
            cell(_mean([_balanced(e.false_positive_rate[0][-1], e.true_positive_rate[0][-1]) for e in found]), None),
            cell(_mean([_balanced(*_last(each.at_half)) for each in found]), None),
        ]
        for count in ("20", "100"):
            cells += [cell(_mean([_last(each.recalibrated[count])[k] for each in found]), None) for k in (0, 1)]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(found)} |")
    return "\n".join(lines) + "\n\n"


def svg(detector: str, benchmark: str) -> bytes:
    """Drift and carried true-positive rate of each row, with 95 % intervals."""
    rows = _rows(detector, benchmark)
    names = sorted(rows, key=lambda name: -_mean([_of(r).drift for r in rows[name]]))
    with style():
        figure = new_figure(PAGE, 0.6 + 0.19 * len(names))
        for axis, (figure_name, title) in zip(figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True):
            for place, name in enumerate(names):
                found = [_of(record) for record in rows[name]]
                ends = [getattr(each.uncertainty, figure_name) for each in found]
                if None not in ends:
                    low, high = np.mean(ends, axis=0)
                    axis.plot([low, high], [place, place], color=PALETTE[0], linewidth=1.2)
                axis.plot(_mean([getattr(each, figure_name) for each in found]), place, "o", color=PALETTE[0])
            axis.set_yticks(range(len(names)), names)
            axis.grid(True, axis="x", color=FAINT, alpha=0.3)
            axis.set_xlim(left=0)
            titled(axis, title, f"{detector}, {benchmark}; 95 % intervals over people")
        return rendered(figure, "svg")


def _rows(detector: str, benchmark: str) -> dict[str, Seeds]:
    """The runs of each row that have something to carry."""
    found = {
        name: tuple(r for r in row if r.operating is not None and r.operating.drift is not None)
        for name, row in rows_of(detector, benchmark).items()
    }
    return {name: row for name, row in found.items() if row}


def _of(record: Record) -> Operating:
    assert record.operating is not None
    return record.operating


def _last(rates: RatesOfNetworks) -> tuple[float | None, float | None]:
    return rates.false_positive_rate[-1], rates.true_positive_rate[-1]


def _balanced(fpr: float | None, tpr: float | None) -> float | None:
    return None if fpr is None or tpr is None else (1 - fpr + tpr) / 2


def _mean(values: list[float | None]) -> float:
    return float(np.mean([np.nan if value is None else value for value in values]))


def _with_interval(found: list[Operating], name: str) -> str:
    """``.031 (.02 to .05)``: the interval of one seed, else the spread over them."""
    values = [getattr(each, name) for each in found]
    if len(found) > 1:
        return cell(_mean(values), float(np.std(values, ddof=1)))
    interval = getattr(found[0].uncertainty, name)
    ends = NONE if interval is None else f"{cell(interval[0], None)} to {cell(interval[1], None)}"
    return f"{cell(values[0], None)} ({ends})"


if __name__ == "__main__":
    write_whole(DOCS / "img" / "forge5-drift.svg", svg("simple_cnn", "forge5"))
