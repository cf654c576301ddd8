"""A row of the leaderboard: what was run but for the seed, with the figures that its seeds have in common."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from dfbench.evaluation.further import mean_of
from dfbench.evaluation.significance import Comparison, Estimate, Sample, SeedVariance, estimate
from dfbench.evaluation.uncertainty import decode
from dfbench.records.parts import CARRIED
from dfbench.records.record import STATUSES, Record, Status
from dfbench.records.seeds import mean_and_spread

Mark = Literal["best", "tied", "worse"]


class Group(NamedTuple):
    """What rows have in common that are compared with one another."""

    detector: str
    preset: str
    memory: int
    """Samples that may be stored: the stream's budget, or what was stored where that is more."""
    over_budget: bool
    """More was stored than the stream allows."""
    start: str = ""
    """Eight digits of the checkpoint that it started from; empty where the detector built the weights."""


class Change(NamedTuple):
    """A figure that is read against another one."""

    before: float | None
    """What it is read against, mean over seeds."""
    mean: float | None
    spread: float | None
    """Over seeds; None for one."""
    seeds: int
    """How many runs it is of; earlier ones may not have been tested."""


@dataclass(frozen=True)
class BoardRow:
    """Runs that differ in their seed alone."""

    records: tuple[Record, ...]
    """By seed."""
    options: tuple[str, ...] = ()
    """What distinguishes it from other rows of the same detector, preset and strategy."""
    seeds: SeedVariance | None = None
    """Its own, moderated by the continual rows of its detector and preset, else of its table."""
    mark: Mark | None = None
    """Within its group. None: not compared (a bound, no replicates, or the only row of its group)."""
    against_best: Comparison | None = None
    p: float | None = None
    """Of the comparison with the best row of its group, corrected for the number of rows (Holm)."""

    @property
    def first(self) -> Record:
        """The record of the lowest seed."""
        return self.records[0]

    @cached_property
    def id(self) -> str:
        """Ten hexadecimal digits that depend on the spec without its seed alone, whatever else is on the board."""
        return self.first.spec.row_id

    @cached_property
    def sample(self) -> Sample | None:
        """The headline average of each seed, with its replicates; None where it is undefined in one of them."""
        values = [r.average for r in self.records]
        known = [v for v in values if v is not None]
        drawn = [decode(r.uncertainty.replicates) for r in self.records]
        return Sample(known, drawn, self.seeds) if len(known) == len(values) else None

    @cached_property
    def average(self) -> Estimate | None:
        """The headline average with its interval."""
        return estimate(self.sample) if self.sample is not None else None

    def metric(self, name: str) -> tuple[float | None, float | None]:
        """(mean, spread over seeds) of a metric; the spread is None for one seed.

        Of carried thresholds the runs count that have them: earlier ones may have none.
        """
        runs = [r for r in self.records if r.operating is not None] if name in CARRIED else self.records
        return mean_and_spread([r.metrics.get(name) for r in runs])

    @cached_property
    def unseen(self) -> list[str]:
        """The sets that its runs were tested on and never trained on; none where they differ."""
        tested = self._tested_unseen
        return [each.name for each in tested[0].data.unseen] if tested else []

    @cached_property
    def _tested_unseen(self) -> list[Record]:
        """Its runs that have unseen sets (earlier ones may have none); none where these differ."""
        having = [r for r in self.records if r.data.unseen]
        return having if all(r.data.unseen == having[0].data.unseen for r in having) else []

    @cached_property
    def generalisation(self) -> Change | None:
        """The headline metric on the unseen sets, before any training and after the last."""
        tested = self._tested_unseen
        if not tested:
            return None
        before = [r.generalisation.untrained[r.headline] for r in tested if r.generalisation]
        return _change("generalisation", [mean_of(values) for values in before], tested)

    @cached_property
    def robustness(self) -> Change | None:
        """The headline metric on the same samples undegraded, and degraded; None where runs differ in the copies."""
        tested = [r for r in self.records if r.data.perturbed]
        if not tested or any(r.data.perturbed != tested[0].data.perturbed for r in tested):
            return None
        return _change("robustness", [r.robustness.clean[r.headline] for r in tested if r.robustness], tested)

    @cached_property
    def bound(self) -> bool:
        """It saw all data, at once or repeatedly, or trained nothing: a reference line, not a continual method."""
        return self.baseline or any(r.sees_everything for r in self.records)

    @cached_property
    def baseline(self) -> bool:
        """It trained nothing: weights that were scored as they are."""
        return any(not r.trained for r in self.records)

    @property
    def has_seen_stream(self) -> bool:
        """It started from weights that were trained on this very stream, as far as stated."""
        return any(r.has_seen_stream for r in self.records)

    @cached_property
    def kind(self) -> tuple[str, str]:
        """Detector and preset."""
        return self.first.spec.detector, self.first.spec.preset

    @cached_property
    def group(self) -> Group:
        """The rows that it is compared with: of one detector and preset, under one memory budget, from one start."""
        spec, stored = self.first.spec, max(r.memory.samples[-1] for r in self.records)
        start = "" if spec.init is None else spec.init.sha256[:8]
        return Group(spec.detector, spec.preset, max(spec.memory, stored), stored > spec.memory, start)

    @property
    def status(self) -> Status:
        """That of the least verified of its runs."""
        return min((r.status for r in self.records), key=STATUSES.index)

    @property
    def notes(self) -> list[str]:
        """What a reader should know of its data, and of the weights that it started from."""
        return list(dict.fromkeys(note for r in self.records for note in r.notes))

    @property
    def allowed_leaks(self) -> list[str]:
        """Leaks and wrong labels of the data that its runs were allowed to have."""
        return list(dict.fromkeys(line for r in self.records for line in r.data.allowed_leaks))

    @cached_property
    def times(self) -> dict[str, float]:
        """Seconds of training and scoring, mean over the seeds of each (processor or device, threads)."""
        found: dict[str, list[float]] = {}
        for record in self.records:
            where = record.environment
            name = where.device_name or where.processor or where.device
            threads = f", {where.threads} thread{'s' * (where.threads != 1)}" if where.threads else ""
            found.setdefault(name + threads, []).append(record.seconds.total)
        return {machine: statistics.fmean(values) for machine, values in sorted(found.items())}

    @property
    def seconds(self) -> float | None:
        """Mean over seeds, training and scoring together; None where they ran on different processors or threads."""
        times = self.times
        return next(iter(times.values())) if len(times) == 1 else None

    @property
    def steps(self) -> float:
        """Optimizer steps, mean over seeds."""
        return statistics.fmean(sum(r.steps) for r in self.records)

    @cached_property
    def passes(self) -> float | None:
        """Passes of training, mean over the seeds that counted them; None where none did.

        They follow from the settings and the stream; a strategy that draws what it computes may add a few per seed.
        """
        counted = [r.compute.passes for r in self.records if r.compute]
        return statistics.fmean(counted) if counted else None

    @cached_property
    def stored(self) -> tuple[float, float, float]:
        """(samples, bytes of them, bytes of other state) held after the last training."""
        return (
            statistics.fmean(r.memory.samples[-1] for r in self.records),
            statistics.fmean(r.memory.bytes[-1] for r in self.records),
            statistics.fmean(r.memory.state_bytes for r in self.records),
        )

    @property
    def held_bytes(self) -> float:
        """All that the strategy keeps between trainings: stored samples, and state such as a teacher's weights."""
        return self.stored[1] + self.stored[2]

    @property
    def unit(self) -> str:
        """What its intervals draw: identity, video or sample; the least known of its runs."""
        return max((r.uncertainty.unit for r in self.records), key=("identity", "video", "sample").index)

    @property
    def devices(self) -> list[str]:
        """Names of the devices it ran on."""
        return sorted({r.environment.device_name or r.environment.device for r in self.records})


def _change(name: str, before: Sequence[float | None], tested: Sequence[Record]) -> Change:
    after = mean_and_spread([record.metrics.get(name) for record in tested])
    return Change(mean_and_spread(before)[0], *after, len(tested))
