"""``dfbench eval``: the main job."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click


@click.command("eval")
@click.option("-d", "--detector", required=True, help="Detector (dfbench list detectors).")
@click.option("-s", "--strategy", required=True, help="Strategy (dfbench list strategies).")
@click.option("-b", "--benchmark", help="Benchmark, or a stream's .yaml file.  [default: the detector's, or forge5]")
@click.option("--preset", help="Named configuration of the detector.  [default: its first, or its choice by device]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the detector, or strategy.KEY=VALUE.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True,
              help="What is scored; val to choose hyperparameters.")  # fmt: skip
@click.option("--eval-every", type=click.IntRange(min=1), metavar="N",
              help="Score the test sets every N optimizer steps too: the stability gap.")  # fmt: skip
@click.option("--eval-samples", type=click.IntRange(min=2), metavar="M",
              help="With --eval-every: on M samples of each test set.  [default: all]")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--out", default=Path("runs"), show_default=True, type=click.Path(path_type=Path), help="Folder of runs.")
@click.option("--data-root", envvar="DFBENCH_DATA", type=click.Path(path_type=Path), show_envvar=True,
              help="Folder that holds the data sets, each under its source's name.")  # fmt: skip
@click.option("--log", multiple=True, metavar="NAME[:KEY=VALUE,…]",
              help="Tell a logger of the run (dfbench list loggers); may be repeated.")  # fmt: skip
@click.option("--tune", is_flag=False, flag_value="measure", metavar="[SETTINGS]",
              help="Measure bf16, channels_last and torch.compile on the first steps and train with what is fastest "
              "and as exact; or say which: bf16,channels_last.")  # fmt: skip
@click.option("--publish", is_flag=True,
              help="Then put the run on the leaderboard in ./leaderboard and into the zoo in ./zoo.")  # fmt: skip
@click.option("--push-to", metavar="USER/REPO", help="With --publish: push the checkpoint to the Hugging Face Hub.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--fresh", is_flag=True, help="Start again, whatever is there.")
def command(as_json: bool, publish: bool, push_to: str | None, **options: Any) -> None:
    """Train DETECTOR on one experience after another, with its own training loop, under STRATEGY.

    The same command goes on where it was interrupted, and prints the result of a finished run.
    """
    from dfbench.cli.output import print_json
    from dfbench.cli.progress import watching
    from dfbench.errors import Interrupted, UsageError
    from dfbench.plugins import registry

    if options["eval_samples"] and not options["eval_every"]:
        raise UsageError("--eval-samples goes with --eval-every")
    if push_to and not publish:
        raise UsageError("--push-to goes with --publish")
    if publish and options["split"] != "test":
        raise UsageError(f"--publish is for runs scored on the test split, not on {options['split']}")
    known = registry()
    for names, name in ((known.detectors, options["detector"]), (known.strategies, options["strategy"])):
        names[name]  # an unknown name is told before anything heavy is imported
    if options["tune"] is not None:
        from dfbench.records.spec import parse_tuned

        parse_tuned(options["tune"])
    for text in options["log"]:
        known.loggers[text.partition(":")[0]]
    if options["benchmark"] and not options["benchmark"].lower().endswith((".yaml", ".yml")):
        try:
            known.benchmarks[options["benchmark"]]
        except UsageError as error:
            raise UsageError(f"{error} (or give the path of a .yaml file)") from None
    # What detectors and loggers print while a run goes on is no result of it.
    with watching() as reporter, contextlib.redirect_stdout(sys.stderr):
        reporter.notice("loading …")
        from dfbench.runs.runner import Request, run

        try:
            record = run(Request(**options), known, reporter)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; the same command goes on from the last finished experience") from error
    published = _publish(record, push_to) if publish else {}
    if as_json:
        keys = ("run", "spec", "headline", "metrics", "matrix", "effects", "memory", "seconds", "steps", "detector")
        further = {k: record[k] for k in ("compute", "stability") if k in record}
        print_json(
            {"run": record["run"], "record": record["path"], **{k: record[k] for k in keys[1:]}, **further, **published}
        )
    else:
        print_result(record)
        for what, where in published.get("published", {}).items():
            click.echo(f"{what}: {where}")


def _publish(record: dict[str, Any], push_to: str | None) -> dict[str, Any]:
    """``published``: what went where."""
    from dfbench.plugins import registry
    from dfbench.publish.publish_run import publish

    with contextlib.redirect_stdout(sys.stderr):
        done = publish(
            Path(record["path"]).parent, Path("leaderboard"), Path("zoo"), registry(), push_to,
            notice=lambda text: click.echo(text, err=True),
        )  # fmt: skip
    places = {"leaderboard": str(done.record), "page": str(done.pages[-1]) if done.pages else None,
              "zoo": str(done.entry), "hub": done.hub}  # fmt: skip
    return {"published": {what: where for what, where in places.items() if where}}


def print_result(record: dict[str, Any]) -> None:
    """The R matrix and the summary as tables."""
    from dfbench.cli.output import console, number, table

    out = console()
    names = [e["name"] for e in record["data"]["experiences"]]
    headline = record["headline"]
    rows = [
        [name, *map(number, row)]
        for name, row in zip(names, record["matrix"][headline], strict=True)
        if any(value is not None for value in row)
    ]
    title = f"{record['run']}: {headline} on each experience's {record['spec']['split']} set"
    out.print(table(title, ["trained to \\ tested on", *names], rows, numbers_from=1))
    metrics = record["metrics"]
    shown = [f"average_{headline}", "average_accuracy", "forgetting", "bwt", "fwt", "learning_accuracy"]
    out.print(table("", ["metric", "value"], [[m, number(metrics[m])] for m in dict.fromkeys(shown)], numbers_from=1))
    if "stability" in record:
        inside = record["stability"][headline]
        title = f"inside trainings, every {record['spec']['eval_every']} steps: {headline}"
        out.print(table(title, ["metric", "value"], [[m, number(v)] for m, v in inside.items()], numbers_from=1))
    memory, compute = record["memory"], record.get("compute")
    passes = f"{compute['passes']:,.0f} passes · " if compute else ""
    out.print(
        f"preset {record['spec']['preset']} · seed {record['spec']['seed']} · {passes}"
        f"{record['seconds']['total']:.0f} s on {record['environment']['device_name']} · "
        f"stored {memory['samples'][-1]} samples ({memory['bytes'][-1] / 1e6:.1f} MB)"
    )
    if record["spec"].get("tuned"):
        out.print(f"tuned: {', '.join(record['spec']['tuned'])}")
    out.print(f"record: {record['path']}")
