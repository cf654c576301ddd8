"""Options that were chosen on validation data: the file that ``dfbench sweep --choose`` writes, and later runs name.

The file holds every candidate with its spec, its seeds and their values, so that the choice can be made again from it.
Test scores have no place in it: a run that scored anything but the validation split makes it invalid.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from dfbench.documents import load_json
from dfbench.errors import DataError, UsageError, first_problem, unknown
from dfbench.records import outside
from dfbench.records.command import all_settings
from dfbench.records.parts import ChosenFrom, Count, Figure, Name, Part, Sha256
from dfbench.records.spec import FURTHER, RunSpec
from dfbench.records.text import METRICS

LOWER = frozenset({"forgetting", "forgetting_at_least", "af", "fpr_drift"})
"""Metrics of which less is better; of all others more is."""
NOT_ON_VALIDATION = frozenset({"generalisation", "robustness"})
"""Metrics of sets that a choice must not look at."""
FOLDER = "chosen"
"""The folder of a leaderboard that holds the files which its records name, each called by its digest."""
LARGEST = 64 << 20
"""Bytes of such a file; one of a thousand runs has about two million."""
_FREE = ("seed", "split", "initial_weights")
"""What a run may have otherwise than the validation runs that its options were chosen by."""


class ValidationRun(Part):
    """One run that was scored on the validation split."""

    seed: Count
    run: Name
    identity: Sha256
    """Of its spec: the candidate's with this seed."""
    value: Figure
    """Of the metric."""
    scores_sha256: Sha256


class Candidate(Part):
    """One setting of all options, in every seed."""

    spec: RunSpec
    """Of its first run."""
    runs: Annotated[list[ValidationRun], Field(min_length=1)]
    mean: Figure
    spread: Figure | None
    """Sample standard deviation over seeds; None for one."""

    @model_validator(mode="after")
    def _true(self) -> Self:
        values = [run.value for run in self.runs]
        spread = statistics.stdev(values) if len(values) > 1 else None
        if self.spec.split != "val":
            raise ValueError(f"a candidate was scored on the {self.spec.split} split; options are chosen on val alone")
        if not _close(self.mean, statistics.fmean(values)) or not _close(self.spread, spread):
            raise ValueError("a candidate's mean or spread is not that of its values")
        for run in self.runs:
            spec = self.spec.model_copy(update={"seed": run.seed})
            if (run.identity, run.run) != (spec.identity, spec.run_id):
                raise ValueError(f"{run.run}: its identity is not that of the candidate's spec with seed {run.seed}")
        return self

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return [run.seed for run in self.runs]


class Choice(Part):
    """The candidates of one detector, preset, strategy, start and benchmark, and the best of them."""

    candidates: Annotated[list[Candidate], Field(min_length=1)]
    chosen: Count
    """The best candidate's place, from 0; of equal ones the first."""

    @property
    def best(self) -> Candidate:
        """The chosen one."""
        return self.candidates[self.chosen]

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        first = self.candidates[0]
        for each in self.candidates:
            if subject(each.spec) != subject(first.spec):
                raise ValueError("candidates of one choice are of different detectors, strategies or data")
            if each.seeds != first.seeds or len(set(each.seeds)) < len(each.seeds):
                raise ValueError("candidates of one choice have different seeds")
        if self.chosen >= len(self.candidates):
            raise ValueError(f"chosen: {self.chosen} of {len(self.candidates)} candidates")
        return self


