"""The leaderboard as data: a pure function of ``results/*.json`` and ``reported/*.yaml``.

A *row* is what was run but for the seed: detector, preset, strategy, their options, budget, benchmark. Rows of one
benchmark and data fingerprint are compared with one another; anything else never is.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from dfbench.errors import DataError
from dfbench.evaluation.significance import Comparison, Estimate, Sample, SeedVariance, compare, estimate, holm, pooled
from dfbench.evaluation.uncertainty import decode
from dfbench.publish.board.reported import Reported, read_reported
from dfbench.records.comparison import intransigence
from dfbench.records.record import STATUSES, Record, Status
from dfbench.records.seeds import by_seed, mean_and_spread

ALPHA = 0.05
Mark = Literal["best", "tied", "worse"]


@dataclass(frozen=True)
class BoardRow:
    """Runs that differ in their seed alone."""

    records: tuple[Record, ...]
    """By seed."""
    options: tuple[str, ...] = ()
    """What distinguishes it from other rows of the same detector, preset and strategy."""
    seeds: SeedVariance | None = None
    """Pooled over the continual rows of its detector and preset, else of its table."""
    mark: Mark | None = None
    """None: not compared (a bound, or no replicates)."""
    against_best: Comparison | None = None
    p: float | None = None
    """Of the comparison with the best row, corrected for the number of rows (Holm)."""

    @property
    def first(self) -> Record:
        """The record of the lowest seed."""
        return self.records[0]

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that depend on the spec without its seed alone, whatever else is on the board."""
        return self.first.spec.row_id

    @cached_property
    def sample(self) -> Sample | None:
        """The headline average of each seed, with its replicates; None where it is undefined in one of them."""
        values = [r.average for r in self.records]
        known = [v for v in values if v is not None]
        drawn = [decode(r.uncertainty.replicates) for r in self.records]
        return Sample(known, drawn, self.seeds) if len(known) == len(values) else None

    @cached_property
    def average(self) -> Estimate | None:
        """The headline average with its interval."""
        return estimate(self.sample) if self.sample is not None else None

    def metric(self, name: str) -> tuple[float | None, float | None]:
        """(mean, spread over seeds) of a metric; the spread is None for one seed."""
        return mean_and_spread([r.metrics.get(name) for r in self.records])

    @property
    def bound(self) -> bool:
        """It saw all data, at once or repeatedly: an upper bound, not a continual method."""
        return any(r.sees_everything for r in self.records)

    @property
    def status(self) -> Status:
        """That of the least verified of its runs."""
        return min((r.status for r in self.records), key=STATUSES.index)

    @property
    def notes(self) -> list[str]:
        """What its data have that a reader should know."""
        return list(dict.fromkeys(note for r in self.records for note in r.data.notes))

    @property
    def seconds(self) -> float:
        """Mean over seeds, training and scoring together."""
        return statistics.fmean(r.seconds.total for r in self.records)

    @property
    def steps(self) -> float:
        """Optimizer steps, mean over seeds."""
        return statistics.fmean(sum(r.steps) for r in self.records)

    @property
    def passes(self) -> float | None:
        """Passes of training, mean over seeds; None where one was not counted."""
        return mean_and_spread([r.compute.passes if r.compute else None for r in self.records])[0]

    @property
    def stored(self) -> tuple[float, float, float]:
        """(samples, bytes of them, bytes of other state) held after the last training."""
        return (
            statistics.fmean(r.memory.samples[-1] for r in self.records),
            statistics.fmean(r.memory.bytes[-1] for r in self.records),
            statistics.fmean(r.memory.state_bytes for r in self.records),
        )

    @property
    def devices(self) -> list[str]:
        """Names of the devices it ran on."""
        return sorted({r.environment.device_name or r.environment.device for r in self.records})


@dataclass(frozen=True)
class BoardTable:
    """All rows on one benchmark's data, the best average first."""

    key: str
    """Unique on the board, and stable."""
    benchmark: str
    fingerprint: str
    headline: str
    experiences: tuple[str, ...]
    rows: tuple[BoardRow, ...]

    @property
    def runs(self) -> int:
        """How many records."""
        return sum(len(row.records) for row in self.rows)

    def relative_compute(self, row: BoardRow) -> float | None:
        """The row's passes in those of plain training: the cheapest row of the same detector, preset and settings that
        stores nothing and counted no effect. None where either was not counted."""
        spec = row.first.spec
        plain = [
            other.passes
            for other in self.rows
            if (other.first.spec.detector, other.first.spec.preset, other.first.spec.detector_config)
            == (spec.detector, spec.preset, spec.detector_config)
            and not other.bound
            and not other.stored[0]
            and not any(record.effects for record in other.records)
            and other.passes
        ]
        return row.passes / min(plain) if plain and row.passes else None

    def intransigence(self, row: BoardRow) -> tuple[float, bool] | None:
        """(mean of I_k over k and seeds, exact) against a row on all data of the same detector and seeds; None without
        one. Not exact: against a joint run, which has seen later experiences too."""
        everything = [record for other in self.rows for record in other.records]
        found = [intransigence(record, everything) for record in row.records]
        means = [f.mean for f in found if f is not None and f.mean is not None]
        if not means or len(means) < len(found):
            return None
        return statistics.fmean(means), all(f.exact for f in found if f is not None)


@dataclass(frozen=True)
class Board:
    """Everything on the two pages."""

    tables: tuple[BoardTable, ...]
    reported: tuple[Reported, ...]


