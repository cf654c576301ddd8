"""``dfbench sweep``: many runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfbench.cli.examples import examples
from dfbench.cli.sweep_plan import Settings, Sweep, end_plan, left_out, print_lines, say_plan

if TYPE_CHECKING:
    from dfbench.plugins import Registry
    from dfbench.runs.sweep.driver import Result
    from dfbench.runs.sweep.engine import Engine
    from dfbench.runs.sweep.estimate import Cost
    from dfbench.runs.sweep.grid import Grid

LEADERBOARD = Path("leaderboard") / "results"
FOLDER = click.Path(path_type=Path)


@click.command(
    "sweep",
    epilog=examples(
        "dfbench sweep grid.yaml --plan",
        "dfbench sweep grid.yaml --workers 4",
        "dfbench sweep grid.yaml --choose average_auc",
        "dfbench sweep grid.yaml --engine ray --address auto --gpus 0.5",
        "dfbench sweep grid.yaml --sbatch",
    ),
)
@click.argument("grid", type=FOLDER)
@click.option("--out", default=Path("runs"), show_default=True, type=FOLDER, help="Folder of runs.")
@click.option("--plan", is_flag=True, help="Say what would be run and what it costs, and run nothing.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Processes of this machine, or tasks of Ray.")  # fmt: skip
@click.option("--address", metavar="ADDRESS", help="Of a running Ray cluster (auto, HOST:PORT).  [default: "
              "$RAY_ADDRESS, else a Ray of this machine is started]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), metavar="N",
              help="Runs at once on this machine.  [default: what cores, GPUs and memory allow]")  # fmt: skip
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), metavar="N", help="Cores of each run.")
@click.option("--gpus", default=0.0, show_default=True, type=click.FloatRange(0), metavar="N",
              help="GPUs of each run; 0.5: two runs share one.")  # fmt: skip
@click.option("--memory", default=0.0, type=click.FloatRange(0), metavar="GB",
              help="Memory that each run is given room for.  [default: not counted]")  # fmt: skip
@click.option("--retries", default=2, show_default=True, type=click.IntRange(0), metavar="N",
              help="How often a run is tried again that was killed, lost its node or failed unexpectedly.")  # fmt: skip
@click.option("--data-root", envvar="DFBENCH_DATA", type=FOLDER, show_envvar=True,
              help="Folder that holds the data sets, each under its source's name.")  # fmt: skip
@click.option("--no-timing", is_flag=True, help="Do not time first steps where no record says what a run costs.")
@click.option("--choose", metavar="METRIC", help="Score validation splits alone, and write the options that are best "
              "by the mean over seeds into a file for --options-from.")  # fmt: skip
@click.option("--to", "target", type=FOLDER, metavar="FILE", help="That file.  [default: OUT/NAME-chosen.json]")
@click.option(
    "--board", type=FOLDER, metavar="FOLDER", help="At the end put the runs on the leaderboard in this folder."
)
@click.option(
    "--print-commands", is_flag=True, help="Print the runs that are left as lines for a shell, and run nothing."
)
@click.option("--sbatch", is_flag=True, help="Print them as the script of a SLURM array, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    grid: Path, plan: bool, choose: str | None, target: Path | None, board: Path | None, print_commands: bool,
    sbatch: bool, as_json: bool, **typed: Any,
) -> None:  # fmt: skip
    """Run every combination that GRID.yaml names, and compare them.

    What is done already is skipped, and each run is a plain 'dfbench eval' in a process of its own. The same command
    goes on after Ctrl-C or kill -9. Exit code 1 where runs failed; the others are finished then.
    """
    from dfbench.errors import DfbenchError, UsageError
    from dfbench.runs.sweep.grid import GridFaults, read_grid

    settings = Settings(**typed)
    if target is not None and choose is None:
        raise UsageError("--to goes with --choose")
    if choose is not None and board is not None:
        raise UsageError("--board is for runs scored on test splits, which --choose never looks at")
    if plan + print_commands + sbatch > 1:
        raise UsageError("--plan, --print-commands and --sbatch: give one of them")
    if settings.gpus > 1 and settings.gpus != int(settings.gpus):
        raise UsageError(f"--gpus {settings.gpus:g}: above 1, whole GPUs")
    try:
        read = read_grid(grid)
        with contextlib.redirect_stdout(sys.stderr):  # what detectors print is not a result
            sweep = _prepared(read, grid, settings, choose)
    except GridFaults as error:
        if len(error.faults) > 1:
            for fault in error.faults:
                click.echo(fault, err=True)
        raise
    if print_commands or sbatch:
        print_lines(sweep, settings, sbatch)
        return
    with contextlib.ExitStack() as stack:
        if not plan:
            stack.callback(sweep.folders.lock().release)
            sweep.found.update(sweep.folders.settle({job.key: job for job in sweep.jobs}))
        engine, costs = _started(sweep, settings, plan)
        sweep.costs.update(costs)
        say_plan(sweep, settings, engine.slots if engine else 1, err=not plan or as_json)
        if plan:
            if engine is not None:
                engine.stop()  # what nodes have begun stays there
            end_plan(sweep, as_json)
            return
        result = _driven(sweep, settings, engine)
    _show_end(sweep, result, choose, target, board, as_json)
    if result.failed:
        labels = {job.key: job.label for job in sweep.jobs}
        first, outcome = next(iter(result.failed.items()))
        more = f" (and {len(result.failed) - 1} more)" if len(result.failed) > 1 else ""
        raise DfbenchError(f"{labels[first]}: {outcome.message}{more}; the same command tries again")


def _prepared(grid: Grid, path: Path, settings: Settings, choose: str | None) -> Sweep:
    """The grid expanded, each stream opened once, and what is done found."""
    from dfbench.cli.progress import watching
    from dfbench.errors import UsageError
    from dfbench.plugins import registry
    from dfbench.publish.zoo.initial import find_initial
    from dfbench.records.choice import check_metric
    from dfbench.runs.sweep.estimate import from_records, seen
    from dfbench.runs.sweep.expand import Fixed, expand
    from dfbench.runs.sweep.folders import Folders
    from dfbench.runs.sweep.plan import make_plan

    split, skip = grid.split or "test", tuple(grid.skip_tests)
    if choose is not None:
        check_metric(choose)
        if grid.split == "test":
            raise UsageError(f"{path}: split: test; --choose looks at validation splits alone: leave the line out")
        if grid.options_from is not None:
            raise UsageError(f"{path}: options_from: these options are chosen already; leave out --choose")
        split, skip = "val", ("all",)
    with watching() as watcher:
        known, folders = registry(), Folders(settings.out)
        fixed = Fixed(_device(settings), split, settings.data_root, skip)
        expansion = expand(grid, path, known, fixed, lambda name: find_initial(name, known, [settings.out]))
        chosen = None if grid.options_from is None else path.parent / grid.options_from
        plan = make_plan(expansion.points, path, known, chosen, watcher)
        if not plan.jobs:
            raise UsageError(f"{path}: no run is left of this grid")
        for notice in expansion.notices:
            watcher.notice(notice)
        if plan.twice:
            watcher.notice(f"{plan.twice} combinations come to the same run as another one, and are run once")
        found = folders.state({job.key: job for job in plan.jobs})
        places = [settings.out, LEADERBOARD]
        left = [job for job in plan.jobs if not (job.key in found and found[job.key].finished)]
        read = seen(places, left, fixed.device.type, settings.threads, validation=choose is not None)
        costs = from_records(plan.jobs, read)
    return Sweep(grid, plan.jobs, found, costs, folders, expansion)


def _device(settings: Settings) -> Any:
    """CUDA where runs get GPUs, else the CPU: other machines may have other ones than this."""
    import torch

    return torch.device("cuda" if settings.gpus else "cpu")


def _started(sweep: Sweep, settings: Settings, plan: bool) -> tuple[Engine | None, dict[str, Cost]]:
    """The engine, and the costs with timed first steps; no engine where nothing is left to do."""
    from dfbench.cli.progress import counting
    from dfbench.runs.sweep.estimate import to_time, with_timings
    from dfbench.runs.sweep.local import LocalEngine, visible_cards
    from dfbench.runs.sweep.ray_engine import RayEngine

    jobs = [] if settings.no_timing else to_time(sweep.left, sweep.costs)
    if not sweep.left:
        return None, {}
    folders = sweep.folders
    engine: Engine
    if settings.engine == "ray":
        engine = RayEngine(folders, settings.needs, settings.data_root, settings.workers, settings.address,
                           settings.retries)  # fmt: skip
    else:
        cards = visible_cards() if settings.gpus else []
        engine = LocalEngine(folders, settings.needs, settings.data_root, settings.workers, cards)
    if not jobs:
        return engine, {}
    with counting(f"timing the first steps of {len(jobs)} runs"):
        timed = engine.measure(jobs)
    return engine, with_timings(sweep.jobs, sweep.costs, timed)


def _driven(sweep: Sweep, settings: Settings, engine: Engine | None) -> Result:
    from dfbench.cli.sweep_view import following
    from dfbench.errors import Interrupted
    from dfbench.runs.sweep.driver import Driver, Result

    if engine is None:
        return Result({key: each.path for key, each in sweep.found.items() if each.finished})
    with following(sweep.jobs, sweep.found, sweep.costs, engine.slots) as view:
        driver = Driver(sweep.jobs, sweep.found, sweep.folders, engine, settings.retries, view)
        try:
            return driver.run()
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the same command goes on from the last finished experiences") from None


def _show_end(
    sweep: Sweep, result: Result, choose: str | None, target: Path | None, board: Path | None, as_json: bool
) -> None:  # fmt: skip
    from dfbench.cli.output import print_json
    from dfbench.cli.sweep_end import chosen_document, compared, put_on_board, show, show_choice
    from dfbench.plugins import registry

    known: Registry = registry()
    labels = {job.key: job.label for job in sweep.jobs}
    document: dict[str, Any] = {
        "name": sweep.grid.name,
        "runs": [{"run": labels[k], "record": str(path / "record.json")} for k, path in result.done.items()],
        "new": result.new,
        "failed": [{"run": labels[k], "code": o.code, "error": o.message} for k, o in result.failed.items()],
        "left_out": [
            *left_out(sweep),
            *({"run": labels[k], "reason": o.message} for k, o in result.impossible.items()),
        ],
    }
    if choose is not None:
        jobs = [job for job in sweep.jobs if job.key not in result.impossible]
        if result.failed and not as_json:
            return  # the error that follows says what is missing
        if not result.failed:
            from dfbench.runs.sweep.choose import choose as pick

            file = pick(sweep.grid.name, choose, jobs, result.done)
            place = target or sweep.folders.out / f"{sweep.grid.name}-chosen.json"
            written = chosen_document(file, place)
            document["chosen"] = written
            if not as_json:
                show_choice(file, place)
    else:
        records: Sequence[Any] = compared(result.done.values())
        pages = put_on_board([*result.done.values()], board, known) if board is not None and not result.failed else []
        document["pages"] = [str(path) for path in pages]
        if not as_json:
            show(records, pages)
    if as_json:
        print_json(document)
