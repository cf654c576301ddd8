"""``dfbench eval``: the main job."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfbench.cli.output import Grid
    from dfbench.plugins import Registry
    from dfbench.records.record import Record


def _names(text: str | None) -> tuple[str, ...]:
    """What ``--skip-tests`` names."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


@click.command(
    "eval",
    epilog=examples(
        "dfbench eval -d simple_cnn -s replay",
        "dfbench eval -d xception --preset lite -s dfil -b my-stream.yaml --seed 1",
        "dfbench eval -d simple_cnn -s replay --set epochs=3 --set strategy.memory=100 --split val",
        "dfbench eval -d simple_cnn --init simple_cnn-replay-forge5 -s none -b my-stream.yaml",
    ),
)
@click.option("-d", "--detector", required=True, help="Detector (dfbench list detectors).")
@click.option("-s", "--strategy", required=True, help="Strategy (dfbench list strategies).")
@click.option("-b", "--benchmark", help="Benchmark, or a stream's .yaml file.  [default: the detector's, or forge5]")
@click.option("--preset", help="Named configuration of the detector.  [default: the checkpoint's with --init, else its "
              "first, or its choice by device]")  # fmt: skip
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the detector, or strategy.KEY=VALUE.",
)
@click.option("--init", metavar="CHECKPOINT",
              help="Start from these weights: a name of the zoo, a run's folder, a .safetensors file, an entry's .yaml "
              "or a Hub id; #sha256=HEX behind it checks them. With -s none they are scored as they are.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True,
              help="What is scored; val to choose hyperparameters.")  # fmt: skip
@click.option("--eval-every", type=click.IntRange(min=1), metavar="N",
              help="Score the test sets every N optimizer steps too: the stability gap.")  # fmt: skip
@click.option("--eval-samples", type=click.IntRange(min=2), metavar="M",
              help="With --eval-every: on M samples of each test set.  [default: all]")  # fmt: skip
@click.option("--skip-tests", metavar="NAME[,NAME]", callback=lambda _, __, value: _names(value),
              help="Leave out unseen sets of the benchmark, perturbed (degraded copies), or all of these; validation "
              "reals, on which thresholds are fixed, are always scored.")  # fmt: skip
@click.option("--options-from", metavar="FILE", type=click.Path(path_type=Path),
              help="Take all options from a file of 'dfbench sweep --choose'; the record names it.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--out", default=Path("runs"), show_default=True, type=click.Path(path_type=Path), help="Folder of runs.")
@click.option("--data-root", envvar="DFBENCH_DATA", type=click.Path(path_type=Path), show_envvar=True,
              help="Folder that holds the data sets, each under its source's name.")  # fmt: skip
@click.option("--allow-leaks", is_flag=True,
              help="Run although people or videos are in two splits, or a prepared set fails its audit; stays on the "
              "record and the leaderboard.")  # fmt: skip
@click.option("--log", multiple=True, metavar="NAME[:KEY=VALUE,…]",
              help="Send the run's events to a logger (dfbench list loggers); may be repeated.")  # fmt: skip
@click.option("--tune", is_flag=False, flag_value="measure", metavar="[SETTINGS]",
              help="Measure bf16, channels_last and torch.compile on the first steps and train with what is fastest "
              "and as exact; or say which: bf16,channels_last.")  # fmt: skip
@click.option("--publish", is_flag=True,
              help="Then put the run on the leaderboard in ./leaderboard and into the zoo in ./zoo.")  # fmt: skip
