"""A row of the leaderboard from scores that somebody made elsewhere: ``leaderboard/imported/*.json``.

It says what can be said of scores alone. A :class:`~dfbench.records.record.Record` also says how a run was made (its
options, weights, steps, memory, seconds); of an imported row nobody knows, so it has no such fields.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from dfbench.documents import read_json
from dfbench.errors import DataError, first_problem
from dfbench.evaluation.further import Tested, figures, parts_of
from dfbench.evaluation.scores import Scores
from dfbench.evaluation.uncertainty import data_key, decode
from dfbench.files import write_json
from dfbench.records import outside
from dfbench.records.parts import Count, Figure, Generalisation, Matrix, Name, Part, Sha256, Uncertainty
from dfbench.records.record import LARGEST_FILE

STATUS = "imported"
"""Below all statuses of a record (:data:`dfbench.records.record.STATUSES`): nothing is known of the training."""
FOLDER = "imported"
"""Of a leaderboard."""
SPLIT = "test"

Policy = Literal["error", "drop", "worst"]
Headline = Literal["auc", "video_auc", "accuracy"]
_TEXT = Annotated[str, Field(max_length=300, pattern=r"^[^\n\t]*$")]


class SetCoverage(Part):
    """Of one test set."""

    set: Name
    expected: Count
    """Samples that it has, by the list or by all rows of the file."""
    scored: Count
    """Samples that the figures are computed on, the same for all models."""


class Coverage(Part):
    """Predictions that the file should have and has, over seeds, models and test sets."""

    missing: Policy
    """What was done about those that are missing: nothing was missing, samples were left out, or counted as wrong."""
    listed: bool = False
    """Whether a list said what should be there; else all samples that any row of the file has."""
    expected: Count
    predicted: Count
    per_set: list[SetCoverage]

    @property
    def share(self) -> float:
        """Predictions that are there."""
        return self.predicted / self.expected


class ImportedData(Part):
    """What the models were tested on."""

    sha256: Sha256
    """Of the names of test sets, samples and labels (:func:`data_digest`)."""
    same_as: Sha256 | None = None
    """Fingerprint of the benchmark's rows on this board, where their samples and labels are the same."""
    compared: bool = True
    """False: no scores of the benchmark's rows were here to compare with."""
    per_set: dict[Name, dict[Literal["real", "fake"], Count]]
    """Test set → class → samples that it should have."""


class SourceFile(Part):
    """A file that the scores came from."""

    name: Name
    """Without its folder."""
    sha256: Sha256


class ImportedSeed(Part):
    """The figures of one seed, all computed from its scores as a record's are."""

    seed: Count | None
    """None: the file does not say."""
    scores_sha256: Sha256
    metrics: dict[Name, Figure | None]
    matrix: dict[Name, Matrix]
    per_experience: list[dict[Name, Figure | int | str | None]]
    uncertainty: Uncertainty
    generalisation: Generalisation | None = None


