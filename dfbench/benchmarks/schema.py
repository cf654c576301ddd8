"""What a stream's YAML file may say, and one clear line for what it may not."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from dfbench.errors import UsageError

Scalar = str | int
Name = Annotated[str, Field(min_length=1)]


class Budget(BaseModel):
    """What a detector and a strategy may use; None leaves it to them.

    :ivar memory: samples that a strategy may keep, in all
    :ivar memory_per_experience: the same, for each experience seen
    :ivar epochs: passes over each experience
    :ivar steps: optimizer steps in each experience
    :ivar batch_size: samples a batch
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    """``split``: equal pieces of one training set, one an experience, each with the whole test set.

    :ivar parts: how many
    :ivar shuffle: draw the pieces at random instead of in the order of the data set
    :ivar seed: of that draw
    :ivar growing: experience k has the pieces 1 to k instead of piece k
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: PositiveInt
    shuffle: bool = False
    seed: int = 0
    growing: bool = False


class ExperienceSpec(BaseModel):
    """One entry of ``experiences``; keys that are not named here are options of the source.

    :ivar name: unique in the stream
    :ivar source: a registered source
    :ivar root: folder, relative to the YAML file; without it ``<data root>/<source>``
    :ivar where: column → value, or list of values of which one must match
    :ivar frames: at most so many frames of a video, evenly spread over it
    :ivar part: train on these of ``parts`` equal pieces of the training set, counted from 1
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Name
    source: Name
    root: str | None = None
    where: dict[str, Scalar | list[Scalar]] = {}
    frames: PositiveInt | None = None
    part: list[PositiveInt] | None = None
    parts: PositiveInt | None = None
    shuffle: bool = False
    seed: int = 0

    @field_validator("part", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) else value

    @model_validator(mode="after")
    def _part_of_parts(self) -> ExperienceSpec:
        if (self.part is None) != (self.parts is None):
            raise ValueError("part and parts belong together, as in {part: 3, parts: 10}")
        if self.part and self.parts and max(self.part) > self.parts:
            raise ValueError(f"part {max(self.part)} of {self.parts} parts")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What goes to the source."""
        return dict(self.model_extra or {})


class StreamSpec(Budget):
    """A whole file. Its experiences are listed, or made by ``split``.

    :ivar fresh_model: every experience trains a new network; without it, the one that the last experience left
    """

    name: Name
    description: str = ""
    metric: Literal["auc", "accuracy"] = "auc"
    max_corrupt: Annotated[float, Field(ge=0, le=1)] = 0.05
    fresh_model: bool = False
    defaults: dict[str, Any] = {}
    experiences: list[dict[str, Any]] = []
    split: Pieces | None = None

    @property
    def budget(self) -> Budget:
        """The budget's part of the file."""
        return Budget(**{name: getattr(self, name) for name in Budget.model_fields})


def read_stream_file(path: Path) -> tuple[StreamSpec, list[ExperienceSpec]]:
    """Read and check a stream's YAML file.

    :return: the file, and its experiences with the defaults filled in
    :raise UsageError: one line with the file, the key and what is allowed
    """
    content = _load_yaml(path)
    try:
        spec = StreamSpec.model_validate(content)
    except ValidationError as error:
        known = {(): list(StreamSpec.model_fields), ("split",): list(Pieces.model_fields)}
        raise UsageError(f"{path}: {_explain(error, known)}") from None
    if bool(spec.experiences) == (spec.split is not None):
        raise UsageError(f"{path}: give a list of experiences, or split: {{parts: N}} (one of the two)")
    experiences = []
    for number, entry in enumerate(_entries(spec), 1):
        merged = {**spec.defaults, **entry}
        if "where" in spec.defaults and isinstance(entry.get("where"), dict):
            merged["where"] = {**spec.defaults["where"], **entry["where"]}
        merged = {key: value for key, value in merged.items() if value is not None}  # null: no default
        try:
            experiences.append(ExperienceSpec.model_validate(merged))
        except ValidationError as error:
            where = f"experience {entry.get('name') or number!r}"
            raise UsageError(f"{path}: {where}: {_explain(error, {})}") from None
    names = [experience.name for experience in experiences]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}: two experiences are called {name!r}; give each its own name")
    return spec, experiences


def _entries(spec: StreamSpec) -> list[dict[str, Any]]:
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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line}: not YAML ({getattr(error, 'problem', None) or error})") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a stream; a stream file has keys like name and experiences")
    return content


def _explain(error: ValidationError, known: dict[tuple[str, ...], list[str]]) -> str:
    """The first problem in one line: where, what, and the nearest known key."""
    first = error.errors()[0]
    location = first["loc"]
    key = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        names = known.get(tuple(str(part) for part in location[:-1]), [])
        near = difflib.get_close_matches(str(location[-1]), names, n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        return f"unknown key {key!r}:{hint} Known: {', '.join(names)}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {first['input']!r})" if key else message
