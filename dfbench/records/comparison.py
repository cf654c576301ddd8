"""Several runs side by side: what each reached, what each forgot, at what cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfbench.errors import DataError, UsageError
from dfbench.evaluation import continual
from dfbench.records.parts import CARRIED
from dfbench.records.record import Record
from dfbench.records.seeds import labels
from dfbench.records.text import METRICS, number, size


@dataclass(frozen=True)
class Forgotten:
    """The experience that a run forgot most of, and how far its headline metric fell."""

    experience: str
    best: float
    after: str
    """The experience after which it was best."""
    final: float


def check_comparable(records: Sequence[Record]) -> None:
    """Refuse to compare runs on different data.

    Raises:
        DataError: naming the two runs.
    """
    first = records[0]
    for other in records[1:]:
        same = (first.data.fingerprint, first.names, first.headline, first.data.classes) == (
            other.data.fingerprint, other.names, other.headline, other.data.classes
        )  # fmt: skip
        if not same or first.spec.split != other.spec.split:
            raise DataError(f"{first.run} and {other.run} are not comparable: their data or scored splits differ")


def most_forgotten(record: Record) -> Forgotten | None:
    """The experience whose headline metric fell furthest from its best to the end; None where none is defined."""
    names, R = record.names, record.R()
    fallen = []
    for j, name in enumerate(names[:-1]):
        seen = [(float(R[i, j]), i) for i in range(j, len(names) - 1) if not np.isnan(R[i, j])]
        if seen and not np.isnan(R[-1, j]):
            best, after = max(seen)
            fallen.append(Forgotten(name, best, names[after], float(R[-1, j])))
    return max(fallen, key=lambda each: each.best - each.final, default=None)


def describe_forgetting(records: Sequence[Record]) -> str:
    """What was forgotten, in words: the greatest loss of any run, and what the others kept of it."""
    found = [(forgotten, r) for r in records if (forgotten := most_forgotten(r)) is not None]
    if not found:
        return "Nothing can be said about forgetting: it takes two experiences trained one after the other."
    most, worst = max(found, key=lambda pair: pair[0].best - pair[0].final)
    names = worst.names
    metric = worst.headline
    several_seeds = len({r.spec.seed for r in records}) > 1

    def label(record: Record) -> str:
        seed = f" (seed {record.spec.seed})" if several_seeds else ""
        return f"{record.spec.strategy}{seed}"

    sampled = any("forgetting_at_least" in record.metrics for record in records)
    gaps = " Not every test set was scored after every training: more may have been lost." if sampled else ""
    if most.final >= most.best:
        return f"No run forgot: every {METRICS[metric]} is at its best after the last experience.{gaps}"
    text = (
        f"{worst.spec.detector} under {label(worst)} forgot most of {most.experience}: "
        f"{METRICS[metric]} {most.best:.3f} after {most.after}, {most.final:.3f} after {names[-1]}"
    )
    column = names.index(most.experience)
    kept = [
        f"{label(r)} ended at {r.matrix[metric][-1][column]:.3f}"
        for r in records
        if r is not worst and r.matrix[metric][-1][column] is not None
    ]
    return f"{text}; {', '.join(kept)}.{gaps}" if kept else f"{text}.{gaps}"


@dataclass(frozen=True)
class Intransigence:
    """What a run did not learn that training on everything so far at once would have taught it.

    RWalk's reference for experience k is trained on experiences 0 … k at once, from the start, with one budget. No run
    of a benchmark is that, so a run on all data stands in.
    """

    each: list[float | None]
    """I_k, one per experience (:func:`dfbench.evaluation.continual.intransigence`)."""
    mean: float | None
    against: str
    """The run that stands in for the reference."""
    so_far: bool
    """True: a run that kept the data so far (warm-started, with k + 1 budgets by experience k); False: one that was
    trained once on all data, those after experience k included."""


def intransigence(record: Record, others: Sequence[Record]) -> Intransigence | None:
    """Against a run on all data among ``others`` of the same detector, settings, start, data and seed; None without.

    A run that held all training data so far goes before one that was trained once on all of them. A run on all data has
    none itself, nor one that trained nothing.
    """
    if _bound(record) is not None or not record.trained:
        return None
    found = [(bound, other) for other in others if _key(other) == _key(record) and (bound := _bound(other)) is not None]
    if not found:
        return None
    (values, so_far), bound_run = max(found, key=lambda pair: pair[0][1])
    each = continual.intransigence(record.R(), values)
    mean = continual.defined(float(each.mean()))
    return Intransigence([continual.defined(v) for v in each.tolist()], mean, bound_run.run, so_far)


FURTHER = {
    "generalisation": "generalisation is not comparable: the runs scored different unseen sets",
    "robustness": "robustness is not comparable: the runs scored different degraded copies",
}
"""Metrics of what is tested next to the experiences, and what is said where runs differ in that."""


def _sets(name: str) -> Callable[[Record], tuple[object, ...]]:
    """What a record's figure of that name is the mean over; () where it has none."""
    if name == "generalisation":
        return lambda record: tuple((each.name, *each.test.items()) for each in record.data.unseen)
    return _degraded


