"""``dfbench data audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfbench.data.audit.result import Audit

PREPARED = "prepared"
"""Stands for a data set's name where the root is a prepared set."""
COLOURS = {"passed": "green", "failed": "red", "not checked": "yellow"}


@click.command(
    "audit",
    short_help="Leaks, wrong labels, holes and shortcuts in a data set.",
    epilog=examples("dfbench data audit celeb-df-v2 --root Celeb-DF-v2"),
)
@click.argument("source")
@click.option("--root", required=True, type=click.Path(path_type=Path), help="Where the data set lies.")
@click.option("--option", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the data set.")
@click.option(
    "--headers-only", is_flag=True, help="Decode no frames: neither near-duplicates nor traces are looked for."
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Processes that read.  [default: one per core, fewer for few videos]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def audit(
    source: str, root: Path, settings: tuple[str, ...], headers_only: bool, workers: int | None, as_json: bool
) -> None:
    """Check the tree of the data set SOURCE (dfbench data show), or a prepared set (SOURCE: prepared): people, videos,
    pairs and near-duplicates in two splits, labels that a list or a folder contradicts, the balance of the classes,
    missing partners and files, unreadable files, and whether headers (container, codec, size, length, colour profile),
    file names, or the borders of the pictures alone tell real from fake.

    Exit code 0 when no check fails, 3 otherwise.
    """
    from dfbench.cli.output import print_json
    from dfbench.cli.progress import watching
    from dfbench.data.audit import audit as run
    from dfbench.data.audit.prepared_set import audit_set, kept_checks
    from dfbench.data.prepare.opening import data_set, options_of
    from dfbench.errors import DataError, UsageError
    from dfbench.runs.events import DataProgress

    if source == PREPARED and (settings or headers_only):
        raise UsageError("a prepared set has no options and no headers: leave out --option and --headers-only")
    scan = None if source == PREPARED else data_set(source).scan(root, **options_of(settings))
    with watching() as watcher:

        def progress(done: int, total: int, what: str) -> None:
            watcher.event(DataProgress(what, done, total))

        if scan is None:
            result = audit_set(root, kept=kept_checks(root), workers=workers, progress=progress)
        else:
            result = run(
                scan.items, second=scan.labels, missing=scan.missing, names=data_set(source).about.names,
                frames=not headers_only, workers=workers, progress=progress,
            )  # fmt: skip
    if as_json:
        about = {"items": len(scan.items), "notes": list(scan.notes)} if scan else {}
        print_json({"source": source, "root": str(root), **about} | result.document())
    else:
        _print(scan.notes if scan else (), result)
    if result.failed:
        names = ", ".join(check.name for check in result.failed)
        raise DataError(f"{source} in {root}: {len(result.failed)} of {len(result.checks)} checks failed: {names}")


def _print(notes: Sequence[str], result: Audit) -> None:
    from rich.text import Text

    from dfbench.cli.output import console, table

    for note in notes:
        click.echo(note, err=True)
    rows: list[list[str | Text]] = [
        [check.name, Text(check.status, style=COLOURS[check.status]), check.detail] for check in result
    ]
    out = console()
    out.print(table("", ["check", "status", ""], rows))
    for check in result.failed:
        out.print(Text(check.name, style="bold"))
        for example in check.examples:
            out.print(f"  {example}", highlight=False)
        if check.count > len(check.examples) and check.examples:
            out.print(f"  … {check.count} in all", highlight=False)
