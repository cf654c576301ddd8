"""The record of a run: one JSON object that says what was run, on what, where, and with which result.

:class:`Record` is the only class that writes and reads it. Records come from outsiders too, so only what is
checked here is relied on by the pages, and pages escape every text. A field that is not named here is an error.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from dfbench.documents import read_json
from dfbench.errors import DataError, PluginError, first_problem
from dfbench.files import write_json
from dfbench.records import consistency, outside
from dfbench.records.conversion import converted
from dfbench.records.parts import (
    BetweenReals,
    ChosenFrom,
    Compute,
    Count,
    Data,
    DetectorFacts,
    Environment,
    Figure,
    Generalisation,
    Git,
    Input,
    Matrix,
    Memory,
    MidTrainingPoint,
    Name,
    Operating,
    Part,
    PeakMemory,
    PublishedWeights,
    Robustness,
    Seconds,
    Sha256,
    Uncertainty,
    Verification,
)
from dfbench.records.spec import RunSpec

if TYPE_CHECKING:
    from dfbench.benchmarks.stream import Stream
    from dfbench.evaluation.further import Tested
    from dfbench.evaluation.scores import Scores

SCHEMA_VERSION = 2
"""2: identities in the scores, intervals over them, forgetting from the models that had learned an experience."""
RECORD, SCORES, WEIGHTS, CHOSEN = "record.json", "scores.parquet", "model.safetensors", "chosen.json"
"""Names of the files in the folder of a finished run."""

LARGEST_FILE = 16 << 20
"""Bytes of a record; those of today have some 30,000."""

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(labels, P(fake)) of a test set, each of shape (n,), to a number."""
Status = Literal["self-reported", "recomputed", "reproduced"]
STATUSES: tuple[Status, ...] = ("self-reported", "recomputed", "reproduced")
"""From the least to the most believable."""


