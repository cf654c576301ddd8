"""``dfbench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dfbench.publish.board.table import Row, Table

FOLDER = Path("leaderboard")
SORTS = ("average", "forgetting", "bwt", "learning_accuracy", "stored", "seconds")

_board = click.option(
    "--board", default=FOLDER, show_default=True, type=click.Path(path_type=Path), help="Folder of the leaderboard."
)


@click.group("leaderboard")
def command() -> None:
    """The leaderboard: a pure function of the records in leaderboard/results."""


@command.command("show", short_help="The rows of each benchmark as a table.")
@_board
@click.option("-b", "--benchmark", help="Only this one.")
@click.option("--sort", default="average", show_default=True, type=click.Choice(SORTS))
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout: a benchmark each.")
def show(board: Path, benchmark: str | None, sort: str, as_json: bool) -> None:
    """Show each benchmark's rows: mean over seeds, interval, what was forgotten, what it cost.

    ★ is the best continual row, ≈ one that is not significantly worse; bounds saw all data.
    """
    from rich.markup import escape

    from dfbench.cli.output import console, print_json, table
    from dfbench.errors import unknown
    from dfbench.publish.board.table import read_board

    tables = read_board(board).tables
    if benchmark is not None:
        if benchmark not in {t.benchmark for t in tables}:
            raise unknown("benchmark on this leaderboard", benchmark, {t.benchmark for t in tables})
        tables = tuple(t for t in tables if t.benchmark == benchmark)
    if as_json:
        from dfbench.publish.board.data import table_data

        print_json([table_data(t, _sorted(t, sort)) for t in tables])
        return
    out = console()
    for each in tables:
        columns = ["", "detector", "strategy", f"average {each.headline}", "95 % interval", "forgetting", "bwt",
                   "learning", "stored", "compute", "seconds", "seeds", "status"]  # fmt: skip
        rows = [[escape(cell) for cell in _cells(each, row)] for row in _sorted(each, sort)]
        out.print(table(escape(f"{each.key}: {len(each.rows)} rows, {each.runs} runs"), columns, rows, numbers_from=3))
    if not tables:
        out.print(f"{escape(str(board))} has no records yet: dfbench leaderboard add RUN")
    else:
        out.print("★ best   ≈ not significantly worse than the best   ∎ upper bound, saw all data (not compared)")


@command.command("add", short_help="Check finished runs and put them on the leaderboard.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "board", default=FOLDER, show_default=True, type=click.Path(path_type=Path),
              help="Folder of the leaderboard.")  # fmt: skip
@click.option("--replace", is_flag=True, help="Let a run take the place of one with the same spec but other scores.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def add(runs: tuple[Path, ...], board: Path, replace: bool, as_json: bool) -> None:
    """Check finished RUNS (folders or record.json files) and copy each record and its scores to the leaderboard.

    Schema, spec, hashes and data are checked, and every metric is computed again from the scores. If one run
    fails, none is copied. Then run 'dfbench leaderboard build'.
    """
    from rich.console import Console
    from rich.progress import Progress

    from dfbench.cli.output import print_json
    from dfbench.plugins import registry
    from dfbench.publish.board.add import add as add_runs

    with Progress(*Progress.get_default_columns(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=len(runs))
        added = add_runs(runs, board, registry(), replace, lambda done: bar.update(task, completed=done))
    for one in added:
        for note in one.notes:
            click.echo(f"{one.run}: marked on the board: {note}", err=True)
    if as_json:
        print_json([{"run": a.run, "path": str(a.path), "new": a.new, "notes": list(a.notes)} for a in added])
        return
    for one in added:
        click.echo(f"{'added' if one.new else 'was there already'}: {one.path}")
    click.echo("now: dfbench leaderboard build")


@command.command("build", short_help="Write README.md and index.html from the records.")
@_board
@click.option("--check", is_flag=True, help="Write nothing; fail where a page differs from what would be written.")
def build(board: Path, check: bool) -> None:
    """Write the leaderboard's two pages, README.md and index.html, from its records alone."""
    from dfbench.errors import DfbenchError
    from dfbench.publish.board.build import differing, pages, write
    from dfbench.publish.board.table import read_board

    content = pages(read_board(board))
    if check:
        if wrong := differing(content, board):
            names = " and ".join(str(board / name) for name in wrong)
            raise DfbenchError(
                f"{names} differ from the records; run 'dfbench leaderboard build' and commit the result"
            )
        click.echo(f"{board}: the pages are what the records give", err=True)
        return
    for path in write(content, board):
        click.echo(str(path))


def _sorted(table: Table, key: str) -> list[Row]:
    """The best first; rows without a value last."""
    if key == "average":
        return list(table.rows)

    def value(row: Row) -> tuple[bool, float]:
        if key == "stored":
            return False, row.stored[0]
        if key == "seconds":
            return False, row.seconds
        mean = row.metric(key)[0]
        return (mean is None, (mean or 0.0) * (1 if key == "forgetting" else -1))

    return sorted(table.rows, key=value)


def _cells(table: Table, row: Row) -> list[str]:
    from dfbench.cli.output import number
    from dfbench.records.text import compute

    marks: dict[Any, str] = {"best": "★", "tied": "≈"}
    spec, average = row.first.spec, row.average
    preset = f"{spec.detector} {spec.preset}"
    forgetting, bwt, learning = (row.metric(name)[0] for name in ("forgetting", "bwt", "learning_accuracy"))
    return [
        "∎" if row.bound else marks.get(row.mark, ""),
        " ".join([preset, *(o for o in row.options if not o.startswith("strategy."))]),
        " ".join([spec.strategy, *(o.removeprefix("strategy.") for o in row.options if o.startswith("strategy."))]),
        "–"
        if average is None
        else number(average.mean) + (f" ± {average.spread:.3f}" if average.spread is not None else ""),
        "–"
        if average is None or average.low is None or average.high is None
        else f"{average.low:.3f} – {average.high:.3f}",
        number(forgetting),
        number(bwt),
        number(learning),
        f"{row.stored[0]:.0f}",
        compute(row.passes, table.relative_compute(row)),
        f"{row.seconds:.0f}",
        str(len(row.records)),
        row.status,
    ]
