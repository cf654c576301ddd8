"""``dfbench report``."""

from __future__ import annotations

from pathlib import Path

import click

from dfbench.cli.examples import examples


@click.command("report", epilog=examples("dfbench report runs/A runs/B", "dfbench report runs/* --to comparison"))
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of the report (default: report in the run's folder, or here for several runs).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(runs: tuple[Path, ...], to: Path | None, as_json: bool) -> None:
    """Draw finished RUNS (their folders): figures as SVG and PNG, and one HTML page that holds everything.

    Several runs on the same data are compared; those that differ in the seed alone are averaged.
    """
    from dfbench.cli.output import console, next_steps, note_numbered, print_json, say
    from dfbench.cli.progress import counting
    from dfbench.publish.report.write import write_report
    from dfbench.records.comparison import describe_forgetting

    with counting("drawing") as progress:
        report = write_report(runs, to, progress)
    note_numbered(report.numbered)
    sentence = describe_forgetting([run.record for method in report.methods for run in method.runs])
    if as_json:
        print_json(
            {
                "page": str(report.page),
                "figures": {name: {k: str(p) for k, p in files.items()} for name, files in report.figures.items()},
                "methods": [
                    {
                        "label": method.label,
                        "runs": [run.record.run for run in method.runs],
                        "seeds": method.seeds,
                        "metrics": {
                            name: dict(zip(("mean", "sd"), method.metric(name), strict=True))
                            for name in method.runs[0].record.metrics
                        },
                    }
                    for method in report.methods
                ],
                "sentence": sentence,
            }
        )
        return
    out = console()
    say(sentence)
    for name, files in report.figures.items():
        out.print(f"{name}: {', '.join(map(str, files.values()))}")
    out.print(f"page: {report.page}")
    if not all(run.on_board for method in report.methods for run in method.runs):
        next_steps("open the page in a browser", "dfbench verify RUN", "dfbench leaderboard add RUN")
