"""Test units of a stream: whole videos, the sampled frames of their tracks one after another."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from dfbench import DataError, Samples, Units
from dfbench_dfdc3.inference import sampled
from dfbench_dfdc3.rates import rate_of


@dataclass(frozen=True)
class Videos:
    """Videos to predict.

    Attributes:
        units: rows (U, T): the sampled frames of each video's tracks; the last one is repeated up to the longest video.
        tracks: first row of each video → sampled frames of each of its tracks.
    """

    units: Units
    tracks: dict[int, tuple[int, ...]]


def whole_videos(samples: Samples, rows: np.ndarray, rates: dict[str, float] | float, where: str) -> Videos:
    """The videos of some rows.

    A gap in the frame numbers of a video, more than twice their usual distance, parts two tracks.

    Args:
        samples: the stream's table.
        rows: int64, samples of one split of one experience. Pictures of no video are in no unit.
        rates: frame rate of all videos, or of each.
        where: the file of the rates, for errors.

    Raises:
        DataError: there is no video, or a video has no frame rate.
    """
    rows = np.asarray(rows, dtype=np.int64)
    chosen = [_tracks(samples, video, rates, where) for video in _videos(samples, rows)]
    if not chosen:
        raise DataError("no sample is a frame of a video: dfdc3 needs videos, such as those of forge5-clips")
    # One length for all experiences, whose units are joined.
    split = samples.where(split=sorted(set(samples.split[rows].tolist())))
    every = [*chosen, *(_tracks(samples, video, rates, where) for video in _videos(samples, split))]
    longest = max(sum(map(len, tracks)) for tracks in every)
    table = np.empty((len(chosen), longest), np.int64)
    for line, tracks in zip(table, chosen, strict=True):
        flat = np.concatenate(tracks)
        line[: len(flat)], line[len(flat) :] = flat, flat[-1]
    labels = samples.label[table[:, 0]].astype(np.int64)
    return Videos(Units(table, labels, labels), {int(tracks[0][0]): tuple(map(len, tracks)) for tracks in chosen})


def _videos(samples: Samples, rows: np.ndarray) -> list[np.ndarray]:
    """The rows of each video in the order of its frames; videos in order of first appearance."""
    columns = [getattr(samples, name)[rows].tolist() for name in ("source", "method", "label", "video")]
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for row, key in zip(rows.tolist(), zip(*columns, strict=True), strict=True):
        if key[-1]:
            groups[key].append(row)
    return [np.array(group)[np.argsort(samples.frame[group], kind="stable")] for group in groups.values()]


def _tracks(samples: Samples, video: np.ndarray, rates: dict[str, float] | float, where: str) -> list[np.ndarray]:
    """The sampled rows of each track of a video; its first row at least."""
    distance = np.diff(samples.frame[video])
    usual = max(1, int(np.median(distance))) if len(distance) else 1
    rate = rate_of(str(samples.video[video[0]]), rates, where)
    tracks = [part[sampled(len(part), rate)] for part in np.split(video, np.flatnonzero(distance > 2 * usual) + 1)]
    kept = [track for track in tracks if len(track)]
    return kept or [video[:1]]
