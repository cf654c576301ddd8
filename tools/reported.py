"""The same method in different papers, from ``leaderboard/reported/``: ``make docs`` writes it through cog."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from dfbench.publish.board.markdown import escape
from dfbench.publish.board.recomputation import number
from dfbench.publish.board.reported import READ, Reported, ReportedRow, read_reported
from dfbench.records import text

ROOT = Path(__file__).parent.parent
REPORTED = ROOT / "leaderboard" / "reported"
HEADS = ["figure", "of", "protocol", "network", "memory", "place", "paper", "read"]
FOR_A_PAIR = 3
"""Tables that two methods must have in common before their order in them is shown."""


@dataclass(frozen=True)
class Figure:
    """The one figure by which a paper compares a row with the others of its table."""

    table: Reported
    row: ReportedRow

    @property
    def printed(self) -> str:
        """As printed."""
        assert self.table.headline is not None
        return self.row.values[self.table.columns.index(self.table.headline)]

    @property
    def place(self) -> int:
        """1 + rows that it is compared with and that have a higher figure."""
        return 1 + sum(number(other.printed) > number(self.printed) for other in self.peers)

    @property
    def peers(self) -> list[Figure]:
        """The rows that it is compared with, itself included.

        All of the table; where that has a method several times, those with the same network, memory and settings. Joint
        training, which saw all data, is never among them.
        """
        found = figures_of(self.table)
        methods = [figure.row.method for figure in found]
        if len(set(methods)) == len(methods):
            return found
        return [figure for figure in found if figure.conditions == self.conditions]

    @property
    def conditions(self) -> tuple[object, ...]:
        """What should be equal where methods are compared."""
        return self.row.detector, self.row.memory, self.row.settings

    @property
    def metric(self) -> str:
        """What it is; of all but the past figures it is that of the final network."""
        return self.table.metric.replace(", after the last experience", "")

    @property
    def settings(self) -> str:
        """Network and memory, as far as the paper gives them."""
        memory = {None: "memory not given", "none": "no memory"}.get(self.row.memory, f"memory {self.row.memory}")
        network = self.row.detector or "network not given"
        return f"{network}, {memory}" if self.table.kind == "continual" else network


@functools.cache
def tables() -> tuple[Reported, ...]:
    """All tables of papers that stand on the leaderboard."""
    return tuple(read_reported(path) for path in sorted(REPORTED.glob("*.yaml")))


def figures_of(table: Reported) -> list[Figure]:
    """Those of a table's rows, without joint training; none where the table has no headline."""
    if table.headline is None:
        return []
    return [figure for row in table.rows if "joint" not in row.note and (figure := Figure(table, row)).printed]


def counts() -> str:
    """How many rows there are, how they were read, and what of them was computed again."""
    words = {
        **READ,
        "second hand": "second hand, from notes on the paper",
        "not noted": "without a note on how they were read",
    }
    rows = {read: sum(len(t.rows) for t in tables() if t.read == read) for read in READ}
    read = ", ".join(f"{n} {words[key]}" for key, n in rows.items() if n)
    papers = len({table.source for table in tables()})
    found = [(t, row, each) for t in tables() for row in t.rows for each in t.recomputed(row)]
    off = [f"{each.where} of {row.method} in {t.where} ({each.words})" for t, row, each in found if not each.agrees]
    return (
        f"\n{sum(rows.values())} rows of {len(tables())} tables in {papers} papers and projects: {read}.\n\n"
        f"{len(found)} printed averages, forgettings and margins can be recomputed from other printed figures. "
        f"{len(found) - len(off)} agree within the rounding, {len(off)} {'does' if len(off) == 1 else 'do'} not"
        f"{': ' if off else ''}{escape('; '.join(off))}.\n\n"
    )


