"""Whether a source keeps its contract: what its methods return, checked where dfbench calls them.

A registered source that breaks it is named with its plugin (:class:`~dfbench.plugin_faults.Fault`, exit code 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dfbench.data.pictures import Inspection
from dfbench.data.samples import Samples, TableError
from dfbench.data.sources import Source, class_names
from dfbench.errors import is_control
from dfbench.plugin_faults import Fault


def checked_samples(source: Source) -> Samples:
    """The table of a source.

    Raises:
        Fault: It is no table, has a label that names no class, or could not be made (an unknown split or
            column, a name that occurs twice); or the classes or the notes are not lists of texts.
        DataError: The data are wrong, by what the source itself says.
    """
    classes = _classes(source)
    try:
        samples = source.samples()
    except TableError as error:
        if type(source).__module__.partition(".")[0] == "dfbench":  # its data are wrong, not its code
            raise
        raise Fault(source, "samples", f"makes no table: {error}") from error
    if not isinstance(samples, Samples):
        raise Fault(source, "samples", f"returned a {type(samples).__name__}: a dfbench.Samples is needed")
    wrong = np.flatnonzero((samples.label < 0) | (samples.label >= len(classes)))
    if wrong.size:
        first, count = wrong[0], f"{wrong.size} of {len(samples)} rows"
        known = f"labels count from 0, and there are {len(classes)} classes ({', '.join(classes[:10])})"
        what = f"returned label {samples.label[first]} for {samples.sample[first]!r} ({count}): {known}"
        raise Fault(source, "samples", what)
    notes = getattr(source, "notes", [])
    if not isinstance(notes, list | tuple) or not all(isinstance(note, str) for note in notes):
        raise Fault(source, "", f"notes is {notes!r:.60}: a list of texts is needed")
    return samples


def checked_stamp(source: Source, sample: str) -> str:
    """A source's stamp of a sample; "" where it makes none."""
    make: Any = getattr(source, "stamp", None)
    stamp = make(sample) if make is not None else ""
    if not isinstance(stamp, str):
        raise Fault(source, "stamp", f"returned a {type(stamp).__name__} for {sample!r}: a text is needed")
    return stamp


def checked_inspection(source: Source, found: Any, sample: str) -> Inspection:
    """What a source's ``inspect`` returned for a sample."""
    if isinstance(found, tuple) and len(found) == len(Inspection._fields):
        sha256, *size = found
        if isinstance(sha256, str) and sha256 and all(isinstance(n, int | np.integer) and n > 0 for n in size):
            return Inspection(*found)
    needed = "Inspection(sha256, height, width) is needed"
    raise Fault(source, "inspect", f"returned {found!r:.60} for {sample!r}: {needed}")


def _classes(source: Source) -> tuple[str, ...]:
    given = getattr(source, "classes", ("real", "fake"))
    if not _are_names(given) or len(given) < 2 or len(set(given)) < len(given):
        raise Fault(source, "", f"classes is {given!r:.60}: the names of at least two classes are needed")
    return class_names(source)


def _are_names(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(text, str) and text and not any(map(is_control, text)) for text in values
    )
