"""The result of an audit: a list of checks, each passed, failed or not made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "not checked"]
Kind = Literal["leak", "label", "hole", "shortcut"]
KINDS: dict[str, Kind] = {
    "identities across splits": "leak",
    "videos across splits": "leak",
    "pairs across splits": "leak",
    "near-duplicates across splits": "leak",
    "labels": "label",
    "class balance": "label",
    "missing partners": "hole",
    "aligned pairs": "hole",
    "missing files": "hole",
    "unreadable files": "hole",
    "faces": "hole",
    "shortcuts": "shortcut",
    "file names": "shortcut",
    "traces": "shortcut",
}
"""Name of a check → what a failure means: test data that training saw, wrong labels, data that are not there or do not
fit, classes that can be told apart without looking."""
SHOWN = 5
"""Examples that a check keeps."""


@dataclass(frozen=True)
class Check:
    """One check of a data set.

    Attributes:
        name: what was looked at, one of :data:`KINDS`.
        status: what came of it.
        count: how many cases were found; 0 unless it failed.
        detail: one line about it.
        examples: the first few cases.
    """

    name: str
    status: Status
    count: int = 0
    detail: str = ""
    examples: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What a failure means."""
        return KINDS[self.name]


@dataclass(frozen=True)
class Audit:
    """All checks of a data set, in a fixed order."""

    checks: tuple[Check, ...]

    def __iter__(self) -> Iterator[Check]:
        """The checks."""
        return iter(self.checks)

    def __getitem__(self, name: str) -> Check:
        """The check of a name."""
        return next(check for check in self.checks if check.name == name)

    @property
    def failed(self) -> list[Check]:
        """The checks that failed; empty for a clean set."""
        return [check for check in self.checks if check.status == "failed"]

    def document(self) -> dict[str, Any]:
        """As JSON: ``clean``, and ``checks`` with the fields of :class:`Check` and their kind."""
        return {"clean": not self.failed, "checks": [{"kind": check.kind, **asdict(check)} for check in self.checks]}


def judged(name: str, cases: Iterable[str], good: str, bad: str) -> Check:
    """A check that fails if there are cases.

    Args:
        name: what was looked at.
        cases: one text each, in the order in which they are shown.
        good: the detail if there are none.
        bad: the detail otherwise, after their number.
    """
    found = list(cases)
    if not found:
        return Check(name, "passed", 0, good)
    return Check(name, "failed", len(found), f"{len(found)} {bad}", tuple(found[:SHOWN]))
