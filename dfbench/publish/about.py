"""What benchmarks, strategies and dfbench itself are, in words and links for pages.

Boards are built by contributors and checked in CI, so nothing here may depend on what else is installed: benchmarks are
the packaged ones, strategies those of dfbench's own distribution. Other benchmarks are described by their records.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import dfbench
from dfbench.benchmarks import packaged
from dfbench.benchmarks.parts import Citation
from dfbench.benchmarks.schema import Scope, read_stream_file
from dfbench.plugins import OWN, registry
from dfbench.records.record import Record

BADGES: dict[Scope | None, tuple[str, str]] = {
    "laboratory": ("synthetic laboratory", "Made-up data to study methods. It says nothing about real deepfakes."),
    "deepfakes": ("deepfakes", "Forgeries that people met, from published data sets."),
    "other": ("not deepfakes", "No forgeries: data that strategies are compared on elsewhere."),
    None: ("", ""),
}
"""Scope → what its badge says, and what that means."""


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark is."""

    description: str = ""
    scope: Scope | None = None
    citation: Citation | None = None

    @property
    def badge(self) -> str:
        """A word or two; empty where the scope is not stated."""
        return BADGES[self.scope][0]

    @property
    def meaning(self) -> str:
        """What the badge means."""
        return BADGES[self.scope][1]


@dataclass(frozen=True)
class Strategy:
    """What a strategy is."""

    name: str
    summary: str
    paper: str

    @property
    def link(self) -> str | None:
        """Address of the paper; None where only a name is known."""
        found = re.fullmatch(r"arXiv:(\d{4}\.\d{4,5})", self.paper)
        return f"https://arxiv.org/abs/{found[1]}" if found else None


@dataclass(frozen=True)
class Project:
    """dfbench as pages name it."""

    version: str
    links: tuple[tuple[str, str], ...]
    """(label, address) of ``[project.urls]``; empty where nothing is published."""

    @property
    def address(self) -> str | None:
        """Of the repository, else of the first link."""
        known = {label.lower(): address for label, address in self.links}
        found = [known[label] for label in ("repository", "source", "code", "homepage") if label in known]
        return next(iter([*found, *known.values()]), None)


def benchmark(records: Sequence[Record]) -> Benchmark:
    """Of records on the same data: the packaged file where name and experiences are its own, else what they say."""
    first = records[0]
    if path := packaged().get(first.data.benchmark):
        spec, experiences = read_stream_file(path)
        if [each.name for each in experiences] == first.names:
            return Benchmark(spec.description, spec.scope, spec.citation)
    described = [r.data for r in records if r.data.description or r.data.scope or r.data.citation]
    if not described:
        return Benchmark()
    return Benchmark(described[0].description, described[0].scope, described[0].citation)


def strategy(name: str) -> Strategy | None:
    """One of dfbench's own; None for any other, which the page cannot describe."""
    found = [each.entry for each in registry().strategies.registered(name) if each.plugin.distribution == OWN]
    return Strategy(name, found[0].summary, found[0].paper) if found else None


@functools.cache
def project() -> Project:
    """Version and links, of the checkout where there is one, else of the installed distribution."""
    file = Path(dfbench.__file__).parents[1] / "pyproject.toml"
    stated = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}) if file.is_file() else {}
    if stated.get("name") == OWN:
        pairs = list(stated.get("urls", {}).items())
    else:
        found = metadata.metadata(OWN).get_all("Project-URL") or []
        pairs = [(label.strip(), url.strip()) for label, _, url in (each.partition(",") for each in found)]
    links = tuple((label, url) for label, url in pairs if url.startswith("https://"))
    return Project(dfbench.__version__, links)
