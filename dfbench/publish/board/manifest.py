"""``leaderboard/scores.json``: which packs of scores a leaderboard has, wherever they lie.

It is committed with the records; the packs may be fetched from a data set of the Hub, and are used when they have the
size and the sha256 that are stated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from dfbench.documents import read_json
from dfbench.errors import DataError, first_problem
from dfbench.files import sha256_of, write_json
from dfbench.records.packed_scores import packed_runs
from dfbench.records.parts import Name, Sha256

MANIFEST = "scores.json"
LARGEST = 1 << 30
"""Bytes that a pack may have."""

PackPath = Annotated[str, StringConstraints(pattern=r"^scores/[A-Za-z0-9_][A-Za-z0-9_.-]{0,250}\.parquet$")]
"""Relative to the leaderboard's folder, and never outside of it."""


class PackFile(BaseModel):
    """One pack."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Sha256
    """Of the file."""
    size: Annotated[int, Field(gt=0, le=LARGEST)]
    """Bytes."""
    runs: dict[Name, Sha256]
    """Run → digest of its scores."""

    @classmethod
    def of(cls, file: Path) -> PackFile:
        """What the manifest says of a pack that lies here."""
        return cls(sha256=sha256_of(file), size=file.stat().st_size, runs=dict(sorted(packed_runs(file))))

    def is_at(self, file: Path) -> bool:
        """Whether this very pack is the file."""
        return file.is_file() and file.stat().st_size == self.size and sha256_of(file) == self.sha256


Manifest = dict[PackPath, PackFile]
_MANIFEST = TypeAdapter(Manifest)


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a leaderboard's folder; empty where there is none.

    Raises:
        DataError: It breaks the schema, or names a file outside of ``scores/``.
    """
    file = folder / MANIFEST
    if not file.exists():
        return {}
    try:
        return _MANIFEST.validate_python(read_json(file))
    except ValidationError as error:
        raise DataError(f"{file}: {first_problem(error)}") from error


def manifest_json(manifest: Mapping[str, PackFile]) -> dict[str, object]:
    """The manifest as JSON holds it, sorted by path."""
    return {path: pack.model_dump() for path, pack in sorted(manifest.items())}


def update_manifest(folder: Path, files: Iterable[Path]) -> None:
    """Say of these packs what they now are.

    Raises:
        StorageError: The manifest cannot be written.
    """
    before = read_manifest(folder)
    manifest = before | {file.relative_to(folder).as_posix(): PackFile.of(file) for file in files}
    if manifest != before:
        write_json(folder / MANIFEST, manifest_json(manifest))
