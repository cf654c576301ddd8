"""The leaderboard as data: a pure function of what is in the folders ``results``, ``reported``, ``imported`` and
``controls``.

A *row* is what was run but for the seed: detector, preset, strategy, their options, budget, benchmark. Rows of one
benchmark and data fingerprint are compared with one another; anything else never is.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from dfbench.benchmarks.controls import Controls
from dfbench.documents import read_json
from dfbench.errors import DataError, first_problem
from dfbench.publish.board.imported import ImportedTable, imported_tables, read_imported
from dfbench.publish.board.options import text_of, with_options
from dfbench.publish.board.ranking import compared, with_seeds
from dfbench.publish.board.reported import Reported, read_reported
from dfbench.publish.board.row import BoardRow
from dfbench.records.comparison import intransigence
from dfbench.records.imported import FOLDER, ImportedRow
from dfbench.records.record import Record
from dfbench.records.seeds import by_seed
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
        if row.id not in self._verdicts:
            self._verdicts[row.id] = verdicts(row.records, self.controls)
        return self._verdicts[row.id]

    @cached_property
    def _verdicts(self) -> dict[str, list[Verdict]]:
        """By row, once they were asked for."""
        return {}

    @property
    def runs(self) -> int:
        """How many records."""
        return sum(len(row.records) for row in self.rows)

    @cached_property
    def unseen(self) -> list[str]:
        """The sets that rows were tested on and never trained on, in the order in which they are first met."""
        return list(dict.fromkeys(name for row in self.rows for name in row.unseen))

    @cached_property
    def degraded(self) -> bool:
        """Whether a row was tested on degraded copies."""
        return any(row.robustness for row in self.rows)

    def relative_compute(self, row: BoardRow) -> float | None:
        """The row's passes in those of plain training of its detector and preset; None where either was not counted.

        Plain training is a row that is no bound, stores nothing and counted no effect; of several the one whose
        settings most rows of the detector and preset have, then the cheapest.
        """
        plain = self._plain.get(row.kind)
        return row.passes / plain if plain and row.passes is not None else None

    @cached_property
    def _plain(self) -> dict[tuple[str, str], float]:
        """Detector and preset → passes of plain training."""
        settings = Counter(map(_settings, self.rows))
        found: dict[tuple[str, str], tuple[int, float]] = {}
        for row in self.rows:
            if row.bound or row.stored[0] or any(record.effects for record in row.records) or not row.passes:
                continue
            this = -settings[_settings(row)], row.passes
            found[row.kind] = min(this, found.get(row.kind, this))
        return {kind: passes for kind, (_, passes) in found.items()}

    @cached_property
    def _most_passes(self) -> dict[tuple[str, str], float]:
        """Detector and preset → passes of its costliest continual row."""
        found: dict[tuple[str, str], float] = {}
        for row in self.rows:
            if not row.bound:
                found[row.kind] = max(row.passes or 0, found.get(row.kind, 0))
        return found

    @cached_property
    def _on_all_data(self) -> dict[tuple[str, int], list[Record]]:
        """Detector with its settings, and seed → the runs that stand in for RWalk's reference."""
        found: dict[tuple[str, int], list[Record]] = {}
        for row in self.rows:
            for record in row.records if row.bound else ():
                found.setdefault((_settings(row), record.spec.seed), []).append(record)
        return found

    def bound_words(self, row: BoardRow) -> str:
        """What a bound is: which data it saw, under which budget of compute; of weights as they are, which."""
        if row.baseline:
            return "; ".join(["never trained here", *dict.fromkeys(n for r in row.records for n in r.start_notes)])
        seen = "all data at once" if all(r.trained_at_once for r in row.records) else "all data so far, kept"
        relative = self.relative_compute(row)
        most = self._most_passes.get(row.kind, 0)
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
        settings = _settings(row)
        found = [intransigence(r, self._on_all_data.get((settings, r.spec.seed), ())) for r in row.records]
        means = [f.mean for f in found if f is not None and f.mean is not None]
        if not means or len(means) < len(found):
            return None
        return statistics.fmean(means), all(f.so_far for f in found if f is not None)


def _settings(row: BoardRow) -> str:
    """The same for rows of one detector and preset with the same options."""
    return text_of([*row.kind, row.first.spec.detector_config])


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
    records = [read_record(path) for path in record_files(folder)]
    return make_board(records, read_papers(folder), read_imported(folder), read_controls(folder))


