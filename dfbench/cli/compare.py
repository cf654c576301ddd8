"""``dfbench compare``."""

from __future__ import annotations

from dataclasses import asdict
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
    from dfbench.cli.output import console, number, print_json, table
    from dfbench.records import comparison
    from dfbench.records.comparison import Unequal, check_comparable, intransigence, read_record, sentence
    from dfbench.records.text import size

    everything = [read_record(run) for run in runs]
    check_comparable(everything)
    records, left = everything, list[Unequal]()
    if equal_compute is not None:
        records, left = comparison.equal_compute(everything, equal_compute / 100)
    if figure is not None:
        from dfbench.publish.plotting import matrix_figure

        matrix_figure(records, figure)
    metric = records[0]["headline"]
    shown = list(dict.fromkeys([f"average_{metric}", "average_accuracy", "forgetting", "bwt", "learning_accuracy"]))
    missed = [intransigence(record, everything) for record in records]
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
        unequal = [{"run": u.run["run"], "relative_compute": u.relative, "length": u.length} for u in left]
        print_json(
            {
                "runs": rows,
                "sentence": sentence(records),
                "figure": str(figure) if figure else None,
                **({"left_out": unequal} if equal_compute is not None else {}),
            }
        )
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
    for u in left:
        spec = u.run["spec"]
        longer = "".join(f"; about equal with --set {name}={value}" for name, value in u.length.items())
        console().print(
            f"left out: {spec['strategy']} (seed {spec['seed']}) computed {u.relative:.2f} × the costliest{longer}"
        )
    if figure is not None:
        console().print(f"picture: {figure}")
