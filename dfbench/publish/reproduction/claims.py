"""What is claimed of the published tables, held against the figures: it holds, it does not, or it cannot be said."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dfbench.publish.reproduction.recipe import Gap, Level, Order, Repeat
from dfbench.publish.reproduction.result import Line, Result

Verdict = Literal["holds", "does not hold", "undecided", "missing"]
CONFIDENCE = 0.95
_NOTHING = "Nothing is published of it."


@dataclass(frozen=True)
class Finding:
    """A claim and what became of it."""

    claim: str
    verdict: Verdict
    detail: str

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        return f"{self.claim}: {self.verdict}. {self.detail}"


@dataclass(frozen=True)
class Difference:
    """One row minus another in one column, in points, over the seeds that both were run with."""

    mean: float
    spread: float | None
    """Sample standard deviation over seeds; None for one seed."""
    count: int
    low: float | None = None
    high: float | None = None
    """Student's interval at 95 %; None for one seed."""

    @property
    def verdict(self) -> Verdict:
        """Whether the first is above: a tie is not; an interval with 0 in it decides nothing."""
        if self.mean == 0 and not self.spread:
            return "does not hold"
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "undecided"
        return "holds" if self.low > 0 else "does not hold"

    def __str__(self) -> str:
        if self.spread is None:
            return f"{signed(self.mean)} (one seed)"
        return (
            f"{signed(self.mean)} ± {self.spread:.1f} (95 % interval {signed(self.low)} to {signed(self.high)}, "
            f"{self.count} seeds)"
        )


