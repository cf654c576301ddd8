"""What the pages say of the tables of papers: which columns they have, how they were read, what does not follow."""

from __future__ import annotations

from collections.abc import Sequence

from dfbench.benchmarks import packaged
from dfbench.publish.board.recomputation import number
from dfbench.publish.board.reported import KINDS, READ, Reported, ReportedRow

Protocols = Sequence[tuple[str, Sequence[Reported]]]
"""(protocol, its tables), in the order of the page."""


def printed_heads(table: Reported) -> list[str]:
    """Headings of the columns of words: a table shows the network and the memory that the paper does not give, too."""
    if table.kind == "one training":
        return ["detector", *table.settings]
    named = ["method"] if any(row.strategy for row in table.rows) else []
    return [*named, "network", *(["memory"] if table.kind == "continual" else []), *table.settings]


def printed_words(table: Reported, row: ReportedRow) -> list[str]:
    """A row's cells under these headings; empty where the paper does not say."""
    known = {"method": row.strategy, "network": row.detector, "memory": row.memory, "detector": row.detector}
    return [
        row.settings.get(head, "") if head in table.settings else known[head] or "" for head in printed_heads(table)
    ]


def pairs(table: Reported, row: ReportedRow) -> list[tuple[str, str]]:
    """(column, figure as printed)."""
    return list(zip(table.columns, row.values, strict=True))


def reported_value(printed: str) -> str:
    """A printed figure as a number to sort by; empty where it is none."""
    return repr(number(printed)) if printed else ""


def how_read(table: Reported) -> str:
    """How a table came here, and what of it was computed again."""
    read = READ[table.read]
    again = f" Recomputed from the printed figures: {', '.join(table.checked)}." if table.checked else ""
    return f"{read[0].upper()}{read[1:]}.{again}"


def differences(table: Reported) -> list[str]:
    """A line for each figure that does not follow from the others."""
    return [
        f"{row.method}: the {where} does not follow from the other figures of the table ({words})."
        for row in table.rows
        for where, words in row.differs.items()
    ]


def along(row: ReportedRow, training: int) -> list[str]:
    """What is printed of computed columns after a training (from 0), next to R."""
    if training == 0:
        return []
    return [f"{name} {figures[training - 1]}" for name, figures in row.along.items() if figures[training - 1]]


def sources(tables: Sequence[Reported]) -> str:
    """The papers of a protocol, each once."""
    return ", ".join(dict.fromkeys(table.source for table in tables))


def benchmark(protocol: str) -> str:
    """The protocol's name where it is a packaged benchmark, which anybody can run; else nothing."""
    return protocol if protocol in packaged() else ""


def rows_of(protocols: Protocols) -> int:
    """How many rows they have in all."""
    return sum(len(table.rows) for _, tables in protocols for table in tables)


def kinds(protocols: Protocols) -> list[tuple[str, Protocols]]:
    """The protocols under their headings; one with tables of several kinds stands under that of its first."""
    groups = [(heading, [each for each in protocols if each[1][0].kind == kind]) for kind, heading in KINDS.items()]
    return [(heading, found) for heading, found in groups if found]
