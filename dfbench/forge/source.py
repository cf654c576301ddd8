"""The embedded benchmark as a data source: rendered once into the user's cache, verified at every start."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfbench.data import codecs
from dfbench.data.pictures import Inspection
from dfbench.data.samples import SPLITS, Samples
from dfbench.data.workers import Progress, cores, map_chunks
from dfbench.errors import UsageError
from dfbench.files import cache_root, writing
from dfbench.forge import pack, render
from dfbench.forge.clips import SIZE

if TYPE_CHECKING:
    from dfbench.data.store import PixelStore, PixelView

ALL = tuple(range(16))
REFERENCE = Path(__file__).parent / "pack" / "reference.json"
"""Fingerprints of the rendering that published results were computed on."""
_TABLE, _DIGEST = "samples.parquet", "sha256"


class Rendered(ABC):
    """Pictures that this package renders from the face pack, kept in the cache.

    Args:
        people: number of people per split, for a quick look; all by default.

    Attributes:
        side: of a picture, in pixels.
        name: of the source, for errors and progress.
        kind: folder of the cache.
        reference: file with the fingerprints of the rendering that published results were computed on.
        notes: what the user should know of the rendering.
    """

    needs_root = False
    side: int
    name: str
    kind: str
    reference: Path

    def __init__(self, people: int | None = None) -> None:
        if people is not None and people < 1:
            raise UsageError(f"source {self.name!r}, option people: at least 1 (got {people})")
        self.people = people
        self.notes: list[str] = []

    # --- What a source says of its pictures -----------------------------------------------------

    @abstractmethod
    def jobs(self) -> Sequence[tuple[str, ...]]:
        """What is rendered, in the order in which it is stored."""

    @abstractmethod
    def render_job(self) -> tuple[Callable[..., list[tuple[dict[str, Any], np.ndarray]]], int | list[int]]:
        """A module-level function from a job to rows of a table and their pictures, and how many each job gives."""

    @abstractmethod
    def version(self) -> str:
        """A hash that changes whenever a picture could."""

    @property
    @abstractmethod
    def variant(self) -> str:
        """What of the source the options choose, as a name."""

    # --- The contract of a source ---------------------------------------------------------------

    def prepare(self, progress: Progress | None = None) -> None:
        """Render the pictures on all cores, unless the cache holds them undamaged.

        Raises:
            StorageError: the cache cannot be written, or the disk is full.
        """
        from dfbench.data.store import PIXELS, make_store

        jobs, (render_one, per_job) = self.jobs(), self.render_job()
        counts = [per_job] * len(jobs) if isinstance(per_job, int) else per_job
        starts = np.cumsum([0, *counts]).tolist()
        shape = (starts[-1], self.side, self.side, 3)

        def fill(folder: Path) -> None:
            rows: dict[int, list[dict[str, Any]]] = {}
            shared = (render_one, jobs, starts, folder / PIXELS)
            what = f"rendering {self.name}"
            for part in map_chunks(_render, shared, len(jobs), what=what, workers=cores(), progress=progress, chunk=10):
                rows.update(part)
            table = Samples.from_rows([row for job in range(len(jobs)) for row in rows[job]])
            table.write(folder / _TABLE)
            with writing(folder):
                (folder / _DIGEST).write_text(_digest(folder / PIXELS) + _digest(folder / _TABLE))

        def usable(store: PixelStore) -> bool:
            try:
                expected = (store.path / _DIGEST).read_text()
                return expected == _digest(store.path / PIXELS) + _digest(store.path / _TABLE)
            except OSError:
                return False

        make_store(self._folder, self._folder.name, shape, fill, usable=usable, progress=progress)
        self._check_reference()

    def samples(self) -> Samples:
        """All pictures, with ``pristine`` or the family as method."""
        return self._table

    def read(self, sample: str) -> np.ndarray:
        """Pixels of one picture, uint8 (side, side, 3)."""
        return self._store.fetch(np.array([self._rows[sample]]))[0].numpy()

    def stamp(self, sample: str) -> str:
        """The picture's hash, which :meth:`prepare` has verified."""
        return str(self._table.sha256[self._rows[sample]])

    def inspect(self, sample: str) -> Inspection:
        """Hash and size, without reading the picture."""
        return Inspection(self.stamp(sample), self.side, self.side)

    def stored(self, samples: list[str], size: tuple[int, int]) -> PixelView | None:
        """A view of the rendered pictures; None for a size other than theirs."""
        from dfbench.data.store import PixelStore, PixelView

        if size != (self.side, self.side):
            return None
        return PixelView(PixelStore(self._folder), np.array([self._rows[name] for name in samples]))

    def __getstate__(self) -> dict[str, Any]:
        made_anew = {name for name in ("_folder", "_store", "_table", "_rows") if name in vars(self)}
        return {name: value for name, value in vars(self).items() if name not in made_anew}

    # --- Behind it ------------------------------------------------------------------------------

    @cached_property
    def _folder(self) -> Path:
        some = f"{self.people}-" if self.people else ""
        return cache_root() / self.kind / f"{self.variant}-{some}{self.version()}"

    @cached_property
    def _store(self) -> PixelStore:
        from dfbench.data.store import PixelStore

        return PixelStore(self._folder)

    @cached_property
    def _table(self) -> Samples:
        return Samples.read(self._folder / _TABLE)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self._table.sample)}

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of the families that are trained on, which are the benchmark, and of the held-out one."""
        table = self._table
        unseen = np.isin(table.source, render.held_out())
        parts = {"trained": ~unseen, "held_out": unseen}
        return {name: table.take(np.flatnonzero(rows)).fingerprint() for name, rows in parts.items()}

    def _check_reference(self) -> None:
        reference = json.loads(self.reference.read_text(encoding="utf-8"))
        if self.people is None and self.variant in reference and self.fingerprints() != reference[self.variant]:
            made_with = ", ".join(f"{name} {number}" for name, number in reference["made_with"].items())
            self.notes = [
                "the rendered pictures are not bit for bit the published ones, which were made with "
                f"{made_with}: compare results only with runs of the same data fingerprint"
            ]


class ForgeSource(Rendered):
    """Synthetic portraits under the five forgery families and the held-out one, all rendered by this package.

    Of the held-out family there are no training pictures.

    Args:
        root: not used; the source needs none.
        clips: all sixteen frames of each clip instead of three.
        people: number of people per split, for a quick look; all by default.
    """

    side = SIZE
    name = "forge5"
    kind = "forge"
    reference = REFERENCE

    def __init__(self, root: Path | None = None, *, clips: bool = False, people: int | None = None) -> None:
        super().__init__(people)
        self.clips = clips

    def jobs(self) -> Sequence[tuple[str, ...]]:
        """Family and person."""
        people = {split: pack.identities(split)[: self.people] for split in SPLITS}
        trained: list[tuple[str, ...]] = [
            (family, name) for family in render.families() for split in SPLITS for name in people[split]
        ]
        return trained + [(family, name) for family in render.held_out() for name in (*people["val"], *people["test"])]

    def render_job(self) -> tuple[Callable[..., list[tuple[dict[str, Any], np.ndarray]]], int]:
        """Frames of a clip, pristine and forged."""
        numbers = ALL if self.clips else render.FEW
        return partial(_clip, numbers=numbers), 2 * len(numbers)

    def version(self) -> str:
        """See :func:`rendering_version`."""
        return rendering_version()

    @property
    def variant(self) -> str:
        """``few`` or ``all`` frames of a clip."""
        return "all" if self.clips else "few"


def reference() -> dict[str, Any]:
    """Render both variants, or take them from the cache, and return the content of ``reference.json``."""
    result: dict[str, Any] = {"made_with": {name: version(name) for name in PACKAGES}}
    for clips in (False, True):
        source = ForgeSource(clips=clips)
        source.prepare()
        result[source.variant] = source.fingerprints()
    return result


PACKAGES = ("numpy", "opencv-python-headless", "av", "pillow")
"""Packages that the bits of the pictures depend on."""


def _clip(family: str, person: str, numbers: tuple[int, ...]) -> list[tuple[dict[str, Any], np.ndarray]]:
    return [(row | {"source": family}, picture) for row, picture in render.render(person, family, numbers)]


def _render(
    shared: tuple[Callable[..., list[tuple[dict[str, Any], np.ndarray]]], Sequence[tuple[str, ...]], list[int], Path],
    start: int,
    stop: int,
) -> dict[int, Any]:
    """Render jobs into their places in the pixel file and return job → rows of the table, with hashes."""
    render_one, jobs, starts, file = shared
    found: dict[int, Any] = {}
    with writing(file), file.open("rb+") as out:
        for job in range(start, stop):
            pictures = render_one(*jobs[job])
            found[job] = [row | {"sha256": hashlib.sha256(pixels.tobytes()).hexdigest()} for row, pixels in pictures]
            out.seek(starts[job] * pictures[0][1].nbytes)
            for _, pixels in pictures:
                out.write(pixels.tobytes())
    return found


def folder_version(source: Path) -> str:
    """A hash of all that forge5's pictures depend on, and of the code next to a source's file, without that file."""
    digest = hashlib.sha256(rendering_version().encode())
    for path in sorted(source.parent.glob("*.py")):
        if path.name != source.name:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def rendering_version() -> str:
    """A hash that changes whenever a picture could: of the pack, this folder's code, the codecs and library versions.

    It names the cached rendering. Even after a change of a comment in that code, everything is rendered again; the data
    fingerprint, a hash of the pictures themselves, then stays the same.
    """
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in [*sorted([*folder.glob("*.py"), *(folder / "pack").glob("*")]), Path(codecs.__file__)]:
        if path.name not in (Path(__file__).name, REFERENCE.name, "shortcuts.py"):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(json.dumps([version(name) for name in PACKAGES]).encode())
    return digest.hexdigest()[:16]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    print(json.dumps(reference(), indent=1))
