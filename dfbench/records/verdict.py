"""What was checked of a row's figures, and with which result: the controls of the field, in one fixed list.

A high AUC can come from leaks, from a codec that one class alone has, from recognising where reals come from, or from
one lucky seed, and it may say nothing of new forgeries or of a threshold in use. Each check is *passed*, *failed* or
*not checked*; none of them changes a rank.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from dfbench.benchmarks.controls import Controls
from dfbench.data.audit.classifier import LIMIT, tells_apart
from dfbench.data.audit.result import Status
from dfbench.evaluation.operating import FPR
from dfbench.records.record import Record
from dfbench.records.text import METRICS, number

SEEDS = 3
"""Seeds from which on a row says how much its figure varies."""

DRIFT = 0.04
"""A carried threshold fails from this distance to its aim of 1 % on: five times the false alarms that were allowed."""


class Verdict(NamedTuple):
    """One check of a row."""

    name: str
    status: Status
    detail: str
    """One short line."""


NAMES = ("leaks", "processing", "reals", "seeds", "threshold", "unseen", "options")
"""The checks, in order."""

QUESTIONS = {
    "leaks": "Is nobody in both training and test?",
    "processing": "Do the pictures' borders say nothing about the class?",
    "reals": f"Does it leave reals of different sets together (AUC below {LIMIT})?",
    "seeds": f"Are there {SEEDS} seeds or more?",
    "threshold": f"Does a threshold of {100 * FPR:.0f} % false positives stay within {100 * DRIFT:.0f} points of that?",
    "unseen": "Is it better than chance on forgeries that it was never trained on?",
    "options": "Does a file show that its options were chosen on validation data?",
}
"""What each asks; *passed* is yes."""


def verdicts(records: Sequence[Record], controls: Controls | None = None) -> list[Verdict]:
    """All checks of runs that differ in their seed alone, one of each of :data:`NAMES`.

    Args:
        records: of the runs, one at least.
        controls: of the data that they were run on; None where there are none.
    """
    two = len(records[0].data.classes) == 2
    return [
        Verdict("leaks", *_leaks(records)),
        Verdict("processing", *_processing(records, controls if two else None)),
        Verdict("reals", *_reals(records)),
        Verdict("seeds", "passed" if len(records) >= SEEDS else "failed", f"{len(records)} of at least {SEEDS}"),
        Verdict("threshold", *_threshold(records)),
        Verdict("unseen", *_unseen(records)),
        Verdict("options", *_options(records)),
    ]


Result = tuple[Status, str]


def _leaks(records: Sequence[Record]) -> Result:
    if lines := list(dict.fromkeys(line for record in records for line in record.data.allowed_leaks)):
        return "failed", lines[0] if len(lines) == 1 else f"{lines[0]}; {len(lines)} in all"
    units = {record.uncertainty.unit for record in records}
    known = "people" if units == {"identity"} else "videos" if "sample" not in units else ""
    return ("passed", f"{known} are in one split each") if known else ("not checked", "nobody is named")


def _processing(records: Sequence[Record], controls: Controls | None) -> Result:
    first = records[0]
    if controls is None or (controls.fingerprint, controls.split) != (first.data.fingerprint, first.spec.split):
        return "not checked", "no controls of these data are here"
    known = {each.name: each.auc for each in controls.experiences if each.auc is not None}
    if not known:
        return "not checked", "too few pictures"
    worst = max(known, key=known.__getitem__)
    return "failed" if controls.failed else "passed", f"AUC of borders at most {number(known[worst])} ({worst})"


def _reals(records: Sequence[Record]) -> Result:
    found = [(record.between_reals, record.names) for record in records if record.between_reals is not None]
    if not found:
        return "not checked", "no two test sets with reals of their own"
    worst, names = max(found, key=lambda pair: pair[0].auc)
    between = " and ".join(names[i] for i in worst.of)
    bad = any(tells_apart(each.auc, *each.reals) for each, _ in found)
    return "failed" if bad else "passed", f"AUC at most {number(worst.auc)} ({between})"


def _threshold(records: Sequence[Record]) -> Result:
    drifts = [r.operating.drift for r in records if r.operating is not None and r.operating.drift is not None]
    if not drifts:
        return "not checked", "no threshold was carried on"
    drift = statistics.fmean(drifts)
    return "passed" if drift < DRIFT else "failed", f"{100 * drift:.1f} points from its aim"


def _unseen(records: Sequence[Record]) -> Result:
    found = [
        (record.metrics["generalisation"], record.generalisation.uncertainty.average)
        for record in records
        if record.generalisation is not None and len(record.data.classes) == 2
    ]
    if not found or any(value is None or interval is None for value, interval in found):
        return "not checked", "no set that was never trained on"
    mean = statistics.fmean(value for value, _ in found if value is not None)
    better = all(interval[0] > 0.5 for _, interval in found if interval is not None)
    return "passed" if better else "failed", f"{number(mean)}{'' if better else ', an interval holds .5'}"


def _options(records: Sequence[Record]) -> Result:
    """Options that somebody set fail without such a file; those that nobody set were not chosen at all."""
    if not all(record.trained for record in records):
        return "not checked", "nothing was trained"
    found = [record.chosen_from for record in records]
    if all(found):
        files = dict.fromkeys(f"{each.name}, sha256 {each.sha256[:8]}" for each in found if each is not None)
        by = dict.fromkeys(METRICS.get(each.metric, each.metric) for each in found if each is not None)
        return "passed", f"chosen by {' and '.join(by)} on validation data ({'; '.join(files)})"
    by_hand = max((len(record.settings or ()) for record in records if record.chosen_from is None), default=0)
    if by_hand:
        return "failed", f"{by_hand} set by hand; no file says that validation data chose them"
    return "not checked", "those of preset and benchmark; never chosen on validation data here"
