"""Looking around in the tree of a data set, with errors that say what was looked for and what was found."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.data.pictures import SUFFIXES, VIDEOS
from dfbench.documents import read_json
from dfbench.errors import DataError

_SHOWN = 4


def some(names: Iterable[str]) -> str:
    """The first few names of many.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c, d, … (5 in all)'
    """
    listed = list(names)
    more = f", … ({len(listed)} in all)" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


@dataclass(frozen=True)
class Tree:
    """The tree of a data set.

    Attributes:
        data_set: its name, for errors.
        root: absolute, an existing folder.
    """

    data_set: str
    root: Path

    def error(self, problem: str) -> DataError:
        """An error that names the data set, the problem, and where to read what is expected."""
        return DataError(f"{self.data_set}: {problem}; 'dfbench data show {self.data_set}' prints the expected tree")

    def need(self, *paths: str) -> list[Path]:
        """Folders or files that must be there.

        Args:
            *paths: relative to the root; with ``|`` between alternatives, of which the first that exists is taken.

        Raises:
            DataError: some are not; names all of them, and what the root has instead.
        """
        found = [next((self.root / p for p in path.split("|") if (self.root / p).exists()), None) for path in paths]
        missing = [path.replace("|", " or ") for path, here in zip(paths, found, strict=True) if here is None]
        if missing:
            has = (
                some(sorted(entry.name for entry in self.root.iterdir() if not entry.name.startswith("."))) or "nothing"
            )
            raise self.error(f"{self.root} lacks {some(missing)} and has {has}{self._elsewhere(paths)}")
        return [here for here in found if here is not None]

    def _elsewhere(self, paths: Sequence[str]) -> str:
        """A root one level up or down that has everything, as a question."""
        below = [entry for entry in sorted(self.root.iterdir()) if entry.is_dir()]
        for candidate in [*below, self.root.parent, self.root.parent.parent]:
            if all(any((candidate / p).exists() for p in path.split("|")) for path in paths):
                return f"; is {candidate} the root?"
        return ""

    def name(self, path: Path) -> str:
        """The ``video`` of an item: its path relative to the root, without suffix, with forward slashes."""
        relative = path.relative_to(self.root)
        return relative.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES | VIDEOS else relative.as_posix()

    def json(self, path: Path) -> dict[str, Any]:
        """A JSON file that holds an object."""
        content = read_json(path)
        if not isinstance(content, dict):
            raise self.error(f"{path} is not a JSON object")
        return content

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """Line number and text of the lines of a file that are not blank."""
        for number, line in enumerate(self._text(path).splitlines(), 1):
            if line.strip():
                yield number, line.strip()

    def csv(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of the rows of a CSV file."""
        reader = csv.reader(self._text(path).splitlines(), strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, [cell.strip() for cell in row]
        except csv.Error as error:
            raise self.error(f"{path}, line {reader.line_num}: not CSV ({error})") from error

    def _text(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise self.error(f"there is no {path}") from error
        except UnicodeDecodeError as error:
            raise self.error(f"{path} is not UTF-8") from error
        except OSError as error:
            raise self.error(f"{path} cannot be read ({error.strerror or error})") from error


def videos(folder: Path) -> list[Path]:
    """The video files directly in a folder, sorted; hidden ones (``._x``) and an absent folder give none."""
    return _files(folder, VIDEOS)


def pictures(folder: Path) -> list[Path]:
    """The picture files directly in a folder, sorted."""
    return _files(folder, SUFFIXES)


def videos_below(folder: Path) -> Iterator[Path]:
    """The video files at any depth below a folder, each real folder once, in a fixed order."""
    for below in folders(folder):
        yield from videos(below)


def folders(top: Path) -> Iterator[Path]:
    """A folder and all visible folders below it, in a fixed order; links are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, _ in os.walk(top, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield Path(folder)


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    visible = (e for e in entries if not e.name.startswith(".") and os.path.splitext(e.name)[1].lower() in suffixes)
    return sorted(Path(e.path) for e in visible if e.is_file())
