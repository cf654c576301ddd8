"""What a sweep is going to do: its plan and its cost, and the same as lines for a shell or a script for SLURM."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dfbench.runs.sweep.engine import Needs
    from dfbench.runs.sweep.estimate import Cost
    from dfbench.runs.sweep.expand import Expansion
    from dfbench.runs.sweep.folders import Folders, Found
    from dfbench.runs.sweep.grid import Grid
    from dfbench.runs.sweep.plan import Job


@dataclass(frozen=True)
class Settings:
    """What was typed, but for the grid."""

    out: Path
    engine: str
    address: str | None
    workers: int | None
    threads: int
    gpus: float
    memory: float
    retries: int
    data_root: Path | None
    no_timing: bool

    @property
    def needs(self) -> Needs:
        """Of one run."""
        from dfbench.runs.sweep.engine import Needs

        return Needs(self.threads, self.gpus, self.memory)


@dataclass(frozen=True)
class Sweep:
    """A grid, with what there is of it and what is left."""

    grid: Grid
    jobs: list[Job]
    found: dict[str, Found]
    costs: dict[str, Cost]
    folders: Folders
    expansion: Expansion

    @property
    def left(self) -> list[Job]:
        """The runs that are not finished."""
        return [job for job in self.jobs if not (job.key in self.found and self.found[job.key].finished)]


def say_plan(sweep: Sweep, settings: Settings, slots: int, err: bool) -> None:
    """How many runs there are, what is done, what is left out, and what the rest costs."""
    from dfbench.records.text import seconds
    from dfbench.runs.sweep.estimate import total
    from dfbench.runs.sweep.expand import pairs

    left, expansion = sweep.left, sweep.expansion
    for line in pairs(expansion):
        click.echo(line, err=err)
    excluded = f", {expansion.excluded} excluded" if expansion.excluded else ""
    click.echo(f"{sweep.grid.name}: {len(sweep.jobs)} runs{excluded}; {len(sweep.jobs) - len(left)} done, "
               f"{len(left)} left", err=err)  # fmt: skip
    if not left:
        return
    cost = total(left, sweep.costs)
    known = cost.runs - cost.unknown
    if known:
        side = f", about {seconds(cost.seconds / min(slots, known))} on {slots} workers" if slots > 1 else ""
        click.echo(f"cost: about {seconds(cost.seconds)} of one worker{side}; from {cost.words}", err=err)
    else:
        click.echo("cost: not known; no record is of a like run", err=err)


def end_plan(sweep: Sweep, as_json: bool) -> None:
    """A line for each detector, strategy and benchmark, or all runs as JSON."""
    from dfbench.cli.output import console, print_json, table
    from dfbench.records.text import NONE, seconds
    from dfbench.runs.sweep.estimate import WORDS, total

    left = {job.key for job in sweep.left}
    if as_json:
        runs = [{"run": job.label, "key": job.key, "done": job.key not in left, "cost": asdict(sweep.costs[job.key])}
                for job in sweep.jobs]  # fmt: skip
        cost = total(sweep.left, sweep.costs)
        print_json({"name": sweep.grid.name, "runs": runs, "left": len(left), "seconds": cost.seconds,
                    "unknown": cost.unknown, "left_out": left_out(sweep)})  # fmt: skip
        return
    kinds: dict[tuple[str, ...], list[Job]] = {}
    for job in sweep.jobs:
        kinds.setdefault(job.kind, []).append(job)
    rows = []
    for kind, jobs in kinds.items():
        open_ = [job for job in jobs if job.key in left]
        cost = total(open_, sweep.costs)
        basis = ", ".join(WORDS[b] for b, n in cost.bases.items() if n) or "done"
        rows.append([f"{kind[0]} {kind[1]}", kind[2], kind[3], str(len(jobs)), str(len(jobs) - len(open_)),
                     seconds(cost.seconds) if cost.seconds else NONE, basis])  # fmt: skip
    heads = ["detector", "strategy", "benchmark", "runs", "done", "cost", "from"]
    console().print(table("", heads, rows, numbers_from=3))


def left_out(sweep: Sweep) -> list[dict[str, Any]]:
    """Pairs that cannot be, as JSON holds them."""
    found = sweep.expansion.impossible.items()
    return [{"detector": d, "strategy": s, "runs": n, "reason": why} for (d, s), (n, why) in found]


def print_lines(sweep: Sweep, settings: Settings, sbatch: bool) -> None:
    """The runs that are left as lines for a shell, or as the script of a SLURM array."""
    from dfbench.runs.sweep.slurm import sbatch as script

    out, root = settings.out.absolute(), settings.data_root and settings.data_root.absolute()
    lines = [job.line(out, root, settings.threads) for job in sweep.left]
    say_plan(sweep, settings, 1, err=True)
    if not sbatch:
        for line in lines:
            click.echo(line)
        return
    if not lines:
        return
    longest = max(sweep.costs[job.key].seconds for job in sweep.left)
    sweep.folders.logs.mkdir(parents=True, exist_ok=True)  # SLURM does not make it
    click.echo(script(sweep.grid.name, lines, settings.needs, sweep.folders.logs.absolute(), longest), nl=False)
