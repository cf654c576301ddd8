"""What a plugin's code does wrong, in one wording: whose it is, the method, what happened, and where.

``detector 'mine' (plugin 'p' of p-dist 1.0): train raised KeyError: 'lr' (on experience 1 of 3, 's0')``

The core calls plugins everywhere, and a fault is recognised in one place only, by the frames of its traceback: the
innermost frame of a plugin, or of a method of its class, is who did it. Where the core fails below such a frame by
itself, no plugin is named, and the fault is reported as dfbench's own.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import click

from dfbench.errors import DfbenchError, PluginError, in_one_line
from dfbench.plugins import OWN

if TYPE_CHECKING:
    from dfbench.hookspecs import Entry
    from dfbench.plugins import Plugin, Registry


class Fault(PluginError):
    """What a method of a plugin's class returned or did, as the core saw it; :func:`named` says whose class it is.

    Args:
        owner: The object or its class; its name alone where the core has no more (the traceback says whose it is).
        method: Of the class; empty for what concerns the whole of it.
        what: What it did, and what is needed: ``returned a dict: a scalar loss is needed``.
    """

    def __init__(self, owner: Any, method: str, what: str) -> None:
        name = owner if isinstance(owner, str) else _class_of(owner).__name__
        super().__init__(f"{name}.{method} {what}" if method else f"{name}: {what}")
        self.classes = () if isinstance(owner, str) else _names_of(_class_of(owner))
        self.said = f"{method} {what}".lstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        """It may leave a worker process."""
        return Exception.__new__, (type(self), *self.args), self.__dict__


@contextlib.contextmanager
def calling(owner: Any, method: str) -> Iterator[None]:
    """A context for a call of a plugin's method.

    Raises:
        Fault: The method raised ``SystemExit``, which would end the program as if it had succeeded.
    """
    try:
        yield
    except SystemExit as error:
        raise Fault(owner, method, _ended(error)) from error


@contextlib.contextmanager
def where(text: Callable[[str], str]) -> Iterator[None]:
    """A context whose exceptions say under which circumstances they were raised.

    Args:
        text: Called with the message of the exception; returns the circumstances.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, DfbenchError):
            error.add_note(text(str(error)))
        raise


_OWNERS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def made_by(owner: Any, parts: Iterable[Any]) -> None:
    """Remember whose these objects of a library's classes are: a strategy's Avalanche plugins."""
    for part in parts:
        with contextlib.suppress(TypeError):  # cannot be referred to weakly
            _OWNERS[part] = owner


def remember(error: BaseException) -> None:
    """Keep the frames of an exception that is about to leave its process; a traceback cannot be sent."""
    error.__dict__["_dfbench_frames"] = list(_frames(error))


@contextlib.contextmanager
def named(registry: Callable[[], Registry]) -> Iterator[None]:
    """Turn what a plugin's code raises, ``SystemExit`` too, into a :class:`PluginError` that names it.

    Args:
        registry: Called when something is raised.

    Raises:
        PluginError: ``detector 'x' (plugin 'p' of p-dist 1.0): train raised KeyError: …``.
    """
    try:
        yield
    except Fault as error:
        cause = error.__cause__ if isinstance(error.__cause__, SystemExit) else None
        if message := (cause and _blame(cause, registry())) or _attributed(error, registry()):
            raise PluginError(message) from error
        raise
    except (DfbenchError, click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
        raise
    except (Exception, SystemExit) as error:
        full_disk = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        message = "" if full_disk else _blame(error, registry())
        if not message:
            raise
        raise PluginError(message) from error


@dataclass(frozen=True)
class _Frame:
    """What is asked of a frame; unlike a frame it can be sent to another process."""

    module: str
    file: str
    function: str
    code: str
    """``module:qualified name`` of the function."""
    classes: tuple[str, ...]
    """The same of the classes of the object whose method it is, the nearest first."""

    @property
    def is_core(self) -> bool:
        return self.module.partition(".")[0] == "dfbench"


@dataclass(frozen=True)
class _Owner:
    """Whose a frame is. ``entry`` is None where a plugin has several and none of them is recognised."""

    plugin: Plugin
    kind: str = ""
    entry: Entry | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.entry.name!r} ({self.plugin})" if self.entry else str(self.plugin)


def _blame(error: BaseException, known: Registry) -> str:
    """Who raised it and where; empty where the core did, or a command that ended itself."""
    frames = _frames(error) + error.__dict__.get("_dfbench_frames", [])
    owners = [_owner(frame, known) for frame in frames]
    found = [index for index, owner in enumerate(owners) if owner is not None]
    if not found or _is_cores(frames[found[-1] + 1 :]):
        return ""
    first = last = found[-1]
    owner, caller = owners[last], None
    assert owner is not None
    # From the innermost frame of the plugin out to where dfbench called it: that is a method of the contract.
    for index in range(last - 1, -1, -1):
        outer = owners[index]
        if outer is None and frames[index].is_core:
            break
        if outer is not None and outer.plugin != owner.plugin:
            caller = outer
            break
        first = index if outer is not None else first
    recognised = [each for each in owners[first : last + 1] if each is not None and each.entry is not None]
    owner = recognised[0] if recognised else _only(owner, frames[first], known)
    if isinstance(error, SystemExit):
        if owner.kind == "command" or (owner.entry is None and _has_commands(owner.plugin, known)):
            return ""
        return f"{owner}: {frames[first].function} {_ended(error)}"
    text = in_one_line(error)
    notes = [f"called by {caller}"] * (caller is not None) + list(getattr(error, "__notes__", ()))
    more = f" ({' '.join('; '.join(notes).split())})" if notes else ""
    return f"{owner}: {frames[first].function} raised {type(error).__name__}{': ' if text else ''}{text}{more}"


