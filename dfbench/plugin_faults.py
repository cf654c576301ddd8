"""Whose fault an exception is: foreign code is named, so that its author hears of it and not dfbench's."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import click

from dfbench.errors import DfbenchError, PluginError, in_one_line
from dfbench.plugins import OWN

if TYPE_CHECKING:
    from dfbench.hookspecs import Entry
    from dfbench.plugins import Plugin, Registry


@contextlib.contextmanager
def named(registry: Callable[[], Registry]) -> Iterator[None]:
    """Turn what a third party's plugin raises, ``SystemExit`` too, into a :class:`PluginError` that names it.

    Args:
        registry: Called when something is raised.

    Raises:
        PluginError: ``detector 'x' (plugin 'p' of p-dist 1.0) raised KeyError in train: …``.
    """
    try:
        yield
    except PluginError as error:  # raised by the core for a method that ended the program: who it was is known here
        if isinstance(error.__cause__, SystemExit) and (message := _blame(error.__cause__, registry())):
            raise PluginError(message) from error.__cause__
        raise
    except (DfbenchError, click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
        raise
    except (Exception, SystemExit) as error:
        full_disk = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        message = "" if full_disk else _blame(error, registry())
        if not message:
            raise
        raise PluginError(message) from error


def _blame(error: BaseException, known: Registry) -> str:
    """Who raised it and where; empty where no third party's code was running, or its command ended itself."""
    frames = list(_frames(error.__traceback__))
    owners = [_owner(frame, known) for frame in frames]
    found = [index for index, plugin in enumerate(owners) if plugin is not None]
    if not found:
        return ""
    first = last = found[-1]
    plugin = owners[last]
    assert plugin is not None
    # From the innermost frame of the plugin out to where dfbench called it: that is a method of the contract.
    while first > 0 and not _is_ours(frames[first - 1]) and owners[first - 1] in (plugin, None):
        first -= 1
    while owners[first] is not plugin:
        first += 1
    kind, entry = _entry(frames[first : last + 1], plugin, known)
    if isinstance(error, SystemExit) and (kind == "command" or (entry is None and plugin_commands(plugin, known))):
        return ""
    who = f"{kind} {entry.name!r} ({described(plugin)})" if entry else described(plugin)
    text = in_one_line(error)
    return f"{who} raised {type(error).__name__} in {frames[first].f_code.co_name}{': ' if text else ''}{text}"


def described(plugin: Plugin) -> str:
    """``plugin 'p' of p-dist 1.0``."""
    return f"plugin {plugin.name!r} of {plugin.distribution} {plugin.version}".rstrip()


def plugin_commands(plugin: Plugin, known: Registry) -> bool:
    """Whether the plugin brings commands: those may end the program with a code of their own."""
    return any(r.plugin is plugin for name in known.commands for r in known.commands.registered(name))


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "dfbench"


def _owner(frame: FrameType, known: Registry) -> Plugin | None:
    """The third party's plugin that the frame's code belongs to."""
    module = str(frame.f_globals.get("__name__", ""))
    for plugin in known.plugins:
        if plugin.distribution == OWN or plugin.status != "loaded":
            continue
        roots = {plugin.module, *(entry.target for _, entry in _entries(plugin, known))}
        if module.partition(".")[0] in {root.partition(":")[0].partition(".")[0] for root in roots}:
            return plugin
        if Path(frame.f_code.co_filename) in _files(plugin.distribution):
            return plugin
    return None


def _files(distribution: str) -> set[Path]:
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return set()
    return {Path(str(found.locate_file(file))) for file in found.files or ()}


def _entries(plugin: Plugin, known: Registry) -> Iterator[tuple[str, Entry]]:
    for table in known.tables():
        for name in table:
            yield from ((table.kind, r.entry) for r in table.registered(name) if r.plugin is plugin)


def _entry(frames: list[FrameType], plugin: Plugin, known: Registry) -> tuple[str, Entry | None]:
    """What of the plugin was running: by the object whose method it was, else by the only entry of its module."""
    entries = list(_entries(plugin, known))
    for frame in frames:
        owner = frame.f_locals.get("self", frame.f_locals.get("cls"))
        classes = (owner if isinstance(owner, type) else type(owner)).__mro__
        targets = {f"{each.__module__}:{each.__qualname__}" for each in classes}
        targets.add(f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}")
        for kind, entry in entries:
            if entry.target in targets:
                return kind, entry
    module = str(frames[0].f_globals.get("__name__"))
    near = [pair for pair in entries if pair[1].target.partition(":")[0] == module]
    return near[0] if len(near) == 1 else entries[0] if len(entries) == 1 else ("", None)
