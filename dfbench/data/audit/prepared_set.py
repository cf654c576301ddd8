"""The audit of a prepared set: made from its own table, crops and report, stored in it, and read when it is opened.

The tree that a set was made from may be elsewhere by then, or the set may have been pulled. What only the tree knows
(labels of its lists, files that the lists name) is checked when the set is made, and kept as long as the set is.
"""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dfbench.data.audit import audit
from dfbench.data.audit.media import PLACES, Facts, Unreadable
from dfbench.data.audit.result import Audit, Check, judged
from dfbench.data.pictures import PictureError
from dfbench.data.prepare.item import Item
from dfbench.data.prepare.shards import read_meta
from dfbench.data.sources.prepared import PreparedSource
from dfbench.data.workers import Progress
from dfbench.documents import read_json
from dfbench.errors import DataError, StorageError
from dfbench.files import write_json

FILE = "audit.json"
VERSION = 2
"""Raised when the checks find something else than before; sets are then audited when they are next opened."""
NO_FACE = "no face"
"""How the report's reason begins where a video has no face."""
OF_TREE = ("labels", "missing files", "file names")
"""Checks that the tree says more of than the set."""


class _Stored(BaseModel):
    """``audit.json``."""

    model_config = ConfigDict(frozen=True)

    digest: str
    version: int
    checks: list[dict[str, Any]]


def audit_set(
    folder: Path,
    *,
    second: Mapping[str, int] | None = None,
    missing: Sequence[str] = (),
    names: str | None = None,
    kept: Sequence[Check] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Check a finished set and store the result in it, where it can be written.

    Args:
        folder: the set's.
        second: ``video`` → label by a second source, as the reader of its tree found them.
        missing: files that the tree's lists name and that are not there.
        names: how the tree's own file names state the class, where they do; None where that is not known.
        kept: checks of an earlier audit of this set that take the place of new ones.
        workers: processes that read; by default as many as are worth it.
        progress: called with the number of videos read.

    Raises:
        DataError: the folder holds no finished set.
    """
    meta, table = read_meta(folder), _Table(PreparedSource(folder), _report(folder))
    found = audit(table.items, second=second, missing=missing, names=names, media=table, workers=workers,
                  progress=progress)  # fmt: skip
    lines = table.lines.values()
    faceless = [f"{line['video']}: {line['error']}" for line in lines if line["error"].startswith(NO_FACE)]
    lost = [f"{each['video']}: {each['error']}" for each in lines if each["error"] and NO_FACE not in each["error"]]
    own = {
        "faces": judged("faces", faceless, f"found in {len(lines)} videos", f"of {len(lines)} videos have no face"),
        "unreadable files": judged("unreadable files", lost, f"{len(lines)} read", f"of {len(lines)} cannot be read"),
    }
    own |= {check.name: check for check in kept}
    result = Audit(tuple(own.get(check.name, check) for check in found))
    document = {"digest": meta.digest, "version": VERSION, **result.document()}
    with contextlib.suppress(StorageError):  # a set that others own is audited at every start
        write_json(folder / FILE, document)
    return result


def stored_audit(folder: Path, digest: str, *, version: int | None = VERSION) -> Audit | None:
    """The stored result; None where there is none, or it is that of another set or another version of the checks."""
    try:
        stored = _Stored.model_validate(read_json(folder / FILE))
        checks = [{k: v for k, v in check.items() if k != "kind"} for check in stored.checks]
        result = Audit(tuple(Check(**check | {"examples": tuple(check["examples"])}) for check in checks))
    except (DataError, ValidationError, TypeError, KeyError):
        return None
    return result if stored.digest == digest and version in (None, stored.version) else None


def audit_of(folder: Path, progress: Progress | None = None) -> Audit:
    """The audit of a set: the stored one, or else one that is made now.

    Args:
        folder: the set's.
        progress: called with the number of videos read.
    """
    digest = read_meta(folder).digest
    if (stored := stored_audit(folder, digest)) is not None:
        return stored
    return audit_set(folder, kept=kept_checks(folder), progress=progress)


def kept_checks(folder: Path) -> list[Check]:
    """What the audit of the tree said when this set was made, of what the set alone does not know."""
    before = stored_audit(folder, read_meta(folder).digest, version=None)
    return [check for check in before or () if check.name in OF_TREE and check.status != "not checked"]


def unfit(result: Audit) -> list[Check]:
    """The failed checks that make a result wrong: test data that training saw, and labels that are contradicted.

    The others do not. Holes make a set smaller, shortcuts are a property of the published videos, and whether the
    rows that a stream uses have both classes is checked with these rows.
    """
    return [check for check in result.failed if check.kind == "leak" or check.name == "labels"]


@dataclass(frozen=True)
class _Table:
    """A set as the audit's media: facts from its report, frames from its crops."""

    source: PreparedSource
    lines: Mapping[str, Mapping[str, str]]

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        """``video`` → its rows, by frame."""
        samples = self.source.samples()
        rows: dict[str, list[int]] = {}
        for row in np.argsort(samples.frame, kind="stable").tolist():
            rows.setdefault(samples.video[row], []).append(row)
        return rows

    @cached_property
    def items(self) -> list[Item]:
        """What the set was made of, as far as the set says."""
        samples, found = self.source.samples(), []
        for video, line in self.lines.items():
            rows = self._rows.get(video, [])
            identity = samples.identity[rows[0]] or None if rows else None
            pair = samples.pair[rows[0]].rpartition("/")[0] or None if rows and line["label"] == "1" else None
            place = self.source.root / video  # not there: what two paths share is not looked for
            kind = line["container"] if line["container"] in ("frames", "picture") else "video"
            found.append(
                Item(place, video, int(line["label"]), line["split"], line["method"], identity, pair, None, kind)
            )
        return found

    def facts(self, item: Item) -> Facts:
        """From the report."""
        line = self.lines[item.video]
        try:
            width, height, frames = (int(line[key]) for key in ("width", "height", "frames"))
            rate, bits = float(line["fps"] or 0), float(line["bit_rate"] or 0)
        except ValueError:
            raise Unreadable(line["error"]) from None
        size = round(bits / 8 * frames / rate) if rate else 0
        return Facts(line["container"], line["codec"], line["pixel_format"], width, height, frames, rate, size)

    def frames(self, item: Item) -> list[np.ndarray]:
        """The crops at the places that are looked at in a video."""
        rows = self._rows.get(item.video, [])
        if not rows:
            raise Unreadable(self.lines[item.video]["error"])
        chosen = [rows[min(math.floor(place * len(rows)), len(rows) - 1)] for place in PLACES]
        try:
            return [self.source.read_row(row) for row in dict.fromkeys(chosen)]
        except PictureError as error:
            raise Unreadable(str(error)) from error


def _report(folder: Path) -> dict[str, dict[str, str]]:
    """``video`` → its line of the report."""
    path = folder / "report.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {line["video"]: line for line in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); copy the set again, or prepare it again") from None
