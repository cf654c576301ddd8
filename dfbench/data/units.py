"""Training units: the groups of samples that a detector trains on and that a replay buffer counts and stores.

A *unit* is a fixed group of samples that belong together for one detector: a frame, a clip, an
aligned real–fake pair, a pair of clips. Buffers store and replay whole units, so a loss only ever
touches what the buffer holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfbench.data.texts import group_numbers
from dfbench.data.videos import content_numbers
from dfbench.errors import DataError

if TYPE_CHECKING:
    from dfbench.data.samples import Samples


@dataclass(frozen=True)
class Units:
    """Units over the rows of one sample table.

    Attributes:
        rows: int64, shape (U, …): the samples of each unit. (U,) frames; (U, T) clips of T frames;
            (U, 2) pairs, real first; (U, 2, T) pairs of clips.
        labels: int64, shape (U,), or (U, 2) for pairs: (0, 1).
        target: int64, shape (U,): the one class that a unit is counted under where a strategy counts
            classes (CWR*, class-balanced memories). Pairs hold both classes and are counted under
            0 and 1 in turn, which keeps the classes' shares right.
    """

    rows: np.ndarray
    labels: np.ndarray
    target: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.labels) == len(self.target):
            raise ValueError(
                f"units of unequal length: {len(self.rows)} rows, {len(self.labels)} labels, {len(self.target)} targets"
            )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def samples_per_unit(self) -> int:
        """Samples in one unit: the product of the unit's own shape."""
        return int(np.prod(self.rows.shape[1:], dtype=np.int64))

    def take(self, index: np.ndarray | Sequence[int]) -> Units:
        """The units at these positions."""
        return Units(self.rows[index], self.labels[index], self.target[index])


def units_of_experiences(
    make: Callable[[np.ndarray], Units],
    samples: Samples,
    experiences: Mapping[str, np.ndarray],
    split: str,
    classes: Sequence[str],
    what: str = "experience",
) -> tuple[list[Units], list[str]]:
    """A detector's units of every experience, with what they leave out.

    Args:
        make: the detector's units of some rows.
        samples: the stream's table.
        experiences: name → rows of the split.
        split: its name, for messages.
        classes: names of the classes, by label.
        what: what errors call one of them.

    Returns:
        the units of each experience, and a line for the user where some videos or pictures are in no unit.

    Raises:
        DataError: an experience has no units, or units of one class only where its samples have more.
    """
    parts, left_out = [], []
    for name, rows in experiences.items():
        try:
            units = make(rows)
        except DataError as error:
            raise DataError(f"{what} {name!r}, {split}: {error}") from None
        counts = _left_out(samples, rows, units, classes)
        if len(np.unique(units.labels)) < min(2, len(np.unique(samples.label[rows]))):
            raise DataError(
                f"{what} {name!r}: the {split} units of this detector have one class; they leave out "
                f"{' and '.join(counts)} (videos too short for a clip, pictures without an aligned partner)"
            )
        left_out += [f"{name}: {', '.join(counts)}"] if counts else []
        parts.append(units)
    if not left_out:
        return parts, []
    why = "too short for a clip, without an aligned partner, or of a kind that it does not train on"
    return parts, [f"left out of the {split} units of this detector, {why}: {'; '.join(left_out)}"]


def _left_out(samples: Samples, rows: np.ndarray, units: Units, classes: Sequence[str]) -> list[str]:
    """What is in no unit, by class: whole videos, and pictures of none. "3 of 6 real videos"."""
    used = np.zeros(len(samples), bool)
    used[units.rows.reshape(-1)] = True
    rows = np.asarray(rows, dtype=np.int64)
    if used[rows].all():
        return []
    videos, labels = content_numbers(samples)[rows], samples.label[rows]
    counts = []
    for label in np.unique(labels).tolist():
        for kind, mine in (("pictures", videos < 0), ("videos", videos >= 0)):
            things = rows if kind == "pictures" else videos
            mine = mine & (labels == label)
            every, found = np.unique(things[mine]), np.unique(things[mine & used[rows]])
            if len(found) < len(every):
                counts.append(f"{len(every) - len(found)} of {len(every)} {classes[label]} {kind}")
    return counts


def concat(parts: Sequence[Units]) -> Units:
    """Join units of one shape (ValueError otherwise)."""
    shapes = {p.rows.shape[1:] for p in parts}
    if len(shapes) > 1:
        raise ValueError(f"units of different shapes cannot be joined: {sorted(shapes)}")
    return Units(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("rows", "labels", "target")))


def frames(samples: Samples, rows: np.ndarray) -> Units:
    """One unit per sample. Shape (U,)."""
    rows = np.asarray(rows, dtype=np.int64)
    labels = samples.label[rows].astype(np.int64)
    return Units(rows, labels, labels)


