"""``dfbench compare``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from dfbench.records.comparison import Comparison

HEADINGS = {
    "average_auc": "average AUC", "average_video_auc": "average video AUC", "average_accuracy": "accuracy",
    "bwt": "BWT", "learning_accuracy": "learning", "fpr_drift": "drift", "carried_tpr": "carried TPR",
}  # fmt: skip
"""Columns as a narrow terminal has room for them."""
RANKS = ("average_auc", "average_video_auc", "average_accuracy", "forgetting", "stored", "bwt", "learning_accuracy",
         "next", "intransigence", "passes", "seconds", "generalisation", "robustness", "fpr_drift",
         "carried_tpr")  # fmt: skip
"""Columns by importance: a narrow terminal leaves out the last ones."""


@click.command(
    "compare", epilog=examples("dfbench compare runs/*", "dfbench compare runs/A runs/B --figure matrices.png")
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--figure", type=click.Path(path_type=Path), help="Write the R matrices as a picture (.png or .svg).")
@click.option(
    "--equal-compute",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Leave out runs that computed over PERCENT less than the costliest, and say how long they would train.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(runs: tuple[Path, ...], figure: Path | None, equal_compute: float | None, as_json: bool) -> None:
    """Compare finished RUNS (folders or record.json files) on the same data."""
    from dfbench.cli.output import console, next_steps, note_numbered, print_json
    from dfbench.records.comparison import compare

    comparison = compare(runs, None if equal_compute is None else equal_compute / 100)
    if figure is not None:
        from dfbench.publish.glyphs import unwritable
        from dfbench.publish.plotting import matrix_figure

        matrix_figure(comparison.records, figure)
        if figure.suffix.lower() != ".svg":
            note_numbered(unwritable(comparison.records[0].names))
    if as_json:
        left = [{"run": u.run.run, "relative_compute": u.relative, "length": u.length} for u in comparison.left_out]
        found = {**comparison.document(), "figure": str(figure) if figure else None}
        print_json({**found, "left_out": left} if equal_compute is not None else found)
        return
    show_comparison(comparison)
    if figure is not None:
        console().print(f"picture: {figure}")
    next_steps(shlex.join(["dfbench", "report", *map(str, runs)]) if len(runs) < 4 else "dfbench report RUN RUN …")


def show_comparison(comparison: Comparison) -> None:
    """A table of the runs, and what was forgotten in words."""
    from dfbench.cli.output import console, say, table

    columns, ranks = ([HEADINGS.get(name, name) for name in names] for names in (comparison.columns, RANKS))
    console().print(table(comparison.title, columns, comparison.rows, numbers_from=2, keys=3, ranks=ranks))
    for note in comparison.notes:
        say(note)
