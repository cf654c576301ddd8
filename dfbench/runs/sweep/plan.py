"""A sweep's runs: each with its spec, the command that makes it, and what tells it from all others."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.benchmarks.stream import Stream
from dfbench.errors import DfbenchError
from dfbench.plugins import Registry
from dfbench.records.command import setting
from dfbench.records.spec import STRATEGY_PREFIX, RunSpec
from dfbench.runs.code import code_of
from dfbench.runs.events import EventStream, Listener
from dfbench.runs.prepare import open_stream
from dfbench.runs.sweep.expand import Point
from dfbench.runs.sweep.grid import GridFaults

FILES = ("-b", "--options-from")
"""Options of ``dfbench eval`` whose value may be a file that another machine lacks."""


@dataclass(frozen=True)
class Job:
    """One run, as plain data: what a worker needs, on this machine or another one."""

    key: str
    """Of the spec: :attr:`dfbench.records.spec.RunSpec.asked`."""
    label: str
    """For people."""
    words: tuple[str, ...]
    """What follows ``dfbench eval``, without ``--out`` and ``--data-root``."""
    spec: RunSpec
    code: dict[str, str]
    """What it is to be made with."""
    settings: tuple[str, ...] = ()
    """The options that the grid sets, as ``--set`` takes them."""

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """Runs of one kind cost about the same, but for their length: detector, preset, strategy, benchmark."""
        spec = self.spec
        return spec.detector, spec.preset, spec.strategy, spec.benchmark

    @property
    def row(self) -> tuple[object, ...]:
        """Equal for runs that differ in the seed alone."""
        spec = self.spec
        return (*self.kind, spec.data_fingerprint, spec.split, repr(spec.detector_config), repr(spec.strategy_config),
                spec.init and spec.init.sha256)  # fmt: skip

    def line(self, out: Path, data_root: Path | None, threads: int) -> str:
        """The run as a line for a shell."""
        words = ["dfbench", "eval", *self.words, *places(out, data_root)]
        return f"OMP_NUM_THREADS={threads} {shlex.join(words)}"


def places(out: Path, data_root: Path | None) -> list[str]:
    """The options of ``dfbench eval`` that say where something lies."""
    return ["--out", str(out), *(["--data-root", str(data_root)] if data_root else [])]


@dataclass(frozen=True)
class Plan:
    """The runs of a grid."""

    jobs: list[Job]
    streams: dict[str, Stream]
    twice: int
    """Combinations that come to the same run as another one, and are run once."""


def make_plan(
    points: Sequence[Point],
    path: Path,
    registry: Registry,
    options_from: Path | None,
    listener: Listener | None = None,
) -> Plan:
    """Open each stream once, and make the spec of every run; no network is built.

    Args:
        points: Of the grid.
        path: Of its file, for errors.
        registry: What is installed.
        options_from: The file that decides all options, if one does.
        listener: Receives what opening data has to say, and how many specs are made.

    Raises:
        GridFaults: Options do not go with a stream; with a line for each fault.
        DfbenchError: Data are missing or damaged.
    """
    streams: dict[str, Stream] = {}
    codes: dict[tuple[str, str], dict[str, str]] = {}
    configs: dict[tuple[Any, ...], Any] = {}
    jobs: dict[str, Job] = {}
    faults: dict[str, None] = {}
    events = EventStream(listener)
    for number, point in enumerate(points):
        asked, request = point.asked, point.asked.request
        if asked.benchmark not in streams:
            streams[asked.benchmark] = open_stream(
                asked.benchmark, registry, request.data_root, listener, request.skip_tests,
                allow_leaks=request.allow_leaks,
            )  # fmt: skip
        stream = streams[asked.benchmark]
        try:
            key = (
                asked.benchmark,
                request.detector,
                asked.preset,
                request.strategy,
                repr(asked.settings),
                request.init,
            )
            if key not in configs:
                configs[key] = asked.configured(stream)
            spec = asked.spec(stream, configs[key])
        except DfbenchError as error:
            faults[str(error)] = None
            continue
        pair = request.detector, request.strategy
        if pair not in codes:
            codes[pair] = code_of(*pair, registry)
        settings = tuple(_setting(name, value) for name, value in point.settings.items())
        words = _words(point, settings, options_from)
        jobs.setdefault(spec.asked, Job(spec.asked, point.label, words, spec, codes[pair], settings))
        events.data(number + 1, len(points), "reading the grid")
    if faults:
        raise GridFaults(path, list(faults))
    return Plan(list(jobs.values()), streams, len(points) - len(jobs))


def _setting(name: str, value: Any) -> str:
    prefix = STRATEGY_PREFIX if name.startswith(STRATEGY_PREFIX) else ""
    return setting(prefix, name.removeprefix(STRATEGY_PREFIX), value)


def _words(point: Point, settings: Sequence[str], options_from: Path | None) -> tuple[str, ...]:
    """What is typed behind ``dfbench eval`` for a run; paths are absolute, so that it can be typed anywhere."""
    asked, request = point.asked, point.asked.request
    stream = asked.benchmark
    if stream.lower().endswith((".yaml", ".yml")):
        stream = os.path.abspath(stream)
    words = ["-d", request.detector, "--preset", asked.preset, "-s", request.strategy, "-b", stream]
    words += ["--seed", str(request.seed)]
    words += ["--split", request.split] * (request.split != "test") + ["--device", request.device]
    words += [] if request.init is None else ["--init", request.init.checkpoint.reference]
    measured = {"eval_every": request.eval_every, "eval_samples": request.eval_samples, "tune": request.tune}
    for name, value in measured.items():
        words += [f"--{name.replace('_', '-')}", str(value)] * (value is not None)
    words += ["--skip-tests", ",".join(request.skip_tests)] * bool(request.skip_tests)
    words += ["--allow-leaks"] * request.allow_leaks
    if request.chosen is not None and options_from is not None:
        return (*words, "--options-from", os.path.abspath(options_from))
    for each in settings:
        words += ["--set", each]
    return tuple(words)
