"""``dfbench data controls``."""

from __future__ import annotations

from pathlib import Path

import click

from dfbench.cli.examples import examples


@click.command(
    "controls",
    short_help="Whether a benchmark's reals and fakes differ where no face is.",
    epilog=examples("dfbench data controls forge5", "dfbench data controls my-stream.yaml --to controls.json"),
)
@click.argument("benchmark")
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True, help="What is scored.")
@click.option("--data-root", envvar="DFBENCH_DATA", type=click.Path(path_type=Path), show_envvar=True,
              help="Folder that holds the data sets, each under its name.")  # fmt: skip
@click.option("--to", "target", type=click.Path(path_type=Path), help="Write the result as JSON, for a leaderboard.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes that read.  [default: one per core]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def controls(
    benchmark: str, split: str, data_root: Path | None, target: Path | None, workers: int | None, as_json: bool
) -> None:
    """Fit a logistic regression on the borders of BENCHMARK's training pictures, and score its test pictures: traces of
    compression, resampling, colour and noise, where no forgery of a face reaches.

    Exit code 0 when no experience's classes can be told apart that way, 3 otherwise.
    """
    from dfbench.benchmarks.controls import controls as run
    from dfbench.cli.output import console, print_json, table
    from dfbench.cli.progress import watching
    from dfbench.errors import DataError
    from dfbench.files import write_json
    from dfbench.plugins import registry
    from dfbench.records.text import number
    from dfbench.runs.events import DataProgress
    from dfbench.runs.prepare import open_stream

    with watching() as watcher:

        def progress(done: int, total: int, what: str) -> None:
            watcher.event(DataProgress(what, done, total))

        stream = open_stream(benchmark, registry(), data_root, watcher, skip=("all",))
        found = run(stream, split, progress=progress, workers=workers)
    if target is not None:
        write_json(target, found.model_dump(mode="json"))
    if as_json:
        print_json(found.model_dump(mode="json") | {"failed": [each.name for each in found.failed]})
    else:
        verdicts = [
            "not checked" if e.auc is None else "failed" if e.told_apart else "passed" for e in found.experiences
        ]
        rows = [
            [each.name, verdict, number(each.auc), str(each.reals), str(each.fakes)]
            for each, verdict in zip(found.experiences, verdicts, strict=True)
        ]
        console().print(table("", ["experience", "control", "AUC of borders", "reals", "fakes"], rows, numbers_from=2))
    if found.failed:
        names = ", ".join(each.name for each in found.failed)
        raise DataError(
            f"{found.benchmark}: the borders of the pictures tell reals from fakes in {names}; give both classes one "
            "codec, quality and size, or take results on them as those of the processing"
        )
