"""Parts of a stream's file that say what is tested, on which sets, and after which paper."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveInt, field_validator

Name = Annotated[str, Field(min_length=1)]
Folder = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
"""A name that is one folder on every system."""
Kind = Literal["saturation", "contrast", "block", "noise", "blur", "jpeg", "h264"]
Level = Literal[1, 2, 3, 4, 5]


class Citation(BaseModel):
    """Where a protocol comes from.

    Attributes:
        paper: authors, title, where and when it appeared.
        section: of the paper, where it is known.
        url: address of the paper.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    paper: Annotated[str, Field(min_length=1, max_length=300)]
    section: Annotated[str, Field(max_length=100)] = ""
    url: Annotated[str, Field(pattern=r"^(https://[!-~]+)?$", max_length=300)] = ""

    @field_validator("paper")
    @classmethod
    def _in_one_line(cls, value: str) -> str:
        return " ".join(value.split())


class SetSpec(BaseModel):
    """One of ``sets``: how ``dfbench data prepare`` makes a folder below the data root.

    Attributes:
        source: name of the data set.
        options: of the data set, as ``--option`` gives them; the set must have been made with these.
        frames: per video.
        clip: 0, or the length of the clips that the frames are taken in.
        size: of a crop, in pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    source: Name
    options: dict[str, JsonValue] = {}
    frames: PositiveInt = 32
    clip: Annotated[int, Field(ge=0)] = 0
    size: PositiveInt = 256


class Perturb(BaseModel):
    """``perturb``: degraded copies of the experiences' test sets, scored once, after the last training.

    Attributes:
        kinds: which degradations (:mod:`dfbench.data.perturb`).
        levels: how strong, from 1 to 5. Both are kept in the order of the benchmark, whatever that of the file is.
        samples: at most so many test units per experience, their classes as equal as their numbers allow; None: all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kinds: Annotated[list[Kind], Field(min_length=1)] = list(get_args(Kind))
    levels: Annotated[list[Level], Field(min_length=1)] = list(get_args(Level))
    samples: Annotated[int, Field(ge=2)] | None = None

    @field_validator("kinds", "levels")
    @classmethod
    def _each_once(cls, value: list[Any]) -> list[Any]:
        if twice := [each for each in value if value.count(each) > 1]:
            raise ValueError(f"{twice[0]} is there twice")
        return [each for each in (*get_args(Kind), *get_args(Level)) if each in value]  # one order, whoever wrote it
