"""A loaded benchmark: experiences over one table of samples, and their pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfbench.benchmarks.assemble import Portion, assemble, named, open_all
from dfbench.benchmarks.schema import Budget, Scope, read_stream_file
from dfbench.data.samples import Samples
from dfbench.data.sources import Source, class_names
from dfbench.data.workers import Progress
from dfbench.errors import DataError, DfbenchError, UsageError, unknown
from dfbench.plugin_faults import Fault

if TYPE_CHECKING:
    from dfbench.data.encoded import EncodedPixels
    from dfbench.data.store import PixelStack, PixelStore, PixelView


@dataclass(frozen=True)
class Experience:
    """One experience: the data that a strategy trains on at a time, with its validation and test sets.

    Attributes:
        index: position in the stream, from 0.
        name: unique in the stream.
        rows: ``train``, ``val`` and ``test`` → int64 rows of the stream's samples; ``val`` may be empty.
    """

    index: int
    name: str
    rows: dict[str, np.ndarray]


@dataclass(frozen=True)
class Stream:
    """An ordered stream of experiences.

    Attributes:
        name: the stream's name.
        description: what it is, in a sentence or two.
        metric: the headline metric of the R matrix, ``auc`` or ``accuracy``.
        classes: names of the classes, in the order of the labels.
        experiences: in the order of training.
        samples: all samples of all experiences; one that several experiences share occurs once.
        budget: limits for detector and strategy.
        fresh_model: every experience trains a new network, as if it were the first.
        notes: lines for the user (no validation set, pictures left out, files ignored).
        scope: what its results speak of; None where its file does not say.
    """

    name: str
    description: str
    metric: str
    classes: tuple[str, ...]
    experiences: list[Experience]
    samples: Samples
    budget: Budget
    notes: list[str]
    _portions: tuple[Portion, ...]
    fresh_model: bool = False
    scope: Scope | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that a result depends on: contents, experiences, their order, budget."""
        names = self.samples.sample
        structure: dict[str, Any] = {
            "metric": self.metric,
            "classes": self.classes,
            "budget": self.budget.model_dump(),
            "experiences": [
                [experience.name, {split: names[rows].tolist() for split, rows in experience.rows.items()}]
                for experience in self.experiences
            ],
            "samples": self.samples.fingerprint(),
        }
        if self.fresh_model:  # only then: streams from before the key keep their fingerprint
            structure["fresh_model"] = True
        return hashlib.sha256(json.dumps(structure, sort_keys=True).encode()).hexdigest()

    @cached_property
    def identities(self) -> np.ndarray:
        """The person of each sample, object array of str; "" where unknown.

        Names of people hold within one root, as they do in the check for leaks: a name that two roots have is two
        people, whose keys end in the first experience of their root.
        """
        names = self.samples.identity.tolist()
        places: dict[str, str] = {}  # root → the first experience that uses it
        root: list[str] = []
        for portion in self._portions:
            place = str(portion.origin.root.resolve()) if portion.origin.root else portion.label
            root += [places.setdefault(place, portion.label)] * len(portion.samples)
        roots: dict[str, set[str]] = {}
        for name, place in zip(names, root, strict=True):
            roots.setdefault(name, set()).add(place)
        keys = [
            f"{name} [{place}]" if name and len(roots[name]) > 1 else name
            for name, place in zip(names, root, strict=True)
        ]
        return np.array(keys, dtype=object)

    def pixels(
        self,
        size: tuple[int, int] | None,
        progress: Progress | None = None,
        *,
        workers: int | None = None,
    ) -> PixelStore | PixelView | PixelStack | EncodedPixels:
        """The pixels of all samples; row i belongs to row i of ``samples``. Decoded once, then cached.

        Args:
            size: (height, width); None for the pictures' own size.
            progress: called with the number of pictures decoded.
            workers: number of processes; chosen by the number of pictures by default.

        Raises:
            DataError: ``size`` is None and the pictures differ in size, or a picture became unreadable.
            StorageError: the cache cannot be written, or the disk is full.
        """
        from dfbench.data.store import PixelStack, build_store

        size = size or self._native_size()
        stores = [
            build_store(portion.origin, portion.samples, size, progress=progress, workers=workers)
            for portion in self._portions
        ]
        return stores[0] if len(stores) == 1 else PixelStack(stores)

    @property
    def native_size(self) -> tuple[int, int] | None:
        """(height, width) of all pictures; None if they differ."""
        sizes = self._sizes()
        return next(iter(sizes)) if len(sizes) == 1 else None

    def _sizes(self) -> dict[tuple[int, int], int]:
        """(height, width) → number of pictures."""
        sizes = np.concatenate([portion.sizes for portion in self._portions])
        different, counts = np.unique(sizes, axis=0, return_counts=True)
        return {(height, width): n for (height, width), n in zip(different.tolist(), counts.tolist(), strict=True)}

    def _native_size(self) -> tuple[int, int]:
        if self.native_size is not None:
            return self.native_size
        sizes = self._sizes()
        shown = [f"{height}×{width} ({count} of them)" for (height, width), count in list(sizes.items())[:3]]
        more = ", …" if len(sizes) > 3 else ""
        raise DataError(
            f"stream {self.name!r}: the pictures have {len(sizes)} sizes: {', '.join(shown)}{more}; "
            "choose one size for all (height×width)"
        )


def load_stream(
    ref: str,
    *,
    sources: Mapping[str, Callable[..., Source]],
    benchmarks: Mapping[str, str | Path] | None = None,
    data_root: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Stream:
    """Load a stream and check all of its data.

    Args:
        ref: a name in ``benchmarks``, or the path of a ``.yaml`` or ``.yml`` file.
        sources: registered sources: name → class.
        benchmarks: registered streams: name → YAML file.
        data_root: the folder of sources without a ``root``; ``$DFBENCH_DATA`` by default.
        progress: called with the number of new pictures inspected.
        workers: number of processes; chosen by the number of pictures by default.

    Raises:
        UsageError: a name is unknown, or the file breaks the schema.
        DataError: data are missing, damaged or break a rule.
    """
    path = _find(ref, benchmarks or {})
    spec, entries = read_stream_file(path)
    try:
        opened, belongs = open_all(entries, sources, path.parent, data_root, progress)
        portions, rows, notes = assemble(
            entries, opened, belongs, max_corrupt=spec.max_corrupt, progress=progress, workers=workers
        )
    except Fault:
        raise
    except DfbenchError as error:
        raise type(error)(f"{path}: {error}") from None
    return Stream(
        name=spec.name,
        description=spec.description,
        metric=spec.metric,
        classes=class_names(portions[0].origin.source),
        experiences=[Experience(i, entry.name, rows[i]) for i, entry in enumerate(entries)],
        samples=named(portions),
        budget=spec.budget,
        notes=notes,
        _portions=tuple(portions),
        fresh_model=spec.fresh_model,
        scope=spec.scope,
    )


def _find(ref: str, benchmarks: Mapping[str, str | Path]) -> Path:
    if Path(ref).suffix.lower() in (".yaml", ".yml"):
        return Path(ref).expanduser()
    if ref in benchmarks:
        return Path(benchmarks[ref])
    error = unknown("benchmark", ref, benchmarks)
    raise UsageError(f"{error} (or give the path of a .yaml file)")