def _is_cores(below: list[_Frame]) -> bool:
    """Whether the core failed by itself, given the frames below the innermost one of a plugin.

    A function that the plugin called, and that chokes on what it was passed by itself, is the plugin's fault.
    """
    return sum(frame.is_core for frame in below) > 1


def _attributed(error: Fault, known: Registry) -> str:
    """The fault with its plugin's name; empty where nothing in the registry has this class."""
    owner = _entry_of(error.classes, known)
    if owner is None:
        found = [each for each in (_owner(frame, known) for frame in _frames(error)) if each is not None]
        owner = found[-1] if found and not error.classes else None
    return f"{owner}: {error.said}" if owner else ""


def _ended(error: SystemExit) -> str:
    return f"ended the program (SystemExit: {in_one_line(error)})"


def _frames(error: BaseException) -> list[_Frame]:
    """The frames of the traceback, the outermost first."""
    return [_frame(frame) for frame in _walk(error.__traceback__)]


def _walk(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _frame(frame: FrameType) -> _Frame:
    module, code = str(frame.f_globals.get("__name__", "")), frame.f_code
    classes: tuple[str, ...] = ()
    if code.co_varnames[:1] in (("self",), ("cls",)):
        owner = frame.f_locals.get(code.co_varnames[0])
        with contextlib.suppress(TypeError):  # not hashable, or cannot be referred to weakly
            owner = _OWNERS.get(owner, owner)
        classes = _names_of(_class_of(owner))
    return _Frame(module, code.co_filename, code.co_name, f"{module}:{code.co_qualname}", classes)


def _class_of(owner: Any) -> type:
    return owner if isinstance(owner, type) else type(owner)


def _names_of(kind: type) -> tuple[str, ...]:
    return tuple(f"{each.__module__}:{each.__qualname__}" for each in kind.__mro__)


def _owner(frame: _Frame, known: Registry) -> _Owner | None:
    """Whose method a frame is, by the class of its object, else by its code."""
    if found := _entry_of((*frame.classes, frame.code), known):
        return found
    for plugin in known.plugins:
        if _is_code_of(frame, plugin, known):
            return _Owner(plugin)
    return None


def _is_code_of(frame: _Frame, plugin: Plugin, known: Registry) -> bool:
    if plugin.status != "loaded" or frame.is_core:
        return False
    roots = {plugin.module, *(each.entry.target for _, each in _registered(plugin, known))}
    if frame.module.partition(".")[0] in {root.partition(":")[0].partition(".")[0] for root in roots}:
        return True
    return plugin.distribution != OWN and Path(frame.file) in _files(plugin.distribution)


@functools.cache
def _files(distribution: str) -> set[Path]:
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return set()
    return {Path(str(found.locate_file(file))) for file in found.files or ()}


def _registered(plugin: Plugin, known: Registry) -> Iterator[tuple[str, Any]]:
    for table in known.tables():
        for name in table:
            yield from ((table.kind, each) for each in table.registered(name) if each.plugin is plugin)


def _entry_of(names: Iterable[str], known: Registry) -> _Owner | None:
    """The entry whose target is one of these, the nearest first; what is dfbench's own is none."""
    targets = {
        name: _Owner(each.plugin, table.kind, each.entry)
        for table in known.tables()
        for registered in table
        for each in table.registered(registered)
        for name in (each.entry.target, _imported_name(each.entry.target))
        if not each.entry.target.startswith("dfbench.")
    }
    return next((targets[name] for name in names if name in targets), None)


def _imported_name(target: str) -> str:
    """``module:qualified name`` of a target where it is defined, which need not be where it is registered from."""
    module, _, name = target.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{found.__module__}:{found.__qualname__}" if isinstance(found, type) else target


def _only(owner: _Owner, frame: _Frame, known: Registry) -> _Owner:
    """The only entry of the frame's module, or of the plugin."""
    entries = list(_registered(owner.plugin, known))
    near = [pair for pair in entries if pair[1].entry.target.partition(":")[0] == frame.module]
    for found in (near, entries):
        if len(found) == 1:
            return _Owner(owner.plugin, found[0][0], found[0][1].entry)
    return owner


def _has_commands(plugin: Plugin, known: Registry) -> bool:
    """Whether the plugin brings commands: those may end the program with a code of their own."""
    return any(kind == "command" for kind, _ in _registered(plugin, known))
