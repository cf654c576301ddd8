"""``dfbench compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--figure", type=click.Path(path_type=Path), help="Write the R matrices as a picture (.png or .svg).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(runs: tuple[Path, ...], figure: Path | None, as_json: bool) -> None:
    """Compare finished RUNS (folders or record.json files) on the same data."""
    from dfbench.cli.output import console, number, print_json, table
    from dfbench.publish.board_text import size
    from dfbench.publish.comparison import check_comparable, intransigence, read_record, sentence

    records = [read_record(run) for run in runs]
    check_comparable(records)
    if figure is not None:
        from dfbench.publish.figures import matrix_figure

        matrix_figure(records, figure)
    metric = records[0]["headline"]
    shown = list(dict.fromkeys([f"average_{metric}", "average_accuracy", "forgetting", "bwt", "learning_accuracy"]))
    missed = [intransigence(record, records) for record in records]
    if as_json:
        rows = [
            {
                "run": r["run"],
                **{m: r["metrics"][m] for m in shown},
                "intransigence": asdict(i) if i else None,
                "compute": r.get("compute"),
                "stability": r.get("stability"),
                "stored": [r["memory"]["samples"][-1], r["memory"]["bytes"][-1], r["memory"]["state_bytes"]],
                "seconds": r["seconds"]["total"],
            }
            for r, i in zip(records, missed, strict=True)
        ]
        print_json({"runs": rows, "sentence": sentence(records), "figure": str(figure) if figure else None})
        return
    cells = [
        [
            f"{r['spec']['detector']} {r['spec']['preset']}",
            r["spec"]["strategy"],
            str(r["spec"]["seed"]),
            *(number(r["metrics"][m]) for m in shown),
            *([(number(i.mean) + ("" if i.exact else " *")) if i else number(None)] if any(missed) else []),
            f"{r['memory']['samples'][-1]} ({size(r['memory']['bytes'][-1])})",
            f"{r['compute']['passes']:,.0f}" if "compute" in r else number(None),
            f"{r['seconds']['total']:.0f}",
        ]
        for r, i in zip(records, missed, strict=True)
    ]
    further = ["intransigence"] if any(missed) else []
    columns = ["detector", "strategy", "seed", *shown, *further, "stored", "passes", "seconds"]
    console().print(table(records[0]["data"]["benchmark"], columns, cells, numbers_from=2))
    if any(i and not i.exact for i in missed):
        console().print("* against the joint run's last row, which has seen later experiences too")
    console().print(sentence(records))
    if figure is not None:
        console().print(f"picture: {figure}")
