"""From the entries of a stream file to checked rows.

Sources are opened, rows selected and pictures inspected; unreadable pictures are left out, and data that
would invalidate a result (leaks, splits of one class) are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench.benchmarks.schema import ExperienceSpec
from dfbench.benchmarks.select import select
from dfbench.benchmarks.sets import DATA_ROOT, data_root_or_none
from dfbench.data.inspection import Inspected, inspect_samples
from dfbench.data.leaks import check_leaks, crossings
from dfbench.data.samples import SPLITS, Samples
from dfbench.data.sources import Origin, Source, class_names, open_source, option_names
from dfbench.data.sources.contract import checked_samples
from dfbench.data.workers import Progress
from dfbench.errors import DataError, DfbenchError, UsageError, unknown
from dfbench.plugin_faults import Fault

EXPERIENCE, UNSEEN = "experience", "unseen set"
_SHOWN = 5
"""Names in an error or a note, before it is cut short."""

Rows = dict[str, np.ndarray]
"""Split → rows, int64."""


@dataclass(frozen=True)
class Opened:
    """A source with its whole table.

    Attributes:
        origin: the source, its root and its options.
        samples: everything that the source has, whether the stream uses it or not.
        label: the name of the first experience that uses the source.
    """

    origin: Origin
    samples: Samples
    label: str


@dataclass(frozen=True)
class Portion:
    """The samples of one source that a stream uses.

    Attributes:
        origin: the source, its root and its options.
        label: the name of the first experience that uses the source.
        samples: under the names that the source gave them, with their hashes; only readable pictures.
        sizes: int64 (N, 2), height and width of each picture.
    """

    origin: Origin
    label: str
    samples: Samples
    sizes: np.ndarray

    @property
    def place(self) -> str:
        """Where names of people and videos hold: the source's root."""
        return str(self.origin.root.resolve()) if self.origin.root else self.label


def open_all(
    entries: Sequence[ExperienceSpec],
    sources: Mapping[str, Callable[..., Source]],
    folder: Path,
    data_root: Path | None,
    progress: Progress | None = None,
    *,
    what: str = EXPERIENCE,
    known: Sequence[Opened] = (),
) -> tuple[list[Opened], list[int]]:
    """Open the source of each experience. Experiences with the same source, root and options share one.

    Args:
        entries: the experiences, or unseen sets.
        sources: registered sources: name → class.
        folder: the folder that relative roots are relative to.
        data_root: the folder of sources without a root; ``$DFBENCH_DATA`` by default.
        progress: passed to sources that prepare their pictures.
        what: what errors call an entry.
        known: sources that are open already.

    Returns:
        the sources, and for each experience the number of its source.

    Raises:
        UsageError: unknown source, unknown option, no root.
        DataError: the root does not exist, its data are missing or break a rule.
    """
    opened: dict[str, Opened] = {}
    already = {each.origin.location_hash: each for each in known}
    belongs = []
    for entry in entries:
        try:
            origin = _origin(entry, sources, folder, data_root)
            if origin.location_hash in already:
                opened.setdefault(origin.location_hash, already[origin.location_hash])
            if origin.location_hash not in opened:
                if prepare := getattr(origin.source, "prepare", None):
                    prepare(progress)
                opened[origin.location_hash] = Opened(origin, checked_samples(origin.source), entry.name)
        except Fault:
            raise
        except DfbenchError as error:
            advice = "" if what == EXPERIENCE else f"; --skip-tests {entry.name} leaves it out"
            raise type(error)(f"{what} {entry.name!r}: {error}{advice}") from None
        belongs.append(list(opened).index(origin.location_hash))
    return list(opened.values()), belongs