def by_method() -> str:
    """A table per method whose figure is printed in at least two papers, the most printed first."""
    methods: dict[str, list[Figure]] = {}
    for figure in (figure for table in tables() for figure in figures_of(table)):
        methods.setdefault(figure.row.method, []).append(figure)
    shared = {name: found for name, found in methods.items() if len(_papers(found)) > 1}
    order = sorted(shared, key=lambda name: (-len(_papers(shared[name])), -len(shared[name]), name))
    return "\n" + "\n".join(_method(name, shared[name]) for name in order) + "\n"


def pairs() -> str:
    """For two methods that stand together in several tables of different papers: which has the higher figure where."""
    by_table = [_single(table) for table in tables() if table.kind == "continual"]
    names = sorted({name for found in by_table for name in found}, key=str.lower)
    lines = []
    for first, second in combinations(names, 2):
        both = [(found[first], found[second]) for found in by_table if first in found and second in found]
        if len(both) < FOR_A_PAIR or len(_papers(a for a, _ in both)) < 2:
            continue
        higher = [a for a, b in both if number(a.printed) > number(b.printed)]
        lower = [a for a, b in both if number(a.printed) < number(b.printed)]
        lines.append([first, second, str(len(both)), _listed(higher), _listed(lower)])
    lines.sort(key=lambda line: (-int(line[2]), line[0].lower(), line[1].lower()))
    return _table(["A", "B", "tables", "A is higher in", "B is higher in"], lines)


def at_home() -> str:
    """The places of methods in tables of the paper that proposes them, and in those of other papers."""
    sources = {table.source for table in tables() if len(table.rows) > 1}
    lines = []
    for name in sorted(sources, key=str.lower):
        found = [f for t in tables() for f in figures_of(t) if f.row.strategy == name and len(t.rows) > 1]
        own = [f for f in found if f.table.source == name]
        others = [f for f in found if f.table.source != name]
        if own:
            lines.append([name, _places(own), _places(others)])
    return _table(["method", "in the tables of its own paper", "in those of other papers"], lines)


def _method(name: str, found: list[Figure]) -> str:
    papers = sorted(_papers(found))
    lines = [f"### {escape(name)}", "", f"{len(found)} figures in {len(papers)} papers ({escape(', '.join(papers))})."]
    for protocol in dict.fromkeys(figure.table.protocol for figure in found):
        same = [figure for figure in found if figure.table.protocol == protocol]
        if len(_papers(same)) > 1:
            each = [f"{f.printed} in {f.table.source} ({f.metric}; {f.settings})" for f in same]
            lines.append(f"On the same order of data sets, `{protocol}`: {escape(' and '.join(each))}.")
    found = sorted(found, key=lambda f: (f.table.protocol, f.table.source, f.place))
    return "\n".join(lines) + "\n" + _table(HEADS, list(map(_cells, found)))


def _cells(figure: Figure) -> list[str]:
    table, row = figure.table, figure.row
    return [
        f"**{figure.printed}**",
        escape(figure.metric),
        f"`{table.protocol}`",
        escape((row.strategy and row.detector) or text.NONE),
        escape(row.memory or text.NONE),
        f"{figure.place} of {len(figure.peers)}",
        escape(table.where.partition(":")[0]),
        table.read,
    ]


def _papers(figures: Iterable[Figure]) -> set[str]:
    return {figure.table.source for figure in figures}


def _single(table: Reported) -> dict[str, Figure]:
    """Method → its figure, of those that have one row in the table."""
    found = figures_of(table)
    names = [figure.row.method for figure in found]
    return {figure.row.method: figure for figure in found if names.count(figure.row.method) == 1}


def _places(figures: list[Figure]) -> str:
    shown = [f"{f.place} of {len(f.peers)} (`{f.table.protocol}`)" for f in figures]
    return ", ".join(dict.fromkeys(shown)) or text.NONE


def _listed(figures: list[Figure]) -> str:
    named = [f"{figure.table.source} (`{figure.table.protocol}`)" for figure in figures]
    return f"{len(figures)}: {', '.join(named)}" if named else "0"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
