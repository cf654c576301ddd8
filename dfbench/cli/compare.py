"""``dfbench compare``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--figure", type=click.Path(path_type=Path), help="Write the R matrices as a picture (.png or .svg).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(runs: tuple[Path, ...], figure: Path | None, as_json: bool) -> None:
    """Compare finished RUNS (folders or record.json files) on the same data."""
    from dfbench.cli.output import console, number, print_json, table
    from dfbench.publish.comparison import check_comparable, read_record, sentence

    records = [read_record(run) for run in runs]
    check_comparable(records)
    if figure is not None:
        from dfbench.publish.figures import matrix_figure

        matrix_figure(records, figure)
    metric = records[0]["headline"]
    shown = list(dict.fromkeys([f"average_{metric}", "average_accuracy", "forgetting", "bwt", "learning_accuracy"]))
    if as_json:
        rows = [{"run": r["run"], **{m: r["metrics"][m] for m in shown}} for r in records]
        print_json({"runs": rows, "sentence": sentence(records), "figure": str(figure) if figure else None})
        return
    cells = [
        [
            f"{r['spec']['detector']} {r['spec']['preset']}",
            r["spec"]["strategy"],
            str(r["spec"]["seed"]),
            *(number(r["metrics"][m]) for m in shown),
            str(r["memory"]["samples"][-1]),
            f"{r['seconds']['total']:.0f}",
        ]
        for r in records
    ]
    columns = ["detector", "strategy", "seed", *shown, "stored", "seconds"]
    console().print(table(records[0]["data"]["benchmark"], columns, cells, numbers_from=2))
    console().print(sentence(records))
    if figure is not None:
        console().print(f"picture: {figure}")