class Record(Part):
    """The record of one run, as ``dfbench eval`` writes it, with what the leaderboard and ``verify`` attach."""

    schema_version: Literal[2] = Field(alias="schema")
    run: Annotated[Name, Field(max_length=240)]
    created: str
    """ISO 8601, UTC."""
    spec: RunSpec
    identity: Sha256
    headline: Literal["auc", "video_auc", "accuracy"]
    """The metric that forgetting and its kin are computed on."""
    metrics: dict[Name, Figure | None]
    """Fractions; None where undefined. Computed from the scores, as are the next three."""
    matrix: dict[Name, Matrix]
    per_experience: list[dict[Name, Figure | int | str | None]]
    """The final network's figures on each test set."""
    uncertainty: Uncertainty
    generalisation: Generalisation | None = None
    """On sets that are never trained on; None where none was scored. Computed from the scores, as is the next one."""
    robustness: Robustness | None = None
    """On degraded copies of the test sets."""
    operating: Operating | None = None
    """Thresholds that are carried on; None where no validation real was scored."""
    between_reals: BetweenReals | None = None
    """None where no two test sets can be compared, and in earlier records."""
    data: Data
    input: Input
    detector: DetectorFacts
    effects: dict[Name, float] = Field({})
    """Counters of what the strategy did; those that stayed 0 are left out."""
    memory: Memory
    trained: bool = True
    """False: nothing was trained, the network was evaluated as it was; absent where it is true."""
    steps: Annotated[list[Count], Field(min_length=1)]
    """Optimizer steps of each training."""
    compute: Compute | None = None
    """None where not every pass could be counted."""
    mid_training: list[MidTrainingPoint] | None = None
    """None without ``--eval-every``, as is the next one."""
    stability: dict[Name, dict[Name, Figure | None]] | None = None
    tuning: dict[str, Any] | None = None
    """How ``--tune`` found the speed settings; None without it."""
    seconds: Seconds
    peak_memory: PeakMemory = PeakMemory()
    resumed: Count = 0
    """How often the run went on after an interruption."""
    environment: Environment
    git: Git | None = None
    weights_sha256: Sha256
    """Of ``model.safetensors``."""
    scores_sha256: Sha256
    """Of the rows of the scores, whatever file holds them (:meth:`dfbench.evaluation.scores.Scores.digest`)."""
    status: Status = "self-reported"
    verification: Verification | None = None
    settings: list[str] | None = None
    """``--set`` of what differs from the preset and the benchmark's budget; None: not looked up."""
    checkpoint: PublishedWeights | None = None
    chosen_from: ChosenFrom | None = None
    """Where its options were chosen on validation data; absent where no file says so. It decides no weight, so it is
    no part of the spec."""

    _path: Path | None = PrivateAttr(None)

    @classmethod
    def of(
        cls, spec: RunSpec, stream: Stream, scores: Scores, metrics: Mapping[str, Metric], facts: Mapping[str, Any]
    ) -> Record:
        """The record of a run that just ended; every metric in it is computed from ``scores``.

        Args:
            spec: What was run.
            stream: What it was run on.
            scores: All predictions.
            metrics: Further metrics of a test set, by name, from plugins.
            facts: The other fields: what was counted and measured during the run.

        Raises:
            PluginError: A metric failed; the scores are stored, and the same command goes on from there.
        """
        from dfbench.evaluation.further import figures, parts_of, tested_of
        from dfbench.evaluation.uncertainty import data_key

        names, classes = [e.name for e in stream.experiences], len(stream.classes)
        data = _described(stream, spec.split)
        tested = tested_of(names, [each["name"] for each in data["unseen"]], stream.perturb)
        parts = parts_of(scores, tested)
        if stream.perturb is not None:
            first = {copy.of: group for copy, group in zip(tested.copies, parts.copies, strict=True)}
            counts = [_counts(group.labels, stream) for group in first.values()]
            data["perturbed"] = {"kinds": stream.perturb.kinds, "levels": stream.perturb.levels, "test": counts}
        key = data_key(spec.data_fingerprint, spec.split)
        summary = figures(parts, tested, stream.metric, classes, key)
        if classes == 2:
            own, size = parts.experiences, len(names)
            further = {n: matrix_of(n, m, own, size) for n, m in metrics.items() if n not in summary["matrix"]}
            summary["matrix"] = {**summary["matrix"], **further}
        return cls.parse(
            {
                "schema": SCHEMA_VERSION,
                "run": spec.run_id,
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "spec": spec,
                "identity": spec.identity,
                **summary,
                "data": data,
                "scores_sha256": scores.digest(),
                **facts,
            },
            f"the record of {spec.run_id}",
        )

    @classmethod
    def read(cls, path: Path) -> Record:
        """The record in a file, or in the folder of a run.

        Raises:
            DataError: There is none, or it breaks the schema; the file and the first wrong field are named.
        """
        try:
            file = path / RECORD if path.is_dir() else path
            if not file.exists():
                raise DataError(_missing(path, file))
            size = file.stat().st_size
        except OSError as error:  # a name of over 255 bytes
            raise DataError(f"{str(path)[:200]}: cannot be read ({error.strerror})") from error
        if size > LARGEST_FILE:
            raise DataError(f"{file}: {size} bytes are not a record (up to {LARGEST_FILE})")
        record = cls.parse(read_json(file), file)
        record._path = file
        return record

    @classmethod
    def parse(cls, value: Any, origin: Path | str) -> Record:
        """A record from its JSON value; ``origin`` is named in errors (:class:`~dfbench.DataError`)."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise DataError(f"{origin}: {first_problem(error)}") from error

    def write(self, path: Path, advice: str = "") -> Record:
        """Write the record whole; returns it with :attr:`path` set."""
        write_json(path, self.document(), advice)
        written = self.model_copy()
        written._path = path
        return written

    def document(self) -> dict[str, Any]:
        """The record as JSON holds it."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def path(self) -> Path | None:
        """The file that it was read from or written to."""
        return self._path

    @property
    def names(self) -> list[str]:
        """The experiences, in order."""
        return [e.name for e in self.data.experiences]

    @property
    def tested(self) -> Tested:
        """What its scores are on, in their order."""
        from dfbench.evaluation.further import tested_of

        return tested_of(self.names, self.unseen_names, self.data.perturbed)

    @property
    def unseen_names(self) -> list[str]:
        """The sets that were scored and never trained on, in order."""
        return [e.name for e in self.data.unseen]

    @property
    def average(self) -> float | None:
        """The headline average, a fraction; None where undefined."""
        return self.metrics.get("average")

    def R(self, metric: str | None = None) -> np.ndarray:
        """The matrix of a metric (the headline's unless named), float64 (T, T), nan where it was not measured."""
        return np.array(self.matrix[metric or self.headline], dtype=float)

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the data and of the weights that it started from."""
        return [*self.data.notes, *self.start_notes]

    @property
    def start_notes(self) -> list[str]:
        """What a reader should know of the weights that it started from; nothing of those that the detector builds, but
        where they were not trained."""
        if self.spec.init is not None:
            return [self.spec.init.note(self.data.fingerprint)]
        facts = ", ".join(f"{name}: {json.dumps(value)}" for name, value in self.spec.initial_weights.items())
        built = f"is the network as {self.spec.detector} builds it{f' ({facts[:200]})' if facts else ''}"
        return [] if self.trained else [f"{built}, never trained"]

    @property
    def has_seen_stream(self) -> bool:
        """Whether the weights that it started from were trained on the data of this very stream, as far as stated."""
        return self.spec.init is not None and self.spec.init.seen(self.data.fingerprint)

    @property
    def trained_at_once(self) -> bool:
        """Whether it was trained once on all of several experiences (joint)."""
        rows = self.matrix[self.headline]
        return self.trained and len(rows) > 1 and all(value is None for row in rows[:-1] for value in row)

    @property
    def held_everything(self) -> bool:
        """Whether the strategy held all training data at the end (cumulative)."""
        everything = sum(sum(e.train.values()) for e in self.data.experiences)
        return self.memory.samples[-1] >= everything > 0

    @property
    def sees_everything(self) -> bool:
        """Whether it is a bound, by what it did: trained on all data at once, or held all of it."""
        return self.trained_at_once or self.held_everything

    @model_serializer(mode="wrap")
    def _without_nothing(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Documents keep the form from before there were runs that do not train, operating points and controls."""
        document: dict[str, Any] = whole(self)
        usual = {"trained": True, "operating": None, "between_reals": None, "chosen_from": None}
        return {name: value for name, value in document.items() if name not in usual or value != usual[name]}

    @model_validator(mode="before")
    @classmethod
    def _harmless(cls, value: Any) -> Any:
        if problem := outside.value_problem(value):
            raise ValueError(problem)
        return converted(value)

    @model_validator(mode="after")
    def _shapes(self) -> Record:
        if problem := consistency.problem(self):
            raise ValueError(problem)
        return self


