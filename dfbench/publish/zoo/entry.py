"""A zoo entry: all that it takes to use a checkpoint, trust it and cite it, in one typed YAML file."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from dfbench.benchmarks.schema import Scope
from dfbench.documents import load_json, read_json, read_yaml
from dfbench.errors import DataError, first_problem
from dfbench.files import sha256_of, write_whole
from dfbench.records import outside
from dfbench.records.initial import InitialCheckpoint
from dfbench.records.parts import Sha256

ENTRY_FILE = "dfbench.json"
"""Name of the entry in a repository of the Hub and in a pulled folder."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".keras")
"""Suffixes of files that can run code when they are read; dfbench neither fetches nor opens one."""

HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>\S+))?")
"""``user/repo`` or ``user/repo@revision``."""

Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=96)]
RepoId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", max_length=96)]
Size = tuple[int, int]
"""(height, width) in pixels."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plugin(_Part):
    """The plugin that knows the detector."""

    name: str
    distribution: str
    version: str


class Hub(_Part):
    """Where the files are: a repository of the Hub at one commit, never a branch."""

    repo: RepoId
    commit: Commit


class File(_Part):
    """One file, and what it must be; ``path`` is relative to the repository, or to the entry's own folder."""

    path: str
    sha256: Sha256
    size: int = Field(ge=1)

    @model_validator(mode="after")
    def _harmless(self) -> File:
        if PurePosixPath(outside.inside(self.path)).suffix.lower() in PICKLES:
            raise ValueError(f"{self.path!r} can run code when it is read; weights are safetensors here")
        return self


class Normalisation(_Part):
    """Network input = (value / 255 − mean) / std, each of red, green and blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Input(_Part):
    """What the network is shown."""

    native_size: Size | None
    """Size of the pictures it was trained on as they were stored in the source; null: they differed."""
    size: Size | None
    """Pictures are resized to this; null: they are taken as they are."""
    unit: tuple[int, ...] = ()
    """Frames of one unit that is judged: empty for a single picture, ``[16]`` for a clip of 16 frames."""
    normalisation: Normalisation | None = None
    """As measured on the detector; null: it does something else than shift and scale."""
    crop_margin: float | None = None
    """Share of the face box's side that was added around it; null: not stated."""
    face_detector: str | None = None
    """What found the faces; null: not stated, or the pictures are faces already."""

    @property
    def picture_size(self) -> Size | None:
        """The size at which a picture from elsewhere should be shown to the network."""
        return self.size or self.native_size


class Measured(_Part):
    """A share that was measured on test identities, with its 95 % interval over people."""

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class Calibration(_Part):
    """From P(fake) to a verdict that admits doubt; see :mod:`dfbench.evaluation.calibration`.

    Fitted on the benchmark's validation identities; errors are measured on its test identities.
    """

    slope: float = Field(gt=0)
    intercept: float
    real_below: float = Field(ge=0, le=1)
    """Calibrated P(fake) below this is called real."""
    fake_above: float = Field(ge=0, le=1)
    """Above this it is called fake; in between nothing is said."""
    samples: int = Field(ge=2)
    """Validation units that it was fitted on."""
    people: int = Field(ge=0)
    """Validation identities; 0 where they are not known."""
    ece_before: float = Field(ge=0, le=1)
    """Expected calibration error of P(fake) on the test sets, pooled."""
    ece_after: float = Field(ge=0, le=1)
    """The same of the calibrated P(fake)."""
    error_rate: float = Field(ge=0, le=1)
    """Share of each class that the band was to call wrongly at most, on the validation data."""
    false_positive_rate: Measured
    """Reals called fake."""
    false_negative_rate: Measured
    """Fakes called real."""
    inconclusive: Measured
    """Units of which nothing is said."""

    @model_validator(mode="after")
    def _ordered(self) -> Calibration:
        if self.real_below > self.fake_above:
            raise ValueError(f"real_below {self.real_below} is above fake_above {self.fake_above}")
        return self


class Familiarity(_Part):
    """When an input is too far from the training data; see :mod:`dfbench.evaluation.outliers`."""

    bank: str
    """The file of training features, one of ``files``."""
    neighbour: int = Field(ge=1)
    threshold: float = Field(ge=0, le=2)
    """Distance above which nothing is said."""
    kept: float = Field(gt=0, le=1)
    """Share of the validation data below it."""


class Decision(_Part):
    """From P(fake) to a verdict, and how often a real face is called fake by it."""

    threshold: float = Field(0.5, ge=0, le=1)
    """P(fake) above which a picture is called fake, without calibration."""
    calibration: Literal["none"] | Calibration = "none"
    """What was done to make P(fake) a probability."""
    familiarity: Familiarity | None = None
    """None: inputs far from the training data are not recognised."""
    ece: float | None = Field(None, ge=0, le=1)
    """Expected calibration error of P(fake) as it is, mean over the test sets."""
    false_positive_rate: float | None = Field(None, ge=0, le=1)
    """Share of real test pictures above .5, mean over the test sets."""