@click.option("--push-to", metavar="USER/REPO", help="With --publish: push the checkpoint to the Hugging Face Hub.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--fresh", is_flag=True, help="Start again, whatever is there.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, and two lines of result.")
def command(as_json: bool, quiet: bool, publish: bool, push_to: str | None, **options: Any) -> None:
    """Train DETECTOR on one experience after another, with its own training loop, under STRATEGY.

    The strategy none trains nothing: it scores the network as it is, for a baseline.

    The same command goes on where it was interrupted, and prints the result of a finished run.
    """
    from dfbench.cli.output import print_json
    from dfbench.cli.progress import watching
    from dfbench.errors import Interrupted, UsageError
    from dfbench.plugins import registry
    from dfbench.processes import reports

    if push_to and not publish:
        raise UsageError("--push-to goes with --publish")
    if publish and options["split"] != "test":
        raise UsageError(f"--publish is for runs scored on the test split, not on {options['split']}")
    known = registry()
    for names, name in ((known.detectors, options["detector"]), (known.strategies, options["strategy"])):
        names[name]  # an unknown name is an error before anything heavy is imported
    for text in options["log"]:
        known.loggers[text.partition(":")[0]]
    if options["benchmark"] and not options["benchmark"].lower().endswith((".yaml", ".yml")):
        try:
            known.benchmarks[options["benchmark"]]
        except UsageError as error:
            raise UsageError(f"{error} (or give the path of a .yaml file)") from None
    quiet = quiet or not reports()
    # What detectors and loggers print while a run goes on is not its result.
    with watching(quiet=quiet) as watcher, contextlib.redirect_stdout(sys.stderr):
        if not quiet:
            watcher.notice("loading …")
        from dfbench.runs.prepare import Request
        from dfbench.runs.runner import run

        try:
            record = run(Request(**request_options(options, known, watcher.notice)), known, watcher)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted; the same command goes on from the last finished experience") from error
    if not reports():
        return
    published = _publish(record, push_to) if publish else {}
    if as_json:
        print_json({**_document(record), **published})
        return
    if quiet:
        _print_short(record)
    else:
        print_result(record)
    for what, where in published.get("published", {}).items():
        click.echo(f"{what}: {where}")
    if not quiet:
        _suggest(record)


