"""Write the tables in the docs, from the committed records.

python -m tools.make_tables
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from dfbench.files import write_whole
from dfbench.publish.board.table import Row, Table, read_board
from dfbench.publish.reproduction import packaged
from dfbench.publish.reproduction.figure import svg
from dfbench.publish.reproduction.recipe import read_recipe
from dfbench.publish.reproduction.result import Result, fill
from dfbench.publish.reproduction.text import section as reproduction_section
from dfbench.publish.reproduction.write import figure_name
from dfbench.records.record import read_record
from dfbench.records.spec import SPEED

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- strategies: begin -->\n", "<!-- strategies: end -->\n"


@dataclass(frozen=True)
class Page:
    """A page of the docs, and the runs in its table: one detector on a stream and perhaps its reverse."""

    path: Path
    detector: str
    benchmarks: tuple[str, ...]

    @property
    def markers(self) -> tuple[str, str]:
        """What stands before and after the generated part."""
        return BEGIN, END

    @property
    def section(self) -> str:
        """The generated part."""
        return f"{section(self)}\n"


@dataclass(frozen=True)
class Reproduced:
    """A page of the docs with the tables of a recipe."""

    path: Path
    recipe: str

    @property
    def markers(self) -> tuple[str, str]:
        """What stands before and after the generated part."""
        return f"<!-- reproduction {self.recipe}: begin -->\n", f"<!-- reproduction {self.recipe}: end -->\n"

    @property
    def result(self) -> Result:
        """The recipe with the records beside the page that are runs of its rows."""
        recipe = read_recipe(packaged()[self.recipe])
        records = [read_record(path) for path in sorted(self.records.glob("*.json"))]
        found = {
            (table.key, row.name): {
                r.spec.seed: {"run": r.run, "matrix": r.matrix} for r in records if recipe.is_of(row, r)
            }
            for table in recipe.tables
            for row in table.rows
        }
        return fill(recipe, found)

    @property
    def section(self) -> str:
        """The generated part."""
        return f"{reproduction_section(self.result, lambda key: f'img/{self.figure(key).name}')}\n"

    @property
    def records(self) -> Path:
        """The folder of the runs' records."""
        return self.path.parent / "reproductions" / self.recipe

    @property
    def choice(self) -> Path:
        """What ``--choose`` tried, as it wrote it."""
        return self.records.parent / f"{self.recipe}.choice.json"

    def figure(self, key: str) -> Path:
        """Where a table's figure lies."""
        return self.path.parent / "img" / f"{self.recipe}-{figure_name(key)}"


PAGES: tuple[Page | Reproduced, ...] = (
    Page(ROOT / "docs" / "forge5.md", "simple_cnn", ("forge5", "forge5-reverse")),
    Page(ROOT / "docs" / "xception.md", "xception", ("forge5",)),
    Page(ROOT / "docs" / "dfdc3.md", "dfdc3", ("forge5-clips",)),
    Reproduced(ROOT / "docs" / "reproduce.md", "report"),
)


def names(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows by strategy with what was set, but for what most of them have set."""
    labels = [_set(row) for row in rows]
    usual = [label for label, count in Counter(chain(*labels)).items() if count > len(rows) / 2]
    named = {}
    for row, each in zip(rows, labels, strict=True):
        told = [label for label in each if label not in usual]
        if not row.first.spec.tuned and any(label in SPEED for label in usual):
            told.append("fp32")
        named[row.first.spec.strategy + (f" ({', '.join(told)})" if told else "")] = row
    assert len(named) == len(rows)
    return named


def _set(row: Row) -> list[str]:
    return [text.removeprefix("strategy.") for text in row.first.settings or ()] + list(row.first.spec.tuned)


def cell(values: tuple[float | None, float | None]) -> str:
    """``.812 ± .020``; the spread is left out for one seed."""
    mean, spread = values
    if mean is None:
        return "–"
    text = f"{mean:.3f}".replace("0.", ".")
    return text if spread is None else f"{text} ± {spread:.3f}".replace(" 0.", " .")


def average(row: Row) -> tuple[float | None, float | None]:
    """Mean and spread over seeds of the headline average."""
    return (row.average.mean, row.average.spread) if row.average else (None, None)


def strategies(tables: Sequence[Table], detector: str) -> list[str]:
    """One line a strategy, under each stream, by its average under the first one."""
    by_order = [_rows(table, detector) for table in tables]
    columns = ["average AUC | forgetting | n"] + ["reverse: average AUC | forgetting | n"] * (len(tables) - 1)
    lines = [f"| strategy | {' | '.join(columns)} | stored | passes |", f"|---|{'---|' * (3 * len(tables) + 2)}"]
    for strategy in sorted(by_order[0], key=lambda s: -(average(by_order[0][s])[0] or 0)):
        cells = []
        for rows in by_order:
            row = rows.get(strategy)
            figures = ["–", "–", "0"]
            if row is not None:
                figures = [cell(average(row)), cell(row.metric("forgetting")), str(len(row.records))]
            cells += figures
        first = by_order[0][strategy]
        stored = str(round(first.stored[0]) or "–")
        passes = "–" if first.passes is None else f"{first.passes / 1000:.0f} k"
        lines.append(f"| {strategy} | {' | '.join([*cells, stored, passes])} |")
    return lines


def _rows(table: Table, detector: str) -> dict[str, Row]:
    return names([row for row in table.rows if row.first.spec.detector == detector])


def losses(table: Table, strategy: str, detector: str) -> list[str]:
    """What each step of the stream took from the experiences before it: fallen AUC, mean over seeds."""
    row = _rows(table, detector)[strategy]
    taken = []
    for record in row.records:
        R = np.array(record.matrix[record.headline], dtype=float)
        taken.append([np.maximum(R[i - 1, :i] - R[i, :i], 0).sum() for i in range(1, len(R))])
    means = np.mean(taken, axis=0)
    header = " | ".join(f"{n}. {e}" for n, e in enumerate(table.experiences[1:], 2))
    cells = " | ".join(f"{value:.2f}" for value in means)
    return [
        f"| {table.key} | {header} |",
        f"|---|{'---|' * len(means)}",
        f"| AUC lost by the earlier ones | {cells} |",
        "",
    ]


def section(page: Page) -> str:
    """What stands between the markers."""
    board = read_board(ROOT / "leaderboard")
    tables = [next(t for t in board.tables if t.benchmark == name) for name in page.benchmarks]
    lines = [*strategies(tables, page.detector), ""]
    lines += ["Where naive loses it (sum over the experiences before, mean over seeds):", ""]
    for table in tables:
        lines += losses(table, "naive", page.detector)
    return "\n".join(lines)


def with_tables(page: Page | Reproduced) -> str:
    """The page with the present tables."""
    begin, end = page.markers
    head, rest = page.path.read_text(encoding="utf-8").split(begin)
    _, tail = rest.split(end)
    return f"{head}{begin}\n{page.section}{end}{tail}"


if __name__ == "__main__":
    for page in PAGES:
        page.path.write_text(with_tables(page), encoding="utf-8")
        if isinstance(page, Reproduced):
            for filled in page.result.tables:
                if any(line.values for line in filled.lines):
                    write_whole(page.figure(filled.table.key), svg(filled, page.result.recipe.called))
