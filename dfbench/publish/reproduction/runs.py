"""The runs of a recipe: ordinary runs, one after another, those that are finished already left as they are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dfbench.errors import DataError
from dfbench.plugins import Registry
from dfbench.publish.reproduction.recipe import Choice, Recipe, Row, Settings, as_options
from dfbench.publish.reproduction.result import after_each
from dfbench.runs.report import Reporter
from dfbench.runs.runner import Request, prepare, run
from dfbench.runs.storage import RunFolder


@dataclass(frozen=True)
class Where:
    """What decides where runs go and on what they run, and nothing of their result."""

    out: Path
    device: str = "auto"
    data_root: Path | None = None


@dataclass(frozen=True)
class Job:
    """One run.

    :ivar label: what it is, for people
    :ivar kind: equal for jobs that differ in the seed alone
    :ivar columns: how many experiences its benchmark must have
    """

    label: str
    kind: tuple[Any, ...]
    request: Request
    columns: int

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.request.seed

    @property
    def id(self) -> tuple[Any, int]:
        """Equal for jobs that are one and the same run."""
        return self.kind, self.seed


@dataclass
class Plan:
    """All jobs, and what is known of their costs.

    :ivar seconds: of each finished job, by its number
    """

    jobs: Sequence[Job]
    seconds: dict[int, float]

    def expected(self, job: Job) -> float | None:
        """Seconds of a job: as long as the same with other seeds, else as long as any; None before the first."""
        known = self._alike(job) or list(self.seconds.values())
        return statistics.fmean(known) if known else None

    def left(self, number: int, elapsed: float, fraction: float) -> float | None:
        """Seconds until all is done, ``elapsed`` seconds into job ``number``, ``fraction`` of which they have done."""
        job = self.jobs[number]
        now = self.expected(job)
        if not self._alike(job) and fraction > 0.05:  # what it shows of itself says more than other kinds do
            now = elapsed / fraction
        if now is None:
            return None
        later = [n for n in range(len(self.jobs)) if n not in self.seconds and n != number]
        return max(now - elapsed, 0) + sum(self.expected(self.jobs[n]) or now for n in later)

    def _alike(self, job: Job) -> list[float]:
        return [seconds for n, seconds in self.seconds.items() if self.jobs[n].kind == job.kind]


Watch = Callable[[Plan, int], Reporter]
"""Told that job number … of a plan begins; gives who is told of the run itself."""


def jobs_of(recipe: Recipe, seeds: Iterable[int], where: Where) -> dict[tuple[str, str], list[Job]]:
    """(table, row) → a job for each seed. Rows that are the same training share their jobs."""
    result: dict[tuple[str, str], list[Job]] = {}
    seeds = list(dict.fromkeys(seeds))
    for table in recipe.tables:
        for row in table.rows:
            settings = recipe.settings_of(row)
            result[table.key, row.name] = [_job(recipe, row, row.name, settings, seed, "test", where) for seed in seeds]
    return result


def choice_jobs(recipe: Recipe, choice: Choice, where: Where) -> list[tuple[Settings, list[Job]]]:
    """Each combination of the grid with a job for each seed, scored on the validation split."""
    found = []
    for combination in choice.combinations:
        settings = recipe.settings_of(choice, combination)
        label = " ".join(as_options(combination))
        found.append(
            (combination, [_job(recipe, choice, label, settings, seed, "val", where) for seed in choice.seeds])
        )
    return found


def _job(
    recipe: Recipe, what: Row | Choice, label: str, settings: Settings, seed: int, split: Literal["test", "val"],
    where: Where,
) -> Job:  # fmt: skip
    request = Request(
        recipe.detector,
        what.strategy,
        recipe.place(what.benchmark),
        preset=recipe.preset,
        settings=as_options(settings),
        seed=seed,
        split=split,
        device=where.device,
        out=where.out,
        data_root=where.data_root,
    )
    columns = len(what.targets if isinstance(what, Choice) else what.reported)
    return Job(label, (request.benchmark, request.strategy, tuple(sorted(request.settings))), request, columns)


def execute(
    jobs: Iterable[Job], registry: Registry, reporter: Reporter, watch: Watch
) -> dict[tuple[Any, int], dict[str, Any]]:
    """Run what is not finished, by seed, so that a first table is there early.

    Everything is looked up and checked before anything is trained.

    :param reporter: told while things are looked up
    :return: the record of each job, by its ``id``
    :raise DataError: a benchmark has another number of experiences than its row has figures
    :raise DfbenchError: as :func:`dfbench.runs.runner.run`
    """
    order = sorted({job.id: job for job in jobs}.values(), key=lambda job: job.seed)
    done: dict[tuple[Any, int], dict[str, Any]] = {}
    for kind in dict.fromkeys(job.kind for job in order):
        alike = [job for job in order if job.kind == kind]
        prepared = prepare(alike[0].request, registry, reporter)
        if (size := len(prepared.stream.experiences)) != alike[0].columns:
            raise DataError(
                f"{alike[0].label}: {prepared.stream.name} has {size} experiences, and there are {alike[0].columns} "
                "published columns"
            )
        for job in alike:
            folder = RunFolder(job.request.out, prepared.spec.model_copy(update={"seed": job.seed}))
            if (record := folder.record()) is not None:
                done[job.id] = {**record, "path": str(folder.path / "record.json")}
    plan = Plan(order, {n: _seconds(done[job.id]) for n, job in enumerate(order) if job.id in done})
    for number, job in enumerate(order):
        if job.id not in done:
            done[job.id] = run(job.request, registry, watch(plan, number))
            plan.seconds[number] = _seconds(done[job.id])
    return done


def reproduce(
    recipe: Recipe, seeds: Sequence[int], where: Where, registry: Registry, reporter: Reporter, watch: Watch
) -> dict[tuple[str, str], dict[int, dict[str, Any]]]:
    """All runs of the recipe: (table, row) → seed → record."""
    wanted = jobs_of(recipe, seeds, where)
    records = execute((job for jobs in wanted.values() for job in jobs), registry, reporter, watch)
    return {key: {job.seed: records[job.id] for job in jobs} for key, jobs in wanted.items()}


def _seconds(record: dict[str, Any]) -> float:
    return float(record["seconds"]["total"])


@dataclass(frozen=True)
class Tried:
    """A combination of the grid on the validation pictures.

    :ivar values: after each experience, mean over seeds, in percent
    :ivar distance: mean distance to the targets, in points
    """

    settings: Settings
    values: list[float]
    distance: float
    chosen: bool = False


def choose(
    recipe: Recipe, choice: Choice, where: Where, registry: Registry, reporter: Reporter, watch: Watch
) -> list[Tried]:
    """Run the grid; the combination with the smallest distance is chosen, of equal ones the first."""
    wanted = choice_jobs(recipe, choice, where)
    records = execute((job for _, jobs in wanted for job in jobs), registry, reporter, watch)
    tried = []
    for settings, jobs in wanted:
        seeds = [after_each(records[job.id]) for job in jobs]
        values = [statistics.fmean(each) for each in zip(*seeds, strict=True)]
        distance = statistics.fmean(
            abs(value - target) for each in seeds for value, target in zip(each, choice.targets, strict=True)
        )
        tried.append(Tried(settings, values, distance))
    best = min(range(len(tried)), key=lambda n: tried[n].distance)
    return [replace(each, chosen=n == best) for n, each in enumerate(tried)]