def matrix_of(name: str, metric: Metric, scores: Scores, size: int) -> Matrix:
    """The R matrix of a plugin's metric, ``size`` × ``size``.

    Raises:
        PluginError: The metric failed.
    """
    matrix: Matrix = [[None] * size for _ in range(size)]
    for group in scores:
        if group.trained_on >= 0:
            try:
                value = float(metric(group.labels, group.scores))
            except Exception as error:
                raise PluginError(
                    f"metric {name!r} failed on experience {group.tested_on}: {type(error).__name__}: {error}; "
                    "fix it, or disable its plugin, and run the same command again"
                ) from error
            matrix[group.trained_on][group.tested_on] = value if math.isfinite(value) else None
    return matrix


def _missing(path: Path, file: Path) -> str:
    """Why there is no record; a folder of runs may have been meant for its runs."""
    if not path.is_dir() and file.name != RECORD:
        return f"{file}: there is no record: no such file or folder"
    count = sum(1 for _ in path.glob(f"*/{RECORD}")) if path.is_dir() else 0
    if count:
        return f"{path} is not a run but a folder of {count}: give {path / '*'}"
    return f"{file}: there is no record; the run may not be finished"


def _described(stream: Stream, split: str) -> dict[str, Any]:
    """The data of a stream: fingerprint, sizes by class, notes; of unseen sets the split that is scored."""
    sets = stream.unseen and stream.unseen.having(split)
    return {
        "benchmark": stream.name,
        "fingerprint": stream.fingerprint,
        "classes": list(stream.classes),
        "experiences": [
            {
                "name": e.name,
                **{split: _counts(stream.samples.label[rows], stream) for split, rows in e.rows.items()},
            }
            for e in stream.experiences
        ],
        "unseen": [
            {"name": e.name, "test": _counts(sets.samples.label[e.rows[split]], stream)} for e in sets.experiences
        ]
        if sets is not None
        else [],
        "notes": list(stream.notes),
        "description": stream.description,
        "scope": stream.scope,
        "citation": stream.citation,
        "allowed_leaks": [line[:300] for line in stream.allowed_leaks],
    }


def _counts(labels: np.ndarray, stream: Stream) -> dict[str, int]:
    """How many samples there are of each class."""
    return {name: int((labels == k).sum()) for k, name in enumerate(stream.classes)}
