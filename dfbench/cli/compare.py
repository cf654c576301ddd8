"""``dfbench compare``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("compare")
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
    from dfbench.cli.output import console, note_numbered, print_json, table
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
    out = console()
    out.print(table(comparison.title, comparison.columns, comparison.rows, numbers_from=2, keys=3))
    for note in comparison.notes:
        out.print(note, highlight=False)
    if figure is not None:
        out.print(f"picture: {figure}")
