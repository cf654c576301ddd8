"""What a reader of a public data set is: a name, a page about the set, and a scan of its tree."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfbench.data.prepare.item import Item
from dfbench.data.prepare.sources.tree import some
from dfbench.data.sources import checked_options
from dfbench.errors import DataError


@dataclass(frozen=True)
class About:
    """What a user has to know of a data set before it can be used.

    Attributes:
        title: its full name, in one line.
        access: where to ask for the data.
        licence: what it may be used for.
        counts: how many reals and fakes the full set has.
        citation: the paper.
        tree: the files that the reader expects below the root, one a line.
        splits: where training, validation and test sets come from.
        names: how the set's own file names state the class; empty where they do not.
        traps: what others got wrong with this set, and how the reader treats it.
    """

    title: str
    access: str
    licence: str
    counts: str
    citation: str
    tree: str
    splits: str
    traps: tuple[str, ...] = ()
    names: str = ""


@dataclass(frozen=True)
class Scan:
    """What was found in a tree.

    Attributes:
        items: the videos, frames or pictures.
        missing: files that the set's own lists name, relative to the root, and that are not there.
        notes: lines for the user: what was left out, and why.
        labels: ``video`` → label by a second source than the one that the items' labels come from.
    """

    items: list[Item]
    missing: Sequence[str] = ()
    notes: Sequence[str] = ()
    labels: Mapping[str, int] = field(default_factory=dict)


class DataSet(ABC):
    """A reader of one public data set.

    A subclass has a ``name``, a page ``about`` the set, and :meth:`read` with the set's options as keyword arguments,
    whose annotations are what the values are checked against.
    """

    name: str
    about: About

    def items(self, root: Path, **options: Any) -> list[Item]:
        """The videos of the tree, sorted by name.

        Args:
            root: where the data set lies.
            **options: those of :meth:`options`.

        Raises:
            UsageError: an unknown option or a value that it does not take.
            DataError: the tree is not the expected one; says what was looked for, what was found, what is missing.
        """
        return self.scan(root, **options).items

    def scan(self, root: Path, **options: Any) -> Scan:
        """The videos of the tree, and what is missing or was left out; arguments and errors as for :meth:`items`."""
        checked = checked_options(f"data set {self.name!r}", self.read, options)
        root = Path(root).expanduser().resolve()
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{self.name}: the root {root} {what}")
        scan = self.read(root, **checked)
        if not scan.items:
            missing = f"; missing: {some(scan.missing)}" if scan.missing else ""
            raise DataError(f"{self.name}: nothing of the data set is in {root}{missing}; {self.advice}")
        twice = [name for name, count in Counter(item.video for item in scan.items).items() if count > 1]
        if twice:
            raise DataError(f"{self.name}: {root} has two files of one name: {some(twice)}; remove one of each")
        return Scan(sorted(scan.items, key=lambda item: item.video), scan.missing, scan.notes, scan.labels)

    def options(self) -> dict[str, inspect.Parameter]:
        """Option name → parameter of :meth:`read`, with its default and annotation."""
        return dict(list(inspect.signature(self.read).parameters.items())[1:])

    @property
    def advice(self) -> str:
        """How to find out what is expected."""
        return f"'dfbench data show {self.name}' prints the expected tree"

    @abstractmethod
    def read(self, root: Path, *args: Any, **options: Any) -> Scan:
        """Read the tree below an existing, absolute root."""
