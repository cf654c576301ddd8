"""Published tables, rerun: recipes in YAML, their runs, and the difference of the figures (``docs/reproduce.md``).

Imported when plugins are registered, so it imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path


def packaged() -> dict[str, Path]:
    """The recipes that come with dfbench: name → YAML file."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.yaml"))}
