"""Benchmarks: ordered streams of experiences, written in YAML (see ``docs/data.md``)."""

from __future__ import annotations

from pathlib import Path


def packaged() -> dict[str, Path]:
    """The streams that are packaged with dfbench: name → YAML file."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def summary(path: Path) -> str:
    """What a packaged stream is, in a few words: the comment in its first line. Listings do not parse whole files."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.removeprefix("# ").strip() if first.startswith("# ") else ""
