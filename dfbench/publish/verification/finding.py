"""One thing that was checked of a record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    what: str
    ok: bool | None
    """None: could not be checked, and why is in ``detail``."""
    detail: str = ""
