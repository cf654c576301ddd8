"""The runs of a recipe: ordinary runs, one after another, those that are finished already left as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench.errors import DataError
from dfbench.plugins import Registry
from dfbench.publish.reproduction.recipe import Recipe, as_options
from dfbench.records.record import Record
from dfbench.runs.prepare import Request, prepare
from dfbench.runs.runner import run
from dfbench.runs.storage import RunFolder

if TYPE_CHECKING:
    from dfbench.runs.events import Listener

Begin = Callable[[str, int, int], None]
"""(which run, its number from 1, how many there are): called before each run."""


@dataclass(frozen=True)
class RunSettings:
    """What decides where runs go and on what they run, and nothing of their result."""

    out: Path
    device: str = "auto"
    data_root: Path | None = None


@dataclass(frozen=True)
class Job:
    """One run."""

    label: str
    """The row that it is of, for people."""
    request: Request
    columns: int
    """How many experiences its benchmark must have."""

    @property
    def kind(self) -> tuple[str | None, str, tuple[str, ...]]:
        """Equal for jobs that differ in the seed alone."""
        return self.request.benchmark, self.request.strategy, tuple(sorted(self.request.settings))


def jobs_of(recipe: Recipe, seeds: Iterable[int], settings: RunSettings) -> dict[tuple[str, str], list[Job]]:
    """(table, row) → a job for each seed."""
    result: dict[tuple[str, str], list[Job]] = {}
    seeds = list(dict.fromkeys(seeds))
    for table in recipe.tables:
        for row in table.rows:
            requests = [
                Request(
                    recipe.detector,
                    row.strategy,
                    recipe.stream(row),
                    preset=recipe.preset,
                    settings=as_options(recipe.settings_of(row)),
                    seed=seed,
                    device=settings.device,
                    out=settings.out,
                    data_root=settings.data_root,
                )
                for seed in seeds
            ]
            result[table.key, row.name] = [Job(row.name, request, len(row.reported)) for request in requests]
    return result


def execute(jobs: Iterable[Job], registry: Registry, listener: Listener, begin: Begin) -> dict[object, Record]:
    """Run what is not finished, by seed, so that a first table is there early.

    Everything is looked up and checked before anything is trained. Jobs that are the same training run once.

    Args:
        jobs: What to run.
        registry: Where the names are looked up.
        listener: Listens to every run.
        begin: Called before each run.

    Returns:
        The record of each job, by its kind and seed.

    Raises:
        DataError: A benchmark has another number of experiences than its row has figures.
        DfbenchError: As :func:`dfbench.runs.runner.run`.
    """
    order = sorted({(job.kind, job.request.seed): job for job in jobs}.items(), key=lambda item: item[0][1])
    done: dict[object, Record] = {}
    specs, code = {}, {}
    for job in {job.kind: job for _, job in order}.values():
        prepared = prepare(job.request, registry, listener)
        if (size := len(prepared.stream.experiences)) != job.columns:
            raise DataError(
                f"{job.label}: {prepared.stream.name} has {size} experiences, and there are {job.columns} "
                "published columns"
            )
        specs[job.kind], code[job.kind] = prepared.spec, prepared.code
    for key, job in order:
        spec = specs[job.kind].model_copy(update={"seed": job.request.seed})
        if (record := RunFolder(job.request.out, spec, code[job.kind]).record()) is not None:
            done[key] = record
    for key, job in order:
        if key not in done:
            begin(f"{job.label}, seed {job.request.seed}", len(done) + 1, len(order))
            done[key] = run(job.request, registry, listener)
    return done


def reproduce(
    recipe: Recipe, seeds: Sequence[int], settings: RunSettings, registry: Registry, listener: Listener, begin: Begin
) -> dict[tuple[str, str], dict[int, Record]]:
    """All runs of the recipe: (table, row) → seed → record."""
    wanted = jobs_of(recipe, seeds, settings)
    records = execute((job for jobs in wanted.values() for job in jobs), registry, listener, begin)
    return {
        key: {job.request.seed: records[job.kind, job.request.seed] for job in jobs} for key, jobs in wanted.items()
    }
