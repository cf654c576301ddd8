"""``dfbench leaderboard import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.publish.imports.run import Imported

FORMATS = ("auto", "columns", "dfwb", "ai-genbench")
POLICIES = ("error", "drop", "worst")
HEADLINES = ("auc", "video_auc", "accuracy")


@click.command(
    "import",
    short_help="Make a row of somebody's scores.",
    epilog=examples(
        "dfbench leaderboard import scores.csv --name my_detector --strategy replay --benchmark my-stream",
        "dfbench leaderboard import videos.csv --name x --strategy none --benchmark y --column score=prob_fake",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", "detector", required=True, metavar="DETECTOR", help="Who gave the scores.")
@click.option("--strategy", required=True, metavar="NAME", help="How it was trained.")
@click.option("--benchmark", required=True, metavar="NAME", help="What it was tested on.")
@click.option("--format", "form", default="auto", show_default=True, type=click.Choice(FORMATS),
              help="Of the files; auto: by their columns.")  # fmt: skip
@click.option("--column", "called", multiple=True, metavar="COLUMN=THEIRS",
              help="What the files call a column of the format 'columns'.")  # fmt: skip
@click.option("--experience", "experiences", multiple=True, metavar="NAME",
              help="The experiences, once for each, in order (default: as trained_on first has them).")  # fmt: skip
@click.option("--metric", "headline", default="auc", show_default=True, type=click.Choice(HEADLINES),
              help="The headline, of which averages and forgetting are computed.")  # fmt: skip
@click.option("--logits", is_flag=True, help="The scores are logits: P(fake) is their sigmoid.")
@click.option("--missing", default="error", show_default=True, type=click.Choice(POLICIES),
              help="Missing predictions: refuse the file; drop their samples; or count them as wrong.")  # fmt: skip
@click.option("--samples", type=click.Path(path_type=Path), metavar="FILE",
              help="A table of all samples: tested_on, sample, label (default: what the files name).")  # fmt: skip
@click.option("--source", default="", metavar="TEXT", help="Where the scores come from: a paper, an address.")
@click.option("--by", default="", metavar="TEXT", help="Who imports them.")
@click.option("--to", "board", default="leaderboard", show_default=True, type=click.Path(path_type=Path),
              help="Folder of the leaderboard.")  # fmt: skip
@click.option("--replace", is_flag=True, help="Take the place of the same row with other scores.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def import_scores(
    files: tuple[Path, ...], form: str, called: tuple[str, ...], board: Path, replace: bool, as_json: bool,
    **choices: Any,
) -> None:  # fmt: skip
    """Make one row of the scores in FILES (CSV, Parquet, npz, or a folder of AI-GenBench), and pack the scores.

    One row per prediction: sample, label (0 real, 1 fake) and score (P(fake)); optional: trained_on, tested_on, video,
    identity, seed. Every figure is computed from the scores. The row has the status 'imported' and is not ranked.
    Then run 'dfbench leaderboard build'.
    """
    from dfbench.cli.output import print_json
    from dfbench.publish.board.imported import ImportedTableRow
    from dfbench.publish.imports.run import Request
    from dfbench.publish.imports.run import import_scores as run

    request = Request(files, form=None if form == "auto" else form, called=_pairs(called), **choices)  # type: ignore[arg-type]
    done = run(request, board, replace)
    if done.unread:
        click.echo(f"not read: {', '.join(done.unread[:12])}{', …' * (len(done.unread) > 12)}", err=True)
    row = ImportedTableRow(done.row)
    for note in _remarks(row):
        click.echo(note, err=True)
    if as_json:
        print_json({
            "run": done.row.run, "path": str(done.path), "new": done.new,
            "average": row.average.mean, "interval": [row.average.low, row.average.high],
            "per_set": {name: value for name, value, _ in row.final},
            "coverage": done.row.coverage.model_dump(), "same_as": done.row.data.same_as, "notes": done.row.notes,
        })  # fmt: skip
        return
    _print(done, row)


def _pairs(called: tuple[str, ...]) -> dict[str, str]:
    from dfbench.errors import UsageError

    found: dict[str, str] = {}
    for each in called:
        ours, equals, theirs = each.partition("=")
        if not (ours and equals and theirs) or ours in found:
            raise UsageError(f"--column {each}: it is written COLUMN=THEIRS, once for each column")
        found[ours] = theirs
    return found


def _remarks(row: Any) -> list[str]:
    """What whoever imports should know at once."""
    remarks = list(row.row.notes)
    if row.average.mean < 0.5:
        remarks.append(f"the average is {row.average.mean:.3f}, below .5: a score is P(fake), not P(real)")
    if not row.row.source:
        remarks.append("the row says 'source not stated': --source TEXT says where the scores come from")
    return remarks


def _print(done: Imported, row: Any) -> None:
    from dfbench.cli.output import console, table
    from dfbench.records import text

    metric = text.METRICS[done.row.headline]
    lines = [[name, text.number(value, 4), text.count(n)] for name, value, n in row.final]
    out = console()
    out.print(table("", ["test set", metric, "samples"], lines, numbers_from=1))
    interval = text.interval(row.average.low, row.average.high)
    out.print(f"average {metric} {text.number(row.average.mean, 4)} ({interval}), coverage {row.coverage}")
    click.echo(f"{'imported' if done.new else 'was there already'}: {done.path}")
    click.echo("now: dfbench leaderboard build")