class Licence(_Part):
    """SPDX identifiers; ``unknown`` where nobody stated it."""

    code: str
    weights: str


class Training(_Part):
    """What the weights were trained on, and how."""

    benchmark: str
    fingerprint: Sha256
    experiences: tuple[str, ...] = Field(min_length=1)
    """In the order in which they came."""
    strategy: str
    strategy_config: dict[str, Any]
    scope: Scope | None = None
    """What it speaks of: ``laboratory``, ``deepfakes`` or ``other``; None where nobody said."""
    memory: int = Field(ge=0)
    seed: int = Field(ge=0)
    init: InitialCheckpoint | None = None
    """The checkpoint that the training started from; absent where it started from the detector's own weights."""

    @model_serializer(mode="wrap")
    def _without_init(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Entries of runs that started from no checkpoint keep the form that they had before there were others."""
        document: dict[str, Any] = whole(self)
        return {name: value for name, value in document.items() if value is not None or name != "init"}


class Results(_Part):
    """The recorded scores of these weights, as fractions."""

    metric: str
    split: Literal["test", "val"]
    average: float
    forgetting: float | None
    per_experience: dict[str, float | None]


class CheckpointEntry(_Part):
    """A zoo entry. ``docs/zoo.md`` explains each field."""

    format: Literal[1] = 1
    name: Name
    summary: str
    detector: str
    plugin: Plugin
    preset: str
    config: dict[str, Any]
    classes: tuple[str, ...] = Field(min_length=2)
    """Names of the classes in the order of the network's outputs."""
    hub: Hub | None = None
    """null: the files lie next to this entry."""
    files: tuple[File, ...] = Field(min_length=1)
    """The first one is the weights."""
    parameters: int = Field(ge=1)
    input: Input
    decision: Decision
    licence: Licence
    training: Training
    results: Results
    records: tuple[str, ...]
    """Run ids; the records are ``leaderboard/results/ID.json``, or ``record.json`` next to the weights."""
    intended_use: str
    limits: str
    superseded_by: str | None = None
    """Name of a better checkpoint, if there is one."""

    @model_validator(mode="after")
    def _weights_first(self) -> CheckpointEntry:
        if not self.files[0].path.endswith(".safetensors"):
            raise ValueError(f"the first file must be the weights as .safetensors, not {self.files[0].path!r}")
        if len({file.path for file in self.files}) != len(self.files):
            raise ValueError("a file is named twice")
        familiarity = self.decision.familiarity
        if familiarity is not None and familiarity.bank not in {file.path for file in self.files}:
            raise ValueError(f"the bank of training features {familiarity.bank!r} is not among the files")
        return self

    @property
    def weights(self) -> File:
        """The file of the weights."""
        return self.files[0]

    def document(self) -> dict[str, Any]:
        """As JSON and YAML hold it."""
        return self.model_dump(mode="json")


def read_entry(path: Path) -> CheckpointEntry:
    """Read and check an entry (``.yaml`` or ``.json``).

    Raises:
        DataError: The file is missing, is not YAML or JSON, or says something that an entry may not.
    """
    return check_entry(read_json(path) if path.suffix == ".json" else read_yaml(path), str(path))


def parse_entry(text: str, origin: str) -> CheckpointEntry:
    """An entry from its JSON text; ``origin`` is named in errors (:class:`~dfbench.DataError`)."""
    return check_entry(load_json(text, origin=origin), origin)


def check_entry(value: Any, origin: str) -> CheckpointEntry:
    """An entry from its value; ``origin`` is named in errors (:class:`~dfbench.DataError`)."""
    if problem := outside.value_problem(value):
        raise DataError(f"{origin}: {problem}")
    try:
        return CheckpointEntry.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{origin}: {first_problem(error)}") from error


def entry_json(entry: CheckpointEntry) -> bytes:
    """The entry as the bytes of ``dfbench.json``; equal for equal entries."""
    return (json.dumps(entry.document(), indent=1, ensure_ascii=False) + "\n").encode()


def write_entry(entry: CheckpointEntry, path: Path) -> None:
    """Write an entry as YAML.

    Raises:
        StorageError: It cannot be written.
    """
    text = yaml.safe_dump(entry.document(), sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    write_whole(path, text.encode())


def check_file(folder: Path, file: File, name: str) -> None:
    """Compare a file in ``folder`` with what the entry ``name`` says of it.

    Raises:
        DataError: It is missing, or has another size or another sha256.
    """
    path = folder / file.path
    try:
        size = path.stat().st_size
        found = "" if size != file.size else sha256_of(path)
    except FileNotFoundError:
        raise DataError(f"{name}: {path} is missing; fetch it with: dfbench zoo pull {name}") from None
    except OSError as error:
        raise DataError(f"{name}: {path}: cannot be read ({error.strerror or error})") from error
    if size != file.size:
        raise DataError(f"{name}: {path} has {size} bytes and not {file.size}: it is not the recorded file; not used")
    if found != file.sha256:
        raise DataError(f"{name}: {path} has sha256 {found[:12]}… and not {file.sha256[:12]}…; it is not used")