def difference(upper: Line, lower: Line, column: int) -> Difference | None:
    """Paired by seed: runs of one seed start from the same weights. None where no seed has both."""
    seeds = [seed for seed in upper.seeds if seed in lower.values]
    if not seeds:
        return None
    values = [upper.values[seed][column] - lower.values[seed][column] for seed in seeds]
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Difference(mean, None, 1)
    from scipy.stats import t

    spread = statistics.stdev(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
    return Difference(mean, spread, len(values), mean - half, mean + half)


def findings(result: Result) -> list[Finding]:
    """Every claim of the recipe, in its order."""
    found: list[Finding] = []
    for claim in result.recipe.claims:
        match claim:
            case Level():
                found += [level(result, claim, line) for line in result.table(claim.table).lines]
            case Gap():
                found.append(gap(result, claim))
            case Order():
                found.append(order(result, claim))
            case Repeat():
                found.append(repeat(result, claim))
    return found


def level(result: Result, claim: Level, line: Line) -> Finding:
    """One row: is every column within reach of the published figure?"""
    columns, them = result.table(claim.table).table.columns, result.recipe.called
    what = f"Table {claim.table}, {line.row.name}: within {claim.within:g} points of {them} in every column"
    known = [(k, r) for k, r in enumerate(line.row.reported) if r is not None]
    if not line.values or not known:
        return Finding(what, "missing", "No run of it." if known else _NOTHING)
    off = {columns[k]: statistics.fmean(v[k] for v in line.values.values()) - r for k, r in known}
    means = [statistics.fmean(v[k] - r for k, r in known) for v in line.values.values()]
    spread = f" ± {statistics.stdev(means):.1f}" if len(means) > 1 else ""
    far = max(off, key=lambda column: abs(off[column]))
    beyond = [column for column, value in off.items() if abs(value) > claim.within]
    verdict: Verdict = "does not hold" if beyond else "holds"
    which = "all columns" if len(beyond) == len(off) else f"{len(beyond)} of {len(off)} ({', '.join(beyond)})"
    outside = f"; further away in {which}" if beyond else ""
    return Finding(
        what,
        verdict,
        f"Ours minus the published is {signed(statistics.fmean(off.values()))}{spread} on average, "
        f"{signed(off[far])} at most (column {far}){outside}.",
    )


def gap(result: Result, claim: Gap) -> Finding:
    """The size of a lead."""
    filled = result.table(claim.table)
    upper, lower = (filled.line(name) for name in claim.rows)
    k = filled.column(claim.column)
    reported, them = _reported(upper, lower, k), result.recipe.called
    lead = "–" if reported is None else signed(reported)
    what = (
        f"Table {claim.table}, column {claim.column}: {upper.row.name} leads {lower.row.name} by {lead} points "
        f"as in {them}, give or take {claim.within:g}"
    )
    ours = difference(upper, lower, k)
    if ours is None or reported is None:
        return Finding(what, "missing", _not_there([upper, lower]) or _NOTHING)
    means = [d.mean for j in range(len(filled.table.columns)) if (d := difference(upper, lower, j)) is not None]
    verdict: Verdict = "holds" if abs(ours.mean - reported) <= claim.within else "does not hold"
    return Finding(what, verdict, f"Ours: {ours}; {signed(statistics.fmean(means))} on average over all columns.")


def order(result: Result, claim: Order) -> Finding:
    """Each row against the next one."""
    filled = result.table(claim.table)
    lines, k = [filled.line(name) for name in claim.rows], filled.column(claim.column)
    what = f"Table {claim.table}, column {claim.column}: {' > '.join(claim.rows)}"
    details, verdicts = [], []
    for upper, lower in itertools.pairwise(lines):
        ours, reported = difference(upper, lower, k), _reported(upper, lower, k)
        verdicts.append("missing" if ours is None else ours.verdict)
        published = "" if reported is None else f", {result.recipe.called} {signed(reported)}"
        verdict = f"{verdicts[-1]}, " if len(lines) > 2 else ""
        said = _not_there([upper, lower]) if ours is None else f"{verdict}{ours}{published}"
        pair = f"{upper.row.name} > {lower.row.name}: " if len(lines) > 2 else ""
        details.append(pair + said.removesuffix("."))
    ranked = sorted((line for line in lines if line.values), key=lambda line: -_known(line.mean(k)))
    came = ", ".join(f"{line.row.name} {cell(line, k)}" for line in ranked)
    return Finding(what, _all(verdicts), "; ".join(details) + (f". It came out as {came}." if ranked else "."))


def repeat(result: Result, claim: Repeat) -> Finding:
    """Published figures of one and the same training."""
    lines = [result.table(c.table).line(c.row) for c in claim.rows]
    columns = result.table(claim.rows[0].table).table.columns
    chosen = range(len(columns)) if claim.column is None else [columns.index(claim.column)]
    names = " and ".join(f"{c.row} (table {c.table})" for c in claim.rows)
    where = "in every column" if claim.column is None else f"in column {claim.column}"
    them = result.recipe.called[:1].upper() + result.recipe.called[1:]
    what = f"{them} agrees with itself within {claim.within:g} points {where}, where {names} are the same training"
    ranges = {}
    for k in chosen:
        known = [value for line in lines if (value := line.row.reported[k]) is not None]
        if len(known) > 1:
            ranges[columns[k]] = max(known) - min(known)
    if not ranges:
        return Finding(what, "missing", _NOTHING)
    far = max(ranges, key=lambda column: ranges[column])
    verdict: Verdict = "holds" if ranges[far] <= claim.within else "does not hold"
    ours = [spread for line in lines for k in chosen if (spread := line.spread(k)) is not None]
    seeds = f"; our seeds spread by {max(ours):.1f} at most (standard deviation)" if ours else ""
    return Finding(what, verdict, f"Its figures lie up to {ranges[far]:.1f} points apart (column {far}){seeds}.")


def cell(line: Line, column: int) -> str:
    """``45.2 ± 0.6``; without a spread for one seed; a dash without a run."""
    mean, spread = line.mean(column), line.spread(column)
    if mean is None:
        return "–"
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"


def signed(value: float | None) -> str:
    """``+1.2``, ``−0.3``; no sign on what rounds to 0."""
    if value is None:
        return "–"
    rounded = round(value, 1)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else ''}{abs(rounded):.1f}"


def _all(verdicts: Sequence[str]) -> Verdict:
    """One pair that does not hold is enough; what is missing comes before what is undecided."""
    for verdict in ("does not hold", "missing", "undecided"):
        if verdict in verdicts:
            return verdict  # type: ignore[return-value]
    return "holds"


def _reported(upper: Line, lower: Line, column: int) -> float | None:
    a, b = upper.row.reported[column], lower.row.reported[column]
    return None if a is None or b is None else a - b


def _not_there(lines: Sequence[Line]) -> str:
    missing = [line.row.name for line in lines if not line.values]
    if missing:
        return f"No run of {' and '.join(missing)}."
    return f"No seed of both {' and '.join(line.row.name for line in lines)}."


def _known(value: float | None) -> float:
    return math.nan if value is None else value
