"""What was computed of a leaderboard the last time, by the content of its records and of the program.

Everything here can be deleted, and is read only if each record and each file of dfbench is what it was.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic_core import from_json

import dfbench
from dfbench.benchmarks.controls import Controls
from dfbench.errors import DataError, StorageError
from dfbench.files import cache_root, write_whole
from dfbench.publish.board.panel import PANEL, Panel
from dfbench.publish.board.table import Filed


class Cache:
    """Of one folder. What the last build did not need is forgotten when it is written."""

    def __init__(self, file: Path, records: dict[str, list[Any]], panels: dict[str, Any]) -> None:
        self._file, self._records, self._panels = file, records, panels
        self._kept_records: dict[str, Filed] = {}
        self._kept_panels: dict[str, Any] = {}

    @classmethod
    def of(cls, folder: Path) -> Cache:
        """The cache of a leaderboard's folder; empty where there is none, or it is of another program."""
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        file = cache_root() / "board" / f"{name}.json"
        try:
            found = from_json(file.read_bytes())
            if found["program"] == program():
                return cls(file, found["records"], found["panels"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
        return cls(file, {}, {})

    def record(self, path: Path) -> tuple[str, Filed | None]:
        """(sha256 of a record's name and content, where it stands); None for one that was not read before.

        Raises:
            DataError: It cannot be read.
        """
        try:
            digest = hashlib.sha256(path.name.encode() + b"\0" + path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        known = self._records.get(digest)
        return (digest, None) if known is None else (digest, self.keep_record(digest, Filed(*known)))

    def keep_record(self, digest: str, filed: Filed) -> Filed:
        """Keep where a record stands, which is right."""
        self._kept_records[digest] = filed
        return filed

    def name(self, key: str, records: Sequence[str], controls: Controls | None) -> str:
        """Of a table: changes with its key, its records and its controls."""
        stated = [key, sorted(records), controls and controls.model_dump(mode="json")]
        return hashlib.sha256(json.dumps(stated).encode()).hexdigest()

    def panel(self, name: str) -> Panel | None:
        """A table, once it was computed."""
        if name not in self._panels:
            return None
        self._kept_panels[name] = self._panels[name]
        return PANEL.validate_python(self._panels[name])

    def keep_panel(self, name: str, panel: Panel) -> Panel:
        """Keep a table."""
        self._kept_panels[name] = PANEL.dump_python(panel, mode="json")
        return panel

    def write(self) -> None:
        """Write what this build used; where there is no room for it, the next build computes it again."""
        if self._kept_panels.keys() == self._panels.keys() and self._kept_records.keys() == self._records.keys():
            return
        found = {"program": program(), "records": self._kept_records, "panels": self._kept_panels}
        try:
            write_whole(self._file, json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode())
        except StorageError:
            return


@functools.cache
def program() -> str:
    """sha256 of dfbench's sources: figures may change with any of them."""
    digest, root = hashlib.sha256(), Path(dfbench.__file__).parent
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".yaml", ".j2", ".js", ".css")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