def clips(samples: Samples, rows: np.ndarray, length: int, stride: int | None = None) -> Units:
    """Windows of ``length`` consecutive stored frames of one video, one every ``stride`` frames. Shape (U, T).

    ``stride`` defaults to ``length`` (no overlap). Shorter videos yield no clip.

    Raises:
        DataError: no video has ``length`` frames.
    """
    rows = np.asarray(rows, dtype=np.int64)
    stride = stride or length
    videos = content_numbers(samples)[rows]
    rows, videos = rows[videos >= 0], videos[videos >= 0]
    _, first, inverse, counts = np.unique(videos, return_index=True, return_inverse=True, return_counts=True)
    # Videos in order of first appearance, each in frame order.
    rows = rows[np.lexsort((samples.frame[rows], first[inverse]))]
    counts = counts[np.argsort(first)]
    windows = np.maximum((counts - length) // stride + 1, 0)
    if not windows.sum():
        raise DataError(f"no video has the {length} frames that a clip needs: use a stream with more frames per video")
    begins = np.repeat(np.cumsum(counts) - counts, windows) + stride * _numbers_within(windows)
    stacked = rows[begins[:, None] + np.arange(length)]
    labels = samples.label[stacked[:, 0]].astype(np.int64)
    return Units(stacked, labels, labels)


def _numbers_within(counts: np.ndarray) -> np.ndarray:
    """0 to n - 1 for each count n, one after another."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def pairs(samples: Samples, rows: np.ndarray) -> Units:
    """One unit per fake: the real it was made from (same ``pair`` key), and the fake. Shape (U, 2).

    Where one key stands for whole videos, frames are aligned by their number: a fake frame whose real is
    not there is in no pair.

    Raises:
        DataError: the samples hold no aligned pair, or a key has two reals of one frame.
    """
    rows = np.asarray(rows, dtype=np.int64)
    keyed = rows[~samples.texts("pair").is_empty[rows]]
    real = _aligned(samples, keyed)
    found = np.stack([real, keyed], axis=1)[real >= 0]
    if not len(found):
        raise DataError("no aligned real–fake pairs (column 'pair') in this split: this detector trains on pairs")
    return _pair_units(found)


def _aligned(samples: Samples, rows: np.ndarray) -> np.ndarray:
    """The real of each row that is a fake with one, else -1; all rows have a pair key.

    It is the only real of the key, or that of the same frame where the key spans several frames.
    """
    is_real = samples.label[rows] == 0
    key, keys = group_numbers(samples.texts("pair").codes[rows])
    # A key spans several frames where it has several reals, or a video has several fakes.
    several = np.bincount(key[is_real], minlength=keys) != 1
    videos = content_numbers(samples)[rows]
    in_video = ~is_real & (videos >= 0)
    member, members = group_numbers(key[in_video], videos[in_video])
    several[key[in_video][(np.bincount(member, minlength=members) > 1)[member]]] = True
    place, places = group_numbers(key, np.where(several[key], samples.frame[rows], -1))
    if (np.bincount(place[is_real], minlength=places) > 1).any():
        _refuse_two_reals(samples, rows, is_real, key, place)
    real_at = np.full(places, -1, np.int64)
    real_at[place[is_real]] = rows[is_real]
    return np.where(is_real, -1, real_at[place])


def _refuse_two_reals(
    samples: Samples, rows: np.ndarray, is_real: np.ndarray, key: np.ndarray, place: np.ndarray
) -> None:
    """DataError with the first two reals that stand for one frame, in the order of the rows of the first such key."""
    reals, places = rows[is_real], place[is_real]
    twice = np.isin(place, np.flatnonzero(np.bincount(places) > 1)) & is_real
    worst = next(number for number in key.tolist() if number in set(key[twice].tolist()))
    seen: dict[int, int] = {}
    for row, at in zip(reals[key[is_real] == worst].tolist(), places[key[is_real] == worst].tolist(), strict=True):
        if (other := seen.setdefault(at, row)) != row:
            name, pair = samples.texts("sample").take(np.array([other, row])).objects, samples.pair[row]
            raise DataError(
                f"pair {pair!r}: {name[0]} and {name[1]} are two reals of "
                f"frame {samples.frame[row]}; number the frames, or give each aligned picture a pair key of its own"
            )


def clip_pairs(samples: Samples, rows: np.ndarray, length: int, stride: int | None = None) -> Units:
    """Pairs of clips aligned frame by frame: windows of :func:`pairs` along each fake video. Shape (U, 2, T)."""
    aligned = pairs(samples, rows).rows
    real_of = np.full(len(samples), -1, np.int64)
    real_of[aligned[:, 1]] = aligned[:, 0]
    fake_clips = clips(samples, aligned[:, 1], length, stride).rows
    real_clips = real_of[fake_clips]
    return _pair_units(np.stack([real_clips, fake_clips], axis=1))


def _pair_units(rows: np.ndarray) -> Units:
    count = len(rows)
    labels = np.tile(np.array([0, 1], dtype=np.int64), (count, 1))
    # Counted under 0 and 1 in turn: half the pairs for each class (see Units.target).
    return Units(rows, labels, np.arange(count, dtype=np.int64) % 2)
