"""The parts of a record: what was tested, on what, where, and what followed from the scores.

:class:`~dfbench.records.record.Record` is made of them. Records come from outsiders: every field is bounded.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from dfbench.benchmarks.parts import Citation, Kind, Level
from dfbench.benchmarks.schema import Description, Scope
from dfbench.records import outside

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\n\t]+$")]
Count = Annotated[int, Field(ge=0, le=outside.LARGEST)]
Side = Annotated[int, Field(ge=1, le=1 << 20)]
"""Pixels, or pictures of a unit."""
Figure = Annotated[float, Field(ge=-1e18, le=1e18)]
"""Sums and ratios of such numbers are finite."""
Amount = Annotated[float, Field(ge=0, le=1e18)]
Matrix = list[list[Figure | None]]
"""R: T rows (trained up to) of T columns (tested on); None where it was not measured or is undefined."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[float, float]


class Part(BaseModel):
    """A part of a record. Unknown fields and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class ExperienceData(Part):
    """An experience and its sizes: split → class → samples."""

    name: Name
    train: dict[Name, Count] = {}
    val: dict[Name, Count] = {}
    test: dict[Name, Count] = {}


class UnseenData(Part):
    """A set that is tested and never trained on."""

    name: Name
    test: dict[Name, Count]
    """Class → samples."""


class PerturbedData(Part):
    """Degraded copies of the experiences' test sets, or of parts of them: each experience in each kind and level."""

    kinds: Annotated[list[Kind], Field(min_length=1)]
    levels: Annotated[list[Level], Field(min_length=1)]
    test: list[dict[Name, Count]]
    """For each experience: class → units that were scored, the same in each of its copies."""


class Data(Part):
    """What a run was trained and tested on."""

    benchmark: Name
    fingerprint: Sha256
    classes: Annotated[list[Name], Field(min_length=2)]
    experiences: Annotated[list[ExperienceData], Field(min_length=1)]
    notes: list[str] = []
    """What a reader should know of the data: leaks, pictures left out."""
    description: Description = ""
    """What the benchmark is, as its file says."""
    scope: Scope | None = None
    """What its results speak of; None where its file does not say."""
    unseen: list[UnseenData] = []
    """Scored next to the experiences; in the scores they follow these, as ``perturbed`` follows them."""
    perturbed: PerturbedData | None = None
    citation: Citation | None = None
    """Where the protocol comes from; absent where its file does not say."""
    allowed_leaks: list[Name] = []
    """Leaks and wrong labels that ``--allow-leaks`` let through, a line each; absent where there were none."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Documents of runs without these keep the form that they had before there were such."""
        document: dict[str, Any] = whole(self)
        return {k: v for k, v in document.items() if v or k not in ("citation", "allowed_leaks", "perturbed")}


class Input(Part):
    """What it takes to build the network again without the data."""

    native_size: tuple[Side, Side] | None
    """(height, width) of the pictures as the source has them; None where they differ."""
    size: tuple[Side, Side]
    """(height, width) at which they were stored for the detector."""
    unit: tuple[Side, ...]
    """Shape of a test unit in pictures: empty for one picture, ``(16,)`` for a clip of 16."""


class DetectorFacts(Part):
    """What the record says of the network beyond its configuration."""

    parameters: Count
    head: str | tuple[str, ...] | None
    """Names of the final linear layers, as :attr:`dfbench.Detector.head` states them."""
    facts: dict[str, Any] = {}
    """The detector's own (:attr:`dfbench.Detector.facts`)."""
    adaptations: list[dict[str, Any]] = []
    """What was added to the network, in order: adapters and their options; absent where nothing was."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Documents of networks as they were built keep the form that they had before there were adapters."""
        document: dict[str, Any] = whole(self)
        return {k: v for k, v in document.items() if v or k != "adaptations"}


class Memory(Part):
    """What the strategy held after each training."""

    budget_samples: Count
    samples: Annotated[list[Count], Field(min_length=1)]
    bytes: Annotated[list[Count], Field(min_length=1)]
    """Of the stored pictures."""
    held: list[list[list[Count]]] | None = None
    """Distinct stored samples: training → experience → class; None where it was not counted."""
    state_bytes: Count
    """Of all else that the strategy keeps, at the end, what it has put into the network included."""


class Compute(Part):
    """Rows through the network in each training, and what they cost; see :mod:`dfbench.training.compute`."""

    forward: list[Count]
    backward: list[Count]
    passes: Amount
    """A forward and a backward pass of one row are 1."""


class MidTrainingPoint(Part):
    """Test sets scored in the middle of a training."""

    number: Count
    """Of the training, from 1."""
    trained_on: Count
    """Row of R that this training fills, from 0."""
    done: Count
    """Optimizer steps of this training; 0 before its first."""
    step: Count
    """Optimizer steps of the run."""
    metric: Name
    values: list[Figure | None]
    """One value per experience; None where it is undefined."""


class Seconds(Part):
    """Wall time."""

    train: list[Amount]
    evaluate: list[Amount]
    mid_training: list[Amount] = []
    """Spent in each training on scoring test sets; not part of ``train``."""
    perturbed: Amount | None = None
    """Spent on scoring degraded copies; None where there are none, or an earlier process scored them."""
    total: Amount


class PeakMemory(Part):
    """Bytes."""

    host_bytes: Count | None = None
    device_bytes: Count | None = None


