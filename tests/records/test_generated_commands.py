"""The printed command of any record asks for the record's spec, for whatever ``dfbench eval`` can be asked for."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import types
import typing
from pathlib import Path
from typing import Any

import annotated_types
import click
import pytest
from hypothesis import HealthCheck, assume, find, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from dfbench.benchmarks.schema import read_stream_file
from dfbench.cli import cli
from dfbench.cli.eval import command as eval_command
from dfbench.plugins import registry
from dfbench.records.command import all_settings, command, needed_settings
from dfbench.records.initial import InitialCheckpoint, TrainedOn, parse_reference
from dfbench.records.spec import (
    DEFAULT_MEMORY,
    DETECTOR_BUDGET,
    SPEED,
    RunSpec,
    detector_config,
    in_order,
    parse_settings,
    parse_tuned,
    strategy_config,
)
from dfbench.runs.prepare import Request
from tests.records.builder import make_record

DECIDES = {
    "detector", "strategy", "benchmark", "preset", "settings", "seed", "split", "eval_every", "eval_samples", "tune",
    "skip_tests", "init",
}  # fmt: skip
"""Options of ``dfbench eval`` that are in the spec."""
DECIDES_NOT = {"allow_leaks", "device", "out", "data_root", "log", "publish", "push_to", "as_json", "fresh", "quiet"}
FROM_A_FILE = {"options_from"}
"""Options that stand for others of :data:`DECIDES`, all of which are in the spec: the line of a record names those."""
OF_THE_DATA = {"data_fingerprint", "initial_weights", "further_tests"}
"""Fields of a spec that follow from the other ones and the opened data, so that no option gives them."""

TEXTS = st.text(max_size=8) | st.sampled_from([
    "no", "null", "~", "1e5", "1e-3", "2020-01-01", "12:30", "0x10", "true", "a: b", "[1]", "{}", "#", "-", "*a", "=",
    "'", '"', " x ", "a\nb", "ä=ü", "é\u2028", "\x7f", "😀",
])  # fmt: skip
"""Above all those that YAML reads in its own way."""


SETS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=","), max_size=8).map(
    str.strip
).filter(bool).filter(lambda name: name != "all") | st.sampled_from(
    ["token", "perturbed", "celeb df", "--quiet", "'", "$HOME"]
)
"""Names of unseen sets, as a stream's file may give them."""


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20) | st.sampled_from(
    [
        "xception-naive-forge5",
        "user/repo@" + "a" * 40,
        "b7.safetensors",
        "--quiet",
        "-q",
        "#sha256=",
        "a b",
        "'",
        "$HOME",
    ]
)
"""Of checkpoints: in a zoo, on the Hub, of files."""
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


def checkpoints() -> st.SearchStrategy[InitialCheckpoint]:
    """Weights to start from, with and without a history."""
    trained = st.deferred(lambda: st.none() | made)
    found = st.builds(InitialCheckpoint, name=NAMES, sha256=DIGESTS, trained=trained)
    made = st.builds(TrainedOn, run=NAMES, benchmark=NAMES, fingerprint=DIGESTS, strategy=NAMES, init=st.none() | found)
    return found


class Odd(BaseModel):
    """Options of every kind that a plugin's configuration may have."""

    model_config = ConfigDict(extra="forbid")

    text: str = "x"
    maybe: str | None = None
    number: float = 1.0
    whole: int = 1
    flag: bool = False
    texts: tuple[str, ...] = ()
    numbers: list[float] = []
    table: dict[str, int | str] = {}
    nested: list[list[int]] = Field(default=[[1]])


