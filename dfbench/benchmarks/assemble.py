"""From the entries of a stream file to checked rows: open the sources, select, look at every picture,
leave out the unreadable, refuse what would spoil a result."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench.benchmarks.schema import ExperienceSpec
from dfbench.benchmarks.select import select
from dfbench.data.inspection import Inspected, inspect_samples
from dfbench.data.leaks import check_leaks, crossings
from dfbench.data.samples import SPLITS, Samples
from dfbench.data.sources import Origin, Source, class_names, open_source, option_names
from dfbench.data.workers import Progress
from dfbench.errors import DataError, DfbenchError, UsageError, unknown

DATA_ROOT = "DFBENCH_DATA"
_SHOWN = 5

Rows = dict[str, np.ndarray]
"""split → int64 rows"""


@dataclass(frozen=True)
class Opened:
    """A source with its whole table; ``label`` is the name of the first experience that uses it."""

    origin: Origin
    samples: Samples
    label: str


@dataclass(frozen=True)
class Portion:
    """The samples of one source that a stream uses.

    :ivar samples: with the names that the source gave them, and their hashes
    :ivar sizes: int64 (N, 2), height and width of each picture
    """

    origin: Origin
    label: str
    samples: Samples
    sizes: np.ndarray


def open_all(
    entries: Sequence[ExperienceSpec],
    sources: Mapping[str, Callable[..., Source]],
    folder: Path,
    data_root: Path | None,
    progress: Progress | None = None,
) -> tuple[list[Opened], list[int]]:
    """Open the source of each experience, each source with the same root and options once.

    :param folder: what a relative ``root`` is relative to
    :return: the sources, and for each experience the number of its source
    :raise UsageError: unknown source, unknown option, no root
    :raise DataError: the root does not exist, its data are missing or break a rule
    """
    opened: dict[str, Opened] = {}
    belongs = []
    for entry in entries:
        try:
            origin = _origin(entry, sources, folder, data_root)
            if origin.place not in opened:
                if prepare := getattr(origin.source, "prepare", None):
                    prepare(progress)
                opened[origin.place] = Opened(origin, origin.source.samples(), entry.name)
        except DfbenchError as error:
            raise type(error)(f"experience {entry.name!r}: {error}") from None
        belongs.append(list(opened).index(origin.place))
    return list(opened.values()), belongs


def assemble(
    entries: Sequence[ExperienceSpec],
    opened: Sequence[Opened],
    belongs: Sequence[int],
    *,
    max_corrupt: float,
    progress: Progress | None = None,
    workers: int | None = None,
) -> tuple[list[Portion], list[Rows], list[str]]:
    """Select and check the rows of every experience.

    :param belongs: for each experience the number of its source in ``opened``
    :param max_corrupt: the part of an experience's split that may be unreadable, 0 to 1
    :return: what is used of each source; for each experience its rows, counted through all portions
        one after the other; and notes for the user
    :raise UsageError: ``where`` names something that does not occur
    :raise DataError: an empty or one-class split, too many unreadable pictures, an identity or video
        in two splits, sources with different classes
    """
    if len({class_names(each.origin.source) for each in opened}) > 1:
        raise DataError("the experiences have different classes; one stream is about one set of classes")
    selected = []
    for entry, number in zip(entries, belongs, strict=True):
        try:
            selected.append(select(opened[number].samples, entry))
        except UsageError as error:
            raise UsageError(f"experience {entry.name!r}: {error}") from None
    notes = [note for each in opened for note in getattr(each.origin.source, "notes", [])]
    portions: list[Portion] = []
    places: list[np.ndarray] = []  # for each source: row of its table → row of the stream, or −1
    for number, each in enumerate(opened):
        mine = [i for i, owner in enumerate(belongs) if owner == number]
        used = np.unique(np.concatenate([rows for i in mine for rows in selected[i].values()]))
        samples = each.samples.take(used)
        seen = inspect_samples(each.origin, samples, progress=progress, workers=workers)
        errors = dict(zip(used.tolist(), seen.error.tolist(), strict=True))
        for i in mine:
            _check_corrupt(entries[i].name, selected[i], errors, max_corrupt)
        notes += _corrupt_notes(each.label, seen)
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
        _check_classes(entry.name, by_split, table, classes)
    if without := [entry.name for entry, by_split in zip(entries, rows, strict=True) if not len(by_split["val"])]:
        notes.append(f"no validation set in {_list(without)}")
    _check_roots(portions)
    return portions, rows, notes + _duplicate_notes(table)


def named(portions: Sequence[Portion]) -> Samples:
    """One table of all portions; where there are several, names start with the portion's label."""
    tables = []
    for portion in portions:
        prefix = f"{portion.label}:" if len(portions) > 1 else ""
        names = np.array([prefix + name for name in portion.samples.sample], object)
        tables.append(portion.samples.replace(sample=names))
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
    configured = os.environ.get(DATA_ROOT, "").strip()
    if data_root is None and not configured:
        raise UsageError(
            f"source {entry.source!r} needs a folder: set {DATA_ROOT} to the folder that holds "
            f"{entry.source}/, or write root: FOLDER"
        )
    return Path(data_root or configured).expanduser() / entry.source