def read_board(folder: Path) -> Board:
    """The board of a folder that holds ``results/`` and ``reported/``.

    Raises:
        DataError: The folder is not a leaderboard, or a file in it breaks the schema; the file is named.
    """
    if not (folder / "results").is_dir():
        raise DataError(f"{folder}: no leaderboard here (it has a folder 'results')")
    records = []
    for path in sorted((folder / "results").glob("*.json")):
        record = Record.read(path)
        if (record.identity, record.run) != (record.spec.identity, record.spec.run_id) or path.stem != record.run:
            raise DataError(
                f"{path}: its spec gives the run {record.spec.run_id!r} and another name or identity is stated: "
                "the record was changed (dfbench verify says where)"
            )
        records.append(record)
    reported = [read_reported(path) for path in sorted((folder / "reported").glob("*.yaml"))]
    return make_board(records, reported)


def make_board(records: Sequence[Record], reported: Sequence[Reported] = ()) -> Board:
    """Group records to rows and tables, and compare the rows.

    Raises:
        DataError: A record was scored on the validation split; two records of one run.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    seen: set[tuple[str, int]] = set()
    for record in records:
        if record.spec.split != "test":
            raise DataError(f"{record.run}: scored on the {record.spec.split} split; a leaderboard holds test results")
        training = (record.spec.row_id, record.spec.seed)
        if training in seen:
            raise DataError(f"{record.run}: the same training is on the board twice")
        seen.add(training)
        groups.setdefault((record.data.benchmark, record.data.fingerprint), []).append(record)
    several = {name for name, _ in groups if sum(other == name for other, _ in groups) > 1}
    tables = []
    for (name, fingerprint), members in groups.items():
        key = f"{name}-{fingerprint[:8]}" if name in several else name
        tables.append(_table(key, members))
    tables.sort(key=lambda table: (-len(table.rows), table.key))  # the page opens on the first
    return Board(tuple(tables), tuple(sorted(reported, key=lambda r: (r.protocol, r.paper, r.table))))


def _table(key: str, records: Sequence[Record]) -> BoardTable:
    first = records[0]
    for record in records:
        if (record.headline, record.names) != (first.headline, first.names):
            raise DataError(f"{record.run} and {first.run} have one data fingerprint, but other experiences or metrics")
    rows = sorted(map(BoardRow, by_seed(records, lambda record: record.spec)), key=lambda row: row.id)
    rows = _compared(_with_seeds(_with_options(rows)))
    rows.sort(key=lambda row: (-row.average.mean if row.average else 1.0, row.id))
    return BoardTable(
        key=key,
        benchmark=first.data.benchmark,
        fingerprint=first.data.fingerprint,
        headline=first.headline,
        experiences=tuple(first.names),
        rows=tuple(rows),
    )


def _with_options(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """Initial weights and options by which rows of one detector and preset, or of one strategy, differ."""
    result = []
    for row in rows:
        spec = row.first.spec
        alike = [
            r.first.spec for r in rows if (r.first.spec.detector, r.first.spec.preset) == (spec.detector, spec.preset)
        ]
        strategies = [r.first.spec.strategy_config for r in rows if r.first.spec.strategy == spec.strategy]
        texts = [
            *_differing(spec.initial_weights, [s.initial_weights for s in alike], ""),
            *_differing(spec.detector_config, [s.detector_config for s in alike], ""),
            *_differing(spec.strategy_config, strategies, "strategy."),
        ]
        if spec.tuned:
            texts = [f"tuned: {', '.join(spec.tuned)}", *texts]
        result.append(replace(row, options=tuple(texts)))
    return result


def _differing(config: dict[str, Any], others: Sequence[dict[str, Any]], prefix: str) -> list[str]:
    """``key=value`` where others have another value, unless more than half of all have this one."""
    texts = []
    for key in sorted(config):
        same = sum(other.get(key) == config[key] for other in others)
        if same < len(others) and 2 * same <= len(others):
            texts.append(f"{prefix}{key}={json.dumps(config[key], ensure_ascii=False)}")
    return texts


def _with_seeds(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """The variance over seeds: of the continual rows of the same detector and preset, else of all."""

    def kind(row: BoardRow) -> tuple[str, str]:
        return row.first.spec.detector, row.first.spec.preset

    continual = [row for row in rows if not row.bound]
    by_kind = {k: pooled([_values(r) for r in continual if kind(r) == k]) for k in {kind(row) for row in rows}}
    every = pooled([_values(row) for row in continual])
    return [replace(row, seeds=by_kind[kind(row)] or every) for row in rows]


def _compared(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """Every continual row against the best of several seeds, p-values corrected for their number."""
    rows = list(rows)
    able = {i: row.sample for i, row in enumerate(rows) if not row.bound and row.sample and _drawn(row.sample)}
    if not able:
        return rows
    several = [i for i, sample in able.items() if len(sample.values) > 1]  # one lucky seed does not make a best row
    best = max(several or able, key=lambda i: (statistics.fmean(able[i].values), rows[i].id))
    others = [i for i in able if i != best and _drawn(able[i]) == _drawn(able[best])]
    found = [compare(able[i], able[best]) for i in others]
    rows[best] = replace(rows[best], mark="best")
    for i, comparison, p in zip(others, found, holm([c.p for c in found]), strict=True):
        mark: Mark = "worse" if p < ALPHA and comparison.difference < 0 else "tied"
        rows[i] = replace(rows[i], mark=mark, against_best=comparison, p=p)
    return rows


def _drawn(sample: Sample) -> int:
    """How many replicates every seed has; 0 where one has none, or another number."""
    counts = {0 if d is None else len(d) for d in sample.drawn}
    return counts.pop() if len(counts) == 1 else 0


def _values(row: BoardRow) -> list[float]:
    return [r.average for r in row.records if r.average is not None]