def _degraded(record: Record) -> tuple[object, ...]:
    data = record.data.perturbed
    return () if data is None else (*data.kinds, *data.levels, *(tuple(each.items()) for each in data.test))


STAND_INS = {
    True: "* a stand-in: against a run that kept all data so far, with more training than one budget",
    False: "** a stand-in: against a run on all data at once, which has seen later experiences too",
}


@dataclass(frozen=True)
class Unequal:
    """A run that is left out of a comparison at equal compute."""

    run: Record
    relative: float
    """Its counted passes as a share of the costliest run's, 0 to 1."""
    length: dict[str, int]
    """The detector's option that sets how long it trains, for about equal compute; empty where none is known."""

    def __str__(self) -> str:
        spec = self.run.spec
        longer = "".join(f"; about equal with --set {name}={value}" for name, value in self.length.items())
        return f"left out: {spec.strategy} (seed {spec.seed}) computed {self.relative:.2f} × the costliest{longer}"


def equal_compute(records: Sequence[Record], tolerance: float) -> tuple[list[Record], list[Unequal]]:
    """The runs whose counted passes lie within ``tolerance`` (0 to 1) of the costliest run's, and the others.

    Runs on all data (joint, cumulative) are bounds and those that trained nothing baselines, not rivals: they stay, and
    do not count as the costliest.

    Raises:
        DataError: a run's compute was not counted.
    """
    for record in records:
        if record.compute is None:
            raise DataError(f"{record.run}: its compute was not counted; run it again")
    most = max((_passes(r) for r in records if not _is_reference(r)), default=0)
    kept, left = [], []
    for record in records:
        share = _passes(record) / most if most and not _is_reference(record) else 1.0
        if share >= 1 - tolerance:
            kept.append(record)
            continue
        options = record.spec.detector_config
        length = {
            name: round(options[name] / share)
            for name in ("epochs", "steps")
            if share and isinstance(options.get(name), int)
        }
        left.append(Unequal(record, share, length))
    return kept, left


def _passes(record: Record) -> float:
    return record.compute.passes if record.compute else 0.0


def _key(record: Record) -> tuple[object, ...]:
    spec = record.spec
    return (
        record.headline, spec.detector, spec.preset, spec.detector_config, spec.data_fingerprint, spec.split, spec.seed,
        spec.init and spec.init.sha256,
    )  # fmt: skip


def _is_reference(record: Record) -> bool:
    return _bound(record) is not None or not record.trained


def _bound(record: Record) -> tuple[np.ndarray, bool] | None:
    """(value of each experience, so_far) of a run on all data, by what it did; None of any other."""
    if record.trained_at_once:
        return record.R()[-1], False
    return (np.diag(record.R()), True) if record.held_everything else None


