"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class Broken(Exception):
    """A promise that a detector does not keep: what was seen, and what to do. One line."""


class Refused(Exception):
    """Why a strategy refuses a detector, where it may. One line."""


class NotChecked(Exception):
    """Why a check says nothing of a detector. One line."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check.

    Attributes:
        check: its name.
        status: ``passed``, ``failed``, ``refused`` (by a strategy that may) or ``not checked``.
        detail: what was seen; what to do where it failed.
    """

    check: str
    status: Literal["passed", "failed", "refused", "not checked"]
    detail: str
