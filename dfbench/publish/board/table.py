"""The leaderboard as data: a pure function of what is in the folders ``results``, ``reported``, ``imported`` and
``controls``.

A *row* is what was run but for the seed: detector, preset, strategy, their options, budget, benchmark. Rows of one
benchmark and data fingerprint are compared with one another; anything else never is.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dfbench.benchmarks.controls import Controls
from dfbench.documents import read_json
from dfbench.errors import DataError, first_problem
from dfbench.publish.board.imported import ImportedTable, imported_tables, read_imported
from dfbench.publish.board.ranking import compared, with_seeds
from dfbench.publish.board.reported import Reported, read_reported
from dfbench.publish.board.row import BoardRow
from dfbench.records.comparison import intransigence
from dfbench.records.imported import FOLDER, ImportedRow
from dfbench.records.record import Record
from dfbench.records.seeds import by_seed
from dfbench.records.spec import DETECTOR_BUDGET
from dfbench.records.verdict import Verdict, verdicts

CONTROLS = "controls"
"""The folder of what ``dfbench data controls --to`` wrote."""

ONE_BUDGET, LARGEST_BUDGET = 1.1, 0.95
"""Compute up to this many times that of plain training is one budget; from this share of the costliest row's on, the
largest."""


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
    controls: Controls | None = None
    """Of these data; None where the board has none."""

    def verdicts(self, row: BoardRow) -> list[Verdict]:
        """What was checked of a row."""
        return verdicts(row.records, self.controls)

    @property
    def runs(self) -> int:
        """How many records."""
        return sum(len(row.records) for row in self.rows)

    @property
    def unseen(self) -> list[str]:
        """The sets that rows were tested on and never trained on, in the order in which they are first met."""
        return list(dict.fromkeys(name for row in self.rows for name in row.unseen))

    @property
    def degraded(self) -> bool:
        """Whether a row was tested on degraded copies."""
        return any(row.robustness for row in self.rows)

    def relative_compute(self, row: BoardRow) -> float | None:
        """The row's passes in those of plain training of its detector and preset; None where either was not counted.

        Plain training is a row that is no bound, stores nothing and counted no effect; of several the one whose
        settings most rows of the detector and preset have, then the cheapest.
        """
        alike = [other for other in self.rows if other.kind == row.kind]
        settings = [other.first.spec.detector_config for other in alike]
        plain = [
            (-settings.count(other.first.spec.detector_config), other.passes)
            for other in alike
            if not other.bound
            and not other.stored[0]
            and not any(record.effects for record in other.records)
            and other.passes
        ]
        return row.passes / min(plain)[1] if plain and row.passes is not None else None

    def bound_words(self, row: BoardRow) -> str:
        """What a bound is: which data it saw, under which budget of compute; of weights as they are, which."""
        if row.baseline:
            return "; ".join(["never trained here", *dict.fromkeys(n for r in row.records for n in r.start_notes)])
        seen = "all data at once" if all(r.trained_at_once for r in row.records) else "all data so far, kept"
        relative = self.relative_compute(row)
        most = max((other.passes or 0 for other in self.rows if not other.bound and other.kind == row.kind), default=0)
        if row.passes is None:
            return f"{seen}; compute not counted"
        if most and row.passes >= LARGEST_BUDGET * most:
            return f"{seen}, at least the largest budget of its detector's rows"
        if relative is not None and relative <= ONE_BUDGET:
            return f"{seen}, one budget: that of plain training"
        return f"{seen}, less than the largest budget of its detector's rows"

    def intransigence(self, row: BoardRow) -> tuple[float, bool] | None:
        """(mean of I_k over k and seeds, so_far) against a row on all data of the same detector and seeds; None without
        one. Both kinds of row stand in for RWalk's reference (:class:`dfbench.records.comparison.Intransigence`)."""
        everything = [record for other in self.rows for record in other.records]
        found = [intransigence(record, everything) for record in row.records]
        means = [f.mean for f in found if f is not None and f.mean is not None]
        if not means or len(means) < len(found):
            return None
        return statistics.fmean(means), all(f.so_far for f in found if f is not None)


@dataclass(frozen=True)
class Board:
    """Everything on the two pages."""

    tables: tuple[BoardTable, ...]
    reported: tuple[Reported, ...]
    imported: tuple[ImportedTable, ...] = ()


def read_board(folder: Path) -> Board:
    """The board of a folder that holds ``results/``, ``reported/``, ``imported/`` and ``controls/``.

    Raises:
        DataError: The folder is not a leaderboard, or a file in it breaks the schema; the file is named.
    """
    if not (folder / "results").is_dir() and not (folder / FOLDER).is_dir():
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
    controls = [_read_controls(path) for path in sorted((folder / CONTROLS).glob("*.json"))]
    return make_board(records, reported, read_imported(folder), controls)


def _read_controls(path: Path) -> Controls:
    try:
        return Controls.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; 'dfbench data controls --to' writes such files") from None


def make_board(
    records: Sequence[Record],
    reported: Sequence[Reported] = (),
    imported: Sequence[ImportedRow] = (),
    controls: Sequence[Controls] = (),
) -> Board:
    """Group records to rows and tables, and compare the rows; imported rows are grouped and not compared.

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
    by_data = {each.fingerprint: each for each in controls if each.split == "test"}
    tables = []
    for (name, fingerprint), members in groups.items():
        key = f"{name}-{fingerprint[:8]}" if name in several else name
        tables.append(replace(_table(key, members), controls=by_data.get(fingerprint)))
    tables.sort(key=lambda table: (-len(table.rows), table.key))  # the page opens on the first
    papers = tuple(sorted(reported, key=lambda r: (r.protocol, r.paper, r.table)))
    return Board(tuple(tables), papers, imported_tables(imported))


def _table(key: str, records: Sequence[Record]) -> BoardTable:
    first = records[0]
    for record in records:
        if (record.headline, record.names) != (first.headline, first.names):
            raise DataError(f"{record.run} and {first.run} have one data fingerprint, but other experiences or metrics")
    rows = sorted(map(BoardRow, by_seed(records, lambda record: record.spec)), key=lambda row: row.id)
    rows = compared(with_seeds(_with_options(rows)))
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
    """Where it started, and options by which rows of one detector and preset, or of one strategy, differ."""
    result = []
    for row in rows:
        spec = row.first.spec
        alike = [r.first.spec for r in rows if r.kind == row.kind and (r is row or not r.baseline)]
        idle = DETECTOR_BUDGET if row.baseline else ()
        config = {name: value for name, value in spec.detector_config.items() if name not in idle}
        strategies = [r.first.spec.strategy_config for r in rows if r.first.spec.strategy == spec.strategy]
        texts = [
            *_differing(spec.initial_weights, [s.initial_weights for s in alike], ""),
            *_differing(config, [s.detector_config for s in alike], ""),
            *_differing(spec.strategy_config, strategies, "strategy."),
        ]
        if spec.init is not None:
            texts = [f"from {spec.init.label}", *texts]
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
