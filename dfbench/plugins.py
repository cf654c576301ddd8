"""Plugin discovery: load each plugin by itself, and keep the reason for any that is broken or blocked.

* ``DFBENCH_LOAD_PLUGINS=a,b`` loads only these entry points (empty: none);
* ``DFBENCH_DISABLE_PLUGINS=a,b`` blocks these before they are imported.

A plugin that fails to import or to register is kept in :attr:`Registry.plugins` with its
distribution and the reason; it never stops the program. If two plugins register the same name, using
that name is an error that names both; other names keep working, and listings show both entries.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from types import ModuleType
from typing import Any, Generic, TypeVar

import pluggy

from dfbench import hookspecs
from dfbench.errors import Interrupted, PluginError, in_one_line, is_control, shown, unknown
from dfbench.hookspecs import (
    AdapterEntry,
    BenchmarkEntry,
    CommandEntry,
    DataSetEntry,
    DetectorEntry,
    Entry,
    FaceDetectorEntry,
    LoggerEntry,
    MetricEntry,
    ReproductionEntry,
    SourceEntry,
    StrategyEntry,
    ZooEntry,
)
from dfbench.plugin_imports import importing

GROUP = "dfbench"
OWN = "dfbench-deepfake"
"""The distribution whose plugins are our own."""
E = TypeVar("E", bound=Entry)


@dataclass(frozen=True)
class Plugin:
    """One entry point, and the result of loading it."""

    name: str
    module: str
    distribution: str
    version: str
    status: str
    """``loaded``, ``broken`` or ``disabled``."""
    reason: str = ""

    def __post_init__(self) -> None:
        """A distribution says of itself what it likes."""
        for each in fields(self):
            object.__setattr__(self, each.name, shown(getattr(self, each.name)))

    def __str__(self) -> str:
        """``plugin 'p' of p-dist 1.0``."""
        return f"plugin {self.name!r} of {self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class Registration(Generic[E]):
    """An entry and the plugin that registered it."""

    entry: E
    plugin: Plugin


class EntryTable(Mapping[str, E]):
    """The entries of one kind by name; looking up a name that is registered twice is an error.

    Args:
        kind: what the entries are, in the singular, for error messages.
        registered: all entries, in the order of registration.
        not_loaded: plugins that are broken or disabled, or register nothing. The error for an unknown name lists
            them, since one of them may have it.
    """

    def __init__(self, kind: str, registered: Iterable[Registration[E]], not_loaded: Iterable[Plugin] = ()) -> None:
        self.kind = kind
        self._not_loaded = [
            f"plugin {p.name!r} {'registers nothing' if p.status == 'loaded' else f'is {p.status}'}" for p in not_loaded
        ]
        self._all: dict[str, list[Registration[E]]] = {}
        for item in registered:
            self._all.setdefault(item.entry.name, []).append(item)

    def registered(self, name: str) -> list[Registration[E]]:
        """All registrations of this name, for listings; more than one is a conflict."""
        return list(self._all.get(name, ()))

    def conflict(self, name: str) -> str:
        """The error for a name that is registered twice: by which plugins, and what to do. Empty without a conflict."""
        found = self.registered(name)
        if len(found) < 2:
            return ""
        owners = " and ".join(f"plugin {r.plugin.name!r} ({r.plugin.distribution})" for r in found)
        foreign = [r for r in found if r.plugin.distribution != OWN] or found
        return (
            f"{self.kind} {name!r} is registered twice, by {owners}: "
            f"disable one with DFBENCH_DISABLE_PLUGINS={foreign[-1].plugin.name}"
        )

    def _one(self, name: str) -> Registration[E]:
        if name not in self._all:
            error = unknown(self.kind, name, self._all)
            hint = f" ({', '.join(self._not_loaded)}: see dfbench plugins list)" if self._not_loaded else ""
            raise type(error)(f"{error}{hint}")
        if conflict := self.conflict(name):
            raise PluginError(conflict)
        return self._all[name][0]

    def __getitem__(self, name: str) -> E:
        return self._one(name).entry

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def plugin(self, name: str) -> Plugin:
        """The plugin that registered ``name``."""
        return self._one(name).plugin

    def load(self, name: str, base: type | None = None) -> Any:
        """Import the target of ``name``.

        Args:
            name: Of the entry.
            base: What the target must be a subclass of.

        Raises:
            UsageError: the name is unknown.
            PluginError: it is registered twice, or its target cannot be imported or is something else.
        """
        found = self._one(name)
        try:
            with importing(found.plugin.name, found.plugin.distribution, target=True):
                target = import_target(found.entry.target)
        except Interrupted:
            raise
        except (Exception, SystemExit) as error:
            raise self._fault(found, f"cannot be loaded from {found.entry.target!r}: {_reason(error)}") from error
        if base is not None and not (isinstance(target, type) and issubclass(target, base)):
            raise self.fault(
                name, f"{found.entry.target!r} is {_kind(target)}, not a subclass of dfbench.{base.__name__}"
            )
        return target

    def fault(self, name: str, what: str) -> PluginError:
        """The error for what is wrong with a registered target."""
        return self._fault(self._one(name), what)

    def _fault(self, found: Registration[E], what: str) -> PluginError:
        return PluginError(f"{self.kind} {found.entry.name!r} ({found.plugin}): {what}")


@dataclass
class Registry:
    """The plugins that were found, and the entries that they registered."""

    plugins: list[Plugin] = field(default_factory=list)
    detectors: EntryTable[DetectorEntry] = field(default_factory=lambda: EntryTable("detector", ()))
    strategies: EntryTable[StrategyEntry] = field(default_factory=lambda: EntryTable("strategy", ()))
    adapters: EntryTable[AdapterEntry] = field(default_factory=lambda: EntryTable("adapter", ()))
    benchmarks: EntryTable[BenchmarkEntry] = field(default_factory=lambda: EntryTable("benchmark", ()))
    sources: EntryTable[SourceEntry] = field(default_factory=lambda: EntryTable("source", ()))
    data_sets: EntryTable[DataSetEntry] = field(default_factory=lambda: EntryTable("data set", ()))
    face_detectors: EntryTable[FaceDetectorEntry] = field(default_factory=lambda: EntryTable("face detector", ()))
    metrics: EntryTable[MetricEntry] = field(default_factory=lambda: EntryTable("metric", ()))
    zoo: EntryTable[ZooEntry] = field(default_factory=lambda: EntryTable("checkpoint", ()))
    loggers: EntryTable[LoggerEntry] = field(default_factory=lambda: EntryTable("logger", ()))
    reproductions: EntryTable[ReproductionEntry] = field(default_factory=lambda: EntryTable("reproduction", ()))
    commands: EntryTable[CommandEntry] = field(default_factory=lambda: EntryTable("command", ()))

    def tables(self) -> list[EntryTable[Any]]:
        """The entries of every kind."""
        return [getattr(self, kind) for kind in _HOOKS]


_HOOKS: dict[str, tuple[str, type[Entry]]] = {
    "detectors": ("detector", DetectorEntry),
    "strategies": ("strategy", StrategyEntry),
    "adapters": ("adapter", AdapterEntry),
    "benchmarks": ("benchmark", BenchmarkEntry),
    "sources": ("source", SourceEntry),
    "data_sets": ("data set", DataSetEntry),
    "face_detectors": ("face detector", FaceDetectorEntry),
    "metrics": ("metric", MetricEntry),
    "zoo": ("checkpoint", ZooEntry),
    "loggers": ("logger", LoggerEntry),
    "reproductions": ("reproduction", ReproductionEntry),
    "commands": ("command", CommandEntry),
}


def import_target(target: str) -> Any:
    """Import the object that ``"package.module:Name"`` names; ImportError for any other form."""
    module, _, name = target.partition(":")
    if not name:
        raise ImportError(f"target {target!r} is not of the form 'package.module:Name'")
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def load_plugins(entry_points: Iterable[metadata.EntryPoint] | None = None) -> Registry:
    """Load the built-in plugin and every entry point of the group ``dfbench`` that is not blocked.

    Args:
        entry_points: these entry points instead of those of the installed distributions.
    """
    manager = pluggy.PluginManager("dfbench")
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    found: dict[str, list[Registration[Any]]] = {kind: [] for kind in _HOOKS}

    own = Plugin("builtin", "dfbench.builtin", OWN, _version(OWN), "loaded")
    plugins.append(_add(manager, own, importlib.import_module("dfbench.builtin"), found))
    for point in _unique(metadata.entry_points(group=GROUP) if entry_points is None else entry_points):
        plugins.append(_load(manager, point, found))

    registry = Registry(plugins)
    without = [p for p in plugins if p.status != "loaded" or p.reason]
    for kind, (singular, _) in _HOOKS.items():
        setattr(registry, kind, EntryTable(singular, found[kind], without))
    return registry


@functools.cache
def registry() -> Registry:
    """The registry of the installed plugins, loaded once per process."""
    return load_plugins()


def _load(
    manager: pluggy.PluginManager, point: metadata.EntryPoint, found: dict[str, list[Registration[Any]]]
) -> Plugin:
    dist = point.dist.name if point.dist else "unknown"
    plugin = Plugin(point.name, point.value, dist, point.dist.version if point.dist else "", "loaded")
    blocked = _blocked(point.name)
    if blocked:
        return _with(plugin, "disabled", blocked)
    try:
        with importing(plugin.name, plugin.distribution):
            module = point.load()
    except Interrupted:
        raise
    except BaseException as error:  # SystemExit too: a plugin must not end the program
        return _with(plugin, "broken", _reason(error))
    if not isinstance(module, ModuleType):
        return _with(plugin, "broken", f"entry point {point.value!r} names a {type(module).__name__}, not a module")
    return _add(manager, plugin, module, found)


def _add(
    manager: pluggy.PluginManager, plugin: Plugin, module: ModuleType, found: dict[str, list[Registration[Any]]]
) -> Plugin:
    """Register ``module`` and collect its entries, all or none: a broken plugin leaves nothing behind."""
    collected: list[tuple[str, Entry]] = []
    if manager.has_plugin(plugin.name):
        return _with(plugin, "broken", f"another plugin is called {plugin.name!r} too; rename its entry point")
    if manager.is_registered(module):
        return _with(plugin, "broken", f"plugin {manager.get_name(module)!r} is the same module")
    try:
        with importing(plugin.name, plugin.distribution):
            manager.register(module, name=plugin.name)
            manager.check_pending()
            for kind, (_, entry_type) in _HOOKS.items():
                hook = getattr(manager.hook, f"register_{kind}")
                for impl in hook.get_hookimpls():
                    if impl.plugin is module:
                        collected += [(kind, e) for e in _entries(impl.function(), entry_type, f"register_{kind}")]
    except Interrupted:
        raise
    except BaseException as error:  # SystemExit too: a plugin must not end the program
        if manager.is_registered(module):
            manager.unregister(module)
        return _with(plugin, "broken", _reason(error))
    for kind, entry in collected:
        found[kind].append(Registration(entry, plugin))
    return plugin if collected else _with(plugin, "loaded", "registers nothing: is @hookimpl missing?")


def _entries(returned: Any, entry_type: type[Entry], hook: str) -> list[Entry]:
    """Check the return value of a hook; TypeError or ValueError with the reason."""
    if not isinstance(returned, Iterable) or isinstance(returned, str):
        raise TypeError(f"{hook} returned a {type(returned).__name__}, not a list of {entry_type.__name__}")
    entries: list[Entry] = []
    for entry in returned:
        if not isinstance(entry, entry_type):
            raise TypeError(f"{hook} returned a {type(entry).__name__}, not {entry_type.__name__}")
        if not all(isinstance(text, str) and text for text in (entry.name, entry.target)):
            raise TypeError(f"{hook} returned an entry without a name and a target (two non-empty strings): {entry}")
        for name in (entry.name, *(entry.presets if isinstance(entry, DetectorEntry) else ())):
            if any(map(is_control, str(name))):
                raise ValueError(f"{hook} returned the name {str(name)!r}, which has a control character")
        if entry.name in [e.name for e in entries]:
            raise ValueError(f"{hook} returned {entry.name!r} twice")
        entries.append(entry)
    return entries


def _unique(points: Iterable[metadata.EntryPoint]) -> list[metadata.EntryPoint]:
    """Drop repeated entry points: an editable install that runs from its folder is on ``sys.path`` twice."""
    seen: dict[tuple[str, str, str], metadata.EntryPoint] = {}
    for point in points:
        seen.setdefault((point.name, point.value, point.dist.name if point.dist else ""), point)
    return sorted(seen.values(), key=lambda p: (p.name, p.value))


def _blocked(name: str) -> str:
    only = os.environ.get("DFBENCH_LOAD_PLUGINS")
    if only is not None and name not in _list(only):
        return "not named in DFBENCH_LOAD_PLUGINS"
    if name in _list(os.environ.get("DFBENCH_DISABLE_PLUGINS", "")):
        return "named in DFBENCH_DISABLE_PLUGINS"
    return ""


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _with(plugin: Plugin, status: str, reason: str) -> Plugin:
    return Plugin(plugin.name, plugin.module, plugin.distribution, plugin.version, status, reason)


def _reason(error: BaseException) -> str:
    text = in_one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _kind(target: Any) -> str:
    return f"the class {target.__name__}" if isinstance(target, type) else f"a {type(target).__name__}"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
