"""The rows of an experience: ``where``, ``frames`` and ``part`` as pure functions on a table of samples."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from dfbench.benchmarks.schema import ExperienceSpec, Scalar
from dfbench.data.samples import COLUMNS, SPLITS, Samples
from dfbench.data.videos import content_numbers
from dfbench.errors import UsageError, unknown


def select(samples: Samples, spec: ExperienceSpec) -> dict[str, np.ndarray]:
    """Select the rows of an experience from the table of its source.

    Returns:
        split → int64 row indices, in the order of the table.

    Raises:
        UsageError: ``where`` names a column or value that does not occur, or ``methods`` a method that no fake has.
    """
    rows = matching(samples, spec.where)
    if spec.methods is not None:
        forged = rows[samples.label[rows] != 0]
        wanted = matching(samples.take(forged), {"method": list(spec.methods)})
        rows = np.sort(np.concatenate([rows[samples.label[rows] == 0], forged[wanted]]))
    if spec.frames is not None:
        rows = spread_frames(samples, rows, spec.frames)
    by_split = {split: rows[samples.mask(split=split)[rows]] for split in SPLITS}
    if spec.videos is not None:
        by_split["train"] = few_videos(samples, by_split["train"], spec.videos)
    if spec.part is not None and spec.parts is not None:
        pieces = cut(samples, by_split["train"], spec.parts, seed=spec.seed if spec.shuffle else None)
        by_split["train"] = np.concatenate([pieces[number - 1] for number in sorted(spec.part)])
    return by_split


def matching(samples: Samples, where: Mapping[str, Scalar | Sequence[Scalar]]) -> np.ndarray:
    """Rows whose columns have the given values.

    Raises:
        UsageError: a column is unknown, or no row has a value: a misspelt one would leave out data silently.
    """
    wanted = {}
    for column, value in where.items():
        if column not in COLUMNS:
            raise unknown("column in where", column, COLUMNS)
        present = samples.present(column)
        is_text = not present or isinstance(present[0], str)
        values = [value] if isinstance(value, str | int) else list(value)
        wanted[column] = [str(each) if is_text else each for each in values]
        known = set(present)
        for each in wanted[column]:
            if each not in known:
                near = difflib.get_close_matches(str(each), map(str, present), n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there is {_some(present)}"
                raise UsageError(f"where: no sample has {column} {each!r}; {hint}")
    return samples.where(**wanted)


def spread_frames(samples: Samples, rows: np.ndarray, frames: int) -> np.ndarray:
    """At most ``frames`` rows of each video: the middles of as many equal stretches of it.

    The first N frames of a video would be nearly one picture. Rows without a video are all kept. Fakes made
    from one video count as videos of their own, distinguished by method and label, as do videos of two sources.
    """
    videos = content_numbers(samples)[rows]
    stills, rows, videos = rows[videos < 0], rows[videos >= 0], videos[videos >= 0]
    order = np.lexsort((rows, samples.frame[rows], videos))
    _, counts = np.unique(videos, return_counts=True)
    starts = np.cumsum(counts) - counts
    long = counts > frames
    middles = (2 * np.arange(frames) + 1) * counts[long, None] // (2 * frames)
    whole = np.repeat(~long, counts)
    kept = [stills, rows[order[whole]], rows[order[(starts[long, None] + middles).reshape(-1)]]]
    return np.sort(np.concatenate(kept)).astype(np.int64)


def few_videos(samples: Samples, rows: np.ndarray, videos: int) -> np.ndarray:
    """The rows of at most ``videos`` videos of each class, in their order.

    Those with the smallest SHA-256 of source, method and name are taken, so that a part of a data set gives the same
    ones as the whole. Fakes that are aligned with a real that was taken come first: a detector may need pairs. A row
    without a video counts as one; fakes that several methods made from one video are several.
    """
    members: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for row in rows.tolist():
        name = samples.video[row] or f"\0{samples.sample[row]}"
        text = "\n".join((samples.source[row], samples.method[row], name))
        members[int(samples.label[row]), hashlib.sha256(text.encode()).digest()].append(row)
    kept: list[int] = []
    paired: set[str] = set()
    for label in sorted({label for label, _ in members}):
        ranked = sorted(
            (rank for each, rank in members if each == label),
            key=lambda rank: (not paired.intersection(samples.pair[members[label, rank]]), rank),
        )
        taken = [row for rank in ranked[:videos] for row in members[label, rank]]
        kept += taken
        paired |= {pair for pair in samples.pair[taken] if pair}
    return np.array(sorted(kept), np.int64)


def cut(samples: Samples, rows: np.ndarray, parts: int, *, seed: int | None) -> list[np.ndarray]:
    """Cut rows into pieces whose lengths differ by at most one.

    Args:
        samples: the table.
        rows: the rows to cut.
        parts: number of pieces.
        seed: shuffle first, by hashes of the samples' names, so that the pieces are the same with every
            version of NumPy. None keeps the given order.

    Returns:
        ``parts`` arrays of rows, each in the order of ``rows``.
    """
    if seed is None:
        return np.array_split(rows, parts)
    ranks = [hashlib.sha256(f"{seed}\n{name}".encode()).digest() for name in samples.texts("sample").take(rows).objects]
    order = np.array(sorted(range(len(rows)), key=ranks.__getitem__), np.int64)
    return [rows[np.sort(piece)] for piece in np.array_split(order, parts)]


def _some(values: Sequence[object]) -> str:
    shown = ", ".join(str(value) for value in values[:5])
    return f"{shown}, …" if len(values) > 5 else shown or "none"
