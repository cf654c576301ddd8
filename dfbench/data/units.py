"""Training units: the groups of samples that a detector trains on and that a replay buffer counts and stores.

A *unit* is a fixed group of samples that belong together for one detector: a frame, a clip, an
aligned real–fake pair, a pair of clips. Buffers store and replay whole units, so a loss only ever
touches what the buffer holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfbench.data.videos import video_keys
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
) -> tuple[list[Units], list[str]]:
    """A detector's units of every experience, with what they leave out.

    Args:
        make: the detector's units of some rows.
        samples: the stream's table.
        experiences: name → rows of the split.
        split: its name, for messages.
        classes: names of the classes, by label.

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
            raise DataError(f"experience {name!r}, {split}: {error}") from None
        counts = _left_out(samples, rows, units, classes)
        if len(np.unique(units.labels)) < min(2, len(np.unique(samples.label[rows]))):
            raise DataError(
                f"experience {name!r}: the {split} units of this detector have one class; they leave out "
                f"{' and '.join(counts)} (videos too short for a clip, pictures without an aligned partner)"
            )
        left_out += [f"{name}: {', '.join(counts)}"] if counts else []
        parts.append(units)
    if not left_out:
        return parts, []
    why = "too short for a clip, or without an aligned partner"
    return parts, [f"left out of the {split} units of this detector, {why}: {'; '.join(left_out)}"]


def _left_out(samples: Samples, rows: np.ndarray, units: Units, classes: Sequence[str]) -> list[str]:
    """What is in no unit, by class: whole videos, and pictures of none. "3 of 6 real videos"."""
    used = set(units.rows.reshape(-1).tolist())
    if used >= set(np.asarray(rows).tolist()):
        return []
    keys = video_keys(samples)
    every: dict[tuple[int, str], set[object]] = defaultdict(set)
    found: dict[tuple[int, str], set[object]] = defaultdict(set)
    for row in np.asarray(rows, dtype=np.int64).tolist():
        kind = (int(samples.label[row]), "videos" if keys[row] else "pictures")
        thing = (samples.source[row], keys[row]) if keys[row] else row
        every[kind].add(thing)
        if row in used:
            found[kind].add(thing)
    return [
        f"{len(things) - len(found[kind])} of {len(things)} {classes[kind[0]]} {kind[1]}"
        for kind, things in sorted(every.items())
        if len(found[kind]) < len(things)
    ]


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
    windows: list[np.ndarray] = []
    for video in _videos(samples, rows):
        windows += [video[i : i + length] for i in range(0, len(video) - length + 1, stride or length)]
    if not windows:
        raise DataError(f"no video has the {length} frames that a clip needs: use a stream with more frames per video")
    stacked = np.stack(windows)
    labels = samples.label[stacked[:, 0]].astype(np.int64)
    return Units(stacked, labels, labels)


def pairs(samples: Samples, rows: np.ndarray) -> Units:
    """One unit per fake: the real it was made from (same ``pair`` key), and the fake. Shape (U, 2).

    Where one key stands for whole videos, frames are aligned by their number: a fake frame whose real is
    not there is in no pair.

    Raises:
        DataError: the samples hold no aligned pair, or a key has two reals of one frame.
    """
    ordered = np.asarray(rows, dtype=np.int64).tolist()
    members: dict[str, list[int]] = defaultdict(list)
    for row in ordered:
        if samples.pair[row]:
            members[samples.pair[row]].append(row)
    videos = video_keys(samples)
    real_of: dict[int, int] = {}
    for same_key in members.values():
        real_of |= _aligned(samples, videos, same_key)
    found = [(real_of[row], row) for row in ordered if row in real_of]
    if not found:
        raise DataError("no aligned real–fake pairs (column 'pair') in this split: this detector trains on pairs")
    return _pair_units(np.array(found, dtype=np.int64))


def _aligned(samples: Samples, videos: np.ndarray, rows: list[int]) -> dict[int, int]:
    """Fake → real of one pair key: the only real, or that of the same frame where the key spans several frames."""
    reals = [row for row in rows if samples.label[row] == 0]
    fakes = [row for row in rows if samples.label[row] != 0]
    in_videos = [videos[fake] for fake in fakes if videos[fake]]
    if len(reals) == 1 and len(set(in_videos)) == len(in_videos):
        return dict.fromkeys(fakes, reals[0])
    of_frame: dict[int, int] = {}
    for real in reals:
        frame = int(samples.frame[real])
        if (other := of_frame.setdefault(frame, real)) != real:
            raise DataError(
                f"pair {samples.pair[real]!r}: {samples.sample[other]} and {samples.sample[real]} are two reals of "
                f"frame {frame}; number the frames, or give each aligned picture a pair key of its own"
            )
    return {fake: of_frame[frame] for fake in fakes if (frame := int(samples.frame[fake])) in of_frame}


def clip_pairs(samples: Samples, rows: np.ndarray, length: int, stride: int | None = None) -> Units:
    """Pairs of clips aligned frame by frame: windows of :func:`pairs` along each fake video. Shape (U, 2, T)."""
    aligned = pairs(samples, rows).rows
    real_of = {int(fake): int(real) for real, fake in aligned}
    fake_clips = clips(samples, aligned[:, 1], length, stride).rows
    real_clips = np.vectorize(real_of.__getitem__, otypes=[np.int64])(fake_clips)
    return _pair_units(np.stack([real_clips, fake_clips], axis=1))


def _pair_units(rows: np.ndarray) -> Units:
    count = len(rows)
    labels = np.tile(np.array([0, 1], dtype=np.int64), (count, 1))
    # Counted under 0 and 1 in turn: half the pairs for each class (see Units.target).
    return Units(rows, labels, np.arange(count, dtype=np.int64) % 2)


def _videos(samples: Samples, rows: np.ndarray) -> list[np.ndarray]:
    """The rows of each video, in frame order; videos in order of first appearance, without stills."""
    keys = video_keys(samples)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in np.asarray(rows, dtype=np.int64):
        if keys[row]:
            groups[(str(samples.source[row]), str(keys[row]))].append(int(row))
    return [np.array(sorted(g, key=lambda r: int(samples.frame[r])), dtype=np.int64) for g in groups.values()]
