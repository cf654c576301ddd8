"""Which code a run is made with: a digest of the plugins that decide its result.

It is not part of a run's identity, or each release would make every row another one. A run stores it, so that a
changed plugin does not pass for the one that made the record or the checkpoints of a run.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dfbench.plugins import EntryTable, Plugin, Registry
from dfbench.training.detector import Detector
from dfbench.training.strategies import Strategy


class Change(NamedTuple):
    """A plugin whose sources are not the stored ones; each code as ``VERSION sha256:HEX``."""

    plugin: str
    before: str
    now: str


def code_of(detector: str, strategy: str, registry: Registry) -> dict[str, str]:
    """Version and digest of the plugins that a detector and a strategy come from, by plugin.

    The digest is over every ``.py`` file of the import packages that hold the classes and their bases; editable
    installs included. dfbench itself is left out: its version is among the packages of a record.

    Returns:
        ``NAME (DISTRIBUTION)`` → ``VERSION sha256:HEX``.
    """
    modules: dict[Plugin, set[str]] = {}
    used: tuple[tuple[EntryTable[Any], str, type], ...] = (
        (registry.detectors, detector, Detector),
        (registry.strategies, strategy, Strategy),
    )
    for table, name, contract in used:
        bases = {base.__module__ for base in table.load(name).__mro__ if issubclass(base, contract)}
        modules.setdefault(table.plugin(name), set()).update(bases, [table[name].target.partition(":")[0]])
    digests = {plugin: _digest(names) for plugin, names in modules.items()}
    return {f"{p.name} ({p.distribution})": f"{p.version} sha256:{digest}" for p, digest in digests.items() if digest}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    """The plugins with other sources than before; none where it was not stored. A new version alone is no change."""
    known = {_sha256(code) for code in before.values()}
    changed = {name: code for name, code in now.items() if before and _sha256(code) not in known}
    return [Change(name, before.get(name, "another plugin"), code) for name, code in changed.items()]


def short(code: str) -> str:
    """A code for people: eight digits of its digest."""
    start, colon, digest = code.rpartition(":")
    return start + colon + (digest[:8] if colon else digest)


def _sha256(code: str) -> str:
    return code.rpartition(":")[2]


def _digest(modules: Iterable[str]) -> str:
    """Hex sha256 over the sources of the packages of these modules; empty where there are none but dfbench's own."""
    files = {name: path for module in modules for name, path in _sources(module)}
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest() if files else ""


def _sources(module: str) -> Iterable[tuple[str, Path]]:
    """(name, file) of the outermost package that has an ``__init__.py``, or of the module alone."""
    parts = module.split(".")
    if parts[0] == "dfbench":
        return
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin is None:  # a namespace package: other distributions may have a share in it
            continue
        file = Path(origin)
        if file.name != "__init__.py":
            yield name, file
        else:
            yield from ((f"{name}/{p.relative_to(file.parent).as_posix()}", p) for p in file.parent.rglob("*.py"))
        return
