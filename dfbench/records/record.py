"""What stands on a leaderboard, typed: records of runs, and rows reported in papers. Anything else is refused.

Records come from outsiders: only what is checked here is relied on by the pages, and pages escape every text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dfbench.errors import DataError
from dfbench.records.spec import RunSpec

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=300)]
Matrix = list[list[float | None]]
Interval = tuple[float, float]
Status = Literal["self-reported", "recomputed", "reproduced"]
STATUSES: tuple[Status, ...] = ("self-reported", "recomputed", "reproduced")
"""From the least to the most believable."""

HEADLINES = ("auc", "video_auc", "accuracy")


class _Part(BaseModel):
    """A part of a record; what is not named here may be there and is not used."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class ExperienceData(_Part):
    """An experience and its sizes: split → class → samples."""

    name: Name
    train: dict[str, int] = {}
    val: dict[str, int] = {}
    test: dict[str, int] = {}


class Data(_Part):
    """What a run was trained and tested on."""

    benchmark: Name
    fingerprint: Sha256
    classes: Annotated[list[Name], Field(min_length=2)]
    experiences: Annotated[list[ExperienceData], Field(min_length=1)]
    notes: list[str] = []


class Memory(_Part):
    """What the strategy held after each training."""

    budget_samples: int
    samples: Annotated[list[int], Field(min_length=1)]
    bytes: Annotated[list[int], Field(min_length=1)]
    state_bytes: int


class Compute(_Part):
    """Rows through the network in each training, and what they cost; see :mod:`dfbench.training.passes`."""

    forward: list[int]
    backward: list[int]
    passes: float


class Seconds(_Part):
    """Wall time."""

    train: list[float]
    evaluate: list[float]
    total: float


class PeakMemory(_Part):
    """Bytes."""

    host_bytes: int | None = None
    device_bytes: int | None = None


class Environment(_Part):
    """Where a run was made."""

    python: str = ""
    platform: str = ""
    device: str
    device_name: str = ""
    cores: int | None = None
    threads: int | None = None
    packages: dict[str, str | None] = {}
    plugins: dict[str, str] = {}


class Uncertainty(_Part):
    """Percentile intervals and the replicates of the average; see :mod:`dfbench.evaluation.uncertainty`."""

    unit: Literal["video", "sample"]
    metric: Name
    count: int
    level: float
    average: Interval | None
    forgetting: Interval | None
    bwt: Interval | None
    learning_accuracy: Interval | None
    per_experience: list[Interval | None]
    replicates: str | None


class Verification(_Part):
    """What ``dfbench verify --write`` found."""

    agreement: Literal["scores", "identical", "tolerance"]
    """The metrics follow from the scores; trained again with the same scores; … with nearly the same metrics."""
    date: str
    difference: float | None = None
    tolerance: float | None = None
    by: str | None = None
    environment: Environment | None = None


class Checkpoint(_Part):
    """Where the weights are published."""

    repo: Name
    revision: Name | None = None


class Record(_Part):
    """A record as ``dfbench eval`` wrote it, and what ``leaderboard add`` and ``verify`` attached."""

    schema_: Literal[1] = Field(alias="schema")
    run: Name
    created: str = ""
    spec: RunSpec
    identity: Sha256
    headline: Literal["auc", "video_auc", "accuracy"]
    metrics: dict[str, float | None]
    matrix: dict[str, Matrix]
    per_experience: list[dict[str, Any]]
    data: Data
    detector: dict[str, Any] = {}
    effects: dict[str, float] = {}
    memory: Memory
    steps: list[int]
    compute: Compute | None = None
    stability: dict[str, dict[str, float | None]] | None = None
    seconds: Seconds
    peak_memory: PeakMemory = PeakMemory()
    resumed: int = 0
    environment: Environment
    git: dict[str, Any] | None = None
    files: dict[str, Sha256]
    uncertainty: Uncertainty | None = None
    status: Status = "self-reported"
    verification: Verification | None = None
    settings: list[str] | None = None
    """``--set`` of what differs from the preset and the benchmark's budget; None: not looked up."""
    checkpoint: Checkpoint | None = None

    @model_validator(mode="after")
    def _shapes(self) -> Record:
        size = len(self.data.experiences)
        if self.headline not in self.matrix:
            raise ValueError(f"matrix lacks the headline metric {self.headline!r}")
        for name, rows in self.matrix.items():
            if len(rows) != size or any(len(row) != size for row in rows):
                raise ValueError(f"matrix {name!r} is not {size}×{size}, one row and column an experience")
        if len(self.per_experience) != size:
            raise ValueError(f"per_experience has {len(self.per_experience)} entries for {size} experiences")
        if self.uncertainty is not None and len(self.uncertainty.per_experience) != size:
            raise ValueError("uncertainty.per_experience does not have one entry an experience")
        return self

    @property
    def average(self) -> float | None:
        """The headline average."""
        return self.metrics.get("average")

    @property
    def sees_everything(self) -> bool:
        """An upper bound, by what it did: trained once on all experiences, or held all training data at the end."""
        rows = self.matrix[self.headline]
        at_once = len(rows) > 1 and all(value is None for row in rows[:-1] for value in row)
        everything = sum(sum(e.train.values()) for e in self.data.experiences)
        return at_once or self.memory.samples[-1] >= everything > 0


class ReportedRow(BaseModel):
    """One row of a paper's table, as printed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Name
    detector: Name | None = None
    """The network, where the source says."""
    memory: Name | None = None
    values: list[str]
    note: str = ""


class Reported(BaseModel):
    """One table of a paper: ``leaderboard/reported/*.yaml``. Shown beside our rows, never ranked against them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Name
    title: Name
    paper: Name
    table: str = ""
    metric: Name
    """What the numbers are, with their unit."""
    note: str = ""
    columns: Annotated[list[Name], Field(min_length=1)]
    rows: Annotated[list[ReportedRow], Field(min_length=1)]

    @model_validator(mode="after")
    def _widths(self) -> Reported:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"row {row.strategy!r} has {len(row.values)} values for {len(self.columns)} columns")
        return self


def parse_record(value: Any, origin: Path) -> Record:
    """A record, checked.

    Raises:
        DataError: naming the file, the first field that is wrong, and how.
    """
    try:
        return Record.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{origin}: {_first(error)}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object without NaN.

    Raises:
        DataError: the file cannot be read or holds something else.
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON number")

    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no record; the run may not be finished") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a record of a run ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: not a record of a run (a {type(value).__name__}, not a JSON object)")
    return value


def read_record(path: Path) -> Record:
    """The record in a file."""
    return parse_record(read_json(path), path)


def read_reported(path: Path) -> Reported:
    """A table of a paper.

    Raises:
        DataError: the file cannot be read, or breaks the schema.
    """
    try:
        return Reported.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise DataError(f"{path}: {_first(error)}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not a YAML file of reported rows ({error})") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the record"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
