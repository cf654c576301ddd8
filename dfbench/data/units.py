"""Training units: the groups of samples that a detector trains on and that a replay buffer counts and stores.

A *unit* is a fixed group of samples that belong together for one detector: a frame, a clip, an
aligned real–fake pair, a pair of clips. Buffers store and replay whole units, so a loss only ever
touches what the buffer holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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

    Raises:
        DataError: the samples hold no aligned pair.
    """
    rows = np.asarray(rows, dtype=np.int64)
    real: dict[str, int] = {}
    fakes: list[tuple[int, str]] = []
    for row, key, label in zip(rows, samples.pair[rows], samples.label[rows], strict=True):
        if not key:
            continue
        if label == 0:
            real[key] = int(row)
        else:
            fakes.append((int(row), key))
    found = [(real[key], row) for row, key in fakes if key in real]
    if not found:
        raise DataError("no aligned real–fake pairs (column 'pair') in this split: this detector trains on pairs")
    return _pair_units(np.array(found, dtype=np.int64))


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