def _portion(opened: Opened, samples: Samples, seen: Inspected, good: np.ndarray) -> Portion:
    samples = samples.replace(
        sha256=seen.sha256,
        source=np.where(samples.source == "", opened.label, samples.source),
    )
    sizes = np.stack([seen.height, seen.width], axis=1)
    return Portion(opened.origin, opened.label, samples.take(good), sizes[good])


def _check_corrupt(name: str, selection: Rows, errors: Mapping[int, str], max_corrupt: float) -> None:
    for split, rows in selection.items():
        bad = [errors[row] for row in rows.tolist() if errors[row]]
        if len(bad) > max_corrupt * len(rows):
            raise DataError(
                f"experience {name!r}: {len(bad)} of {len(rows)} {split} pictures cannot be used, more than "
                f"max_corrupt: {max_corrupt:g} allows: {_first(bad)}"
            )


def _corrupt_notes(label: str, seen: Inspected) -> list[str]:
    bad = [error for error in seen.error.tolist() if error]
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


def _check_classes(name: str, rows: Rows, table: Samples, classes: Sequence[str]) -> None:
    """Train and test are needed, and no split may have one class only."""
    for split in SPLITS:
        labels = np.unique(table.label[rows[split]]).tolist()
        if not labels and split == "val":
            continue
        if not labels:
            sizes = ", ".join(f"{len(each)} {other}" for other, each in rows.items())
            raise DataError(f"experience {name!r}: no {split} pictures ({sizes}); train and test are needed")
        if labels[0] < 0 or labels[-1] >= len(classes):
            raise DataError(f"experience {name!r}: labels {labels[0]} to {labels[-1]}, but {len(classes)} classes")
        if len(labels) == 1:
            raise DataError(
                f"experience {name!r}: all {len(rows[split])} {split} pictures are {classes[labels[0]]!r}; "
                "a split needs more than one class"
            )


def _check_roots(portions: Sequence[Portion]) -> None:
    """Leaks are looked for in all that comes from one root, whatever experiences it serves in."""
    roots: dict[str, list[Portion]] = {}
    for portion in portions:
        root = portion.origin.root
        roots.setdefault(str(root.resolve()) if root else portion.label, []).append(portion)
    for place, members in roots.items():
        check_leaks([portion.samples for portion in members], place)


def _duplicate_notes(table: Samples) -> list[str]:
    """The same picture in two splits under two names: told, since public data sets do have such."""
    found = crossings(table.sha256, table.split)
    if not found:
        return []
    names = table.sample[np.flatnonzero(table.sha256 == found[0][0])].tolist()
    example = " and ".join(names[:2])
    return [f"pictures that occur in more than one split under different names: {len(found)}, as {example}"]
