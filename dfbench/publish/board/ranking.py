"""Which rows of a table differ: their spread over seeds, and the best row of each group against the others."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from dfbench.evaluation.significance import Sample, compare, holm, moderated
from dfbench.publish.board.row import BoardRow, Group, Mark

ALPHA = 0.05


def with_seeds(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """The variance over seeds, moderated by the continual rows of the detector and preset, or of the whole table.

    A bound is moderated by them, and none of them by it.
    """
    continual = [i for i, row in enumerate(rows) if not row.bound]
    several = {i for i in continual if len(_values(rows[i])) > 1}
    kinds: dict[tuple[str, str] | None, list[int]] = {}
    for i in continual:
        kinds.setdefault(rows[i].kind, []).append(i)
    judges: dict[tuple[str, str] | None, list[int]] = {None: continual}
    judges |= kinds
    judged: dict[tuple[str, str] | None, list[int]] = {name: [] for name in judges}
    others = Counter(rows[i].kind for i in several)
    for i, row in enumerate(rows):
        judged[row.kind if others[row.kind] > (i in several) else None].append(i)
    result = list(rows)
    for name, members in judged.items():
        alone = [i for i in members if rows[i].bound]
        found = moderated([_values(rows[i]) for i in judges[name]], [_values(rows[i]) for i in alone])
        variances = dict(zip([*judges[name], *alone], found, strict=True))
        for i in members:
            result[i] = replace(rows[i], seeds=variances[i])
    return result


def compared(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """Every continual row against the best of several seeds in its group, p-values corrected for their number."""
    result = list(rows)
    able = {i: row.sample for i, row in enumerate(rows) if not row.bound and row.sample and _drawn(row.sample)}
    groups: dict[tuple[Group, str], list[int]] = {}
    for i in able:
        groups.setdefault((rows[i].group, rows[i].unit), []).append(i)
    for members in groups.values():
        several = [i for i in members if len(able[i].values) > 1]  # one lucky seed does not make a best row
        best = max(several or members, key=lambda i: (statistics.fmean(able[i].values), rows[i].id))
        others = [i for i in members if i != best and _drawn(able[i]) == _drawn(able[best])]
        if not others:
            continue
        found = [compare(able[i], able[best]) for i in others]
        result[best] = replace(rows[best], mark="best")
        for i, comparison, p in zip(others, found, holm([c.p for c in found]), strict=True):
            mark: Mark = "worse" if p < ALPHA and comparison.difference < 0 else "tied"
            result[i] = replace(rows[i], mark=mark, against_best=comparison, p=p)
    return result


def _drawn(sample: Sample) -> int:
    """How many replicates every seed has; 0 where one has none, or another number."""
    counts = {0 if d is None else len(d) for d in sample.drawn}
    return counts.pop() if len(counts) == 1 else 0


def _values(row: BoardRow) -> list[float]:
    return [r.average for r in row.records if r.average is not None]