def values(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """Values of an option's type, within its bounds."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:  # the bounds are in a pydantic Field's own list
        return values(inner[0], [bound for each in inner[1:] for bound in getattr(each, "metadata", [each])])
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(values(each, metadata) for each in inner))
    if origin in (list, tuple):
        return st.lists(values(inner[0], []), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXTS, values(inner[1], []), max_size=3)
    low = next((m.ge for m in metadata if isinstance(m, annotated_types.Ge)), None)
    low = next((m.gt for m in metadata if isinstance(m, annotated_types.Gt)), low)
    high = next((m.le for m in metadata if isinstance(m, annotated_types.Le)), None)
    high = next((m.lt for m in metadata if isinstance(m, annotated_types.Lt)), high)
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(low, high if high is not None else 10**12),
        float: st.floats(low, high, allow_nan=False, allow_infinity=False),
        str: TEXTS,
    }
    return kinds[annotation]


def options(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of a configuration's options, each with a value of its type."""
    fields: dict[str, FieldInfo] = model.model_fields
    return st.fixed_dictionaries({}, optional={n: values(f.annotation, f.metadata) for n, f in fields.items()})


def valid(model: type[BaseModel], given: dict[str, Any]) -> dict[str, Any]:
    """The configuration as a spec has it; where options exclude each other, the example is dropped."""
    try:
        return model.model_validate(given).model_dump(mode="json")
    except ValidationError:
        assume(False)
        raise


def memory(spec: dict[str, Any]) -> int:
    """As :func:`dfbench.records.spec.memory_budget` decides it."""
    budget = budget_of(spec["benchmark"])
    return int(
        spec["strategy_config"].get("memory")
        or budget.get("memory")
        or budget.get("memory_per_experience", 0) * budget["experiences"]
        or DEFAULT_MEMORY
    )


@functools.cache
def budget_of(benchmark: str) -> dict[str, Any]:
    """What a benchmark sets, and how many experiences its file lists."""
    stream, _ = read_stream_file(Path(registry().benchmarks[benchmark].target))
    found = {k: v for k, v in stream.budget.model_dump().items() if v is not None}
    return {**found, "experiences": len(stream.experiences)}


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    """Anything that ``dfbench eval`` can be asked for with what is installed."""
    known = registry()
    detector, strategy = draw(st.sampled_from(list(known.detectors))), draw(st.sampled_from(list(known.strategies)))
    kind, method = known.detectors.load(detector), known.strategies.load(strategy)
    benchmark = draw(st.sampled_from(["forge5", "forge5-clips", "cifar10-ni10"]))
    preset = draw(st.sampled_from(list(kind.presets)))
    budget = {k: v for k, v in budget_of(benchmark).items() if k in DETECTOR_BUDGET and k in kind.Config.model_fields}
    every = draw(st.none() | st.integers(1, 10**6))
    spec = {
        "detector": detector,
        "preset": preset,
        "detector_config": valid(kind.Config, {**kind.presets[preset], **budget, **draw(options(kind.Config))}),
        "strategy": strategy,
        "strategy_config": valid(method.Config, draw(options(method.Config))),
        "benchmark": benchmark,
        "seed": draw(st.integers(0, 2**31)),
        "split": draw(st.sampled_from(["test", "val"])),
        "tuned": in_order(draw(st.lists(st.sampled_from(SPEED), unique=True))),
        "eval_every": every,
        "eval_samples": draw(st.none() | st.integers(2, 10**6)) if every else None,
        "skipped_tests": tuple(draw(st.lists(SETS, unique=True, max_size=3))),
        "data_fingerprint": "f" * 64,
        "init": draw(st.none() | checkpoints()),
    }
    return RunSpec(**spec, memory=memory(spec))


def asked(line: str, spec: RunSpec) -> RunSpec:
    """What ``dfbench eval`` would run for a line, but for :data:`OF_THE_DATA`."""
    words = shlex.split(line)
    parent = click.Context(cli, None, "dfbench", **cli.context_settings)
    given = eval_command.make_context("eval", words[words.index("eval") + 1 :], parent).params
    init = given.pop("init")
    request = Request(**{f.name: given[f.name] for f in dataclasses.fields(Request) if f.name in given})
    known = registry()
    kind, method = known.detectors.load(request.detector), known.strategies.load(request.strategy)
    assert request.benchmark is not None
    budget = {k: v for k, v in budget_of(request.benchmark).items() if k in DETECTOR_BUDGET}
    given_settings, options = parse_settings(request.settings)
    preset, config = detector_config(kind, request.detector, request.preset, given_settings, budget, method)
    found = {
        "detector": request.detector,
        "preset": preset,
        "detector_config": config.model_dump(mode="json"),
        "strategy": request.strategy,
        "strategy_config": strategy_config(method, request.strategy, options).model_dump(mode="json"),
        "benchmark": request.benchmark,
        "tuned": parse_tuned(request.tune) if request.tune else (),
        "skipped_tests": tuple(request.skip_tests),
        **{name: getattr(request, name) for name in ("seed", "split", "eval_every", "eval_samples")},
        **{name: getattr(spec, name) for name in OF_THE_DATA},
        "init": init and named(init, spec),
    }
    return RunSpec(**found, memory=memory(found))


def named(reference: str, spec: RunSpec) -> InitialCheckpoint:
    """The checkpoint of a reference; what it was trained on follows from the weights of that digest."""
    assert spec.init is not None
    name, digest = parse_reference(reference)
    assert digest is not None
    return InitialCheckpoint(name=name, sha256=digest, trained=spec.init.trained)


@given(specs(), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_the_line_of_any_record_asks_for_its_spec(spec: RunSpec, short: bool) -> None:
    record = make_record(spec.strategy, [[1.0]], **spec.model_dump(exclude={"strategy", "memory"}))
    record = record.model_copy(update={"spec": spec, "settings": needed_settings(spec, registry()) if short else None})
    assert asked(command(record), spec) == spec


@given(options(Odd), options(Odd))
@settings(max_examples=60, deadline=None)
def test_settings_of_any_kind_are_read_back_as_they_were(detector: dict[str, Any], strategy: dict[str, Any]) -> None:
    record = make_record("s", [[1.0]], detector_config=valid(Odd, detector), strategy_config=valid(Odd, strategy))
    words = shlex.split(command(record))
    written = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert written == all_settings(record.spec)
    found = tuple(Odd.model_validate(each).model_dump(mode="json") for each in parse_settings(written))
    assert found == (record.spec.detector_config, record.spec.strategy_config)


@pytest.mark.parametrize("field", sorted(set(RunSpec.model_fields) - OF_THE_DATA))
def test_every_field_of_a_spec_is_varied_here(field: str) -> None:
    """A new field that no generated spec has would go untested."""
    first = getattr(find(specs(), lambda _: True), field)
    find(specs(), lambda spec: getattr(spec, field) != first, settings=settings(max_examples=300, database=None))


def test_every_option_of_eval_is_in_the_spec_or_known_not_to_decide_the_result() -> None:
    assert {option.name for option in eval_command.params} == DECIDES | DECIDES_NOT | FROM_A_FILE