class Environment(Part):
    """Where a run was made."""

    python: str = ""
    platform: str = ""
    processor: str = ""
    processor_model: str = ""
    """Vendor, family, model and stepping; empty in older records, and where the system does not say."""
    processor_flags: list[Name] = []
    """Instructions that decide speed and last digits (bf16, AVX-512, AMX); see :mod:`dfbench.runs.environment`."""
    device: str
    device_name: str = ""
    cores: Count | None = None
    threads: Count | None = None
    processes: Count = 1
    """Processes that shared the run, each with so many threads."""
    packages: dict[str, str | None] = {}
    plugins: dict[str, str] = {}
    code: dict[str, str] = {}
    """Plugins that decided the result → version and digest of their sources; see :mod:`dfbench.runs.code`."""


class Git(Part):
    """The checkout that dfbench was imported from."""

    commit: str
    dirty: bool


class ChosenFrom(Part):
    """The file that a run's options come from: they were chosen on validation data (:mod:`dfbench.records.choice`)."""

    name: Name
    sha256: Sha256
    metric: Name
    """What they were chosen by."""


class Uncertainty(Part):
    """Percentile intervals and the replicates of the average; see :mod:`dfbench.evaluation.uncertainty`."""

    method: str
    unit: Literal["identity", "video", "sample"]
    """What was drawn: people, or where none is known videos, or samples."""
    metric: Name
    count: Count
    level: float
    average: Interval | None
    forgetting: Interval | None
    bwt: Interval | None
    learning_accuracy: Interval | None
    per_experience: list[Interval | None]
    replicates: str | None


class FurtherUncertainty(Part):
    """The percentile interval of the final network's mean over unseen sets, or over degraded copies."""

    unit: Literal["identity", "video", "sample"]
    metric: Name
    count: Count
    level: float
    average: Interval | None


class UnseenUncertainty(FurtherUncertainty):
    """That, and the interval of each unseen set."""

    per_set: list[Interval | None]


class Generalisation(Part):
    """Figures on the sets of ``data.unseen``; see :mod:`dfbench.evaluation.further`."""

    untrained: dict[Name, list[Figure | None]]
    """Metric → one value per set, before any training."""
    matrix: dict[Name, Matrix]
    """Metric → T rows (trained up to) of U columns (tested on)."""
    per_set: list[dict[Name, Figure | int | str | None]]
    """The final network's figures on each set, as ``per_experience``."""
    uncertainty: UnseenUncertainty


class Robustness(Part):
    """Figures of the final network on the copies of ``data.perturbed``; see :mod:`dfbench.evaluation.further`."""

    by_kind: dict[Name, dict[Kind, dict[Annotated[str, Field(pattern="^[1-5]$")], Figure | None]]]
    """Metric → kind → level → mean over the experiences."""
    clean: dict[Name, Figure | None]
    """Metric → mean over the experiences of the same samples undegraded."""
    uncertainty: FurtherUncertainty


class RatesOfNetworks(Part):
    """Rates of each network (T values), means over the test sets of the experiences that it has learned."""

    false_positive_rate: list[Fraction | None]
    true_positive_rate: list[Fraction | None]


class OperatingUncertainty(Part):
    """Percentile intervals; people are drawn among validation reals and test sets."""

    unit: Literal["identity", "video", "sample"]
    count: Count
    level: float
    drift: Interval | None
    carried_tpr: Interval | None


CARRIED = ("fpr_drift", "carried_tpr")
"""Metrics of a record that has operating points."""


class Operating(Part):
    """Thresholds that were fixed on validation reals and carried on; see :mod:`dfbench.evaluation.operating`."""

    fpr: Fraction
    """What the thresholds aim at."""
    thresholds: list[Fraction | None]
    """Fixed after each experience (T values); None where no validation real was scored."""
    reals: list[Count]
    """Validation reals that each was fixed on."""
    false_positive_rate: list[list[Fraction | None]]
    """T thresholds × T networks; None where the network is older than the threshold."""
    true_positive_rate: list[list[Fraction | None]]
    at_half: RatesOfNetworks
    """At a threshold of .5."""
    recalibrated: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}$")], RatesOfNetworks]
    """Number of new reals → rates of thresholds that were fixed on so many of the newest experience."""
    drift: Fraction | None
    carried_tpr: Fraction | None
    uncertainty: OperatingUncertainty


class BetweenReals(Part):
    """What the last network makes of the reals of two test sets; see :mod:`dfbench.evaluation.controls`."""

    auc: Fraction
    """The largest of max(A, 1 − A) over pairs of test sets, from ½ on."""
    of: tuple[Count, Count]
    """The experiences of this pair, from 0."""
    reals: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    """Real videos (or stills) in each."""
    mean: Fraction
    """Of max(A, 1 − A) over all pairs."""


class Verification(Part):
    """What ``dfbench verify --write`` found."""

    agreement: Literal["scores", "identical", "tolerance"]
    """The metrics follow from the scores; rerun with the same scores; rerun with nearly the same metrics."""
    date: str
    difference: Figure | None = None
    tolerance: Figure | None = None
    by: str | None = None
    environment: Environment | None = None


class PublishedWeights(Part):
    """Where the weights are published."""

    repo: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", max_length=96)]
    revision: Name | None = None
