"""A loaded benchmark: experiences over one table of samples, and their pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfbench.benchmarks.assemble import UNSEEN, Portion, Rows, assemble, named, open_all
from dfbench.benchmarks.fitness import check_fit
from dfbench.benchmarks.flow import PLAIN, Flow, check_classes, flowing
from dfbench.benchmarks.parts import Citation, Perturb
from dfbench.benchmarks.schema import Budget, ExperienceSpec, Scope, read_stream_file
from dfbench.benchmarks.sets import check_sets
from dfbench.benchmarks.unseen import check_unseen, known_notes, wanted
from dfbench.data.json_lines import json_list
from dfbench.data.samples import Samples
from dfbench.data.sources import Source, class_names
from dfbench.data.texts import first_rows, group_numbers
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
        citation: where the protocol comes from; None where its file does not say.
        allowed_leaks: leaks and wrong labels that would be errors, and were allowed.
        unseen: sets that are tested after every training and never trained on, as the experiences of a stream with
            samples and pixels of its own: nothing that a training sees depends on them. None where there are none.
        perturb: degraded copies of the experiences' test sets.
        skipped: unseen sets (and ``perturbed``) that the file has and that were not asked for.
        flow: whether samples are seen once, and which test sets are scored between the ends.
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
    citation: Citation | None = None
    allowed_leaks: tuple[str, ...] = ()
    unseen: Stream | None = None
    perturb: Perturb | None = None
    skipped: tuple[str, ...] = ()
    flow: Flow = PLAIN

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that a training depends on: contents, experiences, their order, budget."""
        before = {"budget": self.budget.model_dump(), "classes": self.classes}
        after: dict[str, Any] = {"metric": self.metric, "samples": self.samples.fingerprint()}
        if self.fresh_model:  # only then: streams from before the key keep their fingerprint
            after["fresh_model"] = True
        if self.flow != PLAIN:
            after["flow"] = self.flow.model_dump()
        digest = hashlib.sha256(json.dumps(before, sort_keys=True)[:-1].encode() + b', "experiences": [')
        # As json.dumps of the whole, without an object per row.
        names = self.samples.texts("sample")
        for number, experience in enumerate(self.experiences):
            digest.update(f"{', ' if number else ''}[{json.dumps(experience.name)}, {{".encode())
            for place, (split, rows) in enumerate(sorted(experience.rows.items())):
                digest.update(f"{', ' if place else ''}{json.dumps(split)}: ".encode())
                for part in json_list(names.take(rows)):
                    digest.update(part)
            digest.update(b"}]")
        digest.update(b"], " + json.dumps(after, sort_keys=True)[1:].encode())
        return digest.hexdigest()

    @cached_property
    def further_fingerprint(self) -> str | None:
        """SHA-256 (hex) of what is tested next to the experiences, contents included; None where nothing is."""
        if self.unseen is None and self.perturb is None:
            return None
        from dfbench.data.perturb import VERSION

        parts = {
            "unseen": self.unseen and self.unseen.fingerprint,
            "perturb": self.perturb and {**self.perturb.model_dump(), "version": VERSION},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def having(self, split: str) -> Stream | None:
        """The stream without the experiences that have no rows of a split; None if none is left."""
        kept = [each for each in self.experiences if len(each.rows[split])]
        numbered = [replace(each, index=i) for i, each in enumerate(kept)]
        return replace(self, experiences=numbered) if kept else None

    @cached_property
    def identities(self) -> np.ndarray:
        """The person of each sample, object array of str; "" where unknown.

        Names of people hold within one root, as they do in the check for leaks: a name that two roots have is two
        people, whose keys end in the first experience of their root.
        """
        people = self.samples.texts("identity")
        labels: dict[str, str] = {}  # root → the first experience that uses it
        for portion in self._portions:
            labels.setdefault(portion.place, portion.label)
        numbers = [list(labels).index(portion.place) for portion in self._portions]
        root = np.repeat(numbers, [len(portion.samples) for portion in self._portions])
        person, count = group_numbers(people.codes, root)
        first = first_rows(person, count)
        keys = np.array(people.take(first).objects)
        shared = (np.bincount(people.codes[first])[people.codes[first]] > 1) & ~people.is_empty[first]
        for i in np.flatnonzero(shared).tolist():
            keys[i] += f" [{list(labels.values())[root[first[i]]]}]"
        return keys[person]

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

    def located(self, rows: Sequence[int]) -> list[tuple[Source, str]]:
        """Where the pictures of some rows are: their source, and the name that it has for them."""
        starts = np.cumsum([0, *(len(portion.samples) for portion in self._portions)])
        found = []
        for row in rows:
            place = int(np.searchsorted(starts, row, side="right")) - 1
            portion = self._portions[place]
            found.append((portion.origin.source, str(portion.samples.sample[row - starts[place]])))
        return found

    def perturbed_pixels(
        self, rows: np.ndarray, size: tuple[int, int], ways: Sequence[tuple[str, int]], frames: int
    ) -> PixelStack:
        """Degraded pictures, made when they are fetched.

        Args:
            rows: of the samples, int64 (n,), ascending.
            size: (height, width) after the degradation.
            ways: (kind, level) of each degradation.
            frames: pictures per unit, degraded as one sequence.

        Returns:
            pixels of ``n · len(ways)`` pictures: row ``w · n + i`` is picture ``rows[i]`` degraded in way ``w``.
        """
        from dfbench.data.perturb import PerturbedPixels
        from dfbench.data.store import PixelStack

        ends = np.cumsum([len(portion.samples) for portion in self._portions])
        stores = []
        for kind, level in ways:
            for portion, end in zip(self._portions, ends, strict=True):
                start = end - len(portion.samples)
                names = portion.samples.sample[rows[(rows >= start) & (rows < end)] - start].tolist()
                if names:
                    stores.append(PerturbedPixels(portion.origin.source, names, size, kind, level, frames))
        return PixelStack(stores)

    @property
    def native_size(self) -> tuple[int, int] | None:
        """(height, width) of all pictures; None if they differ."""
        sizes = self._sizes
        return next(iter(sizes)) if len(sizes) == 1 else None

    @cached_property
    def _sizes(self) -> dict[tuple[int, int], int]:
        """(height, width) → number of pictures."""
        sizes = np.concatenate([portion.sizes for portion in self._portions])
        number, count = group_numbers(*sizes.T)
        different = sizes[first_rows(number, count)].tolist()
        counts = np.bincount(number, minlength=count).tolist()
        return dict(sorted(((height, width), n) for (height, width), n in zip(different, counts, strict=True)))

    def _native_size(self) -> tuple[int, int]:
        if self.native_size is not None:
            return self.native_size
        sizes = self._sizes
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
    skip: Collection[str] = (),
    allow_leaks: bool = False,
) -> Stream:
    """Load a stream and check all of its data.

    Args:
        ref: a name in ``benchmarks``, or the path of a ``.yaml`` or ``.yml`` file.
        sources: registered sources: name → class.
        benchmarks: registered streams: name → YAML file.
        data_root: the folder of sources without a ``root``; ``$DFBENCH_DATA`` by default.
        progress: called with the number of new pictures inspected.
        workers: number of processes; chosen by the number of pictures by default.
        skip: names of unseen sets that are not even opened, ``perturbed``, or ``all``.
        allow_leaks: do not refuse people and videos in two splits, and failed audits; ``allowed_leaks`` names them.

    Raises:
        UsageError: a name is unknown, or the file breaks the schema.
        DataError: data are missing, damaged or break a rule.
    """
    path = _find(ref, benchmarks or {})
    spec, entries = read_stream_file(path)
    unseen, perturb, skipped = wanted(path, spec, skip)
    allowed: list[str] | None = [] if allow_leaks else None
    how: dict[str, Any] = {
        "max_corrupt": spec.max_corrupt,
        "allowed": allowed,
        "progress": progress,
        "workers": workers,
    }
    try:
        set_notes = check_sets(spec.sets, (*entries, *unseen), data_root)
        opened, belongs = open_all(entries, sources, path.parent, data_root, progress)
        check_classes(spec.flow, class_names(opened[0].origin.source))
        check_fit(opened, allowed, trains=True, progress=progress)
        portions, rows, notes = assemble(entries, opened, belongs, **how)
        notes = set_notes + notes + spec.flow.notes
        if spec.flow.moves:
            rows = flowing([entry.name for entry in entries], rows, named(portions), spec.flow)
        if unseen:
            more, theirs = open_all(unseen, sources, path.parent, data_root, progress, what=UNSEEN, known=opened)
            new = [each for each in more if all(each is not other for other in opened)]
            check_fit(new, allowed, trains=False, progress=progress)
            sets = assemble(unseen, more, theirs, trained=portions, **how)
            for entry, mine in zip(unseen, sets[1], strict=True):
                check_unseen(entry.name, mine, sets[0], portions)
    except Fault:
        raise
    except DfbenchError as error:
        raise type(error)(f"{path}: {error}") from None
    stream = Stream(
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
        citation=spec.citation,
        allowed_leaks=tuple(dict.fromkeys(allowed or ())),
        perturb=perturb,
        skipped=skipped,
        flow=spec.flow,
    )
    if not unseen:
        return stream
    return replace(
        stream, unseen=_unseen(stream, unseen, *sets), notes=[*notes, *sets[2], *known_notes(named(sets[0]), portions)]
    )


def _unseen(
    stream: Stream,
    entries: Sequence[ExperienceSpec],
    portions: Sequence[Portion],
    rows: Sequence[Rows],
    notes: list[str],
) -> Stream:
    """The unseen sets of a stream as a stream of their own."""
    return replace(
        stream,
        experiences=[Experience(i, entry.name, rows[i]) for i, entry in enumerate(entries)],
        samples=named(portions),
        budget=Budget(),
        notes=notes,
        _portions=tuple(portions),
        fresh_model=False,
        perturb=None,
        skipped=(),
        flow=PLAIN,
    )


def _find(ref: str, benchmarks: Mapping[str, str | Path]) -> Path:
    if Path(ref).suffix.lower() in (".yaml", ".yml"):
        return Path(ref).expanduser()
    if ref in benchmarks:
        return Path(benchmarks[ref])
    error = unknown("benchmark", ref, benchmarks)
    raise UsageError(f"{error} (or give the path of a .yaml file)")