@dataclass(frozen=True)
class Comparison:
    """Finished runs on the same data, side by side; printed, it is a table and what was forgotten in words."""

    records: list[Record]
    intransigence: list[Intransigence | None]
    """Of each record."""
    left_out: list[Unequal]
    """Runs that computed too little to be compared; empty unless a tolerance was given."""

    @property
    def title(self) -> str:
        """The benchmark."""
        return self.records[0].data.benchmark

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that are compared."""
        average = f"average_{self.records[0].headline}"
        shown = [average, "average_accuracy", "forgetting", "af", "bwt", "learning_accuracy", "next"]
        further = [name for name in FURTHER if any(getattr(record, name) for record in self.records)]
        carried = [name for name in CARRIED if any(name in record.metrics for record in self.records)]
        return [*dict.fromkeys(shown), *further, *carried]

    @property
    def columns(self) -> list[str]:
        """The table's; the first two are text, the others numbers."""
        further = ["intransigence"] if any(self.intransigence) else []
        return ["detector", "strategy", "seed", *self.metrics, *further, "stored", "passes", "seconds"]

    @property
    def rows(self) -> list[list[str]]:
        """The table's cells."""
        names = [record.spec.strategy for record in self.records]
        alike = {(r.spec.detector, r.spec.preset, r.spec.strategy, r.spec.seed) for r in self.records}
        if len(alike) < len(self.records):  # options are what tells them apart
            names = labels([record.spec for record in self.records])
        found = zip(self.records, self.intransigence, names, strict=True)
        return [self._row(record, missed, name) for record, missed, name in found]

    def _row(self, record: Record, missed: Intransigence | None, name: str) -> list[str]:
        spec, memory = record.spec, record.memory
        mark = "" if missed is None else " *" if missed.so_far else " **"
        return [
            f"{spec.detector} {spec.preset}",
            name,
            str(spec.seed),
            *(number(record.metrics.get(name)) for name in self.metrics),
            *([number(missed.mean if missed else None) + mark] if any(self.intransigence) else []),
            f"{memory.samples[-1]} ({size(memory.bytes[-1] + memory.state_bytes)})",
            f"{record.compute.passes:,.0f}" if record.compute else number(None),
            f"{record.seconds.total:.0f}",
        ]

    @property
    def sentence(self) -> str:
        """What was forgotten, in words."""
        return describe_forgetting(self.records)

    @property
    def notes(self) -> list[str]:
        """Lines below the table."""
        kinds = {missed.so_far for missed in self.intransigence if missed}
        return [
            *(note for so_far, note in STAND_INS.items() if so_far in kinds),
            *(f"{r.spec.strategy} (seed {r.spec.seed}) {note}" for r in self.records for note in r.start_notes),
            *(note for name, note in FURTHER.items() if len({*map(_sets(name), self.records)} - {()}) > 1),
            self.sentence,
            *map(str, self.left_out),
        ]

    def document(self) -> dict[str, Any]:
        """The comparison as JSON holds it."""
        return {"runs": [self._document(r, i) for r, i in zip(self.records, self.intransigence, strict=True)],
                "sentence": self.sentence}  # fmt: skip

    def _document(self, record: Record, missed: Intransigence | None) -> dict[str, Any]:
        memory, compute = record.memory, record.compute
        return {
            "run": record.run,
            **{name: record.metrics.get(name) for name in self.metrics},
            "intransigence": asdict(missed) if missed else None,
            "compute": compute.model_dump() if compute else None,
            "stability": record.stability,
            "stored": [memory.samples[-1], memory.bytes[-1], memory.state_bytes],
            "seconds": record.seconds.total,
        }

    def __str__(self) -> str:
        cells = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(c.ljust(w) if k < 2 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in cells
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *self.notes])


def compare(runs: Sequence[Record | str | Path], compute_tolerance: float | None = None) -> Comparison:
    """Compare finished runs on the same data.

    Args:
        runs: Records, or the folders or ``record.json`` files that hold them.
        compute_tolerance: Leave out runs that computed over this share (0 to 1) less than the costliest.

    Raises:
        DataError: A record cannot be read, or the runs are on different data.
        UsageError: There is no run.
    """
    records = [run if isinstance(run, Record) else Record.read(Path(run)) for run in runs]
    if not records:
        raise UsageError("nothing to compare: give at least one run")
    check_comparable(records)
    kept, left = records, list[Unequal]()
    if compute_tolerance is not None:
        kept, left = equal_compute(records, compute_tolerance)
    return Comparison(kept, [intransigence(record, records) for record in kept], left)