def request_options(
    options: dict[str, Any], known: Registry, notice: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """The fields of a :class:`dfbench.runs.prepare.Request`: the checkpoint found, the chosen options read.

    Args:
        options: What was typed.
        known: What is installed.
        notice: Receives the commit that a branch of the Hub stands for.
    """
    from dfbench.publish.zoo.initial import find_initial
    from dfbench.records.choice import options_from

    found = dict(options)
    file = found.pop("options_from", None)
    if found["init"] is not None:
        found["init"] = find_initial(found["init"], known, [found["out"]], notice)
    if file is not None:
        found["chosen"] = options_from(file, *(found[k] for k in ("detector", "strategy", "benchmark", "preset")))
    return found


def _document(record: Record) -> dict[str, Any]:
    whole = record.document()
    keys = ("spec", "headline", "metrics", "matrix", "effects", "memory", "seconds", "steps", "detector")
    further = [key for key in ("compute", "stability", "generalisation", "robustness") if whole[key] is not None]
    return {"run": record.run, "record": str(record.path), **{key: whole[key] for key in (*keys, *further)}}


def _publish(record: Record, push_to: str | None) -> dict[str, Any]:
    """``published``: what went where."""
    from dfbench.plugins import registry
    from dfbench.publish.publish_run import publish

    assert record.path is not None
    folder = record.path.parent
    with contextlib.redirect_stdout(sys.stderr):
        done = publish(
            folder, Path("leaderboard"), Path("zoo"), registry(), push_to,
            notice=lambda text: click.echo(text, err=True),
        )  # fmt: skip
    places = {"leaderboard": str(done.record), "page": str(done.pages[-1]) if done.pages else None,
              "zoo": done.entry and str(done.entry), "hub": done.hub}  # fmt: skip
    return {"published": {what: where for what, where in places.items() if where}}


def _matrix(record: Record, width: int) -> Grid:
    """The R matrix; its columns are numbered where there is too little room for their names."""
    from dfbench.cli.output import number, table

    names, values = record.names, record.matrix[record.headline]
    title = f"{record.run}: {record.headline} on each experience's {record.spec.split} set"

    def grid(heads: list[str], labels: list[str], every: bool) -> Grid:
        known = [every or any(value is not None for value in row) for row in values]
        rows = [[label, *map(number, row)] for label, row, k in zip(labels, values, known, strict=True) if k]
        return table(title, ["after training on ↓, tested on →", *heads], rows, numbers_from=1)

    if not record.trained:
        return grid(names, ["nothing: as it is"] * len(names), every=False)
    named = grid(names, names, every=False)
    if named.fits(width):
        return named
    numbers = [str(i + 1) for i in range(len(names))]
    # With rows that were not measured, too: they say which name a number stands for.
    return grid(numbers, [f"{n} {name}" for n, name in zip(numbers, names, strict=True)], every=True)


def _print_short(record: Record) -> None:
    from dfbench.cli.output import number
    from dfbench.records.text import METRICS

    lost = "forgetting_at_least" if "forgetting_at_least" in record.metrics else "forgetting"
    figures = f"average_{record.headline}", lost
    click.echo(", ".join(f"{METRICS.get(name, name)} {number(record.metrics[name])}" for name in figures))
    click.echo(f"record: {record.path}")


def _suggest(record: Record) -> None:
    """What to do with a result: look at it, and repeat it, since one seed is one network and not a method."""
    from dfbench.cli.output import next_steps

    assert record.path is not None
    steps = [shlex.join(["dfbench", "report", str(record.path.parent)])]
    if record.spec.seed < 3 and (record.trained or record.spec.init is None):  # a network as it is has no seed
        steps.append(f"the same with --seed {' and '.join(str(n) for n in range(3) if n != record.spec.seed)}")
    next_steps(*steps)


def _further(record: Record) -> dict[str, str]:
    """Generalisation from before any training to the end, and robustness with the same samples undegraded."""
    from dfbench.evaluation.further import mean_of
    from dfbench.records.text import number

    found, headline = {}, record.headline
    if (unseen := record.generalisation) is not None:
        after, before = record.metrics.get("generalisation"), mean_of(unseen.untrained[headline])
        found["generalisation"] = f"{number(before)} → {number(after)}" if record.trained else number(after)
    if (degraded := record.robustness) is not None:
        clean = number(degraded.clean[headline])
        found["robustness"] = f"{number(record.metrics.get('robustness'))} (undegraded {clean})"
    if record.metrics.get("fpr_drift") is not None:
        found["fpr_drift"] = f"{number(record.metrics['fpr_drift'])} (aim: 1 % false positives)"
    return found


def print_result(record: Record) -> None:
    """The R matrix and the summary as tables."""
    from dfbench.cli.output import console, number, say, table
    from dfbench.records.text import METRICS

    out, spec, headline = console(), record.spec, record.headline
    out.print(_matrix(record, out.width))
    shown = [f"average_{headline}", "average_accuracy", "forgetting", "bwt", "fwt", "learning_accuracy", "next"]
    shown += [name for name in ("forgetting_at_least", "average_incremental_estimate") if name in record.metrics]
    values = [[METRICS.get(m, m), number(record.metrics[m])] for m in dict.fromkeys(shown)]
    values += [[METRICS[m], text] for m, text in _further(record).items()]
    out.print()
    out.print(table("", ["metric", "value"], values, numbers_from=1))
    out.print()
    if record.stability is not None:
        title = f"in the middle of trainings, every {spec.eval_every} steps: {headline}"
        values = [[m, number(v)] for m, v in record.stability[headline].items()]
        out.print(table(title, ["metric", "value"], values, numbers_from=1))
    passes = f"{record.compute.passes:,.0f} passes · " if record.compute else ""
    say(
        f"preset {spec.preset} · seed {spec.seed} · {passes}"
        f"{record.seconds.total:.0f} s on {record.environment.device_name} · "
        f"stored {record.memory.samples[-1]} samples ({record.memory.bytes[-1] / 1e6:.1f} MB)"
    )
    if spec.tuned:
        say(f"tuned: {', '.join(spec.tuned)}")
    out.print(f"record: {record.path}")
