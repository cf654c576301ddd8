"""The hooks through which a plugin registers what it offers: one page, twelve hooks.

A plugin is a module named by an entry point of the group ``dfbench``. It marks functions with
``@dfbench.hookimpl``; each returns entries whose ``target`` is a string ``"package.module:Name"``,
so that listing and ``--help`` import nothing heavy. Built-in sources, benchmarks and metrics are
registered through these same hooks (:mod:`dfbench.builtin`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import pluggy

from dfbench.errors import shown

hookspec = pluggy.HookspecMarker("dfbench")
hookimpl = pluggy.HookimplMarker("dfbench")


@dataclass(frozen=True)
class Entry:
    """A name, its target, and one line about it."""

    name: str
    """Lower-case name as typed on the command line."""
    target: str
    """``"package.module:Name"``, imported when the entry is used; for a benchmark the path of a YAML file."""
    summary: str = ""

    def __post_init__(self) -> None:
        """Texts for listings become one line without control characters; a name that has any is refused later."""
        for field in fields(self):
            if field.name not in ("name", "target") and isinstance(text := getattr(self, field.name), str):
                object.__setattr__(self, field.name, shown(text))


@dataclass(frozen=True)
class DetectorEntry(Entry):
    """A detector: ``target`` names a subclass of :class:`dfbench.Detector`."""

    presets: tuple[str, ...] = ("default",)
    """Named configurations; the first is the default."""
    benchmark: str = ""
    """The benchmark to run by default, for a detector that the program's default does not suit."""


@dataclass(frozen=True)
class StrategyEntry(Entry):
    """A continual-learning strategy: ``target`` names a subclass of :class:`dfbench.Strategy`."""

    paper: str = ""
    """Reference of the method, e.g. ``"arXiv:1612.00796"``."""


@dataclass(frozen=True)
class AdapterEntry(Entry):
    """Something that strategies add to networks: ``target`` names a subclass of :class:`dfbench.Adapter`."""


@dataclass(frozen=True)
class BenchmarkEntry(Entry):
    """A benchmark: ``target`` is the path of a stream's YAML file."""


@dataclass(frozen=True)
class SourceEntry(Entry):
    """A data source: ``target`` names a class with ``samples()`` and ``read(sample)`` (see ``docs/data.md``)."""


@dataclass(frozen=True)
class DataSetEntry(Entry):
    """A public data set for ``dfbench data prepare``: ``target`` names a class with ``items`` (``docs/prepare.md``)."""


@dataclass(frozen=True)
class FaceDetectorEntry(Entry):
    """A face detector for ``dfbench data prepare``: ``target`` names a class with ``detect`` (``docs/prepare.md``)."""


@dataclass(frozen=True)
class MetricEntry(Entry):
    """A metric of a test set: ``target`` names a function of (labels, P(fake)) -> float."""


@dataclass(frozen=True)
class ZooEntry(Entry):
    """A trained checkpoint: ``target`` is the path of a zoo entry's YAML file (see ``docs/zoo.md``)."""


@dataclass(frozen=True)
class LoggerEntry(Entry):
    """A logger of runs: ``target`` names a subclass of :class:`dfbench.Logger` (see ``docs/logging.md``)."""


@dataclass(frozen=True)
class ReproductionEntry(Entry):
    """A reproduction of published tables: ``target`` is the path of a recipe's YAML file (``docs/reproduce.md``)."""


@dataclass(frozen=True)
class CommandEntry(Entry):
    """A command of the ``dfbench`` program: ``target`` names a click command."""


@hookspec
def register_detectors() -> Iterable[DetectorEntry]:  # type: ignore[empty-body]
    """Detectors that this plugin provides."""


@hookspec
def register_strategies() -> Iterable[StrategyEntry]:  # type: ignore[empty-body]
    """Continual-learning strategies that this plugin provides."""


@hookspec
def register_adapters() -> Iterable[AdapterEntry]:  # type: ignore[empty-body]
    """Adapters that strategies add to networks; a network with one in it is built again with them."""


@hookspec
def register_benchmarks() -> Iterable[BenchmarkEntry]:  # type: ignore[empty-body]
    """Benchmarks (streams of experiences) that this plugin provides."""


@hookspec
def register_sources() -> Iterable[SourceEntry]:  # type: ignore[empty-body]
    """Data sources (readers of data sets) that this plugin provides."""


@hookspec
def register_data_sets() -> Iterable[DataSetEntry]:  # type: ignore[empty-body]
    """Public data sets whose videos this plugin can find in their trees, for ``dfbench data prepare``."""


@hookspec
def register_face_detectors() -> Iterable[FaceDetectorEntry]:  # type: ignore[empty-body]
    """Face detectors that this plugin provides, for ``dfbench data prepare``."""


@hookspec
def register_metrics() -> Iterable[MetricEntry]:  # type: ignore[empty-body]
    """Metrics, computed for every pair (trained on, tested on) from the stored scores."""


@hookspec
def register_zoo() -> Iterable[ZooEntry]:  # type: ignore[empty-body]
    """Trained checkpoints that this plugin provides or refers to."""


@hookspec
def register_loggers() -> Iterable[LoggerEntry]:  # type: ignore[empty-body]
    """Loggers that this plugin provides, for ``dfbench eval --log``."""


@hookspec
def register_reproductions() -> Iterable[ReproductionEntry]:  # type: ignore[empty-body]
    """Recipes of published tables that this plugin provides, for ``dfbench reproduce``."""


@hookspec
def register_commands() -> Iterable[CommandEntry]:  # type: ignore[empty-body]
    """Commands added to the ``dfbench`` program."""
