"""The prepared sets that a stream's file describes under ``sets``: whether they are there, and how they are made."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.benchmarks.parts import SetSpec
from dfbench.benchmarks.schema import ExperienceSpec
from dfbench.data.prepare.opening import data_set
from dfbench.data.prepare.shards import META, Meta, read_meta
from dfbench.errors import DataError, DfbenchError, UsageError

DATA_ROOT = "DFBENCH_DATA"
"""Environment variable: the folder that holds the root of each source that names none."""


@dataclass(frozen=True)
class NeededSet:
    """A prepared set that a stream needs.

    Attributes:
        name: of its folder.
        folder: where it is expected; with ``$DFBENCH_DATA`` where no data root is known.
        command: the shell line that makes it, with ``FOLDER`` where the data set's root belongs.
        is_there: whether a finished set is in the folder.
    """

    name: str
    folder: Path
    command: str
    is_there: bool


def data_root_or_none(given: Path | None) -> Path | None:
    """The folder below which data are looked for: the given one, else ``$DFBENCH_DATA``."""
    configured = os.environ.get(DATA_ROOT, "").strip()
    return given or (Path(configured).expanduser() if configured else None)


def needed_sets(
    sets: Mapping[str, SetSpec], entries: Sequence[ExperienceSpec], data_root: Path | None
) -> list[NeededSet]:
    """The described sets that some entries use, in the order of the file.

    Args:
        sets: those of the stream's file.
        entries: experiences and unseen sets.
        data_root: the folder that holds them; ``$DFBENCH_DATA`` by default.
    """
    root = data_root_or_none(data_root)
    used = {entry.set for entry in entries}
    found = []
    for name, spec in sets.items():
        if name in used:
            folder = (root or Path(f"${DATA_ROOT}")) / name
            is_there = root is not None and (folder / META).is_file()
            found.append(NeededSet(name, folder, _command(spec, folder), is_there))
    return found


def check_sets(sets: Mapping[str, SetSpec], entries: Sequence[ExperienceSpec], data_root: Path | None) -> list[str]:
    """Check that the described sets are there and were made from the described data.

    Args:
        sets: those of the stream's file.
        entries: the experiences and unseen sets that are opened.
        data_root: the folder that holds them; ``$DFBENCH_DATA`` by default.

    Returns:
        notes on sets that were made in another way than described (fewer frames, a limit, further options).

    Raises:
        UsageError: there is no data root.
        DataError: sets are missing, with the commands that make them, or one was made from other data.
    """
    needed = needed_sets(sets, entries, data_root)
    if not needed:
        return []
    missing = [each for each in needed if not each.is_there]
    commands = "; ".join(each.command for each in missing)
    if data_root_or_none(data_root) is None:
        raise UsageError(
            f"no data root: set {DATA_ROOT}, or give --data-root, the folder of the prepared sets; make them with "
            f"{commands} (FOLDER: where the data set lies)"
        )
    if missing:
        what = "1 prepared set is" if len(missing) == 1 else f"{len(missing)} prepared sets are"
        names = ", ".join(each.name for each in missing)
        raise DataError(
            f"{what} missing in {missing[0].folder.parent}: {names}; make {'it' if len(missing) == 1 else 'them'} "
            f"with {commands} (FOLDER: where the data set lies)"
        )
    return [note for each in needed if (note := _compare(each, sets[each.name], read_meta(each.folder)))]


def _command(spec: SetSpec, folder: Path) -> str:
    words = ["dfbench", "data", "prepare", spec.source, "--root", "FOLDER", "--out", str(folder)]
    for key, value in spec.options.items():
        words += ["--option", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    words += ["--frames", str(spec.frames)] * (spec.frames != SetSpec(source="x").frames)
    words += ["--clip", str(spec.clip)] * bool(spec.clip)
    words += ["--size", str(spec.size)] * (spec.size != SetSpec(source="x").size)
    return " ".join(word if word.startswith(f"${DATA_ROOT}/") else shlex.quote(word) for word in words)


def _compare(needed: NeededSet, spec: SetSpec, meta: Meta) -> str:
    """A note on what differs from the description; empty where nothing does."""
    made = meta.options
    if made.get("source") != spec.source:
        raise DataError(
            f"{needed.folder} was made from the data set {made.get('source')!r}, not {spec.source!r}: move it "
            f"away, and make the set with {needed.command}"
        )
    given = _with_defaults(spec.source, made.get("source_options", {}))
    wanted = _with_defaults(spec.source, spec.options)
    for key in spec.options:
        if given.get(key) != wanted[key]:
            raise DataError(
                f"{needed.folder} was made with {key}={given.get(key)}, not {wanted[key]}: move it away, and make the "
                f"set with {needed.command}"
            )
    pairs = [(key, given.get(key), wanted.get(key)) for key in sorted({*given, *wanted})]
    pairs += [(key, made.get(key), getattr(spec, key)) for key in ("frames", "clip", "size")]
    pairs += [("limit", made.get("limit"), 0)]
    differs = [f"{key} {is_now} instead of {described}" for key, is_now, described in pairs if is_now != described]
    return f"{needed.name} was prepared with {', '.join(differs)}" if differs else ""


def _with_defaults(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a data set with the defaults of those that were not given; as given if its reader is not installed."""
    try:
        known = data_set(source).options()
    except DfbenchError:
        return dict(options)
    return {name: parameter.default for name, parameter in known.items()} | dict(options)
