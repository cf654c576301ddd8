"""The schema of a stream's YAML file, with one clear line for each mistake."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from dfbench.benchmarks.flow import Flow, series
from dfbench.benchmarks.parts import Citation, Folder, Name, Perturb, SetSpec
from dfbench.documents import read_yaml
from dfbench.errors import DataError, UsageError, first_problem, unknown

Scalar = str | int
Description = Annotated[str, Field(max_length=600)]
Scope = Literal["laboratory", "deepfakes", "other"]
"""What a result speaks of: data made up to study methods, forgeries that people met, or no forgeries at all."""
OF_TRAINING = ("part", "parts", "shuffle", "seed", "videos")
"""Keys of an experience that only say what is trained on: an unseen set has none of them."""
PERTURBED, EVERYTHING = "perturbed", "all"
"""What ``--skip-tests`` takes next to the names of unseen sets, which therefore cannot be theirs."""


class Budget(BaseModel):
    """Limits for detector and strategy; None leaves the choice to them.

    Attributes:
        memory: samples that a strategy may keep in total.
        memory_per_experience: samples that it may keep per experience seen.
        epochs: passes over each experience.
        steps: optimizer steps in each experience.
        batch_size: units per batch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    memory: Annotated[int, Field(ge=0)] | None = None
    memory_per_experience: Annotated[int, Field(ge=0)] | None = None
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    batch_size: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Budget:
        if self.memory is not None and self.memory_per_experience is not None:
            raise ValueError("give memory or memory_per_experience, not both")
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        return self