class ImportedRow(Part):
    """One detector under one strategy on one collection of test sets, of all seeds in the file."""

    schema_version: Literal[1] = Field(1, alias="schema")
    kind: Literal["imported"] = "imported"
    run: Annotated[Name, Field(max_length=200)]
    """The name of its file."""
    created: str
    """ISO 8601, UTC."""
    detector: Name
    strategy: Name
    benchmark: Name
    source: _TEXT = ""
    """Where the scores come from: a paper, an address."""
    by: _TEXT = ""
    """Who imported them."""
    headline: Headline
    experiences: Annotated[list[Name], Field(min_length=1)]
    unseen: list[Name] = Field([])
    trained_once: _TEXT = ""
    """What a single model was trained on, where that is none of the test sets; R then has the last row alone."""
    data: ImportedData
    coverage: Coverage
    logits: bool = False
    """Whether the scores were logits, of which the stored ones are the sigmoid."""
    format: Name
    files: Annotated[list[SourceFile], Field(min_length=1)]
    seeds: Annotated[list[ImportedSeed], Field(min_length=1)]
    notes: list[_TEXT] = Field([])
    """What a reader should know of the scores."""
    status: Literal["imported"] = "imported"

    @property
    def id(self) -> str:
        """Ten hexadecimal digits of what the row is, whatever its scores are."""
        return row_id(
            self.detector, self.strategy, self.benchmark, self.headline, self.data.sha256, self.coverage.missing
        )

    @property
    def tested(self) -> Tested:
        """What the scores are on, in the order of ``tested_on``."""
        return Tested(self.experiences, self.unseen)

    @property
    def one_model(self) -> bool:
        """Whether every experience was tested by the last model alone: nothing is known of forgetting."""
        return all(value is None for seed in self.seeds for line in seed.matrix[self.headline][:-1] for value in line)

    def pack(self, board: Path) -> Path:
        """The pack of its scores on the leaderboard in ``board``."""
        return board / "scores" / f"imported-{self.run}.parquet"

    def run_of(self, seed: ImportedSeed) -> str:
        """What a seed is called in the pack."""
        return self.run if seed.seed is None else f"{self.run}-s{seed.seed}"

    @classmethod
    def parse(cls, document: Any, origin: str | Path) -> ImportedRow:
        """A row from its document.

        Raises:
            DataError: It breaks the schema.
        """
        if problem := outside.value_problem(document):
            raise DataError(f"{origin}: {problem}")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise DataError(f"{origin}: {first_problem(error)}") from error

    @classmethod
    def read(cls, path: Path) -> ImportedRow:
        """The row in a file.

        Raises:
            DataError: The file cannot be read, or breaks the schema, or has another name than its row.
        """
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path}: more than {LARGEST_FILE} bytes, which no row of scores has")
        row = cls.parse(read_json(path), path)
        if row.run != path.stem:
            raise DataError(f"{path}: holds the row {row.run!r}: it was renamed")
        return row

    def write(self, path: Path) -> None:
        """Write it whole; StorageError where that fails."""
        write_json(path, self.model_dump(mode="json", by_alias=True))

    @model_validator(mode="after")
    def _shapes(self) -> ImportedRow:
        if self.run != run_name(self.detector, self.strategy, self.benchmark, self.id):
            raise ValueError(f"run: its fields give another name than {self.run!r}: the row was changed")
        numbers = [seed.seed for seed in self.seeds]
        if len(set(numbers)) < len(numbers) or (None in numbers and len(numbers) > 1):
            raise ValueError("seeds: a seed is there twice, or is not known next to others")
        if len(set(self.tested.experiences) | set(self.unseen)) < len(self.experiences) + len(self.unseen):
            raise ValueError("experiences, unseen: a test set is named twice")
        size, further = len(self.experiences), len(self.unseen)
        for seed in self.seeds:
            matrix = seed.matrix.get(self.headline, [])
            if [len(line) for line in matrix] != [size] * size or len(seed.per_experience) != size:
                raise ValueError(f"seeds: a matrix or a list is not of {size} experiences")
            if len(seed.uncertainty.per_experience) != size or decode(seed.uncertainty.replicates) is None:
                raise ValueError("seeds: no replicates, or not an interval for each experience")
            if seed.metrics.get("average") is None:
                raise ValueError("seeds: the headline average is undefined, so the row cannot be shown")
            if len(seed.generalisation.per_set if seed.generalisation else []) != further:
                raise ValueError(f"seeds: the generalisation is not of {further} sets")
        return self


def row_id(detector: str, strategy: str, benchmark: str, headline: str, data: str, missing: Policy) -> str:
    """Ten hexadecimal digits that depend on these alone."""
    parts = [detector, strategy, benchmark, headline, data, missing]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


def run_name(detector: str, strategy: str, benchmark: str, digits: str) -> str:
    """A readable name, unique by its last part."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:50] for part in (detector, strategy, benchmark, digits))


def data_digest(sets: Mapping[str, Iterable[tuple[str, int]]]) -> str:
    """SHA-256 of test sets, samples and labels, whatever the order of the samples."""
    hasher = hashlib.sha256(b"dfbench.imported.1\0")
    for name, samples in sets.items():
        hasher.update(f"{len(name)} {name}\0".encode())
        for sample, label in sorted(samples):
            hasher.update(f"{len(sample)} {sample} {label}\0".encode())
    return hasher.hexdigest()


def seed_figures(scores: Scores, tested: Tested, headline: str, data: str) -> dict[str, Any]:
    """What :class:`ImportedSeed` holds besides the seed and the digest, computed as a record's figures are.

    Args:
        scores: Of one seed.
        tested: What they are on.
        headline: The metric of R that the continual metrics are computed on.
        data: Digest of the test sets; with it two rows on the same data draw the same people.

    Raises:
        DataError: The scores are not on these sets, or a video has frames of both classes.
    """
    found = figures(parts_of(scores, tested), tested, headline, 2, data_key(data, SPLIT))
    return {name: value for name, value in found.items() if name in ImportedSeed.model_fields}