class ChoiceFile(Part):
    """A whole file."""

    schema_version: Literal[1] = Field(1, alias="schema")
    name: Name
    """Of the grid."""
    metric: Name
    better: Literal["higher", "lower"]
    choices: Annotated[list[Choice], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _harmless(cls, value: Any) -> Any:
        if problem := outside.value_problem(value):
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _best(self) -> Self:
        if self.better != better(self.metric):
            raise ValueError(f"{self.metric}: {better(self.metric)} is better")
        for choice in self.choices:
            means = [candidate.mean for candidate in choice.candidates]
            if choice.chosen != best_of(means, self.metric):
                raise ValueError(f"the chosen candidate of {' '.join(named(choice.best.spec))} is not the best one")
        return self

    def content(self) -> bytes:
        """The file's bytes; the same for the same runs, whenever it is written."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, allow_nan=False).encode()

    def evidence(self, spec: RunSpec) -> Candidate | None:
        """The chosen candidate that has a spec's options, on its data; None where none has."""
        return next((c.best for c in self.choices if not differing(c.best.spec, spec)), None)


@dataclass(frozen=True)
class Chosen:
    """What a file chose for one detector, strategy and benchmark: all options of a run."""

    file: ChosenFrom
    content: bytes
    spec: RunSpec
    """Of the first validation run of the chosen candidate."""

    @property
    def settings(self) -> list[str]:
        """Every option as ``--set`` takes it."""
        return all_settings(self.spec)

    @property
    def preset(self) -> str:
        """Of the detector."""
        return self.spec.preset

    def check(self, spec: RunSpec) -> None:
        """Refuse a run that the file says nothing about.

        Raises:
            DataError: It is on other data, or has other options.
        """
        if found := differing(self.spec, spec):
            if "data_fingerprint" in found:
                raise DataError(f"{self.file.name}: options were chosen on other data than those of {spec.benchmark}")
            raise DataError(f"{self.file.name}: the run differs from what was chosen in {', '.join(found)}")


def better(metric: str) -> Literal["higher", "lower"]:
    """Which values of a metric are the good ones."""
    return "lower" if metric in LOWER else "higher"


def best_of(means: Sequence[float], metric: str) -> int:
    """The place of the best mean; of equal ones the first."""
    sign = -1.0 if metric in LOWER else 1.0
    return max(range(len(means)), key=lambda i: (sign * means[i], -i))


def check_metric(metric: str) -> None:
    """Refuse a metric that no validation run has.

    Raises:
        UsageError: It is unknown, or of sets that a choice must not look at.
    """
    if metric in NOT_ON_VALIDATION:
        raise UsageError(f"--choose {metric}: those sets are never looked at when options are chosen; take another")
    plain = {name for name in METRICS if name not in ("auc", "video_auc", "accuracy")} - NOT_ON_VALIDATION
    if metric not in plain:
        raise unknown("metric", metric, plain)


def subject(spec: RunSpec) -> tuple[str, ...]:
    """What options are chosen for, each for itself: detector, preset, strategy, benchmark, data, start."""
    start = "" if spec.init is None else spec.init.sha256
    return (spec.detector, spec.preset, spec.strategy, spec.benchmark, spec.data_fingerprint, start)


def named(spec: RunSpec) -> tuple[str, str, str, str]:
    """The same for people."""
    return spec.detector, spec.preset, spec.strategy, spec.benchmark


def differing(chosen: RunSpec, spec: RunSpec) -> list[str]:
    """Fields that decide weights, seed and scored split aside, in which a run differs from what was chosen."""
    theirs, ours = chosen.training, spec.training
    names = sorted(({*theirs} | {*ours}) - {*_FREE, *FURTHER})
    return [name for name in names if theirs.get(name) != ours.get(name)]


def read_choice(path: Path) -> tuple[ChoiceFile, bytes]:
    """A file, checked, and its bytes.

    Raises:
        DataError: It cannot be read, breaks the schema, or its choice does not follow from its values.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}: more than {LARGEST} bytes are no file of chosen options")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return parse_choice(content, path), content


def chosen_path(board: Path, about: ChosenFrom) -> Path:
    """Where a leaderboard keeps the file that a record names."""
    return board / FOLDER / f"{about.sha256}.json"


def parse_choice(content: bytes, origin: Path | str) -> ChoiceFile:
    """A file's content, checked; ``origin`` is named in errors (:class:`~dfbench.DataError`)."""
    try:
        return ChoiceFile.model_validate(load_json(content.decode("utf-8"), origin=origin))
    except UnicodeDecodeError:
        raise DataError(f"{origin}: not UTF-8") from None
    except ValidationError as error:
        raise DataError(f"{origin}: not a file of 'dfbench sweep --choose': {first_problem(error)}") from None


def options_from(
    path: Path, detector: str, strategy: str, benchmark: str | None, preset: str | None = None
) -> Chosen:  # fmt: skip
    """What a file chose for a run.

    Args:
        path: Of the file.
        detector: Its name.
        strategy: Its name.
        benchmark: A name, or a stream's ``.yaml`` file, whose data are compared when they are open; None: any.
        preset: Of the detector; None: the one that the file has.

    Raises:
        DataError: The file is wrong.
        UsageError: It has nothing for this run, or several choices.
    """
    file, content = read_choice(path)
    is_file = benchmark is not None and benchmark.lower().endswith((".yaml", ".yml"))
    found = [
        choice.best.spec
        for choice in file.choices
        if (choice.best.spec.detector, choice.best.spec.strategy) == (detector, strategy)
        and preset in (None, choice.best.spec.preset)
        and (benchmark is None or is_file or benchmark == choice.best.spec.benchmark)
    ]
    wanted = " ".join(filter(None, [detector, preset, strategy, benchmark]))
    if not found:
        there = "; ".join(" ".join(named(choice.best.spec)) for choice in file.choices[:5])
        raise UsageError(f"{path} has no options for {wanted}; it has them for {there}")
    if len(found) > 1:
        several = "; ".join(" ".join(named(spec)) for spec in found[:5])
        raise UsageError(f"{path} has several choices for {wanted} ({several}): name preset and benchmark")
    about = ChosenFrom(name=path.name[:200], sha256=hashlib.sha256(content).hexdigest(), metric=file.metric)
    return Chosen(about, content, found[0])


def _close(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