class Pieces(BaseModel):
    """``split``: equal pieces of one training set, one per experience, each with the whole test set.

    Attributes:
        parts: number of pieces.
        shuffle: draw the pieces at random instead of in the order of the data set.
        seed: seed of that draw.
        growing: experience k has the pieces 1 to k instead of piece k.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    parts: PositiveInt
    shuffle: bool = False
    seed: int = 0
    growing: bool = False


class ExperienceSpec(BaseModel):
    """One entry of ``experiences`` or ``unseen``; all other keys are options of the source.

    Attributes:
        name: unique in the stream.
        source: name of a registered source.
        root: folder, relative to the YAML file; without it and ``set`` it is ``<data root>/<source>``.
        set: folder below the data root, ``<data root>/<set>``; packaged files have no folder to be relative to.
        where: column → value, or list of values of which one must match.
        methods: these forgery methods, and all reals.
        frames: maximum number of frames per video, evenly spread over it.
        videos: maximum number of training videos per class, drawn by the SHA-256 of their names.
        part: the pieces to train on, counted from 1, out of ``parts`` equal pieces of the training set.
        parts: number of pieces.
        shuffle: draw the pieces at random instead of in the order of the data set.
        seed: seed of that draw.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: Name
    source: Name
    root: str | None = None
    set: Folder | None = None
    where: dict[str, Scalar | list[Scalar]] = {}
    methods: Annotated[list[str], Field(min_length=1)] | None = None
    frames: PositiveInt | None = None
    videos: PositiveInt | None = None
    part: list[PositiveInt] | None = None
    parts: PositiveInt | None = None
    shuffle: bool = False
    seed: int = 0

    @field_validator("part", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value

    @model_validator(mode="after")
    def _one_folder(self) -> ExperienceSpec:
        if self.root is not None and self.set is not None:
            raise ValueError("give root or set, not both")
        return self

    @model_validator(mode="after")
    def _part_of_parts(self) -> ExperienceSpec:
        if (self.part is None) != (self.parts is None):
            raise ValueError("part and parts belong together, as in {part: 3, parts: 10}")
        if self.part and self.parts and max(self.part) > self.parts:
            raise ValueError(f"part {max(self.part)} of {self.parts} parts")
        if self.part and len(set(self.part)) < len(self.part):
            raise ValueError(f"part: {self.part} names a piece twice")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are not ours: keyword arguments of the source."""
        return dict(self.model_extra or {})


class StreamSpec(Budget):
    """A whole file. Its experiences are listed, or generated by ``split`` or ``series``.

    Attributes:
        name: the stream's name.
        description: what it is, in a sentence or two; the leaderboard and reports print it.
        scope: what its results speak of; pages show it as a badge.
        citation: where the protocol comes from; pages print it.
        sets: name of a folder below the data root → how it is prepared; where there are some, ``set`` names one.
        metric: the metric of the R matrix.
        max_corrupt: the share of each experience's split that may be unreadable.
        defaults: keys for every experience, which an experience may replace.
        experiences: the listed experiences, not yet merged with the defaults.
        split: generates the experiences instead.
        series: generates so many experiences of a source that numbers them, ``step01`` and so on.
        flow: what is seen once, blurred, or left untested (:class:`~dfbench.benchmarks.flow.Flow`).
        unseen: sets that are tested and never trained on, not yet merged with the defaults (:func:`unseen_sets`).
        perturb: degraded copies of the experiences' test sets.
        fresh_model: every experience trains a new network instead of continuing with the last one.
    """

    name: Name
    description: Description = ""
    scope: Scope | None = None
    citation: Citation | None = None
    sets: dict[Folder, SetSpec] = {}
    metric: Literal["auc", "video_auc", "accuracy"] = "auc"
    max_corrupt: Annotated[float, Field(ge=0, le=1)] = 0.05
    fresh_model: bool = False
    defaults: dict[str, Any] = {}
    experiences: list[dict[str, Any]] = []
    split: Pieces | None = None
    series: Annotated[int, Field(ge=1, le=1000)] | None = None
    flow: Flow = Flow()
    unseen: list[dict[str, Any]] = []
    perturb: Perturb | None = None

    @property
    def budget(self) -> Budget:
        """The limits alone: these keys enter the stream's fingerprint."""
        limits = {name: getattr(self, name) for name in Budget.model_fields}
        return Budget(**{**limits, "epochs": 1} if self.flow.one_pass else limits)

    @model_validator(mode="after")
    def _one_pass_is_an_epoch(self) -> StreamSpec:
        if self.flow.one_pass and (self.steps is not None or self.epochs not in (None, 1)):
            said = "steps" if self.steps is not None else f"epochs: {self.epochs}"
            raise ValueError(f"flow: one_pass is one epoch, and the file says {said}; leave one of them out")
        return self

    @field_validator("description")
    @classmethod
    def _in_one_line(cls, value: str) -> str:
        return " ".join(value.split())


def read_stream_file(path: Path) -> tuple[StreamSpec, list[ExperienceSpec]]:
    """Read and check a stream's YAML file.

    Returns:
        the file, and its experiences with the defaults merged in.

    Raises:
        UsageError: one line with the file, the key and what is allowed.
    """
    content = _load_yaml(path)
    try:
        spec = StreamSpec.model_validate(content)
    except ValidationError as error:
        known: dict[tuple[str, ...], list[str]] = {
            (): list(StreamSpec.model_fields),
            ("split",): list(Pieces.model_fields),
            ("perturb",): list(Perturb.model_fields),
            ("flow",): list(Flow.model_fields),
            ("citation",): list(Citation.model_fields),
            **{("sets", name): list(SetSpec.model_fields) for name in _keys(content.get("sets"))},
        }
        raise UsageError(f"{path}: {_explain(error, known)}") from None
    if [bool(spec.experiences), spec.split is not None, spec.series is not None].count(True) != 1:
        raise UsageError(f"{path}: give a list of experiences, or split: {{parts: N}}, or series: N (one of them)")
    experiences = _merged(path, "experience", spec.defaults, _entries(spec))
    entries = (*experiences, *unseen_sets(path, spec))
    names = [each.name for each in entries]
    for entry in entries:
        if spec.sets and entry.set is not None and entry.set not in spec.sets:
            raise UsageError(f"{path}: {unknown(f'set of {entry.name!r}', entry.set, spec.sets)}")
    for name in names:
        if names.count(name) > 1:
            two = "experiences" if not spec.unseen else "experiences or unseen sets"
            raise UsageError(f"{path}: two {two} are called {name!r}; give each its own name")
    return spec, experiences


def unseen_sets(path: Path, spec: StreamSpec) -> list[ExperienceSpec]:
    """The unseen sets of a stream's file, in order, with the defaults merged in.

    Args:
        path: of the file, for errors.
        spec: its content.

    Raises:
        UsageError: one line with the file, the set, the key and what is allowed.
    """
    defaults = {key: value for key, value in spec.defaults.items() if key not in OF_TRAINING}
    for number, entry in enumerate(spec.unseen, 1):
        where = f"{path}: unseen set {entry.get('name') or number!r}"
        if found := [key for key in OF_TRAINING if key in entry]:
            raise UsageError(f"{where}: {found[0]} says what to train on, and an unseen set is never trained on")
        if entry.get("name") in (PERTURBED, EVERYTHING):
            raise UsageError(f"{where}: --skip-tests knows this word already; give the set another name")
        if "," in (name := str(entry.get("name"))) or name != name.strip():
            raise UsageError(f"{where}: --skip-tests takes names between commas; give the set another name")
    return _merged(path, "unseen set", defaults, spec.unseen)


def _merged(path: Path, what: str, defaults: dict[str, Any], entries: Sequence[dict[str, Any]]) -> list[ExperienceSpec]:
    """The entries with the defaults merged in and checked; ``what`` is what errors call one of them."""
    specs = []
    for number, entry in enumerate(entries, 1):
        merged = {**defaults, **entry}
        if "where" in defaults and isinstance(entry.get("where"), dict):
            merged["where"] = {**defaults["where"], **entry["where"]}
        merged = {key: value for key, value in merged.items() if value is not None}  # null cancels a default
        try:
            specs.append(ExperienceSpec.model_validate(merged))
        except ValidationError as error:
            raise UsageError(f"{path}: {what} {entry.get('name') or number!r}: {_explain(error, {})}") from None
    return specs


def _entries(spec: StreamSpec) -> list[dict[str, Any]]:
    if spec.series is not None:
        return [dict(entry) for entry in series(spec.series)]
    if spec.split is None:
        return spec.experiences
    pieces = spec.split
    return [
        {
            "name": f"part{number:02d}",
            "part": list(range(1, number + 1)) if pieces.growing else [number],
            "parts": pieces.parts,
            "shuffle": pieces.shuffle,
            "seed": pieces.seed,
        }
        for number in range(1, pieces.parts + 1)
    ]


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except DataError as error:
        raise UsageError(str(error)) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a stream; a stream file has keys like name and experiences")
    return content


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _explain(error: ValidationError, known: dict[tuple[str, ...], list[str]]) -> str:
    """The first problem in one line: where, what, and the nearest known key."""
    first = error.errors()[0]
    location = first["loc"]
    key = ".".join(map(str, location))
    if first["type"] == "extra_forbidden":
        names = known.get(tuple(str(part) for part in location[:-1]), [])
        near = difflib.get_close_matches(str(location[-1]), names, n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        return f"unknown key {key!r}:{hint} Known: {', '.join(names)}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    return f"{first_problem(error)} (got {first['input']!r})" if key else first_problem(error)