def assemble(
    entries: Sequence[ExperienceSpec],
    opened: Sequence[Opened],
    belongs: Sequence[int],
    *,
    max_corrupt: float,
    trained: Sequence[Portion] | None = None,
    allowed: list[str] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> tuple[list[Portion], list[Rows], list[str]]:
    """Select and check the rows of every experience.

    Args:
        entries: the experiences, or unseen sets.
        opened: the sources.
        belongs: for each experience the number of its source in ``opened``.
        max_corrupt: the share of each split that may be unreadable, 0 to 1.
        trained: what the experiences use, where the entries are unseen sets: these have no training rows.
        allowed: receives a line for each leak of people or videos; None: it is an error.
        progress: called with the number of pictures inspected.
        workers: number of processes; chosen by the number of pictures by default.

    Returns:
        the portion of each source that is used; for each experience its rows, numbered through all
        portions in order; and notes for the user.

    Raises:
        UsageError: ``where`` names something that does not occur.
        DataError: an empty or one-class split, too many unreadable pictures, an identity or video
            in two splits, sources with different classes.
    """
    what = EXPERIENCE if trained is None else UNSEEN
    origins = [each.origin for each in opened] + [each.origin for each in trained or ()]
    if len({class_names(origin.source) for origin in origins}) > 1:
        raise DataError(f"the {what}s have different classes; one stream is about one set of classes")
    selected = []
    for entry, number in zip(entries, belongs, strict=True):
        try:
            by_split = select(opened[number].samples, entry)
        except UsageError as error:
            raise UsageError(f"{what} {entry.name!r}: {error}") from None
        selected.append(by_split if trained is None else {**by_split, "train": by_split["train"][:0]})
    notes = [note for each in opened for note in getattr(each.origin.source, "notes", [])]
    portions: list[Portion] = []
    # An experience has rows of its source's table; the stream has one table of what all experiences use of
    # all sources. For each source: row of its table → row of the stream, −1 if it is unused or unreadable.
    places: list[np.ndarray] = []
    for number, each in enumerate(opened):
        mine = [i for i, owner in enumerate(belongs) if owner == number]
        # Experiences may overlap (one validation set for all): each picture is inspected and stored once.
        is_used = np.zeros(len(each.samples), bool)
        for i in mine:
            for chosen in selected[i].values():
                is_used[chosen] = True
        used = np.flatnonzero(is_used)
        samples = each.samples.take(used)
        seen = inspect_samples(each.origin, samples, progress=progress, workers=workers)
        errors = np.full(len(each.samples), "", object)
        errors[used] = seen.error
        # For each experience: a small one may not lose its pictures in the average of a large stream.
        for i in mine:
            _check_corrupt(f"{what} {entries[i].name!r}", selected[i], errors, max_corrupt)
        notes += _corrupt_notes(each.label if trained is None else entries[mine[0]].name, seen)
        good = np.flatnonzero(seen.error == "")
        place = np.full(len(each.samples), -1, np.int64)
        place[used[good]] = np.arange(len(good)) + sum(len(portion.samples) for portion in portions)
        places.append(place)
        portions.append(_portion(each, samples, seen, good))
    rows = [
        {split: place[place >= 0] for split in SPLITS for place in [places[number][selection[split]]]}
        for number, selection in zip(belongs, selected, strict=True)
    ]
    table = named(portions)
    classes = class_names(opened[0].origin.source)
    for entry, by_split in zip(entries, rows, strict=True):
        _check_classes(f"{what} {entry.name!r}", by_split, table, classes, trains=trained is None)
    without = [entry.name for entry, by_split in zip(entries, rows, strict=True) if not len(by_split["val"])]
    if without and trained is None:
        notes.append(f"no validation set in {_list(without)}")
    _check_roots([*(trained or ()), *portions], allowed)  # after unreadable pictures are out: they cannot leak
    return portions, rows, notes + (_duplicate_notes(table) if trained is None else [])


def named(portions: Sequence[Portion]) -> Samples:
    """One table of all portions. With several, names start with the portion's label, so that they stay unique."""
    tables = []
    for portion in portions:
        prefix = f"{portion.label}:" if len(portions) > 1 else ""
        tables.append(portion.samples.replace(sample=portion.samples.texts("sample").prefixed(prefix)))
    return Samples.concatenate(tables)


def _origin(
    entry: ExperienceSpec, sources: Mapping[str, Callable[..., Source]], folder: Path, data_root: Path | None
) -> Origin:
    if entry.source not in sources:
        raise unknown("source", entry.source, sources)
    factory = sources[entry.source]
    options = option_names(factory)
    for key in entry.options:
        if options is not None and key not in options:
            raise unknown("key", key, [*ExperienceSpec.model_fields, *options])
    return open_source(entry.source, factory, _root(entry, factory, folder, data_root), entry.options)


def _root(entry: ExperienceSpec, factory: Callable[..., Source], folder: Path, data_root: Path | None) -> Path | None:
    if entry.root is not None:
        return folder / Path(entry.root).expanduser()
    if not getattr(factory, "needs_root", True):
        return None
    below, name = data_root_or_none(data_root), entry.set or entry.source
    if below is None:
        raise UsageError(
            f"source {entry.source!r} needs a folder: set {DATA_ROOT} to the folder that holds {name}/, "
            "or write root: FOLDER"
        )
    return below.expanduser() / name


def _portion(opened: Opened, samples: Samples, seen: Inspected, good: np.ndarray) -> Portion:
    samples = samples.replace(
        sha256=seen.sha256,
        source=samples.texts("source").filled(opened.label),
    )
    sizes = np.stack([seen.height, seen.width], axis=1)
    return Portion(opened.origin, opened.label, samples.take(good), sizes[good])


def _check_corrupt(name: str, selection: Rows, errors: np.ndarray, max_corrupt: float) -> None:
    for split, rows in selection.items():
        bad = errors[rows][errors[rows] != ""].tolist()
        if len(bad) > max_corrupt * len(rows):
            raise DataError(
                f"{name}: {len(bad)} of {len(rows)} {split} pictures cannot be used, more than "
                f"max_corrupt: {max_corrupt:g} allows: {_first(bad)}"
            )


def _corrupt_notes(label: str, seen: Inspected) -> list[str]:
    bad = seen.error[seen.error != ""].tolist()
    if not bad:
        return []
    count = f"{len(bad)} of {len(seen.error)} pictures"
    return [f"{label}: {count} cannot be used and are left out: {_first(bad)}"]


def _list(names: Sequence[str]) -> str:
    return (
        ", ".join(names)
        if len(names) <= _SHOWN
        else f"{', '.join(names[:2])}, …, {names[-1]} ({len(names)} experiences)"
    )


def _first(errors: Sequence[str]) -> str:
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return "; ".join(errors[:_SHOWN]) + more


def _check_classes(name: str, rows: Rows, table: Samples, classes: Sequence[str], *, trains: bool) -> None:
    """Check that there are train and test pictures, that labels name classes, and that no split has a single class."""
    for split in SPLITS:
        labels = np.unique(table.label[rows[split]]).tolist()
        if not labels and (split == "val" or (split == "train" and not trains)):
            continue
        if not labels:
            sizes = ", ".join(f"{len(each)} {other}" for other, each in rows.items())
            needed = f"({sizes}); train and test are needed" if trains else "and these alone are scored"
            raise DataError(f"{name}: no {split} pictures {needed}")
        if labels[0] < 0 or labels[-1] >= len(classes):
            raise DataError(f"{name}: labels {labels[0]} to {labels[-1]}, but {len(classes)} classes")
        if len(labels) == 1:
            raise DataError(
                f"{name}: all {len(rows[split])} {split} pictures are {classes[labels[0]]!r}; "
                "a split needs more than one class"
            )


def _check_roots(portions: Sequence[Portion], allowed: list[str] | None) -> None:
    """Check for leaks among all samples of one root, across experiences: what one trains on, another may not test.

    Names are compared within one root only: two data sets may both have an identity "1".
    """
    roots: dict[str, list[Portion]] = {}
    for portion in portions:
        roots.setdefault(portion.place, []).append(portion)
    for place, members in roots.items():
        check_leaks([portion.samples for portion in members], place, allowed)


def _duplicate_notes(table: Samples) -> list[str]:
    """A note on pictures that occur in two splits under two names; no error, since public data sets contain some."""
    found = crossings(table.texts("sha256"), table.texts("split"))
    if not found:
        return []
    names = table.texts("sample").take(table.where(sha256=found[0][0])).objects.tolist()
    example = " and ".join(names[:2])
    return [f"pictures that occur in more than one split under different names: {len(found)}, as {example}"]
