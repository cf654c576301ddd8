"""``dfbench leaderboard``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfbench.cli.examples import examples
from dfbench.cli.leaderboard_import import import_scores

if TYPE_CHECKING:
    from dfbench.publish.board.imported import ImportedTable
    from dfbench.publish.board.row import BoardRow
    from dfbench.publish.board.table import BoardTable

FOLDER = Path("leaderboard")
SORTS = ("average", "forgetting", "bwt", "learning_accuracy", "next", "stored", "seconds")
RANKS = ("average", "forgetting", "95 %", "compute", "bytes", "seeds", "AF", "stored", "status", "learning", "seconds")
"""How the headings of numbers begin, the most important first: a narrow terminal leaves out the last ones."""

_board = click.option(
    "--board", default=FOLDER, show_default=True, type=click.Path(path_type=Path), help="Folder of the leaderboard."
)


@click.group(
    "leaderboard",
    epilog=examples(
        "dfbench leaderboard show -b forge5", "dfbench leaderboard add runs/RUN", "dfbench leaderboard build"
    ),
)
def command() -> None:
    """The leaderboard: a pure function of the records in leaderboard/results."""


command.add_command(import_scores)


@command.command(
    "show",
    short_help="The rows of each benchmark as a table.",
    epilog=examples("dfbench leaderboard show -b forge5 --sort forgetting"),
)
@_board
@click.option("-b", "--benchmark", help="Only this one.")
@click.option("--sort", default="average", show_default=True, type=click.Choice(SORTS))
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout, one entry per benchmark.")
def show(board: Path, benchmark: str | None, sort: str, as_json: bool) -> None:
    """Show each benchmark's rows: mean over seeds, interval, what was forgotten, what it cost.

    ★ is the best continual row of a detector and memory, ≈ one that is not significantly worse; a bound saw all data.
    """
    from dfbench.cli.output import print_json, say
    from dfbench.errors import unknown
    from dfbench.publish.board.cells import legend
    from dfbench.publish.board.imported import LEGEND
    from dfbench.publish.board.table import read_board

    found = read_board(board)
    tables, imported = found.tables, found.imported
    if benchmark is not None:
        known = {t.benchmark for t in tables} | {t.benchmark for t in imported}
        if benchmark not in known:
            raise unknown("benchmark on this leaderboard", benchmark, known)
        tables = tuple(t for t in tables if t.benchmark == benchmark)
        imported = tuple(t for t in imported if t.benchmark == benchmark)
    if as_json:
        from dfbench.publish.board.data import table_data
        from dfbench.publish.board.imported import table_data as imported_data

        print_json([*(table_data(t, _sorted(t, sort)) for t in tables), *map(imported_data, imported)])
        return
    show_tables(tables, sort, with_legend=False)
    for others in imported:
        _show_imported(others)
    if tables:
        say(legend(tables))
    if imported:
        say(LEGEND)
    if not (tables or imported):
        say(f"{board} has no records yet: dfbench leaderboard add RUN")


def show_tables(tables: Sequence[BoardTable], sort: str = "average", with_legend: bool = True) -> None:
    """The rows of each benchmark.

    Args:
        tables: Of a board.
        sort: One of :data:`SORTS`.
        with_legend: Say below them what the marks mean.
    """
    from dfbench.cli.output import console, say, table
    from dfbench.publish.board.cells import TEXT_COLUMNS, cells, columns, legend

    out = console()
    for each in tables:
        rows = [cells(each, row).line() for row in _sorted(each, sort)]
        title = f"{each.key}: {len(each.rows)} rows, {each.runs} runs"
        heads = columns(each)
        ranks = [head for part in RANKS for head in heads if head.startswith(part)]
        out.print(table(title, heads, rows, numbers_from=TEXT_COLUMNS, ranks=ranks))
        out.print()
    if with_legend and tables:
        say(legend(tables))


@command.command(
    "add",
    short_help="Check finished runs and put them on the leaderboard.",
    epilog=examples("dfbench leaderboard add runs/RUN", "dfbench leaderboard add runs/* --to my-board"),
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "board", default=FOLDER, show_default=True, type=click.Path(path_type=Path),
              help="Folder of the leaderboard.")  # fmt: skip
@click.option("--replace", is_flag=True, help="Let a run take the place of one with the same spec but other scores.")
@click.option("--no-data", is_flag=True, help="Do not compare the scored samples with the benchmark's data.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def add(runs: tuple[Path, ...], board: Path, replace: bool, no_data: bool, as_json: bool) -> None:
    """Check finished RUNS (folders or record.json files), copy their records, and pack their scores by row.

    Schema, spec, hashes and data are checked, and every metric is recomputed from the scores. Where the benchmark's
    data are available, the scored samples and labels must be its own. If one run fails, none is copied. Then run
    'dfbench leaderboard build'.
    """
    from dfbench.cli.output import print_json
    from dfbench.cli.progress import counting
    from dfbench.plugins import registry
    from dfbench.publish.board.add import add as add_runs
    from dfbench.publish.verification.samples import SampleCheck

    samples = None if no_data else SampleCheck(registry())
    with counting("checking") as progress:
        added = add_runs(runs, board, registry(), replace, lambda done: progress(done, len(runs)), samples)
    for one in added:
        for note in one.notes:
            click.echo(f"{one.run}: marked on the board: {note}", err=True)
    if as_json:
        print_json([{"run": a.run, "path": str(a.path), "new": a.new, "notes": list(a.notes)} for a in added])
        return
    for one in added:
        click.echo(f"{'added' if one.new else 'was there already'}: {one.path}")
    click.echo("now: dfbench leaderboard build")


@command.command(
    "build",
    short_help="Write README.md and index.html from the records.",
    epilog=examples("dfbench leaderboard build", "dfbench leaderboard build --check"),
)
@_board
@click.option("--check", is_flag=True, help="Write nothing; fail where a page differs from what would be written.")
def build(board: Path, check: bool) -> None:
    """Write the leaderboard's pages, README.md and index.html with its folder data, from its records alone.

    Tables whose records did not change come from the cache ($DFBENCH_CACHE).
    """
    from dfbench.cli.progress import counting
    from dfbench.errors import DfbenchError
    from dfbench.publish.board.build import built, differing, write

    with counting("reading records") as progress:
        content = built(board, progress)
    if check:
        if wrong := differing(content, board):
            names = [str(board / name) for name in wrong[:2]]
            names += [f"{len(wrong) - 2} more files"] * (len(wrong) > 2)
            raise DfbenchError(
                f"{' and '.join(names)} differ from the records; run 'dfbench leaderboard build' and commit the result"
            )
        click.echo(f"{board}: the pages are what the records give", err=True)
        return
    for path in write(content, board):
        click.echo(str(path))


@command.command(
    "pull",
    short_help="Fetch packs of scores from a data set of the Hub.",
    epilog=examples("dfbench leaderboard pull --from USER/DATASET"),
)
@click.option("--from", "source", required=True, metavar="USER/DATASET[@REVISION]", help="Where the packs lie.")
@_board
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def pull(source: str, board: Path, as_json: bool) -> None:
    """Fetch the packs of scores that scores.json names and that are not here, or are damaged.

    Each gets its name after its size and sha256 were checked. After an interruption, run the same command again:
    nothing is fetched twice. The exit code is 3 if a pack could not be had.
    """
    from dfbench.cli.output import print_json
    from dfbench.errors import DataError
    from dfbench.publish.board import dataset

    with transfer("fetching") as progress:
        done = dataset.pull(board, source, progress=progress)
    if as_json:
        print_json({"fetched": list(done.fetched), "refused": done.refused})
    elif not done.refused:
        click.echo(f"fetched: {len(done.fetched)} packs" if done.fetched else "every pack is here")
    if done.refused:
        (path, reason), *more = done.refused.items()
        others = f" (and {len(more)} more)" if more else ""
        raise DataError(f"{source}: {path}: {reason}{others}; {len(done.fetched)} packs were fetched")


@command.command(
    "push",
    short_help="Publish packs of scores as a data set of the Hub.",
    epilog=examples("dfbench leaderboard push --to USER/DATASET --private"),
)
@click.option("--to", "repo", required=True, metavar="USER/DATASET", help="Made if there is none.")
@_board
@click.option("--replace", is_flag=True, help="Let packs take the place of packs that hold other scores.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def push(repo: str, board: Path, replace: bool, private: bool, as_json: bool) -> None:
    """Send the packs of scores that the data set lacks, and scores.json, in one commit.

    A pack takes the place of one that holds some of its scores and no others. Nobody's work is overwritten: if
    somebody else pushes at the same time, this push ends. The token is huggingface_hub's (hf auth login, or HF_TOKEN).
    """
    from dataclasses import asdict

    from dfbench.cli.output import print_json
    from dfbench.publish.board import dataset

    with transfer("sending") as progress:
        done = dataset.push(board, repo, replace=replace, private=private, progress=progress)
    if as_json:
        print_json(asdict(done))
        return
    click.echo(f"sent: {len(done.sent)} packs" if done.sent else "every pack is there")
    click.echo(done.url)


@contextlib.contextmanager
def transfer(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr for bytes that are sent or fetched, with the time that is left."""
    from huggingface_hub.utils import disable_progress_bars
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    disable_progress_bars()  # of the library, one per file
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    shown = *columns, TextColumn("left"), TimeRemainingColumn()
    with Progress(*shown, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def progress(path: str, size: int, total: int) -> None:
            bar.update(task, total=total, advance=size)

        yield progress


def _show_imported(table: ImportedTable) -> None:
    """A table of imported rows, and a line on each: where its scores come from."""
    from dfbench.cli.output import console, say
    from dfbench.cli.output import table as grid
    from dfbench.publish.board.imported import TEXT_COLUMNS, columns

    heads = columns(table)
    ranks = [
        head for part in ("average", "forgetting", "coverage", "status") for head in heads if head.startswith(part)
    ]
    lines = [each.cells(table.unseen) for each in table.rows]
    console().print(grid(table.title, heads, lines, numbers_from=TEXT_COLUMNS, ranks=ranks))
    for each in table.rows:
        say(f"{each.row.detector} {each.row.strategy}: {each.about}")
    say(f"{table.samples}\n")


def _sorted(table: BoardTable, key: str) -> list[BoardRow]:
    """The best first; rows without a value last."""
    if key == "average":
        return list(table.rows)

    def value(row: BoardRow) -> tuple[bool, float]:
        if key == "stored":
            return False, row.stored[0]
        if key == "seconds":
            return row.seconds is None, row.seconds or 0.0
        mean = row.metric(key)[0]
        return (mean is None, (mean or 0.0) * (1 if key == "forgetting" else -1))

    return sorted(table.rows, key=value)