def record_files(folder: Path) -> list[Path]:
    """The records of a leaderboard's folder.

    Raises:
        DataError: The folder is not a leaderboard.
    """
    if not (folder / "results").is_dir() and not (folder / FOLDER).is_dir():
        raise DataError(f"{folder}: no leaderboard here (it has a folder 'results')")
    return sorted((folder / "results").glob("*.json"))


def read_record(path: Path) -> Record:
    """A record of a leaderboard.

    Raises:
        DataError: It breaks the schema, or its name or identity is not that of its spec.
    """
    record = Record.read(path)
    if (record.identity, record.run) != (record.spec.identity, record.spec.run_id) or path.stem != record.run:
        raise DataError(
            f"{path}: its spec gives the run {record.spec.run_id!r} and another name or identity is stated: "
            "the record was changed (dfbench verify says where)"
        )
    return record


def read_papers(folder: Path) -> list[Reported]:
    """The tables of papers in a leaderboard's folder."""
    return [read_reported(path) for path in sorted((folder / "reported").glob("*.yaml"))]


def read_controls(folder: Path) -> list[Controls]:
    """What ``dfbench data controls --to`` wrote there."""
    return [_read_controls(path) for path in sorted((folder / CONTROLS).glob("*.json"))]


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
    by_data = controls_of(controls)
    tables = [
        make_table(key, [records[i] for i in members], by_data.get(fingerprint))
        for (key, fingerprint), members in filed(map(Filed.of, records)).items()
    ]
    tables.sort(key=in_order)
    return Board(tuple(tables), sorted_papers(reported), imported_tables(imported))


def controls_of(controls: Sequence[Controls]) -> dict[str, Controls]:
    """Fingerprint of the data → the controls of its test split."""
    return {each.fingerprint: each for each in controls if each.split == "test"}


def sorted_papers(reported: Sequence[Reported]) -> tuple[Reported, ...]:
    """The tables of papers in the order of the pages."""
    return tuple(sorted(reported, key=lambda r: (r.protocol, r.paper, r.table)))


class Filed(NamedTuple):
    """What decides where a record stands."""

    run: str
    benchmark: str
    fingerprint: str
    split: str
    row: str
    seed: int

    @classmethod
    def of(cls, record: Record) -> Filed:
        """Of a record."""
        data, spec = record.data, record.spec
        return cls(record.run, data.benchmark, data.fingerprint, spec.split, spec.row_id, spec.seed)


def filed(records: Iterable[Filed]) -> dict[tuple[str, str], list[int]]:
    """(key, fingerprint) of each table → places of its records.

    Raises:
        DataError: A record was scored on the validation split; two records of one run.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    seen: set[tuple[str, int]] = set()
    for place, record in enumerate(records):
        if record.split != "test":
            raise DataError(f"{record.run}: scored on the {record.split} split; a leaderboard holds test results")
        if (record.row, record.seed) in seen:
            raise DataError(f"{record.run}: the same training is on the board twice")
        seen.add((record.row, record.seed))
        groups.setdefault((record.benchmark, record.fingerprint), []).append(place)
    names = Counter(name for name, _ in groups)
    return {
        (f"{name}-{fingerprint[:8]}" if names[name] > 1 else name, fingerprint): members
        for (name, fingerprint), members in groups.items()
    }


def make_table(key: str, records: Sequence[Record], controls: Controls | None = None) -> BoardTable:
    """The table of records on the same data.

    Raises:
        DataError: Two of them have other experiences or metrics.
    """
    first = records[0]
    for record in records:
        if (record.headline, record.names) != (first.headline, first.names):
            raise DataError(f"{record.run} and {first.run} have one data fingerprint, but other experiences or metrics")
    rows = sorted(map(BoardRow, by_seed(records, lambda record: record.spec)), key=lambda row: row.id)
    rows = compared(with_seeds(with_options(rows)))
    rows.sort(key=lambda row: (-row.average.mean if row.average else 1.0, row.id))
    return BoardTable(
        key=key,
        benchmark=first.data.benchmark,
        fingerprint=first.data.fingerprint,
        headline=first.headline,
        experiences=tuple(first.names),
        rows=tuple(rows),
        controls=controls,
    )


def in_order(table: BoardTable) -> tuple[int, str]:
    """What tables are sorted by: the page opens on the one with most rows."""
    return -len(table.rows), table.key
