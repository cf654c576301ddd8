"""The schema of a GRID.yaml: which runs a sweep is made of, with one clear line for each mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from dfbench.documents import read_yaml
from dfbench.errors import DataError, UsageError, unknown
from dfbench.records.spec import parse_tuned

Name = Annotated[str, Field(min_length=1, max_length=200)]
LARGEST = 100_000
"""Runs of a grid."""
_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


class GridFaults(UsageError):
    """What is wrong with a grid, a line for each fault."""

    def __init__(self, path: Path, faults: list[str]) -> None:
        self.faults = [f"{path}: {fault}" for fault in faults]
        super().__init__(self.faults[0] if len(faults) == 1 else f"{path}: {len(faults)} faults, listed above")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in value:
                if key not in known:
                    raise ValueError(str(unknown("key", str(key), known)))
        return value


class Range(_Part):
    """Numbers from one end to the other, both included."""

    start: float = Field(alias="from")
    stop: float = Field(alias="to")
    step: float | None = None
    """1 unless given, where there is no count."""
    count: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """How many, evenly spread."""
    scale: Literal["linear", "log"] = "linear"
    """Evenly spread in their logarithms; with count."""

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return {key: plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.step is not None and self.count is not None:
            raise ValueError("give step or count, not both")
        if self.scale == "log" and (self.count is None or min(self.start, self.stop) <= 0):
            raise ValueError("scale: log goes with count, and with ends above 0")
        if self.count is None:
            if self.step == 0:
                raise ValueError("step: 0 leads nowhere")
            if (steps := (self.stop - self.start) / (self.step or 1)) < 0:
                raise ValueError("the step leads away from the end")
            if steps > 10_000:
                raise ValueError("more than 10000 numbers")
        return self

    @property
    def values(self) -> list[int | float]:
        """The numbers, at most twelve digits each; whole ones where both ends and the step are whole."""
        if self.count is not None:
            share = [i / (self.count - 1) for i in range(self.count)]
            if self.scale == "log":
                low, high = math.log(self.start), math.log(self.stop)
                found = [math.exp(low + (high - low) * s) for s in share]
            else:
                found = [self.start + (self.stop - self.start) * s for s in share]
        else:
            step = self.step or 1.0
            found = [self.start + step * i for i in range(math.floor((self.stop - self.start) / step + 1e-9) + 1)]
        numbers = [float(f"{value:.12g}") for value in found]
        whole = all(n.is_integer() for n in (self.start, self.stop, *numbers)) and self.scale == "linear"
        return [int(n) for n in numbers] if whole else list(numbers)


Settings = dict[Name, Any]
"""Option → value, list of values, or range, as ``--set`` names options."""


class DetectorEntry(_Part):
    """A detector, with what is its own."""

    name: Name
    presets: list[Name] = Field([], alias="preset")
    """None: the detector's choice."""
    init: Name | None = None
    """As ``--init``."""
    settings: Settings = Field({}, alias="set")


class StrategyEntry(_Part):
    """A strategy, with options of its own."""

    name: Name
    settings: Settings = Field({}, alias="set")


class Axes(_Part):
    """What is combined: every detector with every strategy on every benchmark in every seed with every value."""

    detectors: Annotated[list[DetectorEntry], Field(min_length=1)]
    strategies: Annotated[list[StrategyEntry], Field(min_length=1)]
    benchmarks: list[Name] = []
    """Empty: each detector's own."""
    seeds: list[NonNegativeInt] = []
    settings: Settings = Field({}, alias="set")
    """Of all runs; an option must be one of every detector or strategy here."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        value = dict(value)
        for key in ("detectors", "strategies"):
            if key in value:
                value[key] = [_entry(each) for each in _listed(value[key])]
        if "benchmarks" in value:
            value["benchmarks"] = _listed(value["benchmarks"])
        if "seeds" in value:
            value["seeds"] = _seeds(value["seeds"])
        return value


class Grid(Axes):
    """A whole file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)]
    split: Literal["test", "val"] | None = None
    exclude: list[dict[str, Any]] = []
    """Runs that are left out: key → value or list of values, all of which must match."""
    include: list[Axes] = []
    """More of them; benchmarks and seeds are the grid's unless given."""
    skip_tests: list[Name] = []
    eval_every: PositiveInt | None = None
    eval_samples: Annotated[int, Field(ge=2)] | None = None
    tune: str | None = None
    allow_leaks: bool = False
    options_from: str | None = None
    """A file of ``--choose``, relative to the grid: it decides all options."""

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        value = Axes._lists.__func__(cls, value)  # type: ignore[attr-defined]
        if isinstance(value, dict):
            for key in ("skip_tests", "exclude", "include"):
                if key in value:
                    value[key] = _listed(value[key])
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.eval_samples is not None and self.eval_every is None:
            raise ValueError("eval_samples goes with eval_every")
        if self.tune is not None and parse_tuned(self.tune) is None:
            raise ValueError("tune: measure has another result on each machine; name the settings, as bf16")
        parts: list[Axes] = [self, *self.include]
        own = [part.settings for part in parts]
        own += [each.settings for part in parts for each in part.detectors]
        own += [each.settings for part in parts for each in part.strategies]
        if self.options_from is not None and any(own):
            raise ValueError("options_from: the file decides all options; leave out set")
        return self

    @property
    def parts(self) -> Iterator[Axes]:
        """The grid, and what it includes, with its benchmarks and seeds."""
        yield self
        for each in self.include:
            yield each.model_copy(
                update={"benchmarks": each.benchmarks or self.benchmarks, "seeds": each.seeds or self.seeds}
            )


def read_grid(path: Path) -> Grid:
    """A grid, checked as far as it can be without looking names up.

    Raises:
        GridFaults: With a line for each fault: the key, what is wrong, what is allowed.
    """
    try:
        content = read_yaml(path)
    except DataError as error:
        raise UsageError(str(error)) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a grid; a grid has keys like detectors and strategies")
    try:
        return Grid.model_validate({"name": _name_of(path), **content})
    except ValidationError as error:
        raise GridFaults(path, [_fault(each) for each in error.errors()]) from None
    except UsageError as error:
        raise GridFaults(path, [str(error)]) from None


def values_of(value: Any) -> list[Any]:
    """The values of one option: a list is one each, a mapping a range, anything else itself.

    Raises:
        ValueError: A range is wrong, or a list is empty.
    """
    if isinstance(value, Mapping):
        try:
            return list(Range.model_validate(value).values)
        except ValidationError as error:
            raise ValueError(_fault(error.errors()[0])) from None
    if isinstance(value, list):
        if not value:
            raise ValueError("an empty list")
        return [plain(each) for each in value]
    return [plain(value)]


def plain(value: Any) -> Any:
    """A value as it is meant: YAML 1.1 reads ``1e-4`` as text."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _entry(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and "preset" in value:
        return {**value, "preset": _listed(value["preset"])}
    return value


def _seeds(value: Any) -> Any:
    """``3`` is 0, 1, 2, as ``--seeds`` of reproduce has it."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("seeds: at least one is needed; seed 0 alone is [0]")
        return list(range(value))
    return list(Range.model_validate(value).values) if isinstance(value, Mapping) else value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _name_of(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).lstrip("-_.")[:60] or "grid"


def _fault(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        message = "missing"
    return f"{place}: {message}" if place else message
